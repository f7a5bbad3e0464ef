//! Blocking work on files: the threads for it, and what the standard library leaves to do.
//!
//! Does not know what the files hold.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::panic::resume_unwind;
use std::path::Path;

use tokio::task::{JoinHandle, spawn_blocking};

use super::MediaError;

/// Makes the names in a folder durable: a file that was created, renamed or removed there stays so after a power cut.
pub(super) fn sync_folder(folder: &Path) -> Result<(), MediaError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|source| MediaError::io(folder, source))
}

/// `None` if the file is not there.
pub(super) fn if_found<T>(result: io::Result<T>, path: &Path) -> Result<Option<T>, MediaError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(MediaError::io(path, error)),
    }
}

/// Runs work on files on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, MediaError> + Send + 'static,
) -> Result<T, MediaError> {
    join(spawn_blocking(work)).await
}

pub(super) async fn join<T>(handle: JoinHandle<Result<T, MediaError>>) -> Result<T, MediaError> {
    match handle.await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            Err(_) => Err(MediaError::Stopping),
        },
    }
}
