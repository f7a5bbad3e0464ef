//! Arrow Flight SQL, for ADBC, JDBC and data frames: a front of [`Sql`], which keeps the limits. Nothing is kept between
//! calls: tickets and handles carry the query, so that any server over the same catalogue can take them.
//!
//! Nobody is asked who they are yet: [`Asks`](handle::Asks) is the place for it.

mod door;
mod handle;
mod listing;
mod params;
mod service;
mod status;

use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tonic::transport::Server;

use self::service::Front;
use crate::query::Sql;

#[derive(Debug, Clone)]
pub struct FlightSettings {
    pub max_connections: usize,
    /// How long queries may go on when the server stops.
    pub grace: Duration,
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("Flight SQL: {0}")]
    Serve(#[from] tonic::transport::Error),
    #[error("Flight SQL: what describes the server cannot be written: {0}")]
    Info(#[from] arrow_flight::error::FlightError),
    #[error("Flight SQL: serving stopped: {0}")]
    Stopped(#[from] tokio::task::JoinError),
}

/// Calls at one time on one connection.
const MAX_STREAMS: u32 = 64;
/// Besides the text of a query: values of its parameters.
const MESSAGE_BEYOND_SQL: usize = 1 << 20;
/// A client that does not answer a ping is gone, and its queries with it.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_ANSWER: Duration = Duration::from_secs(20);

/// Serves until `stop`, and lets running queries finish for a while.
pub async fn serve(
    sql: Sql,
    listener: TcpListener,
    settings: FlightSettings,
    stop: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let threads = sql.handle().clone();
    // A handle is the text and some more around it, as JSON.
    let largest = sql.settings().max_sql_bytes.saturating_mul(2).saturating_add(MESSAGE_BEYOND_SQL);
    let service = FlightServiceServer::new(Front::new(sql)?).max_decoding_message_size(largest);
    let closing = CancellationToken::new();
    let serving = Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(PING_EVERY))
        .http2_keepalive_timeout(Some(PING_ANSWER))
        .add_service(service)
        .serve_with_incoming_shutdown(
            door::visitors(listener, settings.max_connections),
            closing.clone().cancelled_owned(),
        );
    let mut serving = AbortOnDropHandle::new(threads.spawn(serving));
    tokio::select! {
        served = &mut serving => return Ok(served??),
        () = stop => closing.cancel(),
    }
    match tokio::time::timeout(settings.grace, serving).await {
        Ok(served) => Ok(served??),
        // What still runs has its own time limit.
        Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests;
