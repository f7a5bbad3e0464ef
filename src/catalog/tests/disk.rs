//! A local disk that fills up, or whose flush fails: what was said stays true, and reading goes on.

use std::sync::Arc;

use super::faults::{FaultStore, Faults, Late};
use super::helpers::{assert_same, clock, local, open, put, put_flow, put_source, register};
use crate::catalog::{CommitError, Create, Store, paths};

const ALWAYS: u32 = 1_000;

fn faulty(inner: Arc<dyn Store>, faults: Faults) -> Arc<FaultStore> {
    FaultStore::new(inner, Arc::default(), faults, 1)
}

#[tokio::test]
async fn a_full_disk_is_said_to_be_full_and_writing_goes_on_when_it_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let disk = local(&folder);
    let store = faulty(disk.clone(), Faults { full: ALWAYS, ..Faults::default() });
    let (catalog, _) = open(store.clone(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    let before = catalog.snapshot();

    store.arm(true);
    for at in 0..3 {
        let outcome = put(&catalog, register(1, at, "refused")).await;
        assert!(matches!(outcome, Err(CommitError::Full { .. })), "{outcome:?}");
        assert_same(&catalog.read().await.unwrap(), &before, "while the disk is full");
    }
    store.arm(false);
    put(&catalog, register(1, 0, "accepted")).await.unwrap();
    assert_eq!(disk.list(paths::LOG).await.unwrap(), [paths::log_entry(1), paths::log_entry(2)]);
    let (again, _) = open(disk, clock(2)).await.unwrap();
    assert_same(&again.snapshot(), &catalog.snapshot(), "after a restart");
}

/// In place, but perhaps only until a power cut: nobody may be told that it is stored, or decide on it.
#[tokio::test]
async fn an_entry_that_could_not_be_flushed_stops_all_writing_until_a_restart_has_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let disk = local(&folder);
    let store = faulty(disk.clone(), Faults { lost_response: ALWAYS, ..Faults::default() });
    let (catalog, _) = open(store.clone(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    let before = catalog.snapshot();

    store.arm(true);
    let (first, same_entry) =
        tokio::join!(put(&catalog, register(1, 0, "unflushed")), put(&catalog, register(1, 1, "with it")));
    store.arm(false);
    let later = put(&catalog, register(1, 2, "later")).await;
    for outcome in [first, same_entry, later] {
        assert!(matches!(outcome, Err(CommitError::Halted { .. })), "{outcome:?}");
    }
    assert!(!catalog.halted().await.is_empty(), "whoever runs the catalogue is told");
    assert_same(&catalog.read().await.unwrap(), &before, "while the outcome is not known");
    assert_eq!(disk.list(paths::LOG).await.unwrap().len(), 2, "nothing is put after what is unclear");

    let (again, _) = open(disk, clock(2)).await.unwrap();
    assert_eq!(again.snapshot().segments.len(), 2, "the restart finds the entry, whole");
    put(&again, register(1, 2, "later")).await.unwrap();
}

#[tokio::test]
async fn a_store_that_cannot_keep_a_log_is_refused_before_anything_is_written() {
    // Each breaks one promise that the log is built on.
    for faults in [
        Faults { full: ALWAYS, ..Faults::default() },
        Faults { failure: ALWAYS, ..Faults::default() },
        Faults { empty_conflict: ALWAYS, ..Faults::default() },
        Faults { lost_request: ALWAYS, ..Faults::default() },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let disk = local(&folder);
        let store = faulty(disk.clone(), faults);
        store.arm(true);
        let refused = open(store, clock(1)).await.map(|_| ());
        assert!(refused.is_err(), "{faults:?}");
        assert_eq!(disk.read(paths::CATALOG).await.unwrap(), None, "{faults:?}");
    }
}

#[tokio::test]
async fn two_first_starts_at_once_agree_on_one_catalogue() {
    let store = super::helpers::memory();
    let late = Arc::new(Late::default());
    let mut starts = Vec::new();
    for seed in 1..=8 {
        let slow = FaultStore::new(store.clone(), late.clone(), Faults { slow: ALWAYS, ..Faults::default() }, seed);
        slow.arm(true);
        starts.push(open(slow, clock(seed)));
    }
    let opened: Vec<_> =
        futures::future::join_all(starts).await.into_iter().map(|opened| opened.unwrap().0.opened().clone()).collect();
    assert!(opened.iter().all(|one| one.catalogue == opened[0].catalogue), "{opened:?}");
    assert_eq!(opened.iter().filter(|one| one.created).count(), 1, "{opened:?}");
    assert!(matches!(store.create(paths::CATALOG, "other".into()).await, Create::Exists));
}
