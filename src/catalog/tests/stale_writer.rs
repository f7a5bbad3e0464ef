//! Writers that sleep, stall or start while others go on and truncate the log behind them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::Notify;

use super::helpers::{assert_same, clock, keep, memory, open, put, put_flow, put_source, register};
use super::hooks::{Hooked, Verb};
use crate::catalog::log::{Append, Log};
use crate::catalog::{Catalog, Change, CommitError, checkpoint, compact, flush, paths};
use crate::clock::Clock;
use crate::domain::ServiceInfo;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TWO_DAYS: Duration = Duration::from_secs(48 * 60 * 60);

fn name(text: &str) -> Vec<Change> {
    vec![Change::PutService(Arc::new(ServiceInfo { name: Some(text.into()), ..ServiceInfo::default() }))]
}

async fn fill_first_block(catalog: &Catalog) {
    while catalog.snapshot().seq() < paths::FLOOR_BLOCK {
        put(catalog, name("busy")).await.unwrap();
    }
}

/// The first block is a day old, covered by a checkpoint, and deleted.
async fn truncate_first_block(catalog: &Catalog, log: &Log, clocks: &[&Clock]) {
    fill_first_block(catalog).await;
    let state = catalog.snapshot();
    checkpoint::write(log, &state).await.unwrap();
    clocks.iter().for_each(|clock| clock.advance(TWO_DAYS));
    let truncated = checkpoint::truncate(log, state.seq(), keep(DAY)).await.unwrap();
    assert_eq!(truncated.entries, paths::FLOOR_BLOCK - 1);
}

#[tokio::test]
async fn a_writer_that_slept_until_its_slot_was_truncated_acknowledges_nothing() {
    let store = memory();
    let (busy_clock, idle_clock) = (clock(1), clock(2));
    let (busy, log) = open(store.clone(), busy_clock.clone()).await.unwrap();
    put(&busy, name("first")).await.unwrap();
    let (idle, _) = open(store.clone(), idle_clock.clone()).await.unwrap();
    truncate_first_block(&busy, &log, &[&busy_clock, &idle_clock]).await;

    // The slot after what it knows is empty, so a put there would succeed, and nobody would ever read it.
    let outcome = put(&idle, name("lost")).await;
    assert!(matches!(outcome, Err(CommitError::Halted { .. })), "{outcome:?}");
    assert_eq!(store.read(&paths::log_entry(2)).await.unwrap(), None);
}

