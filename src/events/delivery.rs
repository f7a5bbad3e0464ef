//! Keeps one courier running for every webhook that is active, and remembers what they need in common.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{Id, JoinSet};

use super::courier::Courier;
use super::{EventSettings, History, Poster, Shape};
use crate::domain::WebhookId;
use crate::operations::Tams;

/// New webhooks are looked for this long after the last look, at least.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

/// What all couriers work with.
pub struct Delivery {
    pub tams: Arc<Tams>,
    pub settings: EventSettings,
    pub poster: Arc<Poster>,
    pub history: Arc<History>,
    pub shape: Arc<dyn Shape>,
}

/// Delivers events to webhooks until `stop` turns true. What was delivered by then is written down.
pub async fn run_delivery(delivery: Delivery, mut stop: watch::Receiver<bool>) {
    let delivery = Arc::new(delivery);
    let mut newest = delivery.tams.catalog.events().newest();
    let mut couriers = JoinSet::new();
    let mut busy: HashMap<Id, WebhookId> = HashMap::new();
    while !*stop.borrow() {
        newest.mark_unchanged();
        let state = delivery.tams.catalog.snapshot();
        for webhook in state.webhooks().filter(|webhook| webhook.status.is_active()) {
            // A courier notices by itself what becomes of its webhook.
            if !busy.values().any(|id| *id == webhook.id) {
                let courier = Courier::new(delivery.clone(), webhook, stop.clone());
                busy.insert(couriers.spawn(courier.run()).id(), webhook.id);
            }
        }
        delivery.history.forget(|id| state.webhook(id).is_some());
        drop(state);
        tokio::select! {
            _ = stop.changed() => break,
            Some(ended) = couriers.join_next_with_id() => ended_with(&mut busy, ended),
            _ = newest.changed() => {}
        }
        tokio::select! {
            _ = stop.changed() => break,
            () = tokio::time::sleep(BETWEEN_LOOKS) => {}
        }
    }
    while let Some(ended) = couriers.join_next_with_id().await {
        ended_with(&mut busy, ended);
    }
}

fn ended_with(busy: &mut HashMap<Id, WebhookId>, ended: Result<(Id, ()), tokio::task::JoinError>) {
    let task = match ended {
        Ok((task, ())) => task,
        Err(error) => {
            tracing::error!(%error, "a webhook's courier broke off; another one takes over");
            error.id()
        }
    };
    busy.remove(&task);
}
