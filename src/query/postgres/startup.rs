//! How a connection begins, and how another one cancels its query.

use std::collections::HashMap;
use std::fmt::Debug;

use async_trait::async_trait;
use futures::Sink;
use pgwire::api::auth::{
    ServerParameterProvider, StartupHandler, finish_authentication, protocol_negotiation,
    save_startup_parameters_to_metadata,
};
use pgwire::api::cancel::CancelHandler;
use pgwire::api::{ClientInfo, PidSecretKeyGenerator};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::cancel::CancelRequest;
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage};

use super::errors::{PROTOCOL, TOO_MANY_CONNECTIONS, fatal};
use super::front::{Front, session};
use super::talk;

#[async_trait]
impl StartupHandler for Front {
    async fn on_startup<C>(&self, client: &mut C, message: PgWireFrontendMessage) -> PgWireResult<()>
    where
        C: ClientInfo + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let PgWireFrontendMessage::Startup(startup) = message else {
            return Err(fatal(PROTOCOL, "a connection begins with a startup message"));
        };
        protocol_negotiation(client, &startup).await?;
        save_startup_parameters_to_metadata(client, &startup);
        // Who wants to know who asks, asks here; the answer comes as a message of its own.
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| {
            fatal(
                TOO_MANY_CONNECTIONS,
                "there are as many connections as there may be (query.postgres.max_connections)",
            )
        })?;
        let (pid, secret) = self.ids.generate(client);
        session(client)?.introduce(place, pid, &secret);
        client.set_pid_and_secret_key(pid, secret);
        finish_authentication(client, &Parameters).await
    }
}

/// What a server tells of itself.
struct Parameters;

impl ServerParameterProvider for Parameters {
    fn server_parameters<C: ClientInfo>(&self, client: &C) -> Option<HashMap<String, String>> {
        let settings = talk::REPORTED.iter().filter_map(|name| {
            Some(((*name).to_owned(), talk::setting(client.metadata(), &name.to_ascii_lowercase())?))
        });
        Some(settings.collect())
    }
}

#[async_trait]
impl CancelHandler for Front {
    async fn on_cancel_request(&self, request: CancelRequest) {
        self.cancels.cancel(request.pid, &request.secret_key);
    }
}
