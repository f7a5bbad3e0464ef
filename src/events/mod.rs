//! Events on their way out: to webhooks (delivery) and to clients that keep a connection (streams). Both follow the
//! catalogue's log and choose with the same filter. May use operations and everything below; what an event looks like in
//! JSON is told by the API through [`Shape`]. The only module that sends HTTP requests.

mod courier;
mod delivery;
mod filter;
mod follow;
mod history;
mod post;
mod targets;
mod vault;

use std::time::Duration;

use async_trait::async_trait;

use crate::catalog::{LoggedEvent, ReadError};
use crate::domain::Webhook;

pub use delivery::{Delivery, run_delivery};
pub use filter::EventFilter;
pub use follow::{Follow, FollowError, place_of_text, place_text};
pub use history::{Attempt, History};
pub use post::{Poster, PosterError};
pub use targets::{TargetError, Targets};
pub use vault::Vault;

#[derive(Debug, Clone)]
pub struct EventSettings {
    /// Pause after the first failed attempt; it doubles with each one.
    pub first_retry: Duration,
    /// The longest pause.
    pub longest_retry: Duration,
    /// How long one event is tried.
    pub give_up_after: Duration,
    /// How long a receiver may take for one.
    pub timeout: Duration,
    /// Whether webhooks may point into private networks and to this machine.
    pub allow_private_targets: bool,
    /// Hosts that they may point to in any case.
    pub allowed_hosts: Vec<String>,
}

/// Makes the JSON body of an event as this webhook wants it; `None` where there is nothing to show.
#[async_trait]
pub trait Shape: Send + Sync {
    /// `None` for an event that cannot be shown.
    async fn shape(&self, event: &LoggedEvent, webhook: &Webhook) -> Result<Option<Vec<u8>>, ReadError>;
}
