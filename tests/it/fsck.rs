//! `tamslake fsck`: what is whole is called whole, and each file that is missing or changed is named, or makes no difference.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tamslake::app::App;
use tamslake::catalog::LocalStore;
use tamslake::catalog::fsck::{Report, Scope, fsck};
use tamslake::catalog::progress::Silent;
use tamslake::clock::Clock;
use tamslake::config::Config;

use crate::helpers::{Client, Process, TestApp, binary, id, multi_flow, video_flow};

pub fn run(command: &str, data: &Path, flags: &[&str]) -> Output {
    let mut run = binary();
    run.arg(command).arg("--data-dir").arg(data).args(flags).env("TAMSLAKE__LOG__LEVEL", "warn");
    run.env_remove("RUST_BACKTRACE").output().unwrap()
}

/// The summary of a run that worked.
#[track_caller]
pub fn summary(command: &str, data: &Path, flags: &[&str]) -> Value {
    let output = run(command, data, &[flags, &["--json"]].concat());
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Settings with which a few dozen rows make checkpoints, cold files and merges.
pub const BUSY: &[(&str, &str)] = &[
    ("TAMSLAKE__CATALOG__CHECKPOINT_ENTRIES", "8"),
    ("TAMSLAKE__CATALOG__FLUSH_BYTES", "4 KiB"),
    ("TAMSLAKE__CATALOG__MERGE_RUNS", "3"),
];

fn busy(config: &mut Config) {
    config.catalog.checkpoint_entries = 8;
    config.catalog.flush_bytes = serde_json::from_value(json!("4 KiB")).unwrap();
    config.catalog.merge_runs = 3;
}

/// Flows with segments, Objects that are used twice, and deletions.
pub async fn fill(client: &Client, from: u32, to: u32) {
    for number in from..to {
        let flow = number % 4 + 1;
        if number < 4 {
            client.make(&video_flow(flow, 100 + flow)).await;
        }
        client.register(flow, &format!("o-{number}"), &format!("[{number}:0_{}:0)", number + 1)).await;
        if number % 6 == 5 {
            // Of another Flow.
            let at = 1_000 + number;
            let path = format!("/flows/{}/segments", id(flow % 4 + 1));
            let again = json!({"object_id": format!("o-{number}"), "timerange": format!("[{at}:0_{}:0)", at + 1),
                               "ts_offset": "1000:0"});
            client.post(&path, &again).await.expect(201);
        }
        if number % 9 == 8 {
            let path = format!("/flows/{}/segments?timerange=[{}:0_{}:0)", id(flow), number - 4, number + 1);
            client.delete(&path).await.expect(204);
        }
    }
}

async fn look(data: &Path, level: u8) -> Report {
    let store = Arc::new(LocalStore::open_read_only(data.join("catalog")).unwrap());
    let scope = Scope { level, media: None, always_media: false };
    fsck(store, Clock::system(), &scope, &Silent).await.unwrap()
}

/// A data folder of a server that was stopped, and what it showed.
async fn filled() -> (tempfile::TempDir, PathBuf, Value) {
    let app = TestApp::with(busy, Clock::system()).await;
    fill(&app.client, 0, 60).await;
    app.client.make(&multi_flow(9, 109)).await;
    let shown = app.client.everything().await;
    let folder = app.stop().await;
    let data = folder.path().join("data");
    (folder, data, shown)
}

/// All files of the catalogue that belong to it.
fn files(data: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(folder: &Path, root: &Path, found: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(&data.join("catalog"), &data.join("catalog"), &mut found);
    found.retain(|name, _| name != "lock" && !name.starts_with("tmp/"));
    found
}

fn names(report: &Report, file: &str) -> bool {
    report.findings.iter().any(|finding| finding.file.ends_with(file) || finding.what.contains(file))
}

/// What a server shows of a copy of the folder, without what it refuses to show; or why it does not start.
async fn served(data: &Path) -> Result<Option<Value>, String> {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("data");
    for (name, bytes) in files(data) {
        let path = copy.join("catalog").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    let mut config = Config::default();
    config.data.dir = copy;
    config.http.listen = "127.0.0.1:0".parse().unwrap();
    let app = App::open(config, Clock::system()).await.map_err(|error| error.to_string())?;
    let listening = app.listen().await.unwrap();
    let client = Client::new(format!("http://{}", listening.address));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(async move { app.serve(listening, async { drop(stopped.await) }).await });
    let asking = tokio::spawn(async move { client.everything().await });
    let shown = asking.await.ok();
    drop(stop);
    serving.await.unwrap().unwrap();
    Ok(shown)
}

/// Named by fsck, or refused by the server with its name, or of no consequence.
async fn is_noticed_or_harmless(data: &Path, file: &str, shown: &Value, how: &str) {
    if names(&look(data, 4).await, file) {
        return;
    }
    match served(data).await {
        Err(said) => assert!(said.contains(file), "{how} of {file}: {said}"),
        Ok(now) => {
            let now = now.unwrap_or_else(|| panic!("{how} of {file} is not noticed"));
            assert!(now == *shown, "{how} of {file} is served: {now:#}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_file_is_named() {
    let (_folder, data, shown) = filled().await;
    let clean = look(&data, 4).await;
    assert_eq!(clean.problems, 0, "{:#?}", clean.findings);
    assert!(clean.checkpoints > 1 && clean.table_files > 3 && clean.segments > 20, "{clean:?}");
    let files = files(&data);
    let covered =
        files.keys().filter_map(|name| name.strip_prefix("checkpoints/")?.get(..20)).max().unwrap().to_owned();
    let (mut named, mut passed_over) = (0, Vec::new());
    for (name, bytes) in &files {
        // Nothing in a folder can tell a log that ends early from one that was cut there: what is lost with its last
        // entries is told by backups alone.
        if name.strip_prefix("log/").is_some_and(|seq| seq > covered.as_str())
            && !files.keys().any(|later| later > name && later.starts_with("log/"))
        {
            continue;
        }
        let path = data.join("catalog").join(name);
        std::fs::remove_file(&path).unwrap();
        if names(&look(&data, 4).await, name) {
            named += 1;
        } else {
            is_noticed_or_harmless(&data, name, &shown, "deletion").await;
            passed_over.push(name.clone());
        }
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
    }
    // Those that nobody can go back to any more, at most.
    assert!(passed_over.iter().all(|name| name.starts_with("tables/")), "{passed_over:?}");
    assert!(named > 40, "{named}");
    // What is damaged is not served, whatever it says to whom.
    let newest = files.keys().rfind(|name| name.starts_with("tables/flow_segments/")).unwrap();
    std::fs::remove_file(data.join("catalog").join(newest)).unwrap();
    if let Ok(Some(now)) = served(&data).await {
        assert_eq!(now, shown);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_byte_is_named_or_makes_no_difference() {
    let (_folder, data, shown) = filled().await;
    let mut random = StdRng::seed_from_u64(11);
    let mut flips = 0;
    for (name, bytes) in files(&data) {
        let length = bytes.len();
        let (level, mut places): (u8, Vec<usize>) = match name.split('/').next().unwrap() {
            "catalog.json" => (1, (0..length).collect()),
            // The header, and what follows it.
            "log" => (2, vec![random.random_range(0..188), random.random_range(0..188), length - 1]),
            // The footer of a Parquet file.
            "tables" => (3, vec![length - random.random_range(1..200), length - 1, 0]),
            _ if name.ends_with("manifest.json") => (2, (0..8).map(|_| random.random_range(0..length)).collect()),
            _ => (2, Vec::new()),
        };
        places.push(random.random_range(0..length));
        for place in places {
            let mut flipped = bytes.clone();
            flipped[place] ^= 1 << random.random_range(0..8);
            let path = data.join("catalog").join(&name);
            std::fs::write(&path, &flipped).unwrap();
            if !names(&look(&data, level).await, &name) {
                is_noticed_or_harmless(&data, &name, &shown, &format!("flip at {place}")).await;
            }
            std::fs::write(&path, &bytes).unwrap();
            flips += 1;
        }
    }
    assert!(flips > 300, "{flips}");
    assert_eq!(look(&data, 4).await.problems, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_it_found_beside_a_running_server_and_its_exit_code_says_whether() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    assert_eq!(run("fsck", &data, &[]).status.code(), Some(2));
    let server = Process::start_with(&data, BUSY).unwrap();
    fill(&server.client, 0, 20).await;
    let uploads = server.client.allocate(1, &["kept"]).await;
    server.client.http.put(&uploads[0]).header("content-type", "video/mp2t").body("bytes").send().await.unwrap();
    server
        .client
        .post(&format!("/flows/{}/segments", id(1)), &json!({"object_id": "kept", "timerange": "[900:0_901:0)"}))
        .await
        .expect(201);
    let report = summary("fsck", &data, &[]);
    assert_eq!(report["problems"], 0, "{report:#}");
    assert!(report["lsn"].as_u64().unwrap() > 10 && report["segments"].as_u64().unwrap() > 10, "{report:#}");
    drop(server);
    // Bytes without a row, and a row without bytes.
    let stored = media_files(&data);
    assert_eq!(stored.len(), 1);
    let stray = stored[0].with_file_name(format!(
        "{}{}",
        &stored[0].file_name().unwrap().to_str().unwrap()[..2],
        "0".repeat(30)
    ));
    std::fs::rename(&stored[0], &stray).unwrap();
    let old = std::fs::File::options().write(true).open(&stray).unwrap();
    old.set_modified(std::time::UNIX_EPOCH).unwrap();
    let output = run("fsck", &data, &["--level", "1", "--media", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = report["findings"].as_array().unwrap().iter().filter(|finding| finding["severity"] == "problem");
    let found: Vec<&str> = problems.map(|finding| finding["what"].as_str().unwrap()).collect();
    assert_eq!(found, ["the bytes of Object kept are missing", "no Object has these bytes"], "{report:#}");
    assert_eq!(run("fsck", &data, &["--level", "4"]).status.code(), Some(0));
    // Also when no folder of media is left to look into.
    std::fs::remove_dir_all(data.join("media")).unwrap();
    let output = run("fsck", &data, &[]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("the bytes of Object kept are missing"), "{said}");
    std::fs::remove_file(data.join("catalog/catalog.json")).unwrap();
    let output = run("fsck", &data, &["--level", "4"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("catalog.json: it is missing"), "{said}");
}

pub fn media_files(data: &Path) -> Vec<PathBuf> {
    let shards = std::fs::read_dir(data.join("media/objects")).unwrap().map(|shard| shard.unwrap().path());
    shards.flat_map(|shard| std::fs::read_dir(shard).unwrap().map(|file| file.unwrap().path())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_leaves_one_run_a_table_and_changes_nothing_that_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let server = Process::start_with(&data, BUSY).unwrap();
    fill(&server.client, 0, 40).await;
    let shown = server.client.everything().await;
    let refused = run("compact", &data, &[]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    drop(server);
    let done = summary("compact", &data, &[]);
    let segments = &done["tables"]["flow_segments"];
    assert_eq!(segments["after"]["rows"].as_u64(), Some(shown["segments"].as_array().unwrap().len() as u64));
    assert_eq!(segments["after"]["files"], 1, "{done:#}");
    assert_eq!(summary("fsck", &data, &[])["problems"], 0);
    let server = Process::start(&data).unwrap();
    assert!(server.client.everything().await == shown);
}
