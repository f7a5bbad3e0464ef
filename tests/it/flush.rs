//! `tamslake flush`: the published tables show what was there when it was asked, of a server and without one.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::fsck::{run, summary};
use crate::helpers::{Process, binary, block_on, video_flow};

fn ask(base: &str) -> Output {
    binary().args(["flush", "--json", "--url", base]).env_remove("RUST_BACKTRACE").output().unwrap()
}

/// Names of the files that the newest commit of a table's Delta log and all before it have added and not removed.
fn files(data: &Path, table: &str) -> usize {
    let log = data.join("catalog/tables").join(table).join("_delta_log");
    let mut commits: Vec<_> = std::fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path()).collect();
    commits.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    commits.sort();
    let mut files = std::collections::BTreeSet::new();
    for line in commits
        .iter()
        .flat_map(|path| std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect::<Vec<_>>())
    {
        let action: Value = serde_json::from_str(&line).unwrap();
        if let Some(path) = action["add"]["path"].as_str() {
            files.insert(path.to_owned());
        } else if let Some(path) = action["remove"]["path"].as_str() {
            files.remove(path);
        }
    }
    files.len()
}

#[test]
fn a_server_and_a_folder_are_flushed_and_published() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    // It publishes by itself, too, but not while this test runs.
    let server = Process::start_with(data, &[("TAMSLAKE__CATALOG__PUBLISH_INTERVAL", "1h")]).unwrap();
    block_on(async {
        server.client.make(&video_flow(1, 1)).await;
        server.client.register(1, "o1", "[0:0_1:0)").await;
    });
    let asked = ask(&server.client.base);
    assert!(asked.status.success(), "{asked:?}");
    let outcome: Value = serde_json::from_slice(&asked.stdout).unwrap();
    assert_eq!(outcome["versions"]["flow_segments"], 0);
    for table in ["flow_segments", "objects", "flows", "sources", "service"] {
        assert_eq!(files(data, table), 1, "{table}");
    }
    assert_eq!(files(data, "webhooks"), 0);
    // With a slash at the end, and once more: the flush itself was a commit.
    let again = ask(&format!("{}/", server.client.base));
    assert!(again.status.success(), "{again:?}");
    let again: Value = serde_json::from_slice(&again.stdout).unwrap();
    assert!(again["seq"].as_u64() > outcome["seq"].as_u64() && again["versions"] == outcome["versions"], "{again}");

    let refused = run("flush", data, &[]);
    assert!(!refused.status.success(), "a server runs there");
    block_on(async {
        let other = server.client.get("/_tamslake/flush").await;
        assert_eq!((other.status.as_u16(), other.header("allow")), (405, Some("POST, OPTIONS")));
        server.client.make(&video_flow(2, 1)).await;
    });
    server.kill();
    let alone = summary("flush", data, &[]);
    assert_eq!((&alone["versions"]["flows"], &alone["versions"]["flow_segments"]), (&json!(1), &json!(0)));
    assert_eq!(files(data, "flows"), 1);
    assert_eq!(summary("fsck", data, &[])["problems"], 0, "published files belong there");
}

#[test]
fn what_cannot_be_flushed_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let none = run("flush", &folder.path().join("none"), &[]);
    assert!(!none.status.success() && String::from_utf8_lossy(&none.stderr).contains("holds no catalogue"), "{none:?}");
    let nobody = ask("http://127.0.0.1:1");
    let said = String::from_utf8_lossy(&nobody.stderr);
    assert!(!nobody.status.success() && said.contains("does not answer"), "{said}");
}
