//! Checkpoints are the state of their moment, whatever goes on beside them; truncation leaves enough of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures::FutureExt;
use tokio::sync::Notify;

use super::helpers::{
    assert_same, clock, flow_id, keep, memory, open, put, put_flow, put_object, put_source, register, segment, settings,
};
use super::history;
use super::hooks::{Hooked, Verb};
use crate::catalog::checkpoint::{self, CheckpointError};
use crate::catalog::log::Log;
use crate::catalog::recovery::{self, RecoveryError};
use crate::catalog::{Catalog, CatalogSettings, Change, Lsn, State, Store, paths};
use crate::domain::{ObjectId, ServiceInfo, TimeRange, Timestamp};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn recovered(log: &Log) -> Result<State, RecoveryError> {
    recovery::recover(log).await.map(|recovered| recovered.state)
}

async fn delete_checkpoint(store: &dyn Store, seq: u64) {
    for path in store.list(paths::CHECKPOINTS).await.unwrap() {
        if paths::parse_checkpoint_file(&path).unwrap().0 == seq {
            store.delete(&path).await.unwrap();
        }
    }
}

async fn checkpoints(store: &dyn Store) -> Vec<u64> {
    let mut found: Vec<u64> = Vec::new();
    for path in store.list(paths::CHECKPOINTS).await.unwrap() {
        found.push(paths::parse_checkpoint_file(&path).unwrap().0);
    }
    found.dedup();
    found
}

async fn first_entry(store: &dyn Store) -> u64 {
    paths::parse_log_entry(&store.list(paths::LOG).await.unwrap()[0]).unwrap()
}

async fn grow(catalog: &Catalog, to: u64) -> Arc<State> {
    while catalog.snapshot().seq < to {
        let name = Some(format!("entry {}", catalog.snapshot().seq + 1));
        put(catalog, vec![Change::PutService(Arc::new(ServiceInfo { name, ..ServiceInfo::default() }))]).await.unwrap();
    }
    catalog.snapshot()
}

#[tokio::test]
async fn a_checkpoint_anywhere_in_a_history_leads_to_the_same_state() {
    let (store, clock) = (memory(), clock(1));
    let (catalog, log) = open(store.clone(), clock.clone()).await.unwrap();
    let states = history::write(&catalog, &clock).await;
    let last = states.last().unwrap();
    for state in &states {
        checkpoint::write(&log, state).await.unwrap();
        let read = checkpoint::read(&log, state.seq).await.unwrap();
        assert_same(&read, state, &format!("read from the checkpoint at {}", state.seq));
        let found = recovery::recover(&log).await.unwrap();
        assert_eq!((found.checkpoint, found.replayed), (Some(state.seq), last.seq - state.seq));
        assert_same(&found.state, last, &format!("from the checkpoint at {}", state.seq));
    }
}

