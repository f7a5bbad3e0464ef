//! The one writer of this process: takes what is queued, decides it on the current state, puts one log entry, answers.
//!
//! Throughput comes from batching what queued during the put before, not from a timer. Each decision sees the effects of
//! those before it in the same entry; nobody is answered, not even with a refusal, before the entry is durable.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::change::{Change, Lsn};
use super::log::{Append, Log, LogError};
use super::state::State;
use super::store::StoreError;
use super::{CatalogSettings, checkpoint, recovery};
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
    fn decide(&mut self, state: &State, now: UtcTime) -> Vec<Change>;
    fn answer(self: Box<Self>, outcome: Result<(), CommitError>);
}

pub(super) enum Message {
    Commit {
        pending: Box<dyn Pending>,
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
    pub halted: Arc<OnceLock<String>>,
    pub checkpointer: Checkpointer,
}

struct Waiting {
    pending: Box<dyn Pending>,
    _permit: OwnedSemaphorePermit,
}

impl Committer {
    pub async fn run(mut self) {
        while let Some(first) = self.queue.recv().await {
            let mut waiting = Vec::new();
            let mut refreshers = Vec::new();
            let mut closing = None;
            let mut weight = 0;
            let mut next = Some(first);
            while let Some(message) = next {
                match message {
                    Message::Commit { pending, weight: more, permit } => {
                        weight += more;
                        waiting.push(Waiting { pending, _permit: permit });
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
                self.checkpointer.wait().await;
                // Whoever asked may be gone; there is nobody else to tell.
                let _ = answer.send(());
                break;
            }
        }
    }

    async fn commit(&mut self, mut waiting: Vec<Waiting>) {
        if let Some(reason) = self.halted.get() {
            let error = CommitError::Halted { reason: reason.clone() };
            return answer_all(waiting, &Err(error));
        }
        loop {
            let base = self.current.load_full();
            let now = self.log.clock.now().max(base.committed);
            let seq = base.seq + 1;
            let (staged, changes) = Self::stage(&base, &mut waiting, seq, now);
            if changes.is_empty() {
                return answer_all(waiting, &Ok(()));
            }
            let appended = self.log.append(seq, base.hash, now, &changes).await;
            match appended {
                Ok(Append::Landed { hash, bytes }) => {
                    let mut state = staged;
                    (state.seq, state.committed, state.hash) = (seq, now, hash);
                    let state = Arc::new(state);
                    self.current.store(state.clone());
                    answer_all(waiting, &Ok(()));
                    return self.checkpointer.landed(&self.log, &self.settings, &state, bytes);
                }
                Ok(Append::Lost(winner)) => {
                    let mut state = State::clone(&base);
                    if let Err(error) = recovery::replay(&self.log, &mut state, &winner) {
                        return self.halt(waiting, error.to_string());
                    }
                    self.current.store(Arc::new(state));
                }
                Ok(Append::Failed(error)) => {
                    tracing::error!(%error, seq, "the store refused a log entry; nothing was written");
                    return answer_all(waiting, &Err(unavailable(&error)));
                }
                Ok(Append::Unresolved(reason)) => return self.halt(waiting, reason),
                Err(error) => {
                    let reason = format!("a log entry could not be encoded: {error}");
                    tracing::error!(reason, seq);
                    return answer_all(waiting, &Err(CommitError::Bug { reason }));
                }
            }
        }
    }

    /// Decides each on the state that those before it leave. One that fails is answered and taken out, and all others
    /// are decided again: a change that does not apply must not leave half of itself.
    fn stage(base: &State, waiting: &mut Vec<Waiting>, seq: u64, now: UtcTime) -> (State, Vec<Change>) {
        loop {
            match Self::try_stage(base, waiting, seq, now) {
                Ok(staged) => return staged,
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
        seq: u64,
        now: UtcTime,
    ) -> Result<(State, Vec<Change>), (usize, String)> {
        let mut staged = base.clone();
        let mut changes: Vec<Change> = Vec::new();
        let mut index = 0;
        for (place, one) in waiting.iter_mut().enumerate() {
            let effects = catch_unwind(AssertUnwindSafe(|| one.pending.decide(&staged, now)))
                .map_err(|_| (place, "a decision panicked".to_owned()))?;
            for change in &effects {
                staged.apply(change, Lsn { seq, index }, now).map_err(|error| (place, error.to_string()))?;
                index += 1;
            }
            changes.extend(effects);
        }
        Ok((staged, changes))
    }

    /// Applies the entries that other writers put.
    async fn catch_up(&mut self) -> Result<(), CommitError> {
        loop {
            let base = self.current.load_full();
            match self.log.read(base.seq + 1).await {
                Ok(None) => return Ok(()),
                Ok(Some(entry)) => {
                    let mut state = State::clone(&base);
                    recovery::replay(&self.log, &mut state, &entry)
                        .map_err(|error| CommitError::Halted { reason: error.to_string() })?;
                    self.current.store(Arc::new(state));
                }
                Err(LogError::Store(error)) => return Err(unavailable(&error)),
                Err(error) => return Err(CommitError::Halted { reason: error.to_string() }),
            }
        }
    }

    fn halt(&self, waiting: Vec<Waiting>, reason: String) {
        tracing::error!(
            reason,
            "the catalogue stopped writing: the outcome of a write is not known. Restart the server"
        );
        let error = CommitError::Halted { reason: reason.clone() };
        // A second reason adds nothing.
        let _ = self.halted.set(reason);
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

/// Starts a checkpoint when the log since the last one is long enough; one at a time, beside the commits.
pub(super) struct Checkpointer {
    pub entries: u64,
    pub bytes: u64,
    running: Arc<AtomicBool>,
    handle: Option<tokio::task::JoinHandle<()>>,
}

impl Checkpointer {
    /// `entries` of the log are not covered by a checkpoint yet.
    pub fn new(entries: u64) -> Self {
        Self { entries, bytes: 0, running: Arc::default(), handle: None }
    }

    fn landed(&mut self, log: &Log, settings: &CatalogSettings, state: &Arc<State>, bytes: usize) {
        self.entries += 1;
        self.bytes += bytes as u64;
        let due = self.entries >= settings.checkpoint_entries || self.bytes >= settings.checkpoint_bytes;
        if !due || self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        (self.entries, self.bytes) = (0, 0);
        let (log, state, running, retention) =
            (log.clone(), state.clone(), self.running.clone(), settings.log_retention);
        let runtime = tokio::runtime::Handle::current();
        // Encoding tens of thousands of rows would hold up an async thread.
        self.handle = Some(tokio::task::spawn_blocking(move || {
            runtime.block_on(async {
                let outcome = async {
                    checkpoint::write(&log, &state).await?;
                    checkpoint::truncate(&log, state.seq, retention).await
                };
                match outcome.await {
                    Ok(truncated) => tracing::info!(
                        seq = state.seq,
                        entries_deleted = truncated.entries,
                        checkpoints_deleted = truncated.checkpoints,
                        "checkpoint written"
                    ),
                    // The log still has everything; the next one is tried when it is due.
                    Err(error) => tracing::error!(%error, seq = state.seq, "checkpoint failed"),
                }
            });
            running.store(false, Ordering::Release);
        }));
    }

    async fn wait(&mut self) {
        if let Some(handle) = self.handle.take()
            && let Err(error) = handle.await
        {
            tracing::error!(%error, "the checkpoint stopped");
        }
    }
}
