//! The bytes of a connection. Something always reads them: so a client that goes away is noticed while its query runs, and
//! a message that would fill the memory is refused before it is taken.

use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncReadExt, AsyncWriteExt, Join, ReadHalf, SimplexStream, WriteHalf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub type Wire = Join<ReadHalf<SimplexStream>, OwnedWriteHalf>;

/// What a client may send ahead.
const AHEAD: usize = 64 << 10;
const BLOCK: usize = 16 << 10;
/// As PostgreSQL has it for what comes before the first message proper.
const LARGEST_STARTUP: usize = 10_000;

/// The other end of a [`Wire`]; what it reads ends with it.
pub struct Peer {
    /// Cancelled when nothing more will come.
    pub gone: CancellationToken,
    /// Why nothing more is taken, if that is not the client's doing.
    pub refused: Arc<OnceLock<String>>,
    _reading: AbortOnDropHandle<()>,
}

pub fn watch(socket: TcpStream, largest_message: usize) -> (Wire, Peer) {
    let (from, to_client) = socket.into_split();
    let (reader, writer) = tokio::io::simplex(AHEAD);
    let gone = CancellationToken::new();
    let refused = Arc::new(OnceLock::new());
    let reading = tokio::spawn({
        let (gone, refused) = (gone.clone(), refused.clone());
        async move {
            pump(from, writer, Messages::new(largest_message), &refused).await;
            gone.cancel();
        }
    });
    (tokio::io::join(reader, to_client), Peer { gone, refused, _reading: AbortOnDropHandle::new(reading) })
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: WriteHalf<SimplexStream>,
    mut messages: Messages,
    refused: &OnceLock<String>,
) {
    let mut block = vec![0; BLOCK];
    while let Ok(length @ 1..) = from.read(&mut block).await {
        let Some(bytes) = block.get(..length) else { break };
        if let Err(reason) = messages.pass(bytes) {
            // Told once, and nothing comes after it.
            let _ = refused.set(reason);
            break;
        }
        if to.write_all(bytes).await.is_err() || messages.farewell {
            break;
        }
    }
    // The reader sees the end; it cannot fail.
    let _ = to.shutdown().await;
}

/// Where messages begin and end, without their contents.
struct Messages {
    largest: usize,
    /// Since the client has introduced itself, each message begins with its kind.
    introduced: bool,
    head: Vec<u8>,
    /// Bytes of this message that are still to come.
    left: usize,
    /// The client has said that it goes; it may keep the connection until its query ends.
    farewell: bool,
}

impl Messages {
    fn new(largest: usize) -> Self {
        Self { largest, introduced: false, head: Vec::with_capacity(8), left: 0, farewell: false }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while !bytes.is_empty() {
            if self.left > 0 {
                let skipped = self.left.min(bytes.len());
                bytes = bytes.get(skipped..).unwrap_or_default();
                self.left -= skipped;
                continue;
            }
            // A kind and a length; before the introduction, a length and a number that says what it is.
            let wanted = if self.introduced { 5 } else { 8 };
            let taken = (wanted - self.head.len()).min(bytes.len());
            let (head, rest) = bytes.split_at(taken);
            self.head.extend_from_slice(head);
            bytes = rest;
            if self.head.len() == wanted {
                self.begin()?;
                self.head.clear();
            }
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<(), String> {
        let number = |from: usize| {
            let bytes = self.head.get(from..from + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok());
            u32::from_be_bytes(bytes.unwrap_or_default())
        };
        let (length, counted, largest) =
            if self.introduced { (number(1), 4, self.largest) } else { (number(0), 8, LARGEST_STARTUP) };
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < counted || length > largest {
            return Err(format!("a message of {length} bytes was announced, and {largest} are taken"));
        }
        self.farewell = self.introduced && self.head.first() == Some(&b'X');
        // Wishes for encryption, and to cancel, come before the introduction.
        let before = 80_877_102..=80_877_104;
        self.introduced = self.introduced || !before.contains(&number(4));
        self.left = length - counted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn untyped(code: u32, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(8 + body.len()).unwrap();
        [&length.to_be_bytes()[..], &code.to_be_bytes(), body].concat()
    }

    fn typed(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(4 + body.len()).unwrap();
        [&[kind][..], &length.to_be_bytes(), body].concat()
    }

    #[test]
    fn messages_are_told_apart_however_they_are_cut() {
        let all = [
            untyped(80_877_103, b""),
            untyped(196_608, b"user\0me\0\0"),
            typed(b'Q', b"SELECT 1\0"),
            typed(b'X', b""),
            typed(b'Q', &[b'x'; 96]),
        ]
        .concat();
        for cut in 1..all.len() {
            let mut messages = Messages::new(100);
            for part in all.chunks(cut) {
                messages.pass(part).unwrap();
            }
            assert_eq!((messages.left, messages.head.len()), (0, 0), "in parts of {cut}");
        }
    }

    #[test]
    fn a_message_that_is_too_long_is_refused_by_its_head() {
        let mut messages = Messages::new(100);
        messages.pass(&untyped(196_608, b"\0")).unwrap();
        assert!(messages.pass(b"Q\0\0\0\x65").is_err());
        assert!(Messages::new(100).pass(b"\x16\x03\x01\0\0\0\0\0").is_err(), "TLS");
        assert!(Messages::new(100).pass(&[0; 8]).is_err(), "shorter than its head");
    }
}
