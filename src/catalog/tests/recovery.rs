//! A catalogue on a local disk, damaged in every way: it is refused with the name of the damaged file, or it is right.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::helpers::{assert_same, clock, local, open, put, register, settings};
use super::history;
use crate::catalog::{Catalog, LocalStore, State, Store, checkpoint, entry, paths};

/// The entry that the checkpoint is of.
const CHECKPOINT: u64 = 6;

struct Written {
    folder: TempDir,
    /// After each entry, from 0.
    states: Vec<Arc<State>>,
}

/// On a runtime that ends with it: what is still being read for a start that failed would hold the folder's lock.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

fn written(seed: u64) -> Written {
    let folder = tempfile::tempdir().unwrap();
    let states = block_on(async {
        let clock = clock(seed);
        let (catalog, log) = open(local(&folder), clock.clone()).await.unwrap();
        let states = history::write(&catalog, &clock).await;
        checkpoint::write(&log, &states[usize::try_from(CHECKPOINT).unwrap()]).await.unwrap();
        states
    });
    Written { folder, states }
}

fn start(folder: &Path) -> Result<Arc<State>, String> {
    block_on(async {
        let store = Arc::new(LocalStore::open(folder.into()).map_err(|error| error.to_string())?);
        let recovered = Catalog::recover(store.clone(), clock(99), settings()).await;
        store.release();
        recovered.map(|(catalog, ..)| catalog.snapshot()).map_err(|error| error.to_string())
    })
}

impl Written {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn last(&self) -> u64 {
        self.states.last().unwrap().seq
    }

    fn state(&self, seq: u64) -> &State {
        &self.states[usize::try_from(seq).unwrap()]
    }

    fn checkpoint_files(&self) -> Vec<String> {
        let folder = format!("{}/{CHECKPOINT:020}", paths::CHECKPOINTS);
        let files = fs::read_dir(self.path(&folder)).unwrap();
        files.map(|file| format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap())).collect()
    }

    fn refused_for(&self, name: &str, when: &str) -> String {
        match start(self.folder.path()) {
            Ok(state) => panic!("{name} {when}: started at entry {}", state.seq),
            Err(error) => {
                assert!(error.contains(self.path(name).to_str().unwrap()), "{name} {when}: {error}");
                error
            }
        }
    }

    fn starts_as(&self, seq: u64, when: &str) {
        let state = start(self.folder.path()).unwrap_or_else(|error| panic!("{when}: {error}"));
        assert_same(&state, self.state(seq), when);
    }

    /// Changes bytes of a file in turn, and its length; each time the start must be refused for this file.
    fn refuses_damage_to(&self, name: &str, flips: usize) {
        let path = self.path(name);
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by((good.len() / flips).max(1)) {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            fs::write(&path, &bad).unwrap();
            self.refused_for(name, &format!("with a flipped bit in byte {at}"));
        }
        for length in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            self.refused_for(name, &format!("cut to {length} bytes"));
        }
        fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        self.refused_for(name, "with a byte more");
        fs::write(&path, &good).unwrap();
    }

    fn refuses_loss_of(&self, name: &str) {
        let aside = self.path("aside");
        fs::rename(self.path(name), &aside).unwrap();
        self.refused_for(name, "when lost");
        fs::rename(&aside, self.path(name)).unwrap();
    }
}

#[test]
fn a_restart_finds_the_state_that_was_left() {
    let written = written(1);
    written.starts_as(written.last(), "after a restart");
    // And goes on from there.
    let after = block_on(async {
        let (catalog, _) = open(local(&written.folder), clock(2)).await.unwrap();
        assert_eq!(catalog.opened().checkpoint, Some(CHECKPOINT));
        assert_eq!(catalog.opened().replayed, written.last() - CHECKPOINT);
        put(&catalog, register(1, 77, "more")).await.unwrap();
        catalog.snapshot()
    });
    assert_eq!(after.seq, written.last() + 1);
    assert_same(&start(written.folder.path()).unwrap(), &after, "after one more entry");
}

#[test]
fn every_byte_of_a_log_entry_is_guarded() {
    let written = written(1);
    for seq in [1, 4, 8] {
        let good = fs::read(written.path(&paths::log_entry(seq))).unwrap();
        assert!(entry::decode(&good).is_ok());
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            assert!(entry::decode(&bad).is_err(), "byte {at} of entry {seq}");
            assert!(entry::decode(&good[..at]).is_err(), "{at} bytes of entry {seq}");
        }
    }
}

#[test]
fn a_damaged_log_entry_stops_the_start_and_is_named() {
    let written = written(1);
    for seq in [CHECKPOINT + 1, CHECKPOINT + 3, written.last()] {
        written.refuses_damage_to(&paths::log_entry(seq), 40);
    }
    written.starts_as(written.last(), "when all is mended");
}

#[test]
fn a_damaged_checkpoint_stops_the_start_and_is_named() {
    let written = written(1);
    let files = written.checkpoint_files();
    assert_eq!(files.len(), 6, "five tables and the manifest");
    for name in files {
        written.refuses_damage_to(&name, 25);
        if !name.ends_with("manifest.json") {
            written.refuses_loss_of(&name);
        }
    }
    written.starts_as(written.last(), "when all is mended");
}

