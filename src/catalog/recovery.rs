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
        // Before the gap that a truncation leaves is taken for a lost entry.
        if log.is_below_floor(next).await.map_err(LogError::from)? {
            return Err(RecoveryError::CheckpointLost { location: log.store.location(paths::CHECKPOINTS), next });
        }
        // Other writers may go on meanwhile.
        if log.check_end(next).await? {
            return Ok(Recovered { replayed: next - first, state, checkpoint });
        }
    }
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
