//! What the catalogue does by itself, beside the commits: rows go to cold files, cold files are merged, checkpoints are
//! written and the log behind them is truncated, files that nobody can go back to are deleted.
//!
//! Three threads: merging and publishing may take long, and must not keep memory from being flushed.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};

use super::checkpoint::{self, Keep};
use super::compact;
use super::flush::{self, AtRest};
use super::log::Log;
use super::publishing::{Publication, Tables};
use super::state::State;
use super::{Catalog, CatalogSettings, CommitError, MaintenanceError, WeakCatalog};
use crate::domain::UtcTime;

/// Below it rows stay in memory and in the checkpoints: files of a few rows help nobody.
const LEAST_FLUSHED: usize = 1 << 20;
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// How much was committed since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Landed {
    pub entries: u64,
    /// Of log entries.
    pub bytes: u64,
}

/// What somebody waits for.
pub enum Order {
    /// All rows that are at rest go to cold files now.
    Flush(oneshot::Sender<Result<Option<AtRest>, MaintenanceError>>),
    /// Answered when nothing is being flushed, or written as a checkpoint.
    Wait(oneshot::Sender<()>),
    /// All cold files of a table become one run, without what is deleted.
    Compact(oneshot::Sender<Result<u64, MaintenanceError>>),
    /// The published tables show what is there now.
    Publish(oneshot::Sender<Result<Publication, MaintenanceError>>),
}

pub struct Maintenance {
    log: Log,
    settings: CatalogSettings,
    pub landed: watch::Sender<Landed>,
    orders: (mpsc::Receiver<Order>, mpsc::Receiver<Order>, mpsc::Receiver<Order>),
    pub senders: Orders,
    replayed: u64,
}

/// Ways to the threads.
#[derive(Clone)]
pub struct Orders {
    pub flush: mpsc::Sender<Order>,
    pub compact: mpsc::Sender<Order>,
    pub publish: mpsc::Sender<Order>,
}

impl Maintenance {
    /// `replayed` entries of the log are not covered by a checkpoint yet.
    pub fn new(log: Log, settings: CatalogSettings, replayed: u64) -> Self {
        let (flush, flush_orders) = mpsc::channel(16);
        let (compact, compact_orders) = mpsc::channel(16);
        let (publish, publish_orders) = mpsc::channel(16);
        Self {
            log,
            settings,
            landed: watch::Sender::new(Landed::default()),
            orders: (flush_orders, compact_orders, publish_orders),
            senders: Orders { flush, compact, publish },
            replayed,
        }
    }

    /// The threads end when the committer does.
    pub fn start(self, catalog: &Catalog, runtime: &Handle) -> std::io::Result<()> {
        let (flush_orders, compact_orders, publish_orders) = self.orders;
        let flusher = Flusher {
            log: self.log.clone(),
            settings: self.settings.clone(),
            catalog: catalog.downgrade(),
            seen: Landed { entries: 0, bytes: 0 },
            uncovered: self.replayed,
            failed: false,
        };
        let (log, settings) = (self.log.clone(), self.settings.clone());
        let compactor = Compactor { log, settings, catalog: catalog.downgrade() };
        let due = Due { interval: self.settings.publish_interval, changed: None };
        let (log, settings) = (self.log, self.settings);
        let publishing = Publishing { log, settings, catalog: catalog.downgrade(), tables: None, shown: None, due };
        let landed = self.landed.subscribe();
        let running = catalog.shared.running.clone();
        let compacting = compactor.run(landed.clone(), compact_orders);
        let compacting = async move {
            be_patient();
            compacting.await;
        };
        spawn("flush", runtime, running.clone(), flusher.run(landed.clone(), flush_orders))?;
        spawn("compact", runtime, running.clone(), compacting)?;
        spawn("publish", runtime, running, publishing.run(landed, publish_orders))
    }
}

/// Gives this thread, and those that it starts, a tenth of the processors while requests want them: they go first, and it does
/// not fall behind for ever.
pub fn be_patient() {
    if cfg!(target_os = "linux") {
        // There it is this thread's own; without it requests are slower for a while, and nothing is wrong.
        let _ = rustix::process::setpriority_process(None, 10);
    }
}

fn spawn(
    name: &str,
    runtime: &Handle,
    running: Arc<Semaphore>,
    work: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let runtime = runtime.clone();
    let permit = running.try_acquire_owned().map_err(std::io::Error::other)?;
    // Encoding tens of thousands of rows would hold up an async thread.
    std::thread::Builder::new().name(name.into()).spawn(move || {
        runtime.block_on(work);
        drop(permit);
    })?;
    Ok(())
}

