//! The protocol of PostgreSQL, for psql, drivers and dashboards: a front of [`Sql`], which keeps the limits. DataFusion
//! answers, because only it has PostgreSQL's system tables.
//!
//! Nobody is asked who they are yet: [`Front::on_startup`](startup) is the place for it.

mod errors;
mod extended;
mod front;
mod rows;
mod session;
mod simple;
mod startup;
mod statement;
mod talk;
mod wire;
mod words;

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use pgwire::api::{ClientInfo, DefaultClient, NoopHandler, PgWireConnectionState};
use pgwire::error::{ErrorInfo, PgWireError};
use pgwire::messages::response::{GssEncResponse, SslResponse};
use pgwire::messages::{PgWireBackendMessage, PgWireFrontendMessage, SslNegotiationMetaMessage};
use pgwire::tokio::server::{PgWireMessageServerCodec, process_error, process_message};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use self::errors::{PROTOCOL, SHUTTING_DOWN, fatal};
use self::extended::{Extended, Prepared};
use self::front::Front;
use self::session::Session;
use self::wire::Wire;
use crate::query::Sql;

#[derive(Debug, Clone)]
pub struct PostgresSettings {
    pub max_connections: usize,
    /// How long queries may go on when the server stops.
    pub grace: Duration,
}

/// Connections that are not welcome, but hear why, or cancel a query.
const AT_THE_DOOR: usize = 32;
/// From the first byte to the welcome.
const STARTUP: Duration = Duration::from_secs(30);
/// Besides the text of a query: values of its parameters.
const MESSAGE_BEYOND_SQL: usize = 1 << 20;
/// After a failure to take a connection, as when there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, and lets running queries finish for a while.
pub async fn serve(sql: Sql, listener: TcpListener, settings: PostgresSettings, stop: impl Future<Output = ()>) {
    let mut stop = pin!(stop);
    let closing = CancellationToken::new();
    let room = Arc::new(Semaphore::new(settings.max_connections.saturating_add(AT_THE_DOOR)));
    let threads = sql.handle().clone();
    let front = Arc::new(Front::new(sql, settings.max_connections));
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            () = &mut stop => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let socket = match accepted {
            Ok((socket, _)) => socket,
            Err(error) => {
                tracing::warn!(%error, "a connection of a PostgreSQL client could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        // Without room for a word, the connection just ends.
        let Ok(room) = room.clone().try_acquire_owned() else { continue };
        let (front, closing) = (front.clone(), closing.clone());
        let connection = async move {
            let _room = room;
            if let Err(error) = converse(socket, front, closing).await {
                tracing::debug!(%error, "a connection of a PostgreSQL client broke off");
            }
        };
        connections.spawn_on(connection, &threads);
    }
    drop(listener);
    closing.cancel();
    let finished = async { while connections.join_next().await.is_some() {} };
    // Those that are left end with the set.
    let _ = tokio::time::timeout(settings.grace, finished).await;
}

type Socket = Framed<Wire, PgWireMessageServerCodec<Prepared>>;

async fn converse(socket: TcpStream, front: Arc<Front>, closing: CancellationToken) -> io::Result<()> {
    let address = socket.peer_addr()?;
    socket.set_nodelay(true)?;
    keep_alive(&socket);
    let largest = front.sql.settings().max_sql_bytes.saturating_add(MESSAGE_BEYOND_SQL);
    let (wire, peer) = wire::watch(socket, largest);
    let mut socket: Socket = Framed::new(wire, PgWireMessageServerCodec::new(DefaultClient::new(address, false)));
    // The same caller by IPv4 and by IPv4 in IPv6.
    let caller = address.ip().to_canonical().to_string();
    let session = Session::new(caller, peer.gone.clone(), front.cancels.clone());
    socket.session_extensions().insert(session);
    let mut startup = pin!(tokio::time::sleep(STARTUP));
    // Messages of prepared statements belong together until the client says that it waits.
    let mut midway = false;
    loop {
        let starting = is_starting(&socket);
        let message = tokio::select! {
            biased;
            () = closing.cancelled(), if !midway => {
                let error = fatal(SHUTTING_DOWN, "the server is stopping: connect again in a while");
                return process_error(&mut socket, error, false).await;
            }
            () = &mut startup, if starting => return Ok(()),
            message = socket.next() => message,
        };
        let message = match (message, peer.refused.get()) {
            (Some(Ok(message)), _) => message,
            (None, None) => return Ok(()),
            (_, Some(reason)) => return process_error(&mut socket, fatal(PROTOCOL, reason), false).await,
            (Some(Err(error)), None) => {
                return process_error(&mut socket, fatal(PROTOCOL, error.to_string()), false).await;
            }
        };
        let Some(message) = negotiate(&mut socket, message).await? else { continue };
        if matches!(message, PgWireFrontendMessage::Terminate(_)) {
            return Ok(());
        }
        let extended = message.is_extended_query();
        midway = extended && !matches!(message, PgWireFrontendMessage::Sync(_));
        let cancelling = matches!(message, PgWireFrontendMessage::CancelRequest(_));
        let (extended_queries, copies) = (Arc::new(Extended(front.clone())), Arc::new(NoopHandler));
        let done = process_message(
            message,
            &mut socket,
            front.clone(),
            front.clone(),
            extended_queries,
            copies,
            front.clone(),
        );
        if let Err(error) = done.await {
            let mut info = ErrorInfo::from(error);
            if starting {
                info.severity = "FATAL".into();
            }
            let last = info.is_fatal();
            process_error(&mut socket, PgWireError::UserError(Box::new(info)), extended).await?;
            if last {
                return Ok(());
            }
        }
        if cancelling {
            return Ok(());
        }
    }
}

/// Before the introduction clients ask for encryption, which there is none of; a message that is none of this is returned.
async fn negotiate(socket: &mut Socket, message: PgWireFrontendMessage) -> io::Result<Option<PgWireFrontendMessage>> {
    let PgWireFrontendMessage::SslNegotiation(wish) = message else { return Ok(Some(message)) };
    match wish {
        SslNegotiationMetaMessage::PostgresSsl(_) => {
            socket.send(PgWireBackendMessage::SslResponse(SslResponse::Refuse)).await?;
        }
        SslNegotiationMetaMessage::PostgresGss(_) => {
            socket.send(PgWireBackendMessage::GssEncResponse(GssEncResponse::Refuse)).await?;
        }
        SslNegotiationMetaMessage::None => socket.set_state(PgWireConnectionState::AwaitingStartup),
    }
    Ok(None)
}

fn is_starting(socket: &Socket) -> bool {
    matches!(
        socket.state(),
        PgWireConnectionState::AwaitingSslRequest
            | PgWireConnectionState::AwaitingStartup
            | PgWireConnectionState::AuthenticationInProgress
    )
}

/// So that a client whose machine is gone does not keep its place for ever.
fn keep_alive(socket: &TcpStream) {
    use rustix::net::sockopt;
    let set = || -> rustix::io::Result<()> {
        sockopt::set_socket_keepalive(socket, true)?;
        sockopt::set_tcp_keepidle(socket, Duration::from_secs(60))
    };
    if let Err(error) = set() {
        tracing::debug!(%error, "a connection goes without keepalive");
    }
}

#[cfg(test)]
mod tests;
