//! The commit log: one file an entry, contiguous from 1, each created if absent and chained to the one before.
//!
//! An append ends in one of four ways, and an unclear answer of the store is never one of them: the slot is read back
//! and the `entry_id` in it says whose entry landed. Spec: ADR 0001.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::change::Change;
use super::entry::{self, Entry, EntryError, Hash, Header};
use super::paths;
use super::store::{Create, Store, StoreError};
use crate::clock::{Clock, Stopwatch};
use crate::domain::UtcTime;

/// Who has not seen the end of the log for longer may fill, or find empty, a slot that was truncated meanwhile; the
/// floor mark tells.
const STALL: Duration = Duration::from_secs(60);
#[cfg(test)]
thread_local! {
    /// Breaks the log: what is in a slot is taken for another writer's, always.
    pub static FORGETS_OWN_ENTRIES: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// How often an unclear outcome is looked into before the writer gives up.
const RESOLVE_TRIES: u32 = 8;
pub const RESOLVE_PAUSE: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub struct Log {
    pub store: Arc<dyn Store>,
    pub catalogue: [u8; 16],
    /// This process.
    pub writer: [u8; 16],
    pub clock: Clock,
    /// Before an unclear outcome is looked into again; doubles each time.
    pub resolve_pause: Duration,
}

/// A moment at which a writer knew where the log ends.
#[derive(Clone, Copy)]
pub struct Contact {
    monotonic: Stopwatch,
    wall: UtcTime,
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("log entry {location} {error}. {REMEDY}")]
    Damaged { location: String, error: EntryError },
    #[error("log entry {location} does not belong here: {reason}. {REMEDY}")]
    Foreign { location: String, reason: String },
    #[error("log entry {location} is missing, but entry {later} exists. {REMEDY}")]
    Gap { location: String, later: u64 },
    #[error("log entry {location} contradicts the entries before it: {reason}. {REMEDY}")]
    Contradiction { location: String, reason: String },
}

const REMEDY: &str = "Nothing was changed. Restore this file from a backup or a copy of the folder; starting without it \
                      would lose what was written from there on";

#[derive(Debug)]
pub enum Append {
    /// Ours is in the slot, durable.
    Landed { hash: Hash, bytes: usize },
    /// Another writer's is.
    Lost(Box<Entry>),
    /// Nothing is, nor will be.
    Failed(StoreError),
    /// Nobody can tell; this writer must not write any more.
    Unresolved(String),
}

fn is_ours(found: &Entry, put: &Header) -> bool {
    #[cfg(test)]
    if FORGETS_OWN_ENTRIES.get() {
        return false;
    }
    found.header.entry_id == put.entry_id
}

impl Log {
    pub fn contact(&self) -> Contact {
        Contact { monotonic: Stopwatch::start(), wall: self.clock.now() }
    }

    /// By either clock: the monotonic one stands still while a machine sleeps, the other can be set.
    pub fn is_long_ago(&self, contact: Contact) -> bool {
        let by_wall = (self.clock.now() - contact.wall).abs().to_std();
        contact.monotonic.elapsed() > STALL || by_wall.is_ok_and(|passed| passed > STALL)
    }

    /// Whether a slot tells what it seems to: that the log ends there, or goes on with what is there. One that was
    /// truncated is empty, or has what a writer that stalled put there since. `since` is when the log's end was last known.
    pub async fn is_in_log(&self, seq: u64, since: Contact) -> Result<bool, StoreError> {
        Ok(self.store.exclusive() || !self.is_long_ago(since) || !self.is_below_floor(seq).await?)
    }

    /// Puts one entry into slot `seq`, which was the end of the log at `since`.
    pub async fn append(
        &self,
        since: Contact,
        seq: u64,
        previous: Hash,
        committed: UtcTime,
        changes: &[Change],
    ) -> Result<Append, EntryError> {
        let header = Header {
            catalogue: self.catalogue,
            seq,
            entry_id: self.clock.random_bytes(),
            writer: self.writer,
            committed,
            previous,
        };
        let (bytes, hash) = entry::encode(&header, changes)?;
        let length = bytes.len();
        let landed = || Append::Landed { hash, bytes: length };
        let outcome = self.put(seq, &header, bytes, landed).await;
        if !matches!(outcome, Append::Landed { .. } | Append::Lost(_)) {
            return Ok(outcome);
        }
        // A slot below the floor may have been emptied before it was filled, by us or by the winner: nobody replays it.
        Ok(match self.is_in_log(seq, since).await {
            Ok(true) => outcome,
            Ok(false) => Append::Unresolved(format!("log entry {seq} was put after its slot had been truncated")),
            Err(error) => Append::Unresolved(error.to_string()),
        })
    }