#[test]
fn a_damaged_or_lost_catalog_json_stops_the_start_and_is_named() {
    let written = written(1);
    let path = written.path(paths::CATALOG);
    let good = fs::read_to_string(&path).unwrap();
    for (at, _) in good.match_indices(|c: char| !c.is_whitespace()) {
        let mut bad = good.clone().into_bytes();
        bad[at] ^= 1 << (at % 5);
        fs::write(&path, &bad).unwrap();
        written.refused_for(paths::CATALOG, &format!("with a flipped bit in byte {at}"));
    }
    for length in [0, 1, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        written.refused_for(paths::CATALOG, &format!("cut to {length} bytes"));
    }
    fs::write(&path, &good).unwrap();
    written.refuses_loss_of(paths::CATALOG);
    written.starts_as(written.last(), "when all is mended");
}

#[test]
fn a_lost_entry_in_the_middle_stops_the_start_and_is_named() {
    let written = written(1);
    for seq in [CHECKPOINT + 1, written.last() - 1] {
        written.refuses_loss_of(&paths::log_entry(seq));
    }
}

#[test]
fn without_its_newest_entry_the_log_is_that_of_the_moment_before() {
    let written = written(1);
    for seq in (CHECKPOINT..written.last()).rev() {
        fs::remove_file(written.path(&paths::log_entry(seq + 1))).unwrap();
        written.starts_as(seq, &format!("cut back to entry {seq}"));
    }
}

#[test]
fn a_lost_checkpoint_costs_nothing_while_the_log_is_whole() {
    let written = written(1);
    fs::remove_file(written.path(&paths::checkpoint_manifest(CHECKPOINT))).unwrap();
    written.starts_as(written.last(), "without a manifest");
    fs::remove_dir_all(written.path(paths::CHECKPOINTS)).unwrap();
    written.starts_as(written.last(), "without checkpoints");
}

#[test]
fn entries_that_do_not_belong_in_their_slot_are_refused() {
    let (written, other) = (written(1), written(2));
    let path = |seq| written.path(&paths::log_entry(seq));
    let read = |seq| fs::read(path(seq)).unwrap();
    let (eight, nine) = (read(8), read(9));

    fs::copy(other.path(&paths::log_entry(8)), path(8)).unwrap();
    assert!(written.refused_for(&paths::log_entry(8), "of another catalogue").contains("another catalogue"));
    fs::write(path(8), &nine).unwrap();
    fs::write(path(9), &eight).unwrap();
    written.refused_for(&paths::log_entry(8), "swapped with 9");
    fs::write(path(8), &eight).unwrap();
    fs::write(path(9), &nine).unwrap();
    let next = written.last() + 1;
    fs::copy(path(written.last()), path(next)).unwrap();
    written.refused_for(&paths::log_entry(next), "copied from the one before");
    fs::remove_file(path(next)).unwrap();
    fs::write(path(next + 5), "stray").unwrap();
    written.refused_for(&paths::log_entry(next), "missing before a stray file");
    fs::remove_file(path(next + 5)).unwrap();
    written.starts_as(written.last(), "when all is mended");
}

#[test]
fn a_log_that_was_forked_does_not_pass_for_the_one_it_left() {
    let written = written(1);
    let fork = tempfile::tempdir().unwrap();
    fs::create_dir(fork.path().join(paths::LOG)).unwrap();
    fs::copy(written.path(paths::CATALOG), fork.path().join(paths::CATALOG)).unwrap();
    for seq in 1..8 {
        let name = paths::log_entry(seq);
        fs::copy(written.path(&name), fork.path().join(&name)).unwrap();
    }
    block_on(async {
        let (forked, _) = open(local(&fork), clock(3)).await.unwrap();
        put(&forked, register(1, 500, "only in the fork")).await.unwrap();
    });
    fs::copy(fork.path().join(paths::log_entry(8)), written.path(&paths::log_entry(8))).unwrap();
    let error = written.refused_for(&paths::log_entry(9), "after a fork's 8");
    assert!(error.contains("does not follow"), "{error}");
}

#[test]
fn an_entry_that_contradicts_those_before_it_is_refused() {
    let written = written(1);
    let next = written.last() + 1;
    block_on(async {
        let (catalog, log) = open(local(&written.folder), clock(2)).await.unwrap();
        let state = catalog.snapshot();
        // Well formed and well chained, as a writer with a bug would leave it.
        let twice = register(1, 11, "overlaps");
        log.append(log.contact(), next, state.hash, state.committed, &twice).await.unwrap();
    });
    let error = written.refused_for(&paths::log_entry(next), "that overlaps");
    assert!(error.contains("overlaps"), "{error}");
}

#[test]
fn a_checkpoint_of_another_catalogue_is_refused() {
    let (written, other) = (written(1), written(2));
    for name in other.checkpoint_files() {
        fs::copy(other.path(&name), written.path(&name)).unwrap();
    }
    written.refused_for(&paths::checkpoint_manifest(CHECKPOINT), "of another catalogue");
}

#[test]
fn a_folder_that_is_open_cannot_be_opened_again() {
    let written = written(1);
    let _open = local(&written.folder);
    written.refused_for("lock", "while it is open");
}
