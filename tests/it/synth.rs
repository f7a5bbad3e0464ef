//! `tamslake synth`: what it makes is there for the API, the same for the same flags, and made once.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::helpers::{Process, binary, block_on};

fn synth(data: &Path, flags: &str) -> Output {
    command(data, flags).output().unwrap()
}

fn command(data: &Path, flags: &str) -> Command {
    let mut command = binary();
    command.args(["synth", "--data-dir"]).arg(data).args(flags.split(' ')).env("TAMSLAKE__LOG__LEVEL", "warn");
    command.env_remove("RUST_BACKTRACE");
    command
}

/// The summary of a run that worked.
fn made(data: &Path, flags: &str) -> Value {
    let output = synth(data, flags);
    assert!(output.status.success(), "{output:?}");
    assert!(output.stderr.is_empty(), "no bar where there is no terminal: {output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// All that the API shows of a folder.
fn shown(data: &Path) -> Value {
    block_on(async { Process::start(data).unwrap().client.everything().await })
}

fn items<'a>(shown: &'a Value, what: &str) -> &'a [Value] {
    shown[what].as_array().unwrap()
}

/// Without what the wall clock and the storage decide, and that is the order of lists, too.
fn lasting(shown: &Value) -> String {
    let mut shown = shown.clone();
    shown.as_object_mut().unwrap().remove("service");
    for list in shown.as_object_mut().unwrap().values_mut() {
        let items = list.as_array_mut().unwrap();
        for item in items.iter_mut() {
            let item = item.as_object_mut().unwrap();
            for key in ["created", "updated", "metadata_updated", "segments_updated", "get_urls"] {
                item.remove(key);
            }
        }
        items.sort_by_key(Value::to_string);
    }
    shown.to_string()
}

#[test]
fn the_api_shows_as_many_as_the_summary_says_and_edits_share_objects() {
    let folder = tempfile::tempdir().unwrap();
    let summary = made(folder.path(), "--flows 60 --segments 1201 --seed 7 --json");
    assert_eq!((&summary["flows"], &summary["segments"], &summary["seed"]), (&60.into(), &1201.into(), &7.into()));
    assert!(summary["seconds"].is_number() && summary["segments_per_second"].is_number());
    assert_eq!(summary["catalogue"].as_str().unwrap().len(), 32);
    let first = shown(folder.path());
    assert_eq!(items(&first, "flows").len(), 60);
    assert_eq!(items(&first, "sources").len() as u64, summary["sources"].as_u64().unwrap());
    assert_eq!(items(&first, "segments").len(), 1_201);
    // An Object a segment, of which half are shared; each is there, or `shown` would have failed.
    let media: BTreeSet<&str> = items(&first, "objects").iter().map(|object| object["id"].as_str().unwrap()).collect();
    assert_eq!(media.len(), 601);
    let init: BTreeSet<&str> =
        items(&first, "objects").iter().filter_map(|object| object["init_object"]["id"].as_str()).collect();
    assert!(!init.is_empty());
    assert_eq!((media.len() + init.len()) as u64, summary["objects"].as_u64().unwrap());
    let shared = |object: &&Value| object["referenced_by_flows"].as_array().unwrap().len() > 1;
    assert!(items(&first, "objects").iter().filter(shared).count() > 100);
    assert!(items(&first, "flows").iter().any(|flow| flow.get("flow_collection").is_some()));

    let output = synth(folder.path(), "--flows 3 --segments 5 --seed 7 --json");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("seed 7") && said.contains("--seed") && output.stdout.is_empty(), "{said}");
    assert!(lasting(&shown(folder.path())) == lasting(&first), "the same seed again adds nothing");

    let more = made(folder.path(), "--flows 10 --segments 100 --seed 8 --json");
    assert_eq!(more["catalogue"], summary["catalogue"]);
    let both = shown(folder.path());
    assert_eq!((items(&both, "flows").len(), items(&both, "segments").len()), (70, 1_301));

    let other = tempfile::tempdir().unwrap();
    let again = made(other.path(), "--flows 60 --segments 1201 --seed 7 --json");
    assert_ne!(again["catalogue"], summary["catalogue"]);
    assert!(lasting(&shown(other.path())) == lasting(&first), "the same flags make the same catalogue");
}

#[test]
fn a_folder_that_is_served_and_flags_without_sense_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let server = Process::start(folder.path()).unwrap();
    let output = synth(folder.path(), "--flows 3 --segments 5 --seed 7");
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && (said.contains("lock") || said.contains("use")), "{said}");
    drop(server);
    for flags in ["--flows 0 --segments 5 --seed 7", "--flows 3 --segments -1 --seed 7", "--flows 3 --segments 5"] {
        assert_eq!(synth(folder.path(), flags).status.code(), Some(2), "{flags}");
    }
    let output = synth(folder.path(), "--flows 5 --segments 0 --seed 7");
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("made 5 Flows"));
}

#[test]
fn ctrl_c_ends_it_and_the_folder_can_be_served() {
    let folder = tempfile::tempdir().unwrap();
    let child = command(folder.path(), "--flows 50 --segments 100000000 --seed 1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let started = folder.path().join("catalog/log");
    while !std::fs::read_dir(&started).is_ok_and(|entries| entries.count() > 5) {
        block_on(async { tokio::time::sleep(std::time::Duration::from_millis(20)).await });
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("stopped after"), "{said}");
    block_on(async {
        let server = Process::start(folder.path()).unwrap();
        assert!(!server.client.all("/flows?limit=1000").await.is_empty());
    });
}
