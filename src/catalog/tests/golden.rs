//! Files that version 1 of the formats wrote. Whatever is changed, they must be read as what they were written for;
//! where that cannot be, the format needs a new number and the old reader stays.
//!
//! `TAMSLAKE_REGENERATE_GOLDEN=1` writes them again: for a new version of a format, never to make a test pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::helpers::{assert_same, clock, memory, open, start_of_time};
use super::history::{self, history};
use crate::catalog::entry::{self, Header};
use crate::catalog::log::Log;
use crate::catalog::{Change, State, checkpoint, paths};

/// Of the checkpoint: before the history's last deletions, so that every table has rows.
const CHECKPOINT: u64 = 9;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn regenerate() -> bool {
    std::env::var_os("TAMSLAKE_REGENERATE_GOLDEN").is_some_and(|value| value == "1")
}

fn header() -> Header {
    Header {
        catalogue: [1; 16],
        seq: 123_456_789_012,
        entry_id: [2; 16],
        writer: [3; 16],
        committed: start_of_time(),
        previous: [4; 32],
    }
}

#[test]
fn a_log_entry_of_version_1_is_read_as_it_was_meant() {
    let path = folder().join("log-entry-v1.bin");
    let changes: Vec<Change> = history().concat();
    if regenerate() {
        fs::write(&path, entry::encode(&header(), &changes).unwrap().0).unwrap();
    }
    let read = entry::decode(&fs::read(path).unwrap()).unwrap();
    assert_eq!(read.header, header());
    assert_eq!(read.changes, changes);
}

async fn expected() -> (Arc<State>, Log) {
    let clock = clock(7);
    let (catalog, log) = open(memory(), clock.clone()).await.unwrap();
    let states = history::write(&catalog, &clock).await;
    (states[usize::try_from(CHECKPOINT).unwrap()].clone(), log)
}

#[tokio::test]
async fn a_checkpoint_of_version_1_is_read_as_it_was_meant() {
    let (expected, log) = expected().await;
    let folder = folder().join("checkpoint-v1");
    if regenerate() {
        checkpoint::write(&log, &expected).await.unwrap();
        fs::create_dir_all(&folder).unwrap();
        for path in log.store.list(paths::CHECKPOINTS).await.unwrap() {
            let bytes = log.store.read(&path).await.unwrap().unwrap();
            fs::write(folder.join(path.rsplit_once('/').unwrap().1), bytes).unwrap();
        }
    }
    let store = memory();
    let prefix = paths::checkpoint_manifest(CHECKPOINT).replace("manifest.json", "");
    for file in fs::read_dir(folder).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        store.write(&format!("{prefix}{name}"), fs::read(file).unwrap().into()).await.unwrap();
    }
    let read = checkpoint::read(&Log { store, ..log }, CHECKPOINT).await.unwrap();
    // The hash is that of the bytes the encoder of its day made.
    assert_same(&read, &State { hash: read.hash, ..State::clone(&expected) }, "of the golden checkpoint");
}
