//! `tamslake backup` and `tamslake restore`: what was there at one moment is there again, elsewhere.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::fsck::{BUSY, fill, media_files, run, summary};
use crate::helpers::{Process, id, video_flow};

fn restore(from: &Path, to: &Path, flags: &[&str]) -> Value {
    summary("restore", to, &[&["--from", from.to_str().unwrap()], flags].concat())
}

async fn shown(data: &Path) -> Value {
    Process::start(data).unwrap().client.everything().await
}

fn assert_clean(data: &Path) {
    let report = summary("fsck", data, &[]);
    assert_eq!(report["problems"], 0, "{report:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_under_load_is_the_state_at_its_lsn() {
    let folder = tempfile::tempdir().unwrap();
    let [data, to] = ["data", "backup"].map(|name| folder.path().join(name));
    let server = Process::start_with(&data, BUSY).unwrap();
    // As many writes for each backup, however long that takes.
    let turns = Arc::new(Semaphore::new(0));
    let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let writers: Vec<_> = (1..=4_u32)
        .map(|writer| {
            let (client, turns, acknowledged) = (server.client.clone(), turns.clone(), acknowledged.clone());
            tokio::spawn(async move {
                client.make(&video_flow(writer, 100 + writer)).await;
                for number in 0.. {
                    let Ok(turn) = turns.acquire().await else { break };
                    turn.forget();
                    let object = format!("o-{writer}-{number}");
                    client.register(writer, &object, &format!("[{number}:0_{}:0)", number + 1)).await;
                    acknowledged.lock().unwrap().insert(object);
                    // Deleted again, but not those that are counted.
                    if number % 10 == 9 {
                        let object = format!("x-{writer}-{number}");
                        let at = 100_000 + number;
                        client.register(writer, &object, &format!("[{at}:0_{}:0)", at + 1)).await;
                        let path = format!("/flows/{}/segments?timerange=[{at}:0_{}:0)", id(writer), at + 1);
                        client.delete(&path).await.expect(204);
                    }
                }
            })
        })
        .collect();
    let mut lsn = 0;
    for round in 0..4 {
        turns.add_permits(2_000);
        while acknowledged.lock().unwrap().len() < 60 * (round + 1) {
            tokio::task::yield_now().await;
        }
        let before = acknowledged.lock().unwrap().clone();
        let made = tokio::task::spawn_blocking({
            let (data, to) = (data.clone(), to.clone());
            move || summary("backup", &data, &["--to", to.to_str().unwrap()])
        });
        let made = made.await.unwrap();
        let next = made["backup"]["lsn"].as_u64().unwrap();
        assert!(next > lsn, "{made:#}");
        lsn = next;
        let copy = folder.path().join(format!("copy-{round}"));
        let restored = restore(&to, &copy, &[]);
        assert_eq!(restored["lsn"], lsn);
        assert_clean(&copy);
        let copied = shown(&copy).await;
        let segments = copied["segments"].as_array().unwrap();
        let there: BTreeSet<String> =
            segments.iter().map(|one| one["object_id"].as_str().unwrap().to_owned()).collect();
        assert!(before.is_subset(&there), "round {round}: {:?}", before.difference(&there));
        // The log of the server itself, at the same place.
        let live = folder.path().join(format!("live-{round}"));
        restore(&data, &live, &["--lsn", &lsn.to_string()]);
        let of_log = shown(&live).await;
        for list in ["service", "flows", "sources", "segments", "objects"] {
            assert!(of_log[list] == copied[list], "{list} of the backup differ from those of the log at LSN {lsn}");
        }
    }
    turns.close();
    for writer in writers {
        writer.await.unwrap();
    }
    // The restored catalogue is one that can be written to, backed up and looked at.
    let copy = folder.path().join("copy-3");
    {
        let server = Process::start_with(&copy, BUSY).unwrap();
        for number in 0..30 {
            let at = 500_000 + number;
            server.client.register(1, &format!("after-{number}"), &format!("[{at}:0_{}:0)", at + 1)).await;
        }
    }
    assert_clean(&copy);
    let second = folder.path().join("second");
    summary("backup", &copy, &["--to", second.to_str().unwrap()]);
    let refused = run("backup", &copy, &["--to", to.to_str().unwrap()]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("choose another folder"));
    // A floor mark of it that is gone is named.
    let mark = copy.join("catalog/floor/0000000000000000");
    std::fs::remove_file(mark).unwrap();
    let report = run("fsck", &copy, &[]);
    let said = String::from_utf8(report.stdout).unwrap();
    assert!(report.status.code() == Some(1) && said.contains("floor/0000000000000000: it is missing"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_moment_that_log_and_checkpoints_reach_can_be_had_again() {
    for settings in [&[][..], BUSY] {
        let folder = tempfile::tempdir().unwrap();
        let [data, to] = ["data", "backup"].map(|name| folder.path().join(name));
        let server = Process::start_with(&data, settings).unwrap();
        let mut moments = Vec::new();
        for round in 0..4 {
            fill(&server.client, round * 10, round * 10 + 10).await;
            // What goes on in the background changes nothing that is shown.
            let shown = server.client.everything().await;
            moments.push((summary("fsck", &data, &["--level", "1"])["lsn"].as_u64().unwrap(), shown));
        }
        let made = summary("backup", &data, &["--to", to.to_str().unwrap()]);
        let (first, last) = (made["backup"]["first_lsn"].as_u64().unwrap(), made["backup"]["lsn"].as_u64().unwrap());
        drop(server);
        let mut from_backup = 0;
        for (number, (lsn, then)) in moments.iter().enumerate() {
            let mut sources = vec![("live", &data)];
            if (first..=last).contains(lsn) {
                sources.push(("backup", &to));
                from_backup += 1;
            }
            for (name, from) in sources {
                let copy = folder.path().join(format!("{name}-{number}"));
                let flags = ["--from", from.to_str().unwrap(), "--lsn", &lsn.to_string(), "--json"];
                let output = run("restore", &copy, &flags);
                assert!(output.status.success(), "{}", String::from_utf8(output.stderr).unwrap());
                assert_clean(&copy);
                assert!(shown(&copy).await == *then, "{name} at LSN {lsn}");
            }
        }
        assert!(from_backup == 4 || !settings.is_empty(), "{from_backup}");
        let beyond = run("restore", &folder.path().join("beyond"), &["--from", to.to_str().unwrap(), "--lsn", "99999"]);
        let said = String::from_utf8(beyond.stderr).unwrap();
        assert!(beyond.status.code() == Some(1) && said.contains("choose another --lsn"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn media_and_the_key_come_along_once_and_damage_is_not_restored() {
    let folder = tempfile::tempdir().unwrap();
    let [data, to] = ["data", "backup"].map(|name| folder.path().join(name));
    let server = Process::start_with(&data, BUSY).unwrap();
    fill(&server.client, 0, 12).await;
    for number in 0..3 {
        let object = format!("kept-{number}");
        let uploads = server.client.allocate(1, &[&object]).await;
        let put = server.client.http.put(&uploads[0]).header("content-type", "video/mp2t").body(object.clone());
        assert!(put.send().await.unwrap().status().is_success());
        let request = json!({"object_id": object, "timerange": format!("[{}:0_{}:0)", 900 + number, 901 + number)});
        server.client.post(&format!("/flows/{}/segments", id(1)), &request).await.expect(201);
    }
    let first = summary("backup", &data, &["--to", to.to_str().unwrap()]);
    assert_eq!((&first["backup"]["media"]["objects"], &first["copied_media"]), (&json!(3), &json!(3)), "{first:#}");
    let second = summary("backup", &data, &["--to", to.to_str().unwrap()]);
    assert_eq!((&second["backup"]["media"]["objects"], &second["copied_media"]), (&json!(3), &json!(0)), "{second:#}");
    assert!(second["copied_files"].as_u64() < first["copied_files"].as_u64(), "{second:#}");
    let mode = std::fs::metadata(to.join("signing.key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let copy = folder.path().join("copy");
    assert_eq!(restore(&to, &copy, &[])["media"], 3);
    assert_clean(&copy);
    assert_eq!(media_files(&copy).len(), 3);
    let of_copy = Process::start(&copy).unwrap();
    let path = format!("/flows/{}/segments?timerange=[900:0_901:0)", id(1));
    let url = of_copy.client.get(&path).await.expect(200).json[0]["get_urls"][0]["url"].as_str().unwrap().to_owned();
    let bytes = of_copy.client.http.get(url).send().await.unwrap().bytes().await.unwrap();
    assert_eq!(&bytes[..], b"kept-0");
    let others = folder.path().join("others");
    std::fs::create_dir_all(others.join("tmp")).unwrap();
    std::fs::write(others.join("tmp/letter"), "of somebody").unwrap();
    let refused = run("backup", &data, &["--to", others.to_str().unwrap()]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("choose another folder"));
    assert!(others.join("tmp/letter").exists() && !others.join("catalog").exists());
    // The backup of another catalogue, and its key, stay as they are.
    let another = folder.path().join("another");
    drop(Process::start(&another).unwrap());
    let key = std::fs::read(to.join("signing.key")).unwrap();
    for within in [data.join("copy"), data.join("catalog/tables/copy")] {
        let refused = run("backup", &data, &["--to", within.to_str().unwrap()]);
        assert!(String::from_utf8(refused.stderr).unwrap().contains("choose a folder outside"));
        let refused = run("restore", &within, &["--from", data.to_str().unwrap()]);
        assert!(String::from_utf8(refused.stderr).unwrap().contains("choose a folder outside"));
        assert!(!within.exists());
    }
    let refused = run("fsck", &to, &[]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("that is a backup"));
    // A file that rots in the backup is found and replaced when it is asked for.
    let rotten = std::fs::read_dir(to.join("catalog/tables/objects/data")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&rotten).unwrap();
    let mut bytes = whole.clone();
    bytes[100] ^= 1;
    std::fs::write(&rotten, &bytes).unwrap();
    summary("backup", &data, &["--to", to.to_str().unwrap(), "--verify"]);
    assert_eq!(std::fs::read(&rotten).unwrap(), whole);
    let refused = run("backup", &another, &["--to", to.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(std::fs::read(to.join("signing.key")).unwrap(), key);
    let refused = run("restore", &copy, &["--from", to.to_str().unwrap()]);
    assert!(String::from_utf8(refused.stderr).unwrap().contains("choose a new folder"));
    // Without media it says so, and every file of a backup is held against its checksum.
    let without = folder.path().join("without");
    let made = summary("backup", &data, &["--without-media", "--to", without.to_str().unwrap()]);
    assert_eq!(made["backup"]["media"], Value::Null);
    let manifest: Value = serde_json::from_slice(&std::fs::read(without.join("backup.json")).unwrap()).unwrap();
    for (number, file) in manifest["backup"]["files"].as_array().unwrap().iter().enumerate() {
        let name = file["path"].as_str().unwrap();
        let path = without.join(name);
        let bytes = std::fs::read(&path).unwrap();
        let mut flipped = bytes.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        std::fs::write(&path, &flipped).unwrap();
        let new = folder.path().join(format!("new-{number}"));
        let output = run("restore", &new, &["--from", without.to_str().unwrap()]);
        let said = String::from_utf8(output.stderr).unwrap();
        // A table file that was merged away since the checkpoint is there for earlier LSNs only.
        let is_needed = !output.status.success() || new.join(name).exists();
        let is_table_file = name.contains("/tables/");
        assert!(
            output.status.code() == Some(1) && said.contains(name) || is_table_file && !is_needed,
            "{name}: {said}"
        );
        std::fs::write(&path, &bytes).unwrap();
    }
}
