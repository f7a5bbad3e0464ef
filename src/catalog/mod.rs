//! The catalogue: an ordered, hash-chained commit log on object storage or a local folder, and the state that follows
//! from it in memory. May use the domain; knows nothing of HTTP, SQL or media bytes.
//!
//! A write goes [`Catalog::commit`] -> committer -> log -> state; a read takes [`Catalog::read`], a state that stays as
//! it is. No lock is shared between readers and the writer.

pub mod backup;
mod change;
mod checkpoint;
mod cold;
mod committer;
mod compact;
mod deletions;
mod entry;
mod event_rows;
mod events;
mod feed;
mod flush;
pub mod fsck;
mod hidden;
mod log;
mod maintenance;
mod pages;
mod past;
mod paths;
pub mod progress;
pub mod publish;
mod publishing;
mod recovery;
pub mod restore;
mod rows;
mod scan;
mod snapshot;
mod state;
mod store;
mod stored;
mod tables;
mod tombstones;
mod view;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};

use crate::clock::Clock;
use crate::domain::{UtcTime, hex, unhex};

pub use change::{Change, Lsn, SegmentKey, object_hash};
pub use cold::ColdTable;
pub use committer::CommitError;
pub use event_rows::events_schema;
pub use feed::{Feed, FeedError, LoggedEvent};
pub use maintenance::be_patient;
pub use past::{AsOf, PastError};
pub use publishing::Publication;
pub use scan::{Batches, ScanOrder, TableScan};
pub use snapshot::{Hidden, SmallTable, TableFiles};
pub use state::{ColdTableSize, SegmentScan, State};
pub use store::{Create, LocalStore, ObjectStoreStore, Store, StoreError};
pub use tables::{ColumnDoc, table_docs};
pub use view::{Draft, ReadError, View, read_all};

use committer::{Committer, Decided, Message, Pending};
use log::{Log, RESOLVE_PAUSE};
use maintenance::{Maintenance, Order, Orders};
use pages::{PageCache, Pages};
use publishing::NeededFiles;
use recovery::RecoveryError;

#[derive(Debug, Clone)]
pub struct CatalogSettings {
    /// A checkpoint is due after so many log entries...
    pub checkpoint_entries: u64,
    /// ...or so many bytes of them.
    pub checkpoint_bytes: u64,
    /// How long log entries are kept after a checkpoint covers them...
    pub log_retention: Duration,
    /// ...unless there are more than so many.
    pub log_retention_entries: u64,
    /// Weight of the requests in one log entry, at most (one request may exceed it).
    pub max_batch_bytes: usize,
    pub max_batch_operations: usize,
    /// Requests that may wait to be committed; beyond it they are refused as busy.
    pub queue_operations: usize,
    /// Their weight, at most.
    pub queue_bytes: usize,
    /// Rows go to cold files when they take so many bytes of memory...
    pub flush_bytes: usize,
    /// ...and writes are refused as busy while they take so many.
    pub max_hot_bytes: usize,
    /// Memory for what of cold files must be known to find a page: about 2 bytes a segment.
    pub index_cache_bytes: u64,
    /// Memory for decoded pages of cold files.
    pub page_cache_bytes: u64,
    /// So many runs of about the same size are merged into one.
    pub merge_runs: usize,
    /// How far the published tables may be behind; never published by itself when zero.
    pub publish_interval: Duration,
}

