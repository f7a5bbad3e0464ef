//! The log as a stream of events: the newest entries from memory, older ones from their files.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::change::Change;
use super::log::{Log, LogError};
use super::paths;
use crate::domain::{Event, EventPlace, UtcTime};

/// Entries kept in memory, and the changes in them, at most.
const RECENT_ENTRIES: usize = 4_096;
const RECENT_CHANGES: usize = 100_000;

/// An event, where it stands, and the entry it stands in.
#[derive(Debug, Clone)]
pub struct LoggedEvent {
    pub place: EventPlace,
    pub committed: UtcTime,
    pub event: Arc<Event>,
    entry: Arc<Vec<Change>>,
}

impl LoggedEvent {
    /// The rows that the event speaks of.
    pub fn rows(&self) -> impl Iterator<Item = &Change> {
        self.event.changes.iter().filter_map(|place| self.entry.get(usize::try_from(*place).ok()?))
    }
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum FeedError {
    #[error("the events after {0:?} are not in the log any more: it is kept for catalog.log_retention")]
    Truncated(EventPlace),
    #[error(transparent)]
    Log(#[from] LogError),
}

#[derive(Debug, Clone)]
pub struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    log: Log,
    recent: Mutex<Recent>,
    /// Number of the newest entry.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Recent {
    entries: VecDeque<Committed>,
    changes: usize,
}

#[derive(Debug, Clone)]
struct Committed {
    seq: u64,
    committed: UtcTime,
    changes: Arc<Vec<Change>>,
}

impl Feed {
    pub(super) fn new(log: Log, newest: u64) -> Self {
        Self(Arc::new(Inner { log, recent: Mutex::default(), newest: watch::Sender::new(newest) }))
    }

    /// Called by the committer for every entry that became part of the state, in order.
    pub(super) fn publish(&self, seq: u64, committed: UtcTime, changes: Vec<Change>) {
        let changes = Arc::new(changes);
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.changes += changes.len();
        recent.entries.push_back(Committed { seq, committed, changes });
        while recent.entries.len() > RECENT_ENTRIES || (recent.changes > RECENT_CHANGES && recent.entries.len() > 1) {
            if let Some(oldest) = recent.entries.pop_front() {
                recent.changes -= oldest.changes.len();
            }
        }
        drop(recent);
        self.0.newest.send_replace(seq);
    }

    /// Tells when entries were added; its value is the number of the newest.
    pub fn newest(&self) -> watch::Receiver<u64> {
        self.0.newest.subscribe()
    }

    /// Events after a place, oldest first: those of whole entries, until there are at least `enough` or the log ends.
    /// With them comes the place up to which the log was looked at.
    pub async fn after(&self, place: EventPlace, enough: usize) -> Result<(Vec<LoggedEvent>, EventPlace), FeedError> {
        let newest = *self.0.newest.borrow();
        let mut events = Vec::new();
        let mut reached = place;
        // Entry 0 does not exist: it stands for the beginning. One that was looked at whole may be gone by now.
        let first = if place.index == u32::MAX { place.seq.saturating_add(1) } else { place.seq.max(1) };
        for seq in first..=newest {
            let entry = self.entry(seq, place).await?;
            let found = (0..).zip(entry.changes.iter()).filter_map(|(index, change)| match change {
                Change::AppendEvent(event) => Some((EventPlace { seq, index }, event)),
                _ => None,
            });
            events.extend(found.filter(|(at, _)| *at > place).map(|(place, event)| LoggedEvent {
                place,
                committed: entry.committed,
                event: event.clone(),
                entry: entry.changes.clone(),
            }));
            reached = EventPlace { seq, index: u32::MAX };
            if events.len() >= enough {
                break;
            }
        }
        Ok((events, reached))
    }

    async fn entry(&self, seq: u64, place: EventPlace) -> Result<Committed, FeedError> {
        {
            let recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
            let first = recent.entries.front().map_or(u64::MAX, |entry| entry.seq);
            let found = seq.checked_sub(first).and_then(|at| recent.entries.get(usize::try_from(at).ok()?));
            if let Some(entry) = found.filter(|entry| entry.seq == seq) {
                return Ok(entry.clone());
            }
        }
        match self.0.log.read(seq).await? {
            Some(entry) => Ok(Committed { seq, committed: entry.header.committed, changes: Arc::new(entry.changes) }),
            None if self.0.log.is_below_floor(seq).await.map_err(LogError::from)? => Err(FeedError::Truncated(place)),
            None => Err(FeedError::Log(LogError::Gap {
                location: self.0.log.store.location(&paths::log_entry(seq)),
                later: *self.0.newest.borrow(),
            })),
        }
    }
}