    async fn put(&self, seq: u64, header: &Header, bytes: Bytes, landed: impl Fn() -> Append) -> Append {
        let path = paths::log_entry(seq);
        let mut last_reason = String::new();
        for attempt in 0..RESOLVE_TRIES {
            if attempt > 0 {
                self.pause(attempt).await;
            }
            // The same bytes, so that a first put that lands late is still recognised as ours.
            let first_failure = match self.store.create(&path, bytes.clone()).await {
                Create::Created => return landed(),
                Create::Failed(error) if attempt == 0 => return Append::Failed(error),
                Create::Exists => None,
                // After an unclear try, "failed" speaks of this try only.
                Create::Failed(error) | Create::Unclear(error) => Some(error),
            };
            match self.read(seq).await {
                Ok(Some(found)) if is_ours(&found, header) => {
                    // Seen is not flushed: on a local disk an unclear outcome means that the folder's flush failed.
                    if !self.store.exclusive() {
                        return landed();
                    }
                    return Append::Unresolved(first_failure.map_or_else(
                        || {
                            format!(
                                "{} is in place, but it is unclear whether it is durable",
                                self.store.location(&path)
                            )
                        },
                        |error| error.to_string(),
                    ));
                }
                Ok(Some(winner)) => return Append::Lost(Box::new(winner)),
                // Not there (yet): try the same put again, never the next slot.
                Ok(None) => last_reason = first_failure.map_or_else(String::new, |error| error.to_string()),
                Err(LogError::Store(error)) => last_reason = error.to_string(),
                Err(error) => return Append::Unresolved(error.to_string()),
            }
        }
        Append::Unresolved(format!("log slot {seq} stays unclear: {last_reason}"))
    }

    async fn pause(&self, attempt: u32) {
        if self.resolve_pause.is_zero() {
            // Simulated: there is no time, only others who may go first.
            tokio::task::yield_now().await;
        } else {
            tokio::time::sleep(self.resolve_pause * 2u32.pow(attempt - 1)).await;
        }
    }

    /// Whether the entries of this slot's block may be gone.
    pub async fn is_below_floor(&self, seq: u64) -> Result<bool, StoreError> {
        Ok(self.store.read(&paths::floor_mark(paths::floor_block(seq))).await?.is_some())
    }

    /// The entry in a slot, if one is there and everything in it holds.
    pub async fn read(&self, seq: u64) -> Result<Option<Entry>, LogError> {
        let path = paths::log_entry(seq);
        let Some(bytes) = self.store.read(&path).await? else { return Ok(None) };
        let location = || self.store.location(&path);
        let entry = entry::decode(&bytes).map_err(|error| LogError::Damaged { location: location(), error })?;
        let foreign = |reason: &str| LogError::Foreign { location: location(), reason: reason.to_owned() };
        if entry.header.catalogue != self.catalogue {
            return Err(foreign("it is of another catalogue"));
        }
        if entry.header.seq != seq {
            return Err(foreign(&format!("it is entry {}", entry.header.seq)));
        }
        Ok(Some(entry))
    }

    /// Whether a slot that was empty still is the end of the log; false if another writer has filled it since.
    ///
    /// Fails if there is an entry beyond the empty slot: then it never was the end.
    pub async fn check_end(&self, empty: u64) -> Result<bool, LogError> {
        let paths = self.store.list(paths::LOG).await?;
        let later: Vec<u64> =
            paths.iter().filter_map(|path| paths::parse_log_entry(path)).filter(|seq| *seq >= empty).collect();
        // A list is not made at one moment: an entry may have come between those that it shows.
        if later.last().is_some() && !later.contains(&empty) && self.read(empty).await?.is_some() {
            return Ok(false);
        }
        match later.last() {
            Some(last) if !later.contains(&empty) => {
                Err(LogError::Gap { location: self.store.location(&paths::log_entry(empty)), later: *last })
            }
            last => Ok(last.is_none()),
        }
    }
}
