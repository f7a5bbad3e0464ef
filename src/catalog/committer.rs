//! The one writer of this process: takes what is queued, decides it on the current state, puts one log entry, answers.
//!
//! Throughput comes from batching what queued during the put before, not from a timer. Each decision sees the effects of
//! those before it in the same entry; nobody is answered, not even with a refusal, before the entry is durable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};

use super::change::{Change, Lsn};
use super::entry::EntryError;
use super::feed::Feed;
use super::log::{Append, Contact, Log, LogError};
use super::maintenance::Landed;
use super::pages::Pages;
use super::state::State;
use super::store::StoreError;
use super::view::{ReadError, View};
use super::{CatalogSettings, Purpose, events, recovery};
use crate::domain::UtcTime;

/// Why a change was not committed although nothing is wrong with it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CommitError {
    #[error("too many changes are waiting to be written: try again in a moment")]
    Busy,
    #[error("no space is left where the catalogue is stored, so nothing can be written; reading goes on")]
    Full { reason: String },
    #[error("the catalogue's store did not take the change: try again")]
    Unavailable { reason: String },
    /// The outcome of a write is not known. Only a restart, which reads the log again, can tell.
    #[error("the catalogue stopped writing because the outcome of a write is not known; restart the server")]
    Halted { reason: String },
    #[error("the server is shutting down")]
    Closed,
    #[error("internal error: the change could not be decided")]
    Bug { reason: String },
}

/// A queued change: decided as often as it takes, answered once.
pub(super) trait Pending: Send {
    /// Decides on this state; what it would do is returned, what it answers is kept for later.
    fn decide(&mut self, state: &State, now: UtcTime) -> Decided;
    /// What it sees of cold files.
    fn pages(&self) -> &Pages;
    fn answer(self: Box<Self>, outcome: Result<(), CommitError>);
    /// Gives it back to whoever asked, to load what it needs and to ask again.
    fn not_loaded(self: Box<Self>, permit: OwnedSemaphorePermit);
}

pub(super) enum Decided {
    Changes(Vec<Change>),
    NotLoaded,
}

pub(super) enum Message {
    Commit {
        pending: Box<dyn Pending>,
        purpose: Purpose,
        weight: usize,
        permit: OwnedSemaphorePermit,
    },
    /// Look for entries of other writers; answered when all that existed by now are part of the state.
    Refresh(oneshot::Sender<Result<(), CommitError>>),
    Close(oneshot::Sender<()>),
}

pub(super) struct Committer {
    pub log: Log,
    pub settings: CatalogSettings,
    pub queue: mpsc::Receiver<Message>,
    pub current: Arc<ArcSwap<State>>,
    pub feed: Feed,
    pub halted: watch::Sender<Option<String>>,
    /// Told of each commit.
    pub landed: watch::Sender<Landed>,
    /// When the state was last known to be all of the log.
    pub contact: Contact,
}

/// When and where an entry will stand.
#[derive(Clone, Copy)]
struct Moment {
    seq: u64,
    now: UtcTime,
    committed: UtcTime,
}

struct Waiting {
    pending: Box<dyn Pending>,
    permit: OwnedSemaphorePermit,
}

/// What a batch comes to.
struct Staged {
    state: State,
    changes: Vec<Change>,
    /// Places of those that need pages which are not loaded.
    unread: Vec<usize>,
}

