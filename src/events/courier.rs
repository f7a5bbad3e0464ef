//! Delivers the events of one webhook: in the order of the log, one at a time, each until it is delivered or given up.
//!
//! The place that was reached is written to the log now and then and not after each event, and never beyond what was
//! delivered: after a crash some events come twice, and none is missing.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::post::Failure;
use super::{Attempt, Delivery, EventFilter};
use crate::catalog::{FeedError, LoggedEvent};
use crate::clock::Stopwatch;
use crate::domain::{EventPlace, Webhook, WebhookError, WebhookId};
use crate::operations::{EVENTS_LOST, record_delivered, record_failure};

/// Events that are fetched together.
const BATCH: usize = 100;
/// The place is written after so many deliveries or so long a time.
const WRITE_EVENTS: u64 = 100;
const WRITE_AFTER: Duration = Duration::from_secs(1);
/// Where nothing was delivered, it is written after so many entries, and not more often than this: writing is an entry
/// too, and many webhooks must not keep each other busy.
const WRITE_ENTRIES: u64 = 1_000;
const WRITE_IDLE: Duration = Duration::from_secs(60);
/// A few entries are written down too, but rarely: after a crash the log must still reach back to the place.
const WRITE_SOME: u64 = 100;
const WRITE_RARELY: Duration = Duration::from_secs(10 * 60);
/// Attempts where the receiver says that the request itself is wrong.
const FEW_ATTEMPTS: u32 = 4;
/// After the log or the catalogue failed.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

pub(super) struct Courier {
    delivery: Arc<Delivery>,
    id: WebhookId,
    stop: watch::Receiver<bool>,
    newest: watch::Receiver<u64>,
    /// Everything up to here is done with.
    place: EventPlace,
    written: EventPlace,
    last_write: Stopwatch,
    /// Deliveries since the last write.
    delivered: u64,
}

/// The webhook is gone, off or given up, or the server stops.
struct End;

impl Courier {
    pub fn new(delivery: Arc<Delivery>, webhook: &Webhook, stop: watch::Receiver<bool>) -> Self {
        let newest = delivery.tams.catalog.events().newest();
        let (id, place) = (webhook.id, webhook.delivered);
        let last_write = Stopwatch::start();
        Self { delivery, id, stop, newest, place, written: place, last_write, delivered: 0 }
    }

    pub async fn run(mut self) {
        while let Ok(()) = self.step().await {}
        self.write().await;
    }

    /// What there is to deliver, then a pause until there may be more.
    async fn step(&mut self) -> Result<(), End> {
        self.newest.mark_unchanged();
        let webhook = self.webhook()?;
        // Its owner may have let it skip what happened while it was off.
        self.place = self.place.max(webhook.delivered);
        let (events, reached) = match self.delivery.tams.catalog.events().after(self.place, BATCH).await {
            Ok(found) => found,
            Err(error @ FeedError::Truncated(_)) => {
                return Err(self.give_up(webhook, EVENTS_LOST, error.to_string()).await);
            }
            Err(error) => {
                tracing::error!(%error, webhook = %self.id, "events cannot be read; trying again soon");
                return self.sleep(AFTER_FAILURE).await;
            }
        };
        for event in &events {
            self.deliver(event).await?;
            self.place = event.place;
            if self.delivered >= WRITE_EVENTS || (self.delivered > 0 && self.last_write.elapsed() >= WRITE_AFTER) {
                self.write().await;
            }
        }
        self.place = self.place.max(reached);
        if reached.seq < *self.newest.borrow() {
            return Ok(());
        }
        self.rest().await
    }