struct Flusher {
    log: Log,
    settings: CatalogSettings,
    catalog: WeakCatalog,
    /// What was committed when the last checkpoint was written.
    seen: Landed,
    /// Log entries that were there before this process and that no checkpoint covers.
    uncovered: u64,
    /// Whether the last flush did.
    failed: bool,
}

impl Flusher {
    async fn run(mut self, mut landed: watch::Receiver<Landed>, mut orders: mpsc::Receiver<Order>) {
        // What was replayed may be more than is kept in memory.
        landed.mark_changed();
        loop {
            let woken = tokio::select! {
                biased;
                woken = wake(&mut landed, &mut orders) => woken,
                // While memory is full no commit comes that would wake it.
                () = tokio::time::sleep(AFTER_FAILURE), if self.failed => Woken::Committed,
            };
            let Some(catalog) = self.catalog.upgrade() else { return };
            let so_far = *landed.borrow();
            match woken {
                Woken::Ended => return,
                Woken::Order(Order::Flush(answer)) => {
                    // Who asked may be gone.
                    let _ = answer.send(flush::flush(&self.log, &catalog).await);
                }
                Woken::Order(Order::Wait(answer)) => {
                    self.look(&catalog, so_far).await;
                    // Likewise.
                    let _ = answer.send(());
                }
                Woken::Committed | Woken::Order(_) => self.look(&catalog, so_far).await,
            }
        }
    }

    async fn look(&mut self, catalog: &Catalog, landed: Landed) {
        let entries = landed.entries.saturating_sub(self.seen.entries) + self.uncovered;
        let bytes = landed.bytes.saturating_sub(self.seen.bytes);
        let due = entries >= self.settings.checkpoint_entries || bytes >= self.settings.checkpoint_bytes;
        let hot = catalog.snapshot().hot_bytes();
        if hot >= self.settings.flush_bytes || (due && hot >= LEAST_FLUSHED.min(self.settings.flush_bytes)) {
            let flushed = flush::flush(&self.log, catalog).await;
            self.failed = flushed.is_err();
            if let Err(error) = flushed {
                // The log still has everything; tried again soon.
                tracing::error!(%error, "rows could not be flushed to cold files");
            }
        }
        if due {
            let state = catalog.snapshot();
            (self.seen, self.uncovered) = (landed, 0);
            self.checkpoint(catalog, &state).await;
        }
    }

    async fn checkpoint(&self, catalog: &Catalog, state: &State) {
        let outcome = async {
            checkpoint::write(&self.log, state).await?;
            let active = state.webhooks().filter(|webhook| webhook.status.is_active());
            let keep = Keep {
                time: self.settings.log_retention,
                entries: self.settings.log_retention_entries,
                needed: active.map(|webhook| webhook.delivered.seq).min().unwrap_or(u64::MAX),
            };
            let truncated = checkpoint::truncate(&self.log, state.seq, keep).await?;
            let files = compact::delete_retired(&self.log, catalog, self.settings.log_retention).await?;
            let orphans = compact::delete_orphans(&self.log, catalog).await?;
            Ok::<_, MaintenanceError>((truncated, files, orphans))
        };
        match outcome.await {
            Ok((truncated, files, orphans)) => tracing::info!(
                seq = state.seq,
                entries_deleted = truncated.entries,
                checkpoints_deleted = truncated.checkpoints,
                files_deleted = files,
                orphans_deleted = orphans,
                "checkpoint written"
            ),
            // The log still has everything; the next one is tried when it is due.
            Err(error) => tracing::error!(%error, seq = state.seq, "checkpoint failed"),
        }
    }
}

/// What a thread of maintenance wakes up for.
enum Woken {
    Committed,
    Order(Order),
    /// The committer is gone.
    Ended,
}

async fn wake(landed: &mut watch::Receiver<Landed>, orders: &mut mpsc::Receiver<Order>) -> Woken {
    tokio::select! {
        biased;
        changed = landed.changed() => if changed.is_ok() { Woken::Committed } else { Woken::Ended },
        order = orders.recv() => order.map_or(Woken::Ended, Woken::Order),
    }
}

struct Compactor {
    log: Log,
    settings: CatalogSettings,
    catalog: WeakCatalog,
}

impl Compactor {
    async fn run(self, mut landed: watch::Receiver<Landed>, mut orders: mpsc::Receiver<Order>) {
        let mut looked_at = 0;
        loop {
            let woken = wake(&mut landed, &mut orders).await;
            let Some(catalog) = self.catalog.upgrade() else { return };
            match woken {
                Woken::Ended => return,
                Woken::Order(Order::Compact(answer)) => {
                    // Who asked may be gone.
                    let _ = answer.send(compact::compact_all(&self.log, &catalog).await);
                    continue;
                }
                Woken::Committed | Woken::Order(_) => {}
            }
            // New files come with a flush only.
            let flushed = catalog.snapshot().flushed;
            if flushed == looked_at {
                continue;
            }
            looked_at = flushed;
            let merged = compact::compact(&self.log, &catalog, self.settings.merge_runs).await;
            if let Err(error) = merged.or_else(unless_closed) {
                tracing::error!(%error, "cold files could not be merged; what they hold is not touched by it");
            }
        }
    }
}

