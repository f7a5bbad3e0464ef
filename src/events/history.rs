//! The last attempts of each webhook, for those who want to know why nothing arrives. In memory only.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::{EventKind, EventPlace, UtcTime, WebhookId};

/// Attempts that are kept of each webhook.
const KEPT: usize = 50;

#[derive(Debug, Clone)]
pub struct Attempt {
    pub time: UtcTime,
    pub event: EventKind,
    pub place: EventPlace,
    /// How many there were for this event, with this one.
    pub attempt: u32,
    pub took: Duration,
    /// Of the answer, if there was one.
    pub status: Option<u16>,
    /// Why it does not count as delivered.
    pub failure: Option<String>,
}

#[derive(Debug, Default)]
pub struct History(Mutex<HashMap<WebhookId, VecDeque<Attempt>>>);

impl History {
    pub(super) fn add(&self, id: WebhookId, attempt: Attempt) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let attempts = all.entry(id).or_default();
        if attempts.len() == KEPT {
            attempts.pop_front();
        }
        attempts.push_back(attempt);
    }

    /// Newest first.
    pub fn of(&self, id: WebhookId) -> Vec<Attempt> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.get(&id).into_iter().flatten().rev().cloned().collect()
    }

    pub(super) fn forget(&self, keep: impl Fn(WebhookId) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| keep(*id));
    }
}
