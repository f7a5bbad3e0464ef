//! Files that earlier versions wrote. Whatever is changed, they must be read as what they were written for;
//! where that cannot be, the format needs a new number and the old reader stays.
//!
//! `TAMSLAKE_REGENERATE_GOLDEN=1` writes those that are not there: for a new version of a format, never to make a test pass.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::helpers::{
    assert_same, clock, flow_id, media, memory, object_id, open, put, put_object, range, second, segment, start_of_time,
};
use super::history::{self, history};
use crate::catalog::cold::{ColdFile, ColdTable, FileMeta};
use crate::catalog::entry::{self, Header};
use crate::catalog::log::Log;
use crate::catalog::tombstones::Tombstones;
use crate::catalog::{Change, Lsn, SegmentKey, State, checkpoint, paths};
use crate::domain::{FlowSegment, MediaObject, ObjectPlace, TimeRange};

/// Of the checkpoint: before the history's last deletions, so that every table has rows.
const CHECKPOINT: u64 = 9;

pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

pub fn regenerate() -> bool {
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
    let read = entry::decode(&fs::read(path).unwrap()).unwrap();
    assert_eq!(read.header, header());
    // It did not say where an Object's row is: all were in memory.
    let changes: Vec<Change> = history().concat().into_iter().map(without_place).collect();
    assert_eq!(read.changes, changes);
}

fn without_place(change: Change) -> Change {
    match change {
        Change::DeleteObject(id, _) => Change::DeleteObject(id, ObjectPlace::OF_INIT_OBJECTS),
        other => other,
    }
}

pub fn file(table: ColdTable, number: u8, as_of: u64) -> Arc<ColdFile> {
    let [first, last] = [0, i128::MAX].map(|start| SegmentKey { flow_id: flow_id(1), start }.to_bytes().to_vec());
    let meta = FileMeta {
        table,
        path: paths::table_file(table.name(), &format!("1700000000-{number:016x}")),
        rows: 3,
        bytes: 5_000_000_000,
        sha256: [number; 32],
        tail_bytes: 1_000,
        tail_sha256: [number + 1; 32],
        first_key: first,
        last_key: last,
        min_lsn: Lsn { seq: 1, index: 2 },
        max_lsn: Lsn { seq: as_of, index: u32::MAX },
    };
    Arc::new(ColdFile::new(meta, as_of, u64::from(number)))
}

/// What entries can say since there are cold files; after the history.
fn two_tiers(seq: u64) -> Vec<Change> {
    let mut in_doubt = segment(3, second(50), "ten");
    in_doubt.init_object = Some(object_id("init"));
    in_doubt.object_place = Some(ObjectPlace { flow_id: flow_id(1), start: second(7).start_key() });
    let files = [(ColdTable::FlowSegments, 1), (ColdTable::Objects, 3), (ColdTable::References, 5)];
    let mut changes: Vec<Change> = files.map(|(table, number)| Change::PutFile(file(table, number, seq))).into();
    changes.extend([Change::PutFile(file(ColdTable::FlowSegments, 7, seq)), Change::Flushed { as_of: seq }]);
    changes.extend([
        Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: second(11) },
        Change::PutColdExtent { flow_id: flow_id(1), timerange: range("[12:0_31:0)") },
        Change::PutColdExtent { flow_id: flow_id(2), timerange: TimeRange::NEVER },
        Change::SuspectObject(object_id("in-time")),
        Change::SuspectObject(object_id("parts")),
        Change::SuspectObject(object_id("elsewhere")),
        Change::ClearObject(object_id("elsewhere")),
        Change::CondemnObject(object_id("parts")),
        Change::DeleteObject(object_id("init"), ObjectPlace::OF_INIT_OBJECTS),
        Change::DeleteObject(object_id("needs-init"), media("needs-init", 2).place()),
        put_object(media("ten", 1)),
        Change::PutSegment(Arc::new(in_doubt)),
        Change::RetireFile(file(ColdTable::FlowSegments, 7, seq).meta.path.clone()),
    ]);
    changes
}

#[test]
fn a_log_entry_that_speaks_of_cold_files_is_read_as_it_was_meant() {
    let path = folder().join("log-entry-v1-two-tiers.bin");
    let mut changes = [history().concat(), two_tiers(11)].concat();
    changes.push(Change::ForgetFile("tables/flow_segments/data/1700000000-0.parquet".into()));
    if regenerate() && !path.exists() {
        fs::write(&path, entry::encode(&header(), &changes).unwrap().0).unwrap();
    }
    let read = entry::decode(&fs::read(path).unwrap()).unwrap();
    assert_eq!(read.header, header());
    assert_eq!(read.changes, changes);
}