impl Committer {
    pub async fn run(mut self) {
        let mut closed = None;
        while let Some(first) = self.queue.recv().await {
            let mut waiting = Vec::new();
            let mut refreshers = Vec::new();
            let mut closing = None;
            let mut weight = 0;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    // Rather refused than accepted until the memory is full.
                    Message::Commit { pending, purpose: Purpose::Request, .. } if self.is_full() => {
                        pending.answer(Err(CommitError::Busy));
                    }
                    Message::Commit { pending, purpose: _, weight: more, permit } => {
                        weight += more;
                        waiting.push(Waiting { pending, permit });
                    }
                    Message::Refresh(answer) => refreshers.push(answer),
                    Message::Close(answer) => closing = Some(answer),
                }
                let room = weight < self.settings.max_batch_bytes && waiting.len() < self.settings.max_batch_operations;
                next = if room && closing.is_none() { self.queue.try_recv().ok() } else { None };
            }
            if !refreshers.is_empty() {
                let outcome = self.catch_up().await;
                refreshers.into_iter().for_each(|answer| drop(answer.send(outcome.clone())));
            }
            if !waiting.is_empty() {
                self.commit(waiting).await;
            }
            if let Some(answer) = closing {
                self.queue.close();
                closed = Some(answer);
                break;
            }
        }
        // Whoever waits for the end may open the store again at once.
        self.log.store.release();
        if let Some(answer) = closed {
            // Whoever asked may be gone; there is nobody else to tell.
            let _ = answer.send(());
        }
    }

    fn is_full(&self) -> bool {
        self.current.load().hot_bytes() >= self.settings.max_hot_bytes
    }

    async fn commit(&mut self, waiting: Vec<Waiting>) {
        let Err((waiting, _)) = self.commit_together(waiting).await else { return };
        // One of them cannot be written; the others must not suffer for it.
        for one in waiting {
            if let Err((one, error)) = self.commit_together(vec![one]).await {
                let reason = format!("a change cannot be encoded: {error}");
                tracing::error!(reason, "a change was refused because of an internal error");
                answer_all(one, &Err(CommitError::Bug { reason }));
            }
        }
    }

    /// One entry for all; on an error none was put and none is answered.
    async fn commit_together(&mut self, mut waiting: Vec<Waiting>) -> Result<(), (Vec<Waiting>, EntryError)> {
        if let Some(reason) = self.halted.borrow().clone() {
            let error = CommitError::Halted { reason };
            answer_all(waiting, &Err(error));
            return Ok(());
        }
        // After an idle hour the state may be far behind; better to learn it before a put than to doubt one after it.
        if !self.log.store.exclusive()
            && self.log.is_long_ago(self.contact)
            && let Err(error) = self.catch_up().await
        {
            answer_all(waiting, &Err(error));
            return Ok(());
        }
        loop {
            let base = self.current.load_full();
            let now = self.log.clock.now();
            // In the log time does not run backwards, whatever the clock does; decisions see what the clock shows.
            let committed = now.max(base.committed);
            let seq = base.seq + 1;
            let (staged, changes) = Self::stage(&base, &mut waiting, Moment { seq, now, committed });
            if changes.is_empty() {
                // A refusal, too, must hold against what other writers did before it was asked for.
                let outcome = if self.log.store.exclusive() { Ok(()) } else { self.catch_up().await };
                if outcome.is_ok() && self.current.load().seq != base.seq {
                    continue;
                }
                answer_all(waiting, &outcome);
                return Ok(());
            }
            let before = self.log.contact();
            match self.log.append(self.contact, seq, base.hash, committed, &changes).await {
                Ok(Append::Landed { hash, bytes }) => {
                    let mut state = staged;
                    (state.seq, state.committed, state.hash) = (seq, committed, hash);
                    let state = Arc::new(state);
                    self.current.store(state.clone());
                    self.contact = before;
                    answer_all(waiting, &Ok(()));
                    self.feed.publish(seq, committed, changes);
                    self.landed.send_modify(|landed| {
                        landed.entries += 1;
                        landed.bytes += bytes as u64;
                    });
                    return Ok(());
                }
                Ok(Append::Lost(winner)) => {
                    let mut state = State::clone(&base);
                    if let Err(error) = recovery::replay(&self.log, &mut state, &winner) {
                        self.halt(waiting, error.to_string());
                        return Ok(());
                    }
                    self.current.store(Arc::new(state));
                    self.feed.publish(winner.header.seq, winner.header.committed, winner.changes);
                }
                Ok(Append::Failed(error)) => {
                    tracing::error!(%error, seq, "the store refused a log entry; nothing was written");
                    answer_all(waiting, &Err(unavailable(&error)));
                    return Ok(());
                }
                Ok(Append::Unresolved(reason)) => {
                    self.halt(waiting, reason);
                    return Ok(());
                }
                Err(error) => return Err((waiting, error)),
            }
        }
    }

    /// Decides each on the state that those before it leave. One that needs a page is handed back; it has changed nothing.
    /// One that fails is answered and taken out, and all others are decided again: a change that does not apply must not
    /// leave half of itself.
    fn stage(base: &State, waiting: &mut Vec<Waiting>, moment: Moment) -> (State, Vec<Change>) {
        loop {
            match Self::try_stage(base, waiting, moment) {
                Ok(Staged { state, changes, unread }) => {
                    // From the last on, so that the places of the others stay what they are.
                    for place in unread.into_iter().rev() {
                        let Waiting { pending, permit } = waiting.remove(place);
                        pending.not_loaded(permit);
                    }
                    return (state, changes);
                }
                Err((place, reason)) => {
                    tracing::error!(reason, "a change was refused because of an internal error");
                    waiting.swap_remove(place).pending.answer(Err(CommitError::Bug { reason }));
                }
            }
        }
    }

    fn try_stage(
        base: &State,
        waiting: &mut [Waiting],
        Moment { seq, now, committed }: Moment,
    ) -> Result<Staged, (usize, String)> {
        let mut staged = Staged { state: base.clone(), changes: Vec::new(), unread: Vec::new() };
        let mut index = 0;
        for (place, one) in waiting.iter_mut().enumerate() {
            let decided = catch_unwind(AssertUnwindSafe(|| one.pending.decide(&staged.state, now)))
                .map_err(|_| (place, "a decision panicked".to_owned()))?;
            let Decided::Changes(mut effects) = decided else {
                staged.unread.push(place);
                continue;
            };
            let view = View::new(&staged.state, one.pending.pages());
            let told = match events::of_changes(view, &effects, index, committed) {
                Ok(told) => told,
                Err(ReadError::NotLoaded) => {
                    staged.unread.push(place);
                    continue;
                }
                Err(error) => return Err((place, error.to_string())),
            };
            effects.extend(told.into_iter().map(|event| Change::AppendEvent(Arc::new(event))));
            for change in &effects {
                let applied = staged.state.apply(change, Lsn { seq, index }, committed);
                applied.map_err(|error| (place, error.to_string()))?;
                index += 1;
            }
            staged.changes.extend(effects);
        }
        Ok(staged)
    }

    /// Applies the entries that other writers put.
    async fn catch_up(&mut self) -> Result<(), CommitError> {
        loop {
            let base = self.current.load_full();
            let before = self.log.contact();
            match self.log.read(base.seq + 1).await {
                Ok(None) => {
                    self.check_in_log(base.seq + 1).await?;
                    self.contact = before;
                    return Ok(());
                }
                Ok(Some(entry)) => {
                    // No contact: where the log ends is not known by it.
                    self.check_in_log(base.seq + 1).await?;
                    let mut state = State::clone(&base);
                    recovery::replay(&self.log, &mut state, &entry)
                        .map_err(|error| CommitError::Halted { reason: error.to_string() })?;
                    self.current.store(Arc::new(state));
                    self.feed.publish(entry.header.seq, entry.header.committed, entry.changes);
                }
                Err(LogError::Store(error)) => return Err(unavailable(&error)),
                Err(error) => return Err(CommitError::Halted { reason: error.to_string() }),
            }
        }
    }

    async fn check_in_log(&self, seq: u64) -> Result<(), CommitError> {
        if self.log.is_in_log(seq, self.contact).await.map_err(|error| unavailable(&error))? {
            return Ok(());
        }
        Err(CommitError::Halted { reason: format!("log entry {seq} was truncated before it was read here") })
    }

    fn halt(&self, waiting: Vec<Waiting>, reason: String) {
        tracing::error!(
            reason,
            "the catalogue stopped writing: the outcome of a write is not known. Restart the server"
        );
        let error = CommitError::Halted { reason: reason.clone() };
        self.halted.send_replace(Some(reason));
        answer_all(waiting, &Err(error));
    }
}

fn answer_all(waiting: Vec<Waiting>, outcome: &Result<(), CommitError>) {
    waiting.into_iter().for_each(|one| one.pending.answer(outcome.clone()));
}

fn unavailable(error: &StoreError) -> CommitError {
    let reason = error.to_string();
    if error.full { CommitError::Full { reason } } else { CommitError::Unavailable { reason } }
}
