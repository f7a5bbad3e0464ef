//! kill -9, a full disk and a flipped byte: no acknowledged write is lost, none is torn, and damage is named.
//! Guarantees G1, G2, G5.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::helpers::{Client, Process, binary, id, segment, video_flow};

const WRITERS: u32 = 4;
const ROUNDS: usize = 24;
const BULK: usize = 5;

/// What a writer sent in one request: all of it is there, or nothing.
type Request = Vec<String>;

#[derive(Default)]
struct Sent {
    acknowledged: Vec<Request>,
    /// The server was killed before it answered: either outcome is right, half of it is not.
    unanswered: Vec<Request>,
}

/// Registers segments on its own flow, one or five a request, until the server is gone.
async fn write(client: Client, flow: u32, round: usize, sent: Arc<Mutex<Sent>>, count: Arc<AtomicUsize>) {
    let path = format!("/flows/{}/segments", id(flow));
    for number in 0.. {
        let size = if number % 3 == 0 { BULK } else { 1 };
        // A round has its own stretch of the timeline.
        let start = round * 1_000_000 + number * 10;
        let items: Vec<(String, Value)> = (0..size)
            .map(|item| {
                let object = format!("f{flow}-r{round}-{number}-{item}");
                let timerange = format!("[{}:0_{}:0)", start + item, start + item + 1);
                (object.clone(), segment(&object, &timerange))
            })
            .collect();
        let request: Request = items.iter().map(|(object, _)| object.clone()).collect();
        let body: Vec<Value> = items.into_iter().map(|(_, item)| item).collect();
        let body = if size == 1 { body[0].clone() } else { Value::from(body) };
        let answer = client.http.post(client.url(&path)).json(&body).send().await;
        let mut sent = sent.lock().unwrap();
        match answer {
            Ok(response) => {
                assert_eq!(response.status(), 201);
                sent.acknowledged.push(request);
                count.fetch_add(1, Ordering::Relaxed);
            }
            Err(_) => {
                sent.unanswered.push(request);
                return;
            }
        }
    }
}

/// Object ids of a flow's segments, each once.
async fn stored(client: &Client, flow: u32) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut next = Some(client.url(&format!("/flows/{}/segments?limit=1000", id(flow))));
    while let Some(url) = next {
        let page = client.send(client.http.get(url)).await.expect(200);
        for object in page.texts("object_id") {
            assert!(found.insert(object.clone()), "{object} is stored twice");
        }
        next = page.next_link();
    }
    found
}

async fn check(client: &Client, sent: &BTreeMap<u32, Arc<Mutex<Sent>>>) {
    for (flow, sent) in sent {
        let stored = stored(client, *flow).await;
        let sent = sent.lock().unwrap();
        let mut known = BTreeSet::new();
        for request in &sent.acknowledged {
            assert!(request.iter().all(|object| stored.contains(object)), "an acknowledged write is lost: {request:?}");
            known.extend(request.iter().cloned());
        }
        for request in &sent.unanswered {
            let there = request.iter().filter(|object| stored.contains(*object)).count();
            assert!(there == 0 || there == request.len(), "a write is torn: {request:?}");
            known.extend(request.iter().cloned());
        }
        assert!(stored.is_subset(&known), "something is stored that nobody sent");
    }
}

