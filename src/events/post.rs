//! One attempt to deliver one event.

use std::error::Error as StdError;

use reqwest::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::redirect;

use super::targets::{TargetError, Targets};
use super::{EventSettings, Vault};
use crate::domain::Webhook;

/// Of an answer's body so much is read, so that the connection can be used again; nothing of it is kept.
const MOST_OF_BODY: usize = 64 << 10;

/// Sends events. Follows no redirect, keeps no cookie, asks no proxy, carries nothing of the TAMS clients.
pub struct Poster {
    http: reqwest::Client,
    targets: Targets,
    vault: Vault,
}

#[derive(Debug, thiserror::Error)]
#[error("the HTTP client for webhooks cannot be made: {0}")]
pub struct PosterError(#[from] reqwest::Error);

/// Why an attempt does not count as delivered.
#[derive(Debug, Clone)]
pub struct Failure {
    pub status: Option<u16>,
    pub reason: String,
    /// Whether it can be expected to pass by itself.
    pub passing: bool,
}

impl Failure {
    fn lasting(reason: impl ToString) -> Self {
        Self { status: None, reason: reason.to_string(), passing: false }
    }
}

impl Poster {
    pub fn new(settings: &EventSettings, targets: Targets, vault: Vault) -> Result<Self, PosterError> {
        // Refused when there is one already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("tamslake/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .dns_resolver(targets.clone())
            .timeout(settings.timeout)
            .pool_max_idle_per_host(2)
            .build()?;
        Ok(Self { http, targets, vault })
    }

    pub fn vault(&self) -> &Vault {
        &self.vault
    }

    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The status of an answer that counts as delivered.
    pub(super) async fn post(&self, webhook: &Webhook, body: Vec<u8>) -> Result<u16, Failure> {
        let url = self.targets.check(&webhook.url).map_err(|error| Failure::lasting(format!("the url {error}")))?;
        let mut request = self.http.post(url).header(CONTENT_TYPE, "application/json").body(body);
        if let (Some(name), Some(secret)) = (&webhook.api_key_name, &webhook.api_key_value) {
            let secret = self.vault.open(secret).map_err(Failure::lasting)?;
            let name = HeaderName::try_from(name).map_err(Failure::lasting)?;
            let mut value = HeaderValue::from_str(secret.reveal())
                .map_err(|_| Failure::lasting("api_key_value cannot stand in a header"))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        let mut response = request.send().await.map_err(|error| of_connection(&error))?;
        let status = response.status();
        let mut read = 0;
        while read < MOST_OF_BODY
            && let Ok(Some(block)) = response.chunk().await
        {
            read += block.len();
        }
        if status.is_success() {
            return Ok(status.as_u16());
        }
        let passing = status.is_server_error() || matches!(status.as_u16(), 408 | 429);
        let reason = format!("HTTP {} from the receiver", status.as_u16());
        Err(Failure { status: Some(status.as_u16()), reason, passing })
    }
}

/// Says no more than what kind of failure it was: the rest tells of the network behind the server.
fn of_connection(error: &reqwest::Error) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(refused) = inner.downcast_ref::<TargetError>() {
            return Failure::lasting(format!("the url {refused}"));
        }
        cause = inner.source();
    }
    let reason = if error.is_timeout() {
        "the receiver did not answer in time"
    } else if error.is_connect() {
        "the receiver cannot be reached"
    } else {
        "the connection to the receiver broke"
    };
    Failure { status: None, reason: reason.to_owned(), passing: true }
}
