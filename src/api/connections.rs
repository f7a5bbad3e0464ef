//! Which clients are still there. A handler of HTTP/1 goes on when its client has gone, and would not hear of it.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;

/// Open connections, by the address of the client.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<SocketAddr, CancellationToken>>>);

impl Connections {
    /// A connection that tells when its client has stopped sending.
    pub fn watch<Io>(&self, client: SocketAddr, io: Io) -> Watched<Io> {
        let gone = CancellationToken::new();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(client, gone.clone());
        Watched { io, client, gone, all: self.clone() }
    }

    /// Ends when the client has gone; never for one that is not known.
    pub async fn gone(&self, client: Option<SocketAddr>) {
        let known =
            client.and_then(|client| self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&client).cloned());
        match known {
            Some(gone) => gone.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

/// See [`Connections::watch`].
pub struct Watched<Io> {
    io: Io,
    client: SocketAddr,
    gone: CancellationToken,
    all: Connections,
}

impl<Io> Drop for Watched<Io> {
    fn drop(&mut self) {
        self.gone.cancel();
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.client);
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Watched<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buffer.filled().len(), buffer.remaining());
        let read = Pin::new(&mut self.io).poll_read(context, buffer);
        let is_over = match &read {
            Poll::Ready(Ok(())) => room > 0 && buffer.filled().len() == before,
            Poll::Ready(Err(_)) => true,
            Poll::Pending => false,
        };
        if is_over {
            self.gone.cancel();
        }
        read
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Watched<Io> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