/// What came with version 3 of `flow_segments` and version 4 of `objects`.
fn with_size_and_time() -> Vec<Change> {
    let segment = FlowSegment { registered: Some(start_of_time()), ..segment(1, second(80), "sized") };
    let object = MediaObject { size_bytes: Some(1_048_577), ..media("sized", 1) };
    vec![put_object(object), Change::PutSegment(Arc::new(segment))]
}

#[test]
fn a_log_entry_with_sizes_and_times_of_registration_is_read_as_it_was_meant() {
    let path = folder().join("log-entry-v1-sizes.bin");
    let changes = [history().concat(), with_size_and_time()].concat();
    if regenerate() && !path.exists() {
        fs::write(&path, entry::encode(&header(), &changes).unwrap().0).unwrap();
    }
    assert_eq!(entry::decode(&fs::read(path).unwrap()).unwrap().changes, changes);
}

#[tokio::test]
async fn a_checkpoint_with_sizes_and_times_of_registration_is_read_as_it_was_meant() {
    let (catalog, log) = open(memory(), clock(7)).await.unwrap();
    put(&catalog, [history().into_iter().next().unwrap(), with_size_and_time()].concat()).await.unwrap();
    let expected = catalog.snapshot();
    let folder = folder().join("checkpoint-v2-sizes");
    write_if_missing(&folder, &log, &expected).await;
    let read = golden_checkpoint(log, "checkpoint-v2-sizes", expected.seq).await;
    assert_same(&read, &State { hash: read.hash, ..State::clone(&expected) }, "of the golden checkpoint");
}

async fn write_if_missing(folder: &Path, log: &Log, state: &State) {
    if regenerate() && !folder.exists() {
        checkpoint::write(log, state).await.unwrap();
        fs::create_dir_all(folder).unwrap();
        for path in log.store.list(paths::CHECKPOINTS).await.unwrap() {
            let bytes = log.store.read(&path).await.unwrap().unwrap();
            fs::write(folder.join(path.rsplit_once('/').unwrap().1), bytes).unwrap();
        }
    }
}

async fn expected() -> (Arc<State>, Log) {
    let clock = clock(7);
    let (catalog, log) = open(memory(), clock.clone()).await.unwrap();
    let states = history::write(&catalog, &clock).await;
    (states[usize::try_from(CHECKPOINT).unwrap()].clone(), log)
}

async fn golden_checkpoint(log: Log, folder: &str, seq: u64) -> State {
    let store = memory();
    let prefix = paths::checkpoint_manifest(seq).replace("manifest.json", "");
    for file in fs::read_dir(self::folder().join(folder)).unwrap() {
        let file = file.unwrap().path();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        store.write(&format!("{prefix}{name}"), fs::read(file).unwrap().into()).await.unwrap();
    }
    checkpoint::read(&Log { store, ..log }, seq).await.unwrap()
}

#[tokio::test]
async fn a_checkpoint_of_version_1_is_read_as_it_was_meant() {
    let (expected, log) = expected().await;
    let read = golden_checkpoint(log, "checkpoint-v1", CHECKPOINT).await;
    let waiting = object_id("c");
    assert!(!read.is_suspect(&waiting), "storage that waits to be registered is none");
    let registered = expected.objects.iter().filter(|(_, hot)| hot.row.as_ref().unwrap().is_registered());
    assert_eq!(read.suspects().collect::<Vec<_>>(), registered.map(|(id, _)| id).collect::<Vec<_>>());
    // The hash is that of the bytes the encoder of its day made. Who is a suspect was not written down, and there were no
    // files from which anything would have to be hidden.
    let expected = State {
        hash: read.hash,
        suspects: read.suspects.clone(),
        tombstones: Tombstones::default(),
        ..State::clone(&expected)
    };
    assert_same(&read, &expected, "of the golden checkpoint");
}

#[tokio::test]
async fn a_checkpoint_of_version_2_is_read_as_it_was_meant() {
    let clock = clock(7);
    let (catalog, log) = open(memory(), clock.clone()).await.unwrap();
    let states = history::write(&catalog, &clock).await;
    let mut expected = State::clone(states.last().unwrap());
    for (index, change) in (0..).zip(two_tiers(expected.seq)) {
        let lsn = Lsn { seq: expected.seq + 1, index };
        expected.apply(&change, lsn, clock.now()).unwrap();
    }
    expected.seq += 1;
    write_if_missing(&folder().join("checkpoint-v2"), &log, &expected).await;
    let read = golden_checkpoint(log, "checkpoint-v2", expected.seq).await;
    assert_same(&read, &State { hash: read.hash, ..expected.clone() }, "of the golden checkpoint");
    let tables = [expected.files.len(), expected.retired.len(), expected.tombstones.len(), expected.cold_extents.len()];
    assert_eq!(tables, [3, 1, 1, 1], "the test is about all of it");
    assert!(expected.suspects().next().is_some() && expected.condemned().next().is_some());
    assert!(expected.objects.values().any(|hot| hot.row.is_none()));
}