impl Default for CatalogSettings {
    fn default() -> Self {
        Self {
            checkpoint_entries: 10_000,
            checkpoint_bytes: 64 << 20,
            log_retention: Duration::from_secs(24 * 60 * 60),
            log_retention_entries: 1_000_000,
            max_batch_bytes: 4 << 20,
            max_batch_operations: 4_096,
            queue_operations: 8_192,
            queue_bytes: 64 << 20,
            flush_bytes: 48 << 20,
            max_hot_bytes: 128 << 20,
            index_cache_bytes: 256 << 20,
            page_cache_bytes: 160 << 20,
            merge_runs: 6,
            publish_interval: Duration::from_secs(60),
        }
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the store cannot keep a commit log safely: {0}")]
    SelfTest(StoreError),
    #[error("{location} is damaged: {reason}. Nothing was changed. Restore this file from a backup")]
    IdentityDamaged { location: String, reason: String },
    #[error(
        "{location} is missing, but there is a log beside it. Nothing was changed. Restore this file from a backup"
    )]
    IdentityMissing { location: String },
    #[error("{location} has format {format}, which this version cannot read: a newer tamslake wrote it")]
    Format { location: String, format: u32 },
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error("the thread that commits could not be started: {0}")]
    Thread(String),
}

/// Why work of the catalogue itself was not done. Nothing is lost by it: it is tried again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum MaintenanceError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    File(#[from] cold::ColdError),
    #[error(transparent)]
    Checkpoint(#[from] checkpoint::CheckpointError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("{0}")]
    Row(rows::RowError),
    #[error("{0}")]
    Publish(Arc<publish::PublishError>),
    #[error("tables cannot be published on this store")]
    NotPublishable,
    #[error("another writer moved rows to files just now: try again")]
    Overtaken,
}

impl From<publish::PublishError> for MaintenanceError {
    fn from(error: publish::PublishError) -> Self {
        Self::Publish(Arc::new(error))
    }
}

/// A handle to the open catalogue; clones share it.
#[derive(Clone)]
pub struct Catalog {
    queue: mpsc::Sender<Message>,
    shared: Arc<Shared>,
}

/// What all handles share. (With the way to the committer it would keep that alive.)
struct Shared {
    log: Log,
    current: Arc<ArcSwap<State>>,
    room: Arc<Semaphore>,
    queue_bytes: usize,
    halted: watch::Sender<Option<String>>,
    exclusive: bool,
    feed: Feed,
    opened: Opened,
    cache: PageCache,
    orders: Orders,
    /// The threads of maintenance, each of which holds a permit while it runs.
    running: Arc<Semaphore>,
    needed: NeededFiles,
}

/// A handle that does not keep the committer alive.
struct WeakCatalog {
    queue: mpsc::WeakSender<Message>,
    shared: Arc<Shared>,
}

impl WeakCatalog {
    /// `None` when nobody else has the catalogue any more.
    fn upgrade(&self) -> Option<Catalog> {
        Some(Catalog { queue: self.queue.upgrade()?, shared: self.shared.clone() })
    }
}

/// What was found when the catalogue was opened.
#[derive(Debug, Clone)]
pub struct Opened {
    /// Hex.
    pub catalogue: String,
    pub created: bool,
    pub checkpoint: Option<u64>,
    pub replayed: u64,
}

/// `catalog.json`: made once, never changed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    catalogue: String,
    format: u32,
    created: UtcTime,
    /// Of the values above: a flipped bit would make all other files look foreign.
    sha256: String,
}

impl Identity {
    fn checksum(&self) -> String {
        let text = format!("{}\n{}\n{}\n", self.catalogue, self.format, self.created.timestamp_micros());
        hex(&Sha256::digest(text))
    }
}

const FORMAT: u32 = 1;
const MAINTENANCE_THREADS: usize = 3;

impl Catalog {
    /// Opens the catalogue on a store, making it if nothing is there, and replays its log.
    ///
    /// Errors name the file that is damaged, missing or foreign; nothing is repaired by leaving it out.
    pub async fn open(store: Arc<dyn Store>, clock: Clock, settings: CatalogSettings) -> Result<Self, OpenError> {
        let (catalog, committer, maintenance) = Self::recover(store, clock, settings).await?;
        let runtime = tokio::runtime::Handle::current();
        let halted = catalog.shared.halted.clone();
        maintenance.start(&catalog, &runtime).map_err(|error| OpenError::Thread(error.to_string()))?;
        // A thread of its own: deciding and encoding a large batch must not hold up requests.
        std::thread::Builder::new()
            .name("committer".into())
            .spawn(move || {
                if catch_unwind(AssertUnwindSafe(|| runtime.block_on(committer.run()))).is_err() {
                    halted.send_replace(Some("the committer stopped because of an internal error".into()));
                }
            })
            .map_err(|error| OpenError::Thread(error.to_string()))?;
        Ok(catalog)
    }

