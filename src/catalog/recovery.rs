//! From files to a state: the newest checkpoint, then every log entry after it, each checked against the one before.
//! Anything that is damaged, missing or foreign stops the start with a message that names the file.

use futures::StreamExt;

use super::change::Lsn;
use super::checkpoint::{self, CheckpointError};
use super::entry::Entry;
use super::log::{Log, LogError};
use super::paths;
use super::state::State;

/// Log entries that are read ahead.
const READ_AHEAD: usize = 16;

#[derive(Debug, Clone, thiserror::Error)]
pub enum RecoveryError {
    #[error(transparent)]
    Log(#[from] LogError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(
        "the log was truncated up to entry {next} or beyond, but no checkpoint in {location} reaches that far. Nothing \
         was changed. Restore the newest checkpoint's folder from a backup"
    )]
    CheckpointLost { location: String, next: u64 },
}

#[derive(Debug)]
pub struct Recovered {
    pub state: State,
    /// The checkpoint it started from.
    pub checkpoint: Option<u64>,
    /// Log entries that were replayed after it.
    pub replayed: u64,
}

pub async fn recover(log: &Log) -> Result<Recovered, RecoveryError> {
    let checkpoint = checkpoint::newest(log).await.map_err(CheckpointError::from)?;
    let mut state = match checkpoint {
        Some(seq) => checkpoint::read(log, seq).await?,
        None => State::empty(),
    };
    let first = state.seq + 1;
    loop {
        let mut entries = futures::stream::iter(state.seq + 1..).map(|seq| log.read(seq)).buffered(READ_AHEAD);
        while let Some(entry) = entries.next().await.transpose()?.flatten() {
            replay(log, &mut state, &entry)?;
        }
        let next = state.seq + 1;
        // Before the gap that a truncation leaves is taken for a lost entry, or what a writer that stalled put into a
        // truncated slot for the next one.
        for slot in [first, next] {
            if log.is_below_floor(slot).await.map_err(LogError::from)? {
                let location = log.store.location(paths::CHECKPOINTS);
                return Err(RecoveryError::CheckpointLost { location, next: slot });
            }
        }
        // Other writers may go on meanwhile.
        if log.check_end(next).await? {
            return Ok(Recovered { replayed: next - first, state, checkpoint });
        }
    }
}

/// How often a reader begins again because a server has removed the checkpoint that it was reading.
const TRIES: u32 = 20;

/// As [`recover`], while somebody else may write checkpoints and remove older ones.
pub async fn recover_beside(log: &Log) -> Result<Recovered, RecoveryError> {
    let mut tries = 1;
    loop {
        let before = checkpoint::newest(log).await.map_err(CheckpointError::from)?;
        match recover(log).await {
            Err(_) if tries < TRIES && checkpoint::newest(log).await.map_err(CheckpointError::from)? != before => {
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// A checkpoint's number, the paths of its files, the manifest first, and its state; likewise. The newest one, unless that is
/// gone too soon time and again: the oldest stays much longer.
pub async fn checkpoint_beside(log: &Log, oldest: bool) -> Result<Option<(u64, Vec<String>, State)>, CheckpointError> {
    let mut tries = 1;
    loop {
        let oldest = oldest || tries > 2;
        let choose = async || if oldest { checkpoint::oldest(log).await } else { checkpoint::newest(log).await };
        let Some(seq) = choose().await? else { return Ok(None) };
        let (files, wrong) = checkpoint::check(log, seq).await;
        let read = match wrong.into_iter().next() {
            Some((_, error)) => Err(error),
            None => checkpoint::read(log, seq).await,
        };
        match read {
            Ok(state) => return Ok(Some((seq, files, state))),
            Err(_) if tries < TRIES && choose().await? != Some(seq) => tries += 1,
            Err(error) => return Err(error),
        }
    }
}

/// The state after entry `seq`, from the newest checkpoint that is not beyond it and what the log has behind that.
///
/// `None` where checkpoints and log do not reach that entry.
pub async fn state_at(log: &Log, seq: u64) -> Result<Option<State>, RecoveryError> {
    let mut tries = 1;
    let mut state = loop {
        let finished = checkpoint::finished(log).await.map_err(CheckpointError::from)?;
        let Some(nearest) = finished.iter().rfind(|finished| **finished <= seq) else { break State::empty() };
        match checkpoint::read(log, *nearest).await {
            Ok(state) => break state,
            // A server may have removed it meanwhile.
            Err(_) if tries < TRIES && checkpoint::finished(log).await.map_err(CheckpointError::from)? != finished => {
                tries += 1;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let mut entries = futures::stream::iter(state.seq + 1..=seq).map(|seq| log.read(seq)).buffered(READ_AHEAD);
    while let Some(entry) = entries.next().await.transpose()? {
        let Some(entry) = entry else { return Ok(None) };
        replay(log, &mut state, &entry)?;
    }
    Ok(Some(state))
}

/// Applies the entry after the state's last one. On an error the state may be half changed: throw it away.
pub fn replay(log: &Log, state: &mut State, entry: &Entry) -> Result<(), LogError> {
    let location = || log.store.location(&paths::log_entry(entry.header.seq));
    if entry.header.seq != state.seq + 1 || entry.header.previous != state.hash {
        return Err(LogError::Foreign {
            location: location(),
            reason: format!("it does not follow entry {}", state.seq),
        });
    }
    for (index, change) in (0..).zip(&entry.changes) {
        state
            .apply(change, Lsn { seq: entry.header.seq, index }, entry.header.committed)
            .map_err(|error| LogError::Contradiction { location: location(), reason: error.to_string() })?;
    }
    state.seq = entry.header.seq;
    state.committed = entry.header.committed;
    state.hash = entry.hash;
    Ok(())
}
