//! Exports that are killed half-way, on the command line and in a server, come to the bytes of an undisturbed one.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::helpers::{Process, binary, synth};

const ROWS: u64 = 30_000;
const ROWS_PER_FILE: u64 = 500;
const KILLS: usize = 6;

fn export(data: &Path, to: &Path) -> Command {
    let mut command = binary();
    command.args(["export", "flow_segments", "--rows-per-file", &ROWS_PER_FILE.to_string(), "--data-dir"]).arg(data);
    command.arg("--to").arg(to).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn run(mut command: Command) {
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

fn manifest(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("manifest.json")).unwrap()).unwrap()
}

/// Files of rows that have their name, which they get when they are whole.
fn finished(folder: &Path) -> usize {
    let Ok(files) = std::fs::read_dir(folder) else { return 0 };
    files
        .filter(|file| file.as_ref().is_ok_and(|file| file.path().extension().is_some_and(|of| of == "parquet")))
        .count()
}

/// Kills it once there are so many files; false if it came to its end before that.
fn kill_at(mut running: Child, folder: &Path, files: usize) -> bool {
    while finished(folder) < files {
        if let Some(status) = running.try_wait().unwrap() {
            assert!(status.success());
            return false;
        }
        std::thread::yield_now();
    }
    running.kill().unwrap();
    !running.wait().unwrap().success()
}

fn check(killed: &Value, undisturbed: &Value) {
    assert_eq!(undisturbed["rows"], ROWS);
    for key in ["rows", "lsn", "columns", "files", "files_sha256"] {
        assert_eq!(killed[key], undisturbed[key], "{key}");
    }
}

#[test]
fn a_command_that_is_killed_again_and_again_writes_the_bytes_of_one_that_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let [data, one, other] = ["data", "undisturbed", "killed"].map(|name| folder.path().join(name));
    synth(&data, 50, ROWS);
    run(export(&data, &one));

    let mut random = StdRng::seed_from_u64(20_261_124);
    let mut killed = 0;
    for _ in 0..KILLS {
        let more = random.random_range(1..10);
        let wanted = finished(&other) + more;
        if kill_at(export(&data, &other).spawn().unwrap(), &other, wanted) {
            killed += 1;
            assert!(!other.join("manifest.json").exists(), "a manifest says that all is there");
        }
    }
    assert!(killed > KILLS / 2, "it was too fast: {killed} kills");
    run(export(&data, &other));
    check(&manifest(&other), &manifest(&one));
}

/// The job as it is when it has written so many files, or is over.
async fn job_at(server: &Process, id: &str, files: u64) -> Value {
    loop {
        let job = server.client.get(&format!("/exports/{id}")).await.expect(200).json;
        let is_over = !matches!(job["state"].as_str(), Some("queued" | "running"));
        if is_over || job["progress"]["files"].as_u64().unwrap() >= files {
            return job;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_servers_export_goes_on_after_a_kill_and_has_the_bytes_of_an_undisturbed_one() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    synth(&data, 50, ROWS);
    let wanted = json!({ "table": "flow_segments", "rows_per_file": ROWS_PER_FILE });
    let mut server = Process::start(&data).unwrap();
    let mut ids = Vec::new();
    for _ in 0..2 {
        let job = server.client.post("/exports", &wanted).await.expect(202).json;
        ids.push(job["id"].as_str().unwrap().to_owned());
        // The first is left alone.
        if ids.len() == 1 {
            assert_eq!(job_at(&server, &ids[0], u64::MAX).await["state"], "done");
        }
    }
    for round in 1..=3 {
        let job = job_at(&server, &ids[1], round * 5).await;
        assert_eq!(job["state"], "running", "it was too fast: {job}");
        server.kill();
        server = Process::start(&data).unwrap();
    }
    let job = job_at(&server, &ids[1], u64::MAX).await;
    assert_eq!(job["state"], "done", "{job}");
    let mut manifests = Vec::new();
    for id in &ids {
        manifests.push(server.client.get(&format!("/exports/{id}/manifest")).await.expect(200).json);
    }
    check(&manifests[1], &manifests[0]);
}