    /// The catalogue and its committer, which does not run yet.
    async fn recover(
        store: Arc<dyn Store>,
        clock: Clock,
        settings: CatalogSettings,
    ) -> Result<(Self, Committer, Maintenance), OpenError> {
        let recovered = Self::try_recover(store.clone(), clock, settings).await;
        if recovered.is_err() {
            // Reads ahead may still be under way; they shall not keep the next try out.
            store.release();
        }
        recovered
    }

    async fn try_recover(
        store: Arc<dyn Store>,
        clock: Clock,
        settings: CatalogSettings,
    ) -> Result<(Self, Committer, Maintenance), OpenError> {
        let probe = format!("selftest/{}", hex(&clock.random_bytes::<8>()));
        store::self_test(&*store, &probe).await.map_err(OpenError::SelfTest)?;
        let (catalogue, created) = identity(&*store, &clock).await?;
        let log = Log { store, catalogue, writer: clock.random_bytes(), clock, resolve_pause: RESOLVE_PAUSE };
        let contact = log.contact();
        let recovered = recovery::recover(&log).await?;
        let opened = Opened {
            catalogue: hex(&catalogue),
            created,
            checkpoint: recovered.checkpoint,
            replayed: recovered.replayed,
        };
        let current = Arc::new(ArcSwap::from_pointee(recovered.state));
        let halted = watch::Sender::new(None);
        let (queue, waiting) = mpsc::channel(settings.queue_operations.max(1));
        let queue_bytes = settings.queue_bytes.clamp(1, Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        let exclusive = log.store.exclusive();
        let feed = Feed::new(log.clone(), current.load().seq);
        let cache = PageCache::new(log.store.clone(), settings.index_cache_bytes, settings.page_cache_bytes);
        let maintenance = Maintenance::new(log.clone(), settings.clone(), opened.replayed);
        let committer = Committer {
            log: log.clone(),
            settings,
            feed: feed.clone(),
            queue: waiting,
            current: current.clone(),
            halted: halted.clone(),
            landed: maintenance.landed.clone(),
            contact,
        };
        let room = Arc::new(Semaphore::new(queue_bytes));
        let orders = maintenance.senders.clone();
        let running = Arc::new(Semaphore::new(MAINTENANCE_THREADS));
        let needed = NeededFiles::default();
        let shared =
            Shared { log, current, room, queue_bytes, halted, exclusive, feed, opened, cache, orders, running, needed };
        let catalog = Self { queue, shared: Arc::new(shared) };
        Ok((catalog, committer, maintenance))
    }

    /// The catalogue as it is now, to be asked and not to be changed: beside a server that may go on. Commits are refused.
    pub async fn open_read_only(
        store: Arc<dyn Store>,
        clock: Clock,
        settings: CatalogSettings,
    ) -> Result<Self, OpenError> {
        let log = existing_log(store, clock).await?;
        let recovered = recovery::recover_beside(&log).await?;
        let opened = Opened {
            catalogue: hex(&log.catalogue),
            created: false,
            checkpoint: recovered.checkpoint,
            replayed: recovered.replayed,
        };
        let feed = Feed::new(log.clone(), recovered.state.seq);
        let (queue, _) = mpsc::channel(1);
        let orders = Maintenance::new(log.clone(), settings.clone(), 0).senders;
        let shared = Shared {
            current: Arc::new(ArcSwap::from_pointee(recovered.state)),
            room: Arc::new(Semaphore::new(0)),
            queue_bytes: 0,
            halted: watch::Sender::new(Some("it is open for reading only".into())),
            // Nobody has to be asked for the newest state: it is the one that was read.
            exclusive: true,
            feed,
            opened,
            cache: PageCache::new(log.store.clone(), settings.index_cache_bytes, settings.page_cache_bytes),
            orders,
            running: Arc::new(Semaphore::new(0)),
            needed: NeededFiles::default(),
            log,
        };
        Ok(Self { queue, shared: Arc::new(shared) })
    }

    /// The events of all commits, from the log.
    pub fn events(&self) -> &Feed {
        &self.shared.feed
    }

    pub fn opened(&self) -> &Opened {
        &self.shared.opened
    }

    /// The state as this process knows it. Where other writers exist it may lag; [`Catalog::read`] does not.
    pub fn snapshot(&self) -> Arc<State> {
        self.shared.current.load_full()
    }

    /// A state that has every commit acknowledged before this call, by whatever writer.
    pub async fn read(&self) -> Result<Arc<State>, CommitError> {
        if !self.shared.exclusive {
            self.refresh().await?;
        }
        Ok(self.snapshot())
    }

    /// Asks a question of the state that has every commit acknowledged before this call.
    ///
    /// `question` is pure and may be asked several times, until all pages of cold files that it needs are loaded.
    pub async fn ask<T, E, F>(&self, question: F) -> Result<T, E>
    where
        F: Fn(View<'_>) -> Result<T, E>,
        E: From<CommitError> + From<ReadError>,
    {
        let state = self.read().await?;
        self.ask_of(&state, question).await
    }

    /// As [`Catalog::ask`], of a given state.
    pub async fn ask_of<T, E, F>(&self, state: &State, question: F) -> Result<T, E>
    where
        F: Fn(View<'_>) -> Result<T, E>,
        E: From<ReadError>,
    {
        self.shared.cache.answer(|pages| question(View::new(state, pages))).await
    }

    async fn refresh(&self) -> Result<(), CommitError> {
        let (answer, answered) = oneshot::channel();
        self.queue.send(Message::Refresh(answer)).await.map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)?
    }

    /// Decides and commits one change, atomically, against exactly the state it lands on.
    ///
    /// `decide` is pure and may run several times; the last run counts. `weight` is about how many bytes of memory the
    /// request holds. Returns when the change is durable; a decision without effects returns when those it saw are.
    pub async fn commit<T, E, F>(&self, weight: usize, decide: F) -> Result<T, E>
    where
        F: FnMut(View<'_>, UtcTime) -> Result<(Vec<Change>, T), E> + Send + 'static,
        T: Send + 'static,
        E: From<CommitError> + From<ReadError> + Send + 'static,
    {
        self.commit_as(Purpose::Request, weight, decide).await
    }

    /// Work of the catalogue itself goes on where requests are refused: it is what makes room.
    async fn commit_as<T, E, F>(&self, purpose: Purpose, weight: usize, decide: F) -> Result<T, E>
    where
        F: FnMut(View<'_>, UtcTime) -> Result<(Vec<Change>, T), E> + Send + 'static,
        T: Send + 'static,
        E: From<CommitError> + From<ReadError> + Send + 'static,
    {
        if let Some(reason) = self.shared.halted.borrow().clone() {
            return Err(CommitError::Halted { reason }.into());
        }
        // More than the whole room would never get in.
        let weight = weight.clamp(1, self.shared.queue_bytes);
        let permits = u32::try_from(weight).unwrap_or(u32::MAX);
        let mut permit = match purpose {
            Purpose::Request => {
                self.shared.room.clone().try_acquire_many_owned(permits).map_err(|_| CommitError::Busy)?
            }
            Purpose::Maintenance => {
                self.shared.room.clone().acquire_many_owned(permits).await.map_err(|_| CommitError::Closed)?
            }
        };
        let pages = Arc::new(Pages::new(self.shared.cache.clone()));
        let mut decide = decide;
        loop {
            let (answer, answered) = oneshot::channel();
            let pending = Box::new(Decision { decide, pages: pages.clone(), decided: None, answer });
            let message = Message::Commit { pending, purpose, weight, permit };
            match purpose {
                Purpose::Request => self.queue.try_send(message).map_err(|error| match error {
                    mpsc::error::TrySendError::Full(_) => CommitError::Busy,
                    mpsc::error::TrySendError::Closed(_) => CommitError::Closed,
                })?,
                Purpose::Maintenance => self.queue.send(message).await.map_err(|_| CommitError::Closed)?,
            }
            match answered.await.map_err(|_| CommitError::Closed)? {
                Answer::Decided(outcome) => return outcome,
                // Pages of cold files come from the store; nobody else waits for them.
                Answer::NotLoaded(again, kept) => {
                    (decide, permit) = (again, kept);
                    // Tried here until nothing is missing, so that it does not hold up the committer page by page.
                    while self.shared.cache.load_missing(&pages).await? {
                        let state = self.snapshot();
                        drop(decide(View::new(&state, &pages), state.committed));
                    }
                }
            }
        }
    }

    /// Ends when the catalogue cannot write any more until it is opened again, and says why.
    pub async fn halted(&self) -> String {
        let mut halted = self.shared.halted.subscribe();
        let reason = halted.wait_for(Option::is_some).await.ok().and_then(|reason| reason.clone());
        match reason {
            Some(reason) => reason,
            // Unreachable while `self` holds the sender.
            None => std::future::pending().await,
        }
    }

    /// Commits what is queued, waits for a running checkpoint, and refuses everything after.
    pub async fn close(&self) {
        let (answer, answered) = oneshot::channel();
        if self.shared.orders.flush.send(Order::Wait(answer)).await.is_ok() {
            // An error means that the thread is gone already.
            let _ = answered.await;
        }
        let (answer, answered) = oneshot::channel();
        if self.queue.send(Message::Close(answer)).await.is_ok() {
            // An error means that the committer is gone already.
            let _ = answered.await;
        }
        // They end with the committer; what they were at is left for the next start.
        let all = u32::try_from(MAINTENANCE_THREADS).unwrap_or(u32::MAX);
        let _ = self.shared.running.acquire_many(all).await;
    }

    /// Puts all rows that are at rest into cold files.
    pub async fn flush(&self) -> Result<(), MaintenanceError> {
        let (answer, answered) = oneshot::channel();
        self.shared.orders.flush.send(Order::Flush(answer)).await.map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)?.map(drop)
    }

    /// Merges all cold files of each table into one run, without what is deleted; the number of files that were exchanged.
    pub async fn compact(&self) -> Result<u64, MaintenanceError> {
        let (answer, answered) = oneshot::channel();
        self.shared.orders.compact.send(Order::Compact(answer)).await.map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)?
    }

    /// Flushes, and shows the state that this finds or a later one as Delta Lake tables.
    pub async fn publish(&self) -> Result<Publication, MaintenanceError> {
        let (answer, answered) = oneshot::channel();
        self.shared.orders.publish.send(Order::Publish(answer)).await.map_err(|_| CommitError::Closed)?;
        answered.await.map_err(|_| CommitError::Closed)?
    }

    fn downgrade(&self) -> WeakCatalog {
        WeakCatalog { queue: self.queue.downgrade(), shared: self.shared.clone() }
    }
}

/// Who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Request,
    Maintenance,
}

enum Answer<F, T, E> {
    Decided(Result<T, E>),
    /// It needs pages that are not loaded.
    NotLoaded(F, OwnedSemaphorePermit),
}

struct Decision<F, T, E> {
    decide: F,
    pages: Arc<Pages>,
    decided: Option<Result<T, E>>,
    answer: oneshot::Sender<Answer<F, T, E>>,
}

impl<F, T, E> Pending for Decision<F, T, E>
where
    F: FnMut(View<'_>, UtcTime) -> Result<(Vec<Change>, T), E> + Send,
    T: Send,
    E: From<CommitError> + Send,
{
    fn decide(&mut self, state: &State, now: UtcTime) -> Decided {
        let decided = (self.decide)(View::new(state, &self.pages), now);
        if self.pages.has_missing() {
            return Decided::NotLoaded;
        }
        match decided {
            Ok((changes, value)) => {
                self.decided = Some(Ok(value));
                Decided::Changes(changes)
            }
            Err(refusal) => {
                self.decided = Some(Err(refusal));
                Decided::Changes(Vec::new())
            }
        }
    }

    fn pages(&self) -> &Pages {
        &self.pages
    }

    fn answer(self: Box<Self>, outcome: Result<(), CommitError>) {
        let undecided = || Err(CommitError::Bug { reason: "it was never decided".into() }.into());
        let answer = match outcome {
            Ok(()) => self.decided.unwrap_or_else(undecided),
            Err(error) => Err(error.into()),
        };
        // Who asked may have gone away; the change stands all the same.
        let _ = self.answer.send(Answer::Decided(answer));
    }

    fn not_loaded(self: Box<Self>, permit: OwnedSemaphorePermit) {
        // Who asked may have gone away: then nothing is to be decided any more.
        let _ = self.answer.send(Answer::NotLoaded(self.decide, permit));
    }
}

async fn identity(store: &dyn Store, clock: &Clock) -> Result<([u8; 16], bool), OpenError> {
    let location = store.location(paths::CATALOG);
    let (bytes, created) = match store.read(paths::CATALOG).await? {
        Some(bytes) => (bytes, false),
        None => {
            if !store.list(paths::LOG).await?.is_empty() || !store.list(paths::CHECKPOINTS).await?.is_empty() {
                return Err(OpenError::IdentityMissing { location });
            }
            let text = new_identity(clock, &location)?.1;
            match store.create(paths::CATALOG, text.clone()).await {
                Create::Created => (text, true),
                // Another process was first; its identity is the one.
                Create::Exists | Create::Unclear(_) => {
                    let missing = || OpenError::IdentityMissing { location: location.clone() };
                    (store.read(paths::CATALOG).await?.ok_or_else(missing)?, false)
                }
                Create::Failed(error) => return Err(error.into()),
            }
        }
    };
    Ok((parse_identity(&bytes, location)?, created))
}

/// A catalogue that was never there before: its uuid and its `catalog.json`.
fn new_identity(clock: &Clock, location: &str) -> Result<([u8; 16], Bytes), OpenError> {
    let catalogue = clock.random_bytes::<16>();
    let mut identity =
        Identity { catalogue: hex(&catalogue), format: FORMAT, created: clock.now(), sha256: String::new() };
    identity.sha256 = identity.checksum();
    let text = serde_json::to_vec_pretty(&identity)
        .map_err(|error| OpenError::IdentityDamaged { location: location.to_owned(), reason: error.to_string() })?;
    Ok((catalogue, text.into()))
}

/// A catalogue's log, to be read: nothing is made where nothing is.
async fn existing_log(store: Arc<dyn Store>, clock: Clock) -> Result<Log, OpenError> {
    let location = store.location(paths::CATALOG);
    let missing = OpenError::IdentityMissing { location: location.clone() };
    let bytes = store.read(paths::CATALOG).await?.ok_or(missing)?;
    let catalogue = parse_identity(&bytes, location)?;
    Ok(Log { store, catalogue, writer: [0; 16], clock, resolve_pause: RESOLVE_PAUSE })
}

/// The catalogue's uuid.
fn parse_identity(bytes: &[u8], location: String) -> Result<[u8; 16], OpenError> {
    let damaged = |reason: String| OpenError::IdentityDamaged { location: location.clone(), reason };
    let identity: Identity = serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if identity.format != FORMAT {
        return Err(OpenError::Format { location, format: identity.format });
    }
    if identity.checksum() != identity.sha256 {
        return Err(damaged("it does not match its checksum".into()));
    }
    unhex(&identity.catalogue).ok_or_else(|| damaged("catalogue is no uuid".into()))
}

#[cfg(test)]
pub(crate) mod tests;