#[tokio::test]
async fn a_reader_that_slept_until_the_log_was_truncated_does_not_show_its_old_state() {
    let store = memory();
    let (busy_clock, idle_clock) = (clock(1), clock(2));
    let (busy, log) = open(store.clone(), busy_clock.clone()).await.unwrap();
    let (idle, _) = open(store, idle_clock.clone()).await.unwrap();
    truncate_first_block(&busy, &log, &[&busy_clock, &idle_clock]).await;
    let outcome = idle.read().await.map(|state| state.seq());
    assert!(matches!(outcome, Err(CommitError::Halted { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_writer_that_slept_while_nothing_was_truncated_goes_on() {
    let store = memory();
    let (busy, _) = open(store.clone(), clock(1)).await.unwrap();
    let idle_clock = clock(2);
    let (idle, _) = open(store, idle_clock.clone()).await.unwrap();
    put(&busy, name("one")).await.unwrap();
    idle_clock.advance(TWO_DAYS);
    put(&idle, name("two")).await.unwrap();
    assert_same(&busy.read().await.unwrap(), &idle.read().await.unwrap(), "after a sleep");
}

#[tokio::test]
async fn a_put_that_stalled_until_its_slot_was_truncated_is_not_acknowledged() {
    let store = memory();
    let (busy_clock, slow_clock) = (clock(1), clock(2));
    let (busy, log) = open(store.clone(), busy_clock.clone()).await.unwrap();
    let (armed, reached, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let stalling = {
        let (armed, reached, go_on) = (armed.clone(), reached.clone(), go_on.clone());
        Hooked::new(store.clone(), move |verb, _| {
            let stall = verb == Verb::Create && armed.load(Ordering::Relaxed);
            let (reached, go_on) = (reached.clone(), go_on.clone());
            async move {
                if stall {
                    reached.notify_one();
                    go_on.notified().await;
                }
            }
            .boxed()
        })
    };
    let (slow, _) = open(stalling, slow_clock.clone()).await.unwrap();
    armed.store(true, Ordering::Relaxed);
    let stalled = tokio::spawn(async move { put(&slow, name("stalled")).await });
    reached.notified().await;
    truncate_first_block(&busy, &log, &[&busy_clock, &slow_clock]).await;
    go_on.notify_one();
    let outcome = stalled.await.unwrap();
    assert!(matches!(outcome, Err(CommitError::Halted { .. })), "{outcome:?}");

    // What it left behind in the truncated part confuses nobody, and goes with the next truncation.
    assert!(store.read(&paths::log_entry(1)).await.unwrap().is_some());
    let (again, _) = open(store.clone(), clock(3)).await.unwrap();
    assert_same(&again.snapshot(), &busy.snapshot(), "beside a stray entry");
    checkpoint::truncate(&log, busy.snapshot().seq(), keep(DAY)).await.unwrap();
    assert_eq!(store.read(&paths::log_entry(1)).await.unwrap(), None);
}

#[tokio::test]
async fn what_a_stalled_writer_put_into_a_truncated_slot_is_no_entry_for_another_that_slept() {
    let store = memory();
    let (busy_clock, idle_clock) = (clock(1), clock(2));
    let (busy, log) = open(store.clone(), busy_clock.clone()).await.unwrap();
    put(&busy, name("first")).await.unwrap();
    let (idle, _) = open(store.clone(), idle_clock.clone()).await.unwrap();
    let first = idle.snapshot();
    truncate_first_block(&busy, &log, &[&busy_clock, &idle_clock]).await;
    // Another that slept puts the second entry and halts: nobody will read it.
    let put_late = log.append(log.contact(), 2, first.hash, first.committed, &name("nowhere")).await.unwrap();
    assert!(matches!(put_late, Append::Landed { .. }), "{put_late:?}");

    let outcome = put(&idle, name("lost")).await;
    assert!(matches!(outcome, Err(CommitError::Halted { .. })), "{outcome:?}");
    assert_eq!(store.read(&paths::log_entry(3)).await.unwrap(), None);
    assert_eq!(idle.snapshot().seq(), 1);
}

#[tokio::test]
async fn a_flush_that_stalled_until_its_files_were_taken_for_orphans_does_not_land() {
    let store = memory();
    let (busy_clock, slow_clock) = (clock(1), clock(2));
    let (busy, busy_log) = open(store.clone(), busy_clock.clone()).await.unwrap();
    let (armed, reached, go_on) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()), Arc::new(Notify::new()));
    let stalling = {
        let (armed, reached, go_on) = (armed.clone(), reached.clone(), go_on.clone());
        Hooked::new(store.clone(), move |verb, _| {
            let stall = verb == Verb::Create && armed.load(Ordering::Relaxed);
            let (reached, go_on) = (reached.clone(), go_on.clone());
            async move {
                if stall {
                    reached.notify_one();
                    go_on.notified().await;
                }
            }
            .boxed()
        })
    };
    let (slow, slow_log) = open(stalling, slow_clock.clone()).await.unwrap();
    put(&slow, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    put(&slow, register(1, 0, "object")).await.unwrap();
    armed.store(true, Ordering::Relaxed);
    let flushed = tokio::spawn(async move { flush::flush(&slow_log, &slow).await });
    reached.notified().await;
    busy_clock.advance(3 * HOUR);
    slow_clock.advance(3 * HOUR);
    assert_eq!(compact::delete_orphans(&busy_log, &busy).await.unwrap(), 3);
    armed.store(false, Ordering::Relaxed);
    go_on.notify_one();
    flushed.await.unwrap().unwrap();
    assert_eq!(busy.read().await.unwrap().files.len(), 0);
}

#[tokio::test]
async fn a_log_that_grows_during_a_start_is_not_taken_for_a_gap() {
    let store = memory();
    let (busy, _) = open(store.clone(), clock(1)).await.unwrap();
    for text in ["one", "two", "three", "four", "five"] {
        put(&busy, name(text)).await.unwrap();
    }
    // The last two land between the start's look for the next entry and its look at the whole list.
    let mut later = Vec::new();
    for seq in [4, 5] {
        let path = paths::log_entry(seq);
        later.push((path.clone(), store.read(&path).await.unwrap().unwrap()));
        store.delete(&path).await.unwrap();
    }
    let later: Arc<Mutex<Vec<(String, Bytes)>>> = Arc::new(later.into());
    let growing = {
        let inner = store.clone();
        Hooked::new(store, move |verb, path| {
            let due = if verb == Verb::List && path == paths::LOG {
                std::mem::take(&mut *later.lock().unwrap())
            } else {
                Vec::new()
            };
            let inner = inner.clone();
            async move {
                for (path, bytes) in due {
                    inner.write(&path, bytes).await.unwrap();
                }
            }
            .boxed()
        })
    };
    let (started, _) = open(growing, clock(2)).await.unwrap();
    assert_eq!(started.opened().replayed, 5);
    assert_same(&started.snapshot(), &busy.snapshot(), "after the log grew");
}