    /// Waits for new entries; writes the place when that is due.
    async fn rest(&mut self) -> Result<(), End> {
        let elapsed = self.last_write.elapsed();
        let passed = self.place.seq.saturating_sub(self.written.seq);
        let due = match (self.delivered, passed) {
            (1.., _) => Some(WRITE_AFTER.saturating_sub(elapsed)),
            (0, WRITE_ENTRIES..) => Some(WRITE_IDLE.saturating_sub(elapsed)),
            (0, WRITE_SOME..) => Some(WRITE_RARELY.saturating_sub(elapsed)),
            (0, _) => None,
        };
        let write = async {
            match due {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        let write_now = tokio::select! {
            _ = self.stop.changed() => return Err(End),
            changed = self.newest.changed() => {
                changed.map_err(|_| End)?;
                false
            }
            () = write => true,
        };
        if write_now {
            self.write().await;
        }
        Ok(())
    }

    /// The webhook as it is now.
    fn webhook(&self) -> Result<Arc<Webhook>, End> {
        let webhook = self.delivery.tams.catalog.snapshot().webhook(self.id).cloned();
        match webhook {
            Some(webhook) if webhook.status.is_active() && !*self.stop.borrow() => Ok(webhook),
            _ => Err(End),
        }
    }

    async fn deliver(&mut self, event: &LoggedEvent) -> Result<(), End> {
        let mut first_try = Stopwatch::start();
        let (mut attempts, mut refusals) = (0, 0);
        let mut tried = self.webhook()?;
        loop {
            // Looked up for each attempt: it may be deleted, point elsewhere, or want other events by now.
            let webhook = self.webhook()?;
            if event.place <= webhook.delivered || !EventFilter::from(&*webhook).matches(&event.event) {
                return Ok(());
            }
            if !webhook.same_target(&tried) {
                (first_try, attempts, refusals) = (Stopwatch::start(), 0, 0);
            }
            tried = webhook;
            attempts += 1;
            let Err(failure) = self.attempt(&tried, event, attempts).await? else {
                self.delivered += 1;
                return Ok(());
            };
            let settings = &self.delivery.settings;
            refusals += u32::from(!failure.passing);
            let exhausted = refusals >= FEW_ATTEMPTS || first_try.elapsed() >= settings.give_up_after;
            if exhausted {
                let summary = format!("{}, {attempts} attempts", failure.reason);
                return Err(self.give_up(tried, "delivery_failed", summary).await);
            }
            let pause = self.pause(attempts);
            tracing::debug!(webhook = %self.id, attempts, reason = failure.reason, ?pause, "an event was not delivered");
            self.wait_to_retry(pause, &tried).await?;
        }
    }

    /// One attempt, written to the history. `Err(End)`: the server stops.
    async fn attempt(
        &mut self,
        webhook: &Webhook,
        event: &LoggedEvent,
        attempt: u32,
    ) -> Result<Result<u16, Failure>, End> {
        // Made anew each time: its URLs are signed for a limited time.
        let body = match self.delivery.shape.shape(event, webhook).await {
            Ok(Some(body)) => body,
            Ok(None) => {
                tracing::error!(webhook = %self.id, place = ?event.place, "an event of the log cannot be shown");
                return Ok(Ok(0));
            }
            // Not the receiver's fault, and told all the same when it can be read again.
            Err(error) => return Ok(Err(Failure { status: None, reason: error.to_string(), passing: true })),
        };
        let time = self.delivery.tams.clock.now();
        let watch = Stopwatch::start();
        let outcome = tokio::select! {
            outcome = self.delivery.poster.post(webhook, body) => outcome,
            _ = self.stop.changed() => return Err(End),
        };
        let (status, failure) = match &outcome {
            Ok(status) => (Some(*status), None),
            Err(failure) => (failure.status, Some(failure.reason.clone())),
        };
        let (event, place, took) = (event.event.kind, event.place, watch.elapsed());
        self.delivery.history.add(self.id, Attempt { time, event, place, attempt, took, status, failure });
        Ok(outcome)
    }

    /// Doubles with each attempt, up to a limit; a random part of it is taken off, so that receivers that come back are
    /// not called by all at once.
    fn pause(&self, attempts: u32) -> Duration {
        let settings = &self.delivery.settings;
        let doubled = settings.first_retry.saturating_mul(1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX));
        let [random] = self.delivery.tams.clock.random_bytes::<1>();
        doubled.min(settings.longest_retry).mul_f64(1.0 - f64::from(random) / 512.0)
    }

    /// Waits, but not longer than the webhook stays what it is.
    async fn wait_to_retry(&mut self, pause: Duration, tried: &Webhook) -> Result<(), End> {
        let mut pause = std::pin::pin!(tokio::time::sleep(pause));
        loop {
            // What was delivered before must not wait for what cannot be.
            if self.delivered > 0 && self.last_write.elapsed() >= WRITE_AFTER {
                self.write().await;
            }
            tokio::select! {
                () = &mut pause => return Ok(()),
                _ = self.stop.changed() => return Err(End),
                changed = self.newest.changed() => changed.map_err(|_| End)?,
            }
            if !self.webhook()?.same_target(tried) {
                return Ok(());
            }
        }
    }

    async fn sleep(&mut self, pause: Duration) -> Result<(), End> {
        tokio::select! {
            () = tokio::time::sleep(pause) => Ok(()),
            _ = self.stop.changed() => Err(End),
        }
    }

    /// Writes down how far it has come; not being able to costs nothing but repetitions.
    async fn write(&mut self) {
        if self.place <= self.written && self.delivered == 0 {
            return;
        }
        self.last_write = Stopwatch::start();
        let outcome = record_delivered(&self.delivery.tams, self.id, self.place, self.delivered > 0).await;
        match outcome {
            Ok(()) => (self.written, self.delivered) = (self.place, 0),
            Err(error) => tracing::warn!(%error, webhook = %self.id, "a webhook's place was not written"),
        }
    }

    /// The courier ends in any case: if the webhook's owner was quicker, another one starts from what is written.
    async fn give_up(&mut self, tried: Arc<Webhook>, kind: &str, summary: String) -> End {
        tracing::warn!(webhook = %self.id, kind, summary, "a webhook is given up until its owner starts it again");
        let error = WebhookError { kind: kind.to_owned(), summary, time: self.delivery.tams.clock.now() };
        match record_failure(&self.delivery.tams, tried, self.place, error).await {
            Ok(()) => (self.written, self.delivered) = (self.place, 0),
            Err(error) => {
                tracing::error!(%error, webhook = %self.id, "a webhook's error was not written; it is tried on");
                // Whether the pause was cut short makes no difference.
                let _ = self.sleep(AFTER_FAILURE).await;
            }
        }
        End
    }
}