#[tokio::test]
async fn a_checkpoint_is_of_its_moment_although_commits_go_on() {
    let store = memory();
    let (catalog, log) = open(store.clone(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    let before = catalog.snapshot();
    let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held_up = {
        let (reached, go_on) = (reached.clone(), go_on.clone());
        Hooked::new(store.clone(), move |verb, path| {
            let hold = verb == Verb::Write && path.ends_with("manifest.json");
            let (reached, go_on) = (reached.clone(), go_on.clone());
            async move {
                if hold {
                    reached.notify_one();
                    go_on.notified().await;
                }
            }
            .boxed()
        })
    };
    let (slow, state) = (Log { store: held_up, ..log.clone() }, before.clone());
    let writing = tokio::spawn(async move { checkpoint::write(&slow, &state).await });
    reached.notified().await;
    for at in 0..10 {
        put(&catalog, register(1, at, &format!("object-{at}"))).await.unwrap();
    }
    // Not finished, not used.
    assert_eq!(recovery::recover(&log).await.unwrap().checkpoint, None);
    go_on.notify_one();
    writing.await.unwrap().unwrap();
    assert_same(&checkpoint::read(&log, before.seq).await.unwrap(), &before, "of the checkpoint");
    assert_same(&recovered(&log).await.unwrap(), &catalog.snapshot(), "of checkpoint and tail");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checkpoints_that_the_committer_makes_under_load_lose_nothing() {
    let store = memory();
    let settings = CatalogSettings { checkpoint_entries: 10, ..settings() };
    let catalog = Catalog::open(store.clone(), clock(1), settings).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    let clients = (0..8).map(|client| {
        let catalog = catalog.clone();
        tokio::spawn(async move {
            for n in 0..40 {
                put(&catalog, register(1, client * 100 + n, &format!("object-{client}-{n}"))).await.unwrap();
            }
        })
    });
    futures::future::try_join_all(clients).await.unwrap();
    catalog.close().await;
    let (again, _) = open(store.clone(), clock(2)).await.unwrap();
    assert!(again.opened().checkpoint.is_some(), "320 commits made no checkpoint");
    assert_same(&again.snapshot(), &catalog.snapshot(), "after checkpoints under load");
    assert_eq!(again.snapshot().segments.len(), 320);
}

#[tokio::test]
async fn what_a_webhook_was_not_told_yet_stays_in_the_log_however_old_it_is() {
    let (store, clock) = (memory(), clock(1));
    let (catalog, log) = open(store.clone(), clock.clone()).await.unwrap();
    for entries in [1_050, 2_050, 3_050] {
        let state = grow(&catalog, entries).await;
        checkpoint::write(&log, &state).await.unwrap();
    }
    clock.advance(48 * HOUR);
    let state = grow(&catalog, 3_060).await;
    checkpoint::write(&log, &state).await.unwrap();
    for (needed, first) in [(1_000, 1), (1_500, 1_000), (u64::MAX, 3_000)] {
        let keep = checkpoint::Keep { needed, ..keep(HOUR) };
        checkpoint::truncate(&log, state.seq, keep).await.unwrap();
        assert_eq!(first_entry(&*store).await, first, "when entry {needed} is needed");
    }
}

#[tokio::test]
async fn the_log_is_kept_from_a_checkpoint_that_is_older_than_the_retention() {
    let (store, clock) = (memory(), clock(1));
    let (catalog, log) = open(store.clone(), clock.clone()).await.unwrap();
    let retention = 24 * HOUR;
    for (entries, first, kept) in [
        // Nothing is old enough at 0 h and 13 h; at 26 h the first checkpoint is, at 39 h the second.
        (1_050, 1, vec![1_050]),
        (2_050, 1, vec![1_050, 2_050]),
        (3_050, 1_000, vec![1_050, 2_050, 3_050]),
        (3_060, 2_000, vec![2_050, 3_050, 3_060]),
    ] {
        let state = grow(&catalog, entries).await;
        checkpoint::write(&log, &state).await.unwrap();
        checkpoint::truncate(&log, state.seq, keep(retention)).await.unwrap();
        assert_eq!(first_entry(&*store).await, first, "after {entries} entries");
        assert_eq!(checkpoints(&*store).await, kept, "after {entries} entries");
        for block in 0..3 {
            let marked = log.is_below_floor(block * paths::FLOOR_BLOCK).await.unwrap();
            assert_eq!(marked, (block + 1) * paths::FLOOR_BLOCK <= first, "mark of block {block} after {entries}");
        }
        clock.advance(13 * HOUR);
    }

    // From each checkpoint that is left the log leads to the present; without any it does not.
    let present = catalog.snapshot();
    for seq in [3_060, 3_050] {
        delete_checkpoint(&*store, seq).await;
        assert_same(&recovered(&log).await.unwrap(), &present, &format!("without the checkpoint at {seq}"));
    }
    delete_checkpoint(&*store, 2_050).await;
    let error = recovered(&log).await.unwrap_err();
    assert!(matches!(error, RecoveryError::CheckpointLost { .. }), "{error}");
}

#[tokio::test]
async fn a_crash_at_any_moment_of_checkpoint_and_truncation_loses_nothing() {
    let (store, clock) = (memory(), clock(1));
    let (catalog, log) = open(store.clone(), clock.clone()).await.unwrap();
    let oldest = grow(&catalog, 10).await;
    checkpoint::write(&log, &oldest).await.unwrap();
    let old = grow(&catalog, 1_020).await;
    checkpoint::write(&log, &old).await.unwrap();
    clock.advance(48 * HOUR);
    let state = grow(&catalog, 1_030).await;
    let (mut steps, mut cut_short, mut entries_gone) = (0, 0, false);
    loop {
        // Each attempt gets further, over what the ones before left behind. Of the deletions of entries, which are all
        // alike, few are tried; once they are done, it goes step by step again.
        let gone = first_entry(&*store).await == 1_000;
        steps = match (gone, entries_gone) {
            (true, false) => 1,
            (false, _) if steps >= 40 => steps + 167,
            _ => steps + 1,
        };
        entries_gone = gone;
        let (left, reached) = (Arc::new(AtomicU32::new(steps)), Arc::new(Notify::new()));
        let crashing = {
            let reached = reached.clone();
            Hooked::new(store.clone(), move |verb, path| {
                // The deletions after those of the entries are for the attempts that go step by step.
                let early = !gone && verb == Verb::Delete && path.starts_with(paths::CHECKPOINTS);
                let (crash, reached) = (left.fetch_sub(1, Ordering::Relaxed) == 1 || early, reached.clone());
                async move {
                    if crash {
                        reached.notify_one();
                        std::future::pending::<()>().await;
                    }
                }
                .boxed()
            })
        };
        let (at_risk, snapshot) = (Log { store: crashing, ..log.clone() }, state.clone());
        let mut attempt = tokio::spawn(async move {
            checkpoint::write(&at_risk, &snapshot).await.unwrap();
            checkpoint::truncate(&at_risk, snapshot.seq, keep(24 * HOUR)).await.unwrap();
        });
        let finished = tokio::select! {
            outcome = &mut attempt => { outcome.unwrap(); true }
            () = reached.notified() => { attempt.abort(); false }
        };
        assert_same(&recovered(&log).await.unwrap(), &state, &format!("after a crash at step {steps}"));
        // One that looks finished is whole, even on its way out.
        for path in store.list(paths::CHECKPOINTS).await.unwrap() {
            if let Some((seq, true)) = paths::parse_checkpoint_file(&path) {
                checkpoint::read(&log, seq).await.unwrap_or_else(|error| panic!("at step {steps}: {error}"));
            }
        }
        cut_short += u32::from((2..1_000).contains(&first_entry(&*store).await));
        if finished {
            break;
        }
    }
    assert!(cut_short > 10, "the truncation was cut short {cut_short} times only");
    assert_eq!(first_entry(&*store).await, 1_000);
    assert_eq!(checkpoints(&*store).await, [1_020, 1_030]);
}

#[tokio::test]
async fn a_checkpoint_that_was_cut_short_is_ignored_and_swept_later() {
    let store = memory();
    let (catalog, log) = open(store.clone(), clock(1)).await.unwrap();
    let state = grow(&catalog, 3).await;
    checkpoint::write(&log, &state).await.unwrap();
    store.delete(&paths::checkpoint_manifest(3)).await.unwrap();
    assert_eq!(recovery::recover(&log).await.unwrap().checkpoint, None);

    let state = grow(&catalog, 5).await;
    checkpoint::write(&log, &state).await.unwrap();
    checkpoint::truncate(&log, state.seq, keep(HOUR)).await.unwrap();
    assert_eq!(checkpoints(&*store).await, [5]);
    assert_eq!(first_entry(&*store).await, 1, "nothing is old enough to go");
}

#[tokio::test]
async fn a_checkpoint_that_cannot_be_read_back_is_not_left_for_the_next_start() {
    let store = memory();
    let (catalog, log) = open(store.clone(), clock(1)).await.unwrap();
    let state = grow(&catalog, 3).await;
    let losing = {
        let inner = store.clone();
        Hooked::new(store, move |verb, path| {
            let lose = (verb == Verb::Read && path.ends_with("manifest.json")).then(|| inner.clone());
            async move {
                if let Some(store) = lose {
                    store.delete(&paths::checkpoint_part(3, "service", 0)).await.unwrap();
                }
            }
            .boxed()
        })
    };
    let error = checkpoint::write(&Log { store: losing, ..log.clone() }, &state).await.unwrap_err();
    assert!(matches!(error, CheckpointError::Damaged { .. }), "{error}");
    assert_same(&recovered(&log).await.unwrap(), &state, "from the log alone");
}

#[tokio::test]
async fn a_table_of_more_rows_than_one_part_holds_comes_back_whole() {
    const SEGMENTS: i128 = 50_001;
    let (_, log) = open(memory(), clock(1)).await.unwrap();
    let mut state = State::empty();
    let mut index = 0;
    let mut apply = |change: &Change| {
        state.apply(change, Lsn { seq: 1, index }, log.clock.now()).unwrap();
        index += 1;
    };
    [put_source(1), put_flow(1, 1), put_object(super::helpers::media("long", 1))].iter().for_each(&mut apply);
    let id: ObjectId = "long".parse().unwrap();
    for n in 0..SEGMENTS {
        let at = Timestamp::from_nanoseconds(n * 7 - SEGMENTS).unwrap();
        let mut segment = segment(1, TimeRange::instant(at), "long");
        segment.object_id = id.clone();
        apply(&Change::PutSegment(Arc::new(segment)));
    }
    state.seq = 1;
    state.committed = log.clock.now();
    checkpoint::write(&log, &state).await.unwrap();
    let parts = log.store.list(paths::CHECKPOINTS).await.unwrap();
    assert_eq!(parts.iter().filter(|path| path.contains("flow_segments-")).count(), 2);
    let read = checkpoint::read(&log, 1).await.unwrap();
    assert_same(&read, &state, "from two parts");
    assert!(read.segments_updated(flow_id(1)).is_some());
}

/// Reading it back may fail, and the log may be truncated up to it by then.
#[tokio::test]
async fn a_checkpoint_that_is_there_is_neither_written_again_nor_deleted() {
    let store = memory();
    let (catalog, log) = open(store.clone(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1)]).await.unwrap();
    checkpoint::write(&log, &catalog.snapshot()).await.unwrap();
    let untouched = Hooked::new(store, |verb, path| {
        assert!(matches!(verb, Verb::Read), "{verb:?} {path}");
        Box::pin(std::future::ready(()))
    });
    let log = Log { store: untouched, ..log };
    checkpoint::write(&log, &catalog.snapshot()).await.unwrap();
}
