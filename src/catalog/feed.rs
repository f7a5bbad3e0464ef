//! The log as a stream of events: the newest entries from memory, older ones from their files.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;

use super::change::Change;
use super::log::{Log, LogError};
use super::paths;
use crate::domain::{Event, EventPlace, UtcTime};

/// Entries kept in memory, and the bytes in them, at most.
const RECENT_ENTRIES: usize = 4_096;
const RECENT_BYTES: usize = 64 << 20;
/// Bytes of the entries that one look returns events of, about.
const ENOUGH_BYTES: usize = 4 << 20;
/// Entries from files of which it is known who else holds them, at most.
const SHARED_ENTRIES: usize = 4_096;

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
    #[error("the events after {}-{} are not in the log any more, which is kept for catalog.log_retention: begin without a place", .0.seq, .0.index)]
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
    /// Entries that were read from files and are still held by somebody: many who read the same share one copy.
    shared: Mutex<HashMap<u64, Held>>,
    /// Number of the newest entry.
    newest: watch::Sender<u64>,
}

/// When an entry was committed, and its changes for as long as somebody holds them.
type Held = (UtcTime, Weak<Vec<Change>>);

#[derive(Debug, Default)]
struct Recent {
    entries: VecDeque<Committed>,
    bytes: usize,
}

#[derive(Debug, Clone)]
struct Committed {
    seq: u64,
    committed: UtcTime,
    changes: Arc<Vec<Change>>,
    bytes: usize,
}

impl Committed {
    fn new(seq: u64, committed: UtcTime, changes: Arc<Vec<Change>>) -> Self {
        let bytes = changes.iter().map(Change::weight).sum();
        Self { seq, committed, changes, bytes }
    }
}

impl Feed {
    pub(super) fn new(log: Log, newest: u64) -> Self {
        Self(Arc::new(Inner {
            log,
            recent: Mutex::default(),
            shared: Mutex::default(),
            newest: watch::Sender::new(newest),
        }))
    }

    /// Called by the committer for every entry that became part of the state, in order.
    pub(super) fn publish(&self, seq: u64, committed: UtcTime, changes: Vec<Change>) {
        let entry = Committed::new(seq, committed, Arc::new(changes));
        let mut recent = self.0.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.bytes += entry.bytes;
        recent.entries.push_back(entry);
        while recent.entries.len() > RECENT_ENTRIES || (recent.bytes > RECENT_BYTES && recent.entries.len() > 1) {
            if let Some(oldest) = recent.entries.pop_front() {
                recent.bytes -= oldest.bytes;
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
        let (mut reached, mut bytes) = (place, 0);
        // Entry 0 does not exist: it stands for the beginning. One that was looked at whole may be gone by now.
        let first = if place.index == u32::MAX { place.seq.saturating_add(1) } else { place.seq.max(1) };
        for seq in first..=newest {
            let entry = self.entry(seq, place).await?;
            let found = (0..).zip(entry.changes.iter()).filter_map(|(index, change)| match change {
                Change::AppendEvent(event) => Some((EventPlace { seq, index }, event)),
                _ => None,
            });
            let before = events.len();
            events.extend(found.filter(|(at, _)| *at > place).map(|(place, event)| LoggedEvent {
                place,
                committed: entry.committed,
                event: event.clone(),
                entry: entry.changes.clone(),
            }));
            reached = EventPlace { seq, index: u32::MAX };
            if events.len() > before {
                bytes += entry.bytes;
            }
            if events.len() >= enough || bytes >= ENOUGH_BYTES {
                break;
            }
        }
        Ok((events, reached))
    }

    fn held_by_others(&self, seq: u64) -> Option<(UtcTime, Arc<Vec<Change>>)> {
        let shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let (committed, changes) = shared.get(&seq)?;
        Some((*committed, changes.upgrade()?))
    }

    fn share(&self, seq: u64, committed: UtcTime, changes: Vec<Change>) -> Committed {
        let changes = Arc::new(changes);
        let mut shared = self.0.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if shared.len() >= SHARED_ENTRIES {
            shared.retain(|_, (_, changes)| changes.strong_count() > 0);
        }
        if shared.len() < SHARED_ENTRIES {
            shared.insert(seq, (committed, Arc::downgrade(&changes)));
        }
        drop(shared);
        Committed::new(seq, committed, changes)
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
        if let Some((committed, changes)) = self.held_by_others(seq) {
            return Ok(Committed::new(seq, committed, changes));
        }
        match self.0.log.read(seq).await? {
            Some(entry) => Ok(self.share(seq, entry.header.committed, entry.changes)),
            None if self.0.log.is_below_floor(seq).await.map_err(LogError::from)? => Err(FeedError::Truncated(place)),
            None => Err(FeedError::Log(LogError::Gap {
                location: self.0.log.store.location(&paths::log_entry(seq)),
                later: *self.0.newest.borrow(),
            })),
        }
    }
}