/// Kills a server with these settings again and again while it is written to.
async fn kill_again_and_again(data: &Path, settings: &[(&str, &str)], rounds: usize, answers: std::ops::Range<usize>) {
    let mut random = StdRng::seed_from_u64(20_261_124);
    let sent: BTreeMap<u32, Arc<Mutex<Sent>>> = (1..=WRITERS).map(|flow| (flow, Arc::default())).collect();
    let server = Process::start_with(data, settings).unwrap();
    for flow in 1..=WRITERS {
        server.client.put(&format!("/flows/{}", id(flow)), &video_flow(flow, 100 + flow)).await.expect(201);
    }
    let mut server = Some(server);
    for round in 0..rounds {
        let running = server.take().unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let writers: Vec<_> = sent
            .iter()
            .map(|(flow, sent)| tokio::spawn(write(running.client.clone(), *flow, round, sent.clone(), count.clone())))
            .collect();
        // A moment is a number of answers, so that a slow machine has the same moments.
        let moment = random.random_range(answers.clone());
        while count.load(Ordering::Relaxed) < moment {
            tokio::task::yield_now().await;
        }
        running.kill();
        for writer in writers {
            writer.await.unwrap();
        }
        let restarted = Process::start_with(data, settings).unwrap();
        check(&restarted.client, &sent).await;
        server = Some(restarted);
    }
    let total: usize = sent.values().map(|sent| sent.lock().unwrap().acknowledged.len()).sum();
    assert!(total >= rounds, "the writers got somewhere: {total}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_at_any_moment_loses_no_acknowledged_write_and_tears_none() {
    let folder = tempfile::tempdir().unwrap();
    kill_again_and_again(&folder.path().join("data"), &[], ROUNDS, 1..300).await;
}

/// The same while rows go to files all the time, files are merged, tables published and checkpoints written.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_kill_while_rows_go_to_files_loses_nothing_either_and_fsck_finds_nothing_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let settings = [
        ("TAMSLAKE__CATALOG__FLUSH_BYTES", "64 KiB"),
        ("TAMSLAKE__CATALOG__MERGE_RUNS", "2"),
        ("TAMSLAKE__CATALOG__PUBLISH_INTERVAL", "100ms"),
        ("TAMSLAKE__CATALOG__CHECKPOINT_ENTRIES", "50"),
    ];
    kill_again_and_again(&data, &settings, 8, 100..600).await;
    let table = data.join("catalog/tables/flow_segments");
    let files = std::fs::read_dir(table.join("data")).unwrap().count();
    let versions = std::fs::read_dir(table.join("_delta_log")).unwrap().count();
    assert!(files > 8 && versions > 8, "{files} files, {versions} versions");
    let fsck = binary().args(["fsck", "--level", "4", "--data-dir"]).arg(&data).output().unwrap();
    assert!(
        fsck.status.success(),
        "{}{}",
        String::from_utf8_lossy(&fsck.stdout),
        String::from_utf8_lossy(&fsck.stderr)
    );
}

