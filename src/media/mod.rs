//! Media bytes: the embedded store on local disk, and the signed URLs under which this server hands them out.
//!
//! Uses the standard library's and tokio's files, and hashes. The moment and random bytes come in as parameters.
//! Does not know the HTTP server, its status codes, the catalogue or SQL: `operations` decides which key belongs to
//! which object, `api` turns the results found here into responses.

mod disk;
pub mod local;
pub mod range;
pub mod signing;
mod upload;
pub mod wav;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use local::{Listed, LocalMedia, MediaFile, Stat};
pub use range::{DigestError, RangeOutcome};
pub use signing::{Access, SignatureError, UrlSigner, derived_key, expiry, load_or_create_key};
pub use upload::{Expect, Written};

/// What can go wrong with media bytes.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// Not 32 lowercase hexadecimal digits.
    #[error("{key:?} is not a media key")]
    InvalidKey { key: String },
    #[error("the body is longer than the {max_length} bytes allowed")]
    TooLong { max_length: u64 },
    /// `got` is what had arrived when the difference was noticed: when it is more than `expected`, more may have followed.
    #[error("{expected} bytes were announced, {got} arrived")]
    LengthMismatch { expected: u64, got: u64 },
    /// Both digests in lowercase hexadecimal digits.
    #[error("the {algorithm} of the body is {got}, {expected} was announced")]
    ChecksumMismatch { algorithm: Checksum, expected: String, got: String },
    /// The caller of `write` changed its mind while the body came in.
    #[error("the bytes of this object cannot be replaced any more")]
    NotAccepted,
    /// The sender stopped or broke off.
    #[error("the body ended early")]
    Body(#[source] Box<dyn Error + Send + Sync>),
    #[error("no space left at {}", path.display())]
    NoSpace { path: PathBuf },
    #[error("{}: {cause}", path.display())]
    Io { path: PathBuf, cause: io::Error },
    /// The runtime stops and takes no more work on files.
    #[error("the server is stopping")]
    Stopping,
    #[error("{} holds a secret, but others may read it (mode {mode:04o}): run chmod 600 {}", path.display(), path.display())]
    KeyFileNotPrivate { path: PathBuf, mode: u32 },
    #[error("{} does not hold a key: 64 hexadecimal digits and a line end are wanted", path.display())]
    KeyFileMalformed { path: PathBuf },
}

impl MediaError {
    fn io(path: &Path, source: io::Error) -> MediaError {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => MediaError::NoSpace { path },
            _ => MediaError::Io { path, cause: source },
        }
    }
}

/// The digests that an upload can be checked against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    Sha256,
    Md5,
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Checksum::Sha256 => "SHA-256",
            Checksum::Md5 => "MD5",
        })
    }
}