/// When the published tables have to be brought up to date.
struct Due {
    /// How old they may be; zero: they are never brought up to date by themselves.
    interval: Duration,
    /// Since when they are old, as far as is known.
    changed: Option<UtcTime>,
}

impl Due {
    /// How long it may still wait; `None` for as long as nothing changes.
    fn wait(&mut self, now: UtcTime, is_old: bool) -> Option<Duration> {
        if !is_old || self.interval.is_zero() {
            self.changed = None;
            return None;
        }
        let waited = (now - *self.changed.get_or_insert(now)).to_std().unwrap_or_default();
        Some(self.interval.saturating_sub(waited))
    }
}

struct Publishing {
    log: Log,
    settings: CatalogSettings,
    catalog: WeakCatalog,
    /// Opened when they are first needed.
    tables: Option<Tables>,
    /// The last log entry that they show, as far as this process knows.
    shown: Option<u64>,
    due: Due,
}

impl Publishing {
    async fn run(mut self, mut landed: watch::Receiver<Landed>, mut orders: mpsc::Receiver<Order>) {
        // What was replayed may not be published yet.
        landed.mark_changed();
        let mut end = landed.clone();
        let mut pause = None;
        loop {
            let wait = pause.take().or_else(|| {
                let is_old = self.shown != Some(self.catalog.shared.current.load().seq());
                self.due.wait(self.log.clock.now(), is_old)
            });
            let order = tokio::select! {
                biased;
                changed = landed.changed(), if wait.is_none() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
                order = orders.recv() => order,
                () = tokio::time::sleep(wait.unwrap_or_default()), if wait.is_some() => None,
                // The committer is gone.
                () = gone(&mut end), if wait.is_some() => return,
            };
            let Some(catalog) = self.catalog.upgrade() else { return };
            let outcome = self.publish(&catalog).await;
            if let Err(error) = &outcome {
                pause = Some(AFTER_FAILURE.max(self.due.interval)).filter(|_| !self.due.interval.is_zero());
                if !matches!(error, MaintenanceError::NotPublishable) {
                    tracing::error!(%error, "the tables could not be published; they show what they showed");
                }
            }
            if let Some(Order::Publish(answer)) = order {
                // Who asked may be gone.
                let _ = answer.send(outcome);
            }
        }
    }

    async fn publish(&mut self, catalog: &Catalog) -> Result<Publication, MaintenanceError> {
        let tables = match &mut self.tables {
            Some(tables) => tables,
            None => {
                let needed = catalog.shared.needed.clone();
                self.tables.insert(Tables::open(&self.log, catalog.shared.cache.clone(), &self.settings, needed)?)
            }
        };
        let (answer, answered) = oneshot::channel();
        catalog.shared.orders.flush.send(Order::Flush(answer)).await.map_err(|_| CommitError::Closed)?;
        let at_rest = answered.await.map_err(|_| CommitError::Closed)??.ok_or(MaintenanceError::Overtaken)?;
        let published = tables.publish(&at_rest).await?;
        self.shown = Some(published.seq);
        self.due.changed = None;
        Ok(published)
    }
}

/// A catalogue that is being closed is no failure.
fn unless_closed(error: MaintenanceError) -> Result<(), MaintenanceError> {
    if matches!(error, MaintenanceError::Commit(CommitError::Closed)) { Ok(()) } else { Err(error) }
}

/// Ends when nothing more will be committed.
async fn gone(landed: &mut watch::Receiver<Landed>) {
    while landed.changed().await.is_ok() {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_never_older_than_the_interval_and_rest_when_nothing_changes() {
        let second = chrono::TimeDelta::seconds(1);
        let mut now = UtcTime::UNIX_EPOCH;
        let mut due = Due { interval: Duration::from_secs(10), changed: None };
        assert_eq!(due.wait(now, false), None);
        // However often something changes meanwhile, the first change counts.
        for left in (0..=10).rev() {
            assert_eq!(due.wait(now, true), Some(Duration::from_secs(left)));
            now += second;
        }
        assert_eq!(due.wait(now, true), Some(Duration::ZERO));
        assert_eq!(due.wait(now, false), None);
        assert_eq!(due.wait(now, true), Some(Duration::from_secs(10)));
        let mut never = Due { interval: Duration::ZERO, changed: None };
        assert_eq!(never.wait(now, true), None);
    }
}