/// A file system of a few megabytes, unmounted with the test.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    /// `None` where this user may not mount; in CI that is a failure.
    fn mount(path: &'a Path) -> Option<Self> {
        std::fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=4m", "tmpfs"])
            .arg(path)
            .output()
            .is_ok_and(|output| output.status.success());
        if mounted {
            return Some(Self(path));
        }
        assert!(std::env::var_os("CI").is_none(), "CI must be able to mount a small disk");
        eprintln!("NOT CHECKED: a full disk, because mounting one needs root");
        None
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: the killed server may still be going away.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_writes_keeps_reads_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let Some(_disk) = SmallDisk::mount(&disk) else { return };
    let data = disk.join("data");
    let server = Process::start(&data).unwrap();
    let client = server.client.clone();
    client.put(&format!("/flows/{}", id(1)), &video_flow(1, 101)).await.expect(201);
    let path = format!("/flows/{}/segments", id(1));
    let mut acknowledged = BTreeSet::new();
    let fill = |number: usize| segment(&format!("o-{number}"), &format!("[{number}:0_{}:0)", number + 1));
    // Most of the disk at once, the rest by log entries.
    let filler = disk.join("filler");
    std::fs::write(&filler, vec![0_u8; 3 << 20]).unwrap();
    let mut refused = None;
    for number in 0..10_000 {
        let answer = client.post(&path, &fill(number)).await;
        if answer.status == 201 {
            acknowledged.insert(format!("o-{number}"));
        } else {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a disk of 4 MB is full before 10,000 log entries");
    assert_eq!((refused.status.as_u16(), refused.error_type()), (507, "storage_full"), "{:#}", refused.json);
    assert!(!acknowledged.is_empty());
    assert_eq!(stored(&client, 1).await, acknowledged, "reading goes on, and shows what was acknowledged");

    server.kill();
    let said = Process::start(&data).err().expect("a start needs a little space, to test what the store can do");
    assert!(said.contains("No space left") && said.contains("catalog"), "{said}");

    std::fs::remove_file(&filler).unwrap();
    let server = Process::start(&data).unwrap();
    assert_eq!(stored(&server.client, 1).await, acknowledged);
    server.client.post(&path, &fill(20_000)).await.expect(201);
    acknowledged.insert("o-20000".to_owned());
    assert_eq!(stored(&server.client, 1).await, acknowledged);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_in_the_log_stops_the_start_and_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Process::start(&data).unwrap();
    server.client.put(&format!("/flows/{}", id(1)), &video_flow(1, 101)).await.expect(201);
    for number in 0..10 {
        let request = segment(&format!("o-{number}"), &format!("[{number}:0_{}:0)", number + 1));
        server.client.post(&format!("/flows/{}/segments", id(1)), &request).await.expect(201);
    }
    server.kill();
    let entry = data.join("catalog/log/00000000000000000005");
    let whole = std::fs::read(&entry).unwrap();
    let mut random = StdRng::seed_from_u64(5);
    for place in [0, 100, whole.len() - 1, random.random_range(0..whole.len())] {
        let mut flipped = whole.clone();
        flipped[place] ^= 0x10;
        std::fs::write(&entry, &flipped).unwrap();
        let said = Process::start(&data).err().expect("a damaged log cannot be served");
        assert!(said.contains("00000000000000000005") && said.contains("Restore"), "byte {place}: {said}");
    }
    std::fs::remove_file(&entry).unwrap();
    let said = Process::start(&data).err().expect("a log with a hole cannot be served");
    assert!(said.contains("00000000000000000005 is missing"), "{said}");
    std::fs::write(&entry, &whole).unwrap();
    let server = Process::start(&data).unwrap();
    assert_eq!(stored(&server.client, 1).await.len(), 10);
    let answer = server.client.get(&format!("/flows/{}", id(1))).await.expect(200);
    assert_eq!(answer.json["id"], json!(id(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_file_descriptors_writes_wait_and_go_on_when_there_are_some_again() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Process::start_with_open_files(&data, 64).unwrap();
    let client = server.client.clone();
    client.put(&format!("/flows/{}", id(1)), &video_flow(1, 101)).await.expect(201);
    let address = client.base.strip_prefix("http://").unwrap().to_owned();
    // A connection of our own, taken before the others: a new one would wait with them.
    let mut ours = std::net::TcpStream::connect(&address).unwrap();
    assert_eq!(register_on(&mut ours, "first", 1_000_000), 201);
    let mut acknowledged = BTreeSet::from(["first".to_owned()]);
    let idle: Vec<_> = (0..100).map(|_| std::net::TcpStream::connect(&address).unwrap()).collect();
    // Until the server has taken so many of them that nothing is left.
    for number in 0.. {
        let object = format!("o-{number}");
        match register_on(&mut ours, &object, number) {
            201 => drop(acknowledged.insert(object)),
            503 => break,
            other => panic!("{other}"),
        }
    }
    drop(idle);
    while register_on(&mut ours, "last", 2_000_000) != 201 {}
    acknowledged.insert("last".to_owned());
    assert_eq!(stored(&client, 1).await, acknowledged);
    server.kill();
    let server = Process::start(&data).unwrap();
    assert_eq!(stored(&server.client, 1).await, acknowledged);
}

/// Registers one second over an open connection and returns the status.
fn register_on(stream: &mut std::net::TcpStream, object: &str, second: u32) -> u16 {
    use std::io::{Read, Write};
    let body = segment(object, &format!("[{second}:0_{}:0)", second + 1)).to_string();
    let head = format!("POST /flows/{}/segments HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n", id(1));
    stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    let mut answer = Vec::new();
    loop {
        let mut block = [0; 4_096];
        let read = stream.read(&mut block).unwrap();
        assert!(read > 0, "the server closed the connection");
        answer.extend(&block[..read]);
        let text = String::from_utf8_lossy(&answer);
        let Some((head, rest)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
        if rest.len() >= length.unwrap_or(0) {
            return head[9..12].parse().unwrap();
        }
    }
}
