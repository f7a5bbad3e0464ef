//! Earlier states, as far as checkpoints and the log reach.

use std::sync::Arc;

use super::checkpoint::{self, CheckpointError};
use super::log::LogError;
use super::recovery::{self, RecoveryError};
use super::state::State;
use super::{Catalog, CommitError};
use crate::domain::UtcTime;

/// Which state is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// The one after this log entry.
    Lsn(u64),
    /// The one that was current at that moment.
    Time(UtcTime),
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum PastError {
    #[error("there is no LSN {lsn} yet: the newest is {newest}")]
    Future { lsn: u64, newest: u64 },
    #[error(
        "that state cannot be had any more: the log is kept for catalog.log_retention, and reaches back to LSN {first}"
    )]
    Gone { first: u64 },
    #[error("the log goes back to LSN {first}, which was committed at {committed}: ask for a later moment")]
    BeforeLog { first: u64, committed: UtcTime },
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error("{0}")]
    Unreadable(String),
}

impl From<RecoveryError> for PastError {
    fn from(error: RecoveryError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<CheckpointError> for PastError {
    fn from(error: CheckpointError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<LogError> for PastError {
    fn from(error: LogError) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl Catalog {
    /// The state at an earlier place of the log, or the newest one if that is meant. Not for the hot path: it reads a
    /// checkpoint and the log behind it.
    pub async fn past(&self, as_of: AsOf) -> Result<Arc<State>, PastError> {
        let newest = self.read().await?;
        let lsn = match as_of {
            AsOf::Lsn(lsn) => lsn,
            AsOf::Time(time) => self.lsn_at(&newest, time).await?,
        };
        if lsn > newest.seq() {
            return Err(PastError::Future { lsn, newest: newest.seq() });
        }
        if lsn == newest.seq() {
            return Ok(newest);
        }
        match recovery::state_at(&self.shared.log, lsn).await? {
            Some(state) => Ok(Arc::new(state)),
            None => Err(PastError::Gone { first: self.first_lsn().await? }),
        }
    }

    /// The oldest LSN whose state can be had.
    pub(super) async fn first_lsn(&self) -> Result<u64, PastError> {
        if self.shared.log.read(1).await?.is_some() {
            return Ok(0);
        }
        let finished = checkpoint::finished(&self.shared.log).await.map_err(CheckpointError::from)?;
        Ok(finished.first().copied().unwrap_or(0))
    }

    /// The last entry that was committed by then. Clocks of writers may differ a little, so that entries committed within
    /// that little of `time` may be on the wrong side.
    async fn lsn_at(&self, newest: &State, time: UtcTime) -> Result<u64, PastError> {
        if newest.committed() <= time {
            return Ok(newest.seq());
        }
        let first = self.first_lsn().await?;
        // Entries below a checkpoint may be gone: the state of the oldest one stands for them.
        let (mut from, mut to) = (first + 1, newest.seq());
        let committed_by = async |lsn: u64| -> Result<bool, PastError> {
            let entry = self.shared.log.read(lsn).await?;
            entry.map(|entry| entry.header.committed <= time).ok_or(PastError::Gone { first })
        };
        while from < to {
            let middle = from + (to - from) / 2;
            if committed_by(middle).await? {
                from = middle + 1;
            } else {
                to = middle;
            }
        }
        let lsn = from - 1;
        if lsn == first && first > 0 {
            let state = recovery::state_at(&self.shared.log, first).await?.ok_or(PastError::Gone { first })?;
            if state.committed() > time {
                return Err(PastError::BeforeLog { first, committed: state.committed() });
            }
        }
        Ok(lsn)
    }
}
