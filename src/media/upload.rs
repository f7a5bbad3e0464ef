//! The way of a body into a file: in blocks, hashed and counted on the way, and removed again if anything goes wrong.
//!
//! Does not know keys or folders: `local` says where the file begins and where it ends.

use std::error::Error;
use std::fs::{File, FileTimes, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use md5::Md5;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Handle;
use tokio::task::{JoinHandle, spawn_blocking};

use super::disk::{blocking, if_found, join};
use super::local::Stat;
use super::{Checksum, MediaError};
use crate::domain::hex;

/// Two of these are in memory for each upload: one fills while the other is hashed and written.
pub(super) const WRITE_BLOCK: usize = 512 * 1024;

/// What the sender announced about a body, and the most that is taken.
#[derive(Debug, Clone)]
pub struct Expect {
    /// In bytes.
    pub length: Option<u64>,
    pub sha256: Option<[u8; 32]>,
    pub md5: Option<[u8; 16]>,
    /// In bytes.
    pub max_length: u64,
}

/// An object that was stored: durable, readable and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// In bytes.
    pub length: u64,
    pub sha256: [u8; 32],
    /// With its quotes, as HTTP sends it.
    pub etag: String,
}

/// Takes a body into the file `tmp`, checks it, and makes the bytes durable; `commit` then renames the file. Whatever
/// fails before the rename, the file goes.
pub(super) async fn receive<S, E>(
    body: S,
    expect: Expect,
    tmp: PathBuf,
    commit: impl FnOnce(&mut TempFile) -> Result<Stat, MediaError> + Send + 'static,
) -> Result<Written, MediaError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    // One that says itself that it is too long costs nothing.
    check_length(expect.length.unwrap_or(0), &expect)?;
    let with_md5 = expect.md5.is_some();
    let mut pipe = Pipe { running: Some(spawn_blocking(move || Upload::create(tmp, with_md5))) };
    let rest = match pipe.fill(body, &expect).await {
        Ok(rest) => rest,
        Err(error) => {
            pipe.discard().await;
            return Err(error);
        }
    };
    let (upload, _) = pipe.take().await?;
    // Lives as long as this future: tells the other thread whether somebody still waits.
    let waiting = Arc::new(());
    let wanted = Arc::downgrade(&waiting);
    blocking(move || upload.finish(&rest, &expect, commit, &wanted)).await
}

/// An upload on its way: the file and the hashes go to and fro between this future and the threads that may block.
struct Pipe {
    /// Gives back the upload and an emptied buffer. `None` after an error, when the upload has already removed itself.
    running: Option<JoinHandle<Result<Handover, MediaError>>>,
}

type Handover = (Upload, Vec<u8>);

impl Pipe {
    /// Takes the whole body. Returns the last bytes, which are not written yet.
    async fn fill<S, E>(&mut self, mut body: S, expect: &Expect) -> Result<Vec<u8>, MediaError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut buffer = Vec::new();
        let mut got = 0_u64;
        while let Some(chunk) = body.next().await {
            let mut chunk = chunk.map_err(|error| MediaError::Body(error.into()))?;
            got = got.saturating_add(chunk.len() as u64);
            check_length(got, expect)?;
            // Copied: small chunks can hold on to large buffers of the connection.
            while !chunk.is_empty() {
                let part = chunk.split_to(chunk.len().min(WRITE_BLOCK - buffer.len()));
                buffer.extend_from_slice(&part);
                if buffer.len() == WRITE_BLOCK {
                    let (upload, spare) = self.take().await?;
                    self.running = Some(spawn_blocking(move || upload.write(buffer)));
                    buffer = spare;
                }
            }
        }
        match expect.length {
            Some(expected) if expected != got => Err(MediaError::LengthMismatch { expected, got }),
            _ => Ok(buffer),
        }
    }

    async fn take(&mut self) -> Result<Handover, MediaError> {
        match self.running.take() {
            Some(running) => join(running).await,
            None => Err(MediaError::Stopping),
        }
    }

    /// Returns when the unfinished file is gone.
    async fn discard(mut self) {
        if let Ok((mut upload, _)) = self.take().await {
            let temp = upload.temp.take();
            // The caller has an error to report already; what cannot be removed now goes at the next start.
            let _ = spawn_blocking(move || drop(temp)).await;
        }
    }
}

/// Stops a body that is longer than it may be, before the disk is full of it.
fn check_length(got: u64, expect: &Expect) -> Result<(), MediaError> {
    if got > expect.max_length {
        return Err(MediaError::TooLong { max_length: expect.max_length });
    }
    match expect.length {
        Some(expected) if got > expected => Err(MediaError::LengthMismatch { expected, got }),
        _ => Ok(()),
    }
}

/// A file that removes itself unless it was renamed.
pub(super) struct TempFile {
    path: PathBuf,
    file: File,
    renamed: bool,
}

/// All of this blocks.
impl TempFile {
    fn create(path: PathBuf) -> Result<TempFile, MediaError> {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => Ok(TempFile { path, file, renamed: false }),
            Err(error) => Err(MediaError::io(&path, error)),
        }
    }

    fn sync(&self) -> Result<(), MediaError> {
        self.file.sync_all().map_err(|source| MediaError::io(&self.path, source))
    }

    /// Puts the file in the place of the old one, if there is one. The new name is not durable yet. No other rename to
    /// the same target may run meanwhile.
    pub(super) fn rename(&mut self, target: &Path) -> Result<Stat, MediaError> {
        let here = |source| MediaError::io(&self.path, source);
        let mut metadata = self.file.metadata().map_err(here)?;
        // The clock of a file system ticks only every few milliseconds, and can be set back: without this, new bytes of
        // the same length could get the ETag of the old ones.
        if let Some(old) = if_found(std::fs::metadata(target), target)?
            && let (Ok(old), Ok(new)) = (old.modified(), metadata.modified())
            && new <= old
        {
            let later = FileTimes::new().set_modified(old + Duration::from_nanos(1));
            self.file.set_times(later).map_err(here)?;
            self.sync()?;
            metadata = self.file.metadata().map_err(here)?;
        }
        std::fs::rename(&self.path, target).map_err(|source| MediaError::io(target, source))?;
        self.renamed = true;
        Ok(Stat::new(&metadata))
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.renamed {
            // What cannot be removed now goes at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

struct Upload {
    /// `None` when it was taken away to be removed.
    temp: Option<TempFile>,
    sha256: Sha256,
    md5: Option<Md5>,
}

impl Drop for Upload {
    /// Reached with a file only when the future of the upload was dropped, on a thread that must not block: to free the
    /// blocks of a long file takes a while.
    fn drop(&mut self) {
        if let (Some(temp), Ok(runtime)) = (self.temp.take(), Handle::try_current()) {
            // A runtime that stops drops the closure, and the file with it.
            runtime.spawn_blocking(move || drop(temp));
        }
    }
}

/// All of this blocks.
impl Upload {
    fn create(path: PathBuf, with_md5: bool) -> Result<Handover, MediaError> {
        let upload =
            Upload { temp: Some(TempFile::create(path)?), sha256: Sha256::new(), md5: with_md5.then(Md5::new) };
        Ok((upload, Vec::new()))
    }

    /// Gives the buffer back empty. On an error the file is gone.
    fn write(mut self, mut block: Vec<u8>) -> Result<Handover, MediaError> {
        match self.append(&block) {
            Ok(()) => {
                block.clear();
                Ok((self, block))
            }
            Err(error) => {
                drop(self.temp.take());
                Err(error)
            }
        }
    }

    fn append(&mut self, block: &[u8]) -> Result<(), MediaError> {
        let temp = self.temp.as_mut().ok_or(MediaError::Stopping)?;
        temp.file.write_all(block).map_err(|source| MediaError::io(&temp.path, source))?;
        self.sha256.update(block);
        if let Some(md5) = &mut self.md5 {
            md5.update(block);
        }
        Ok(())
    }

    fn finish(
        mut self,
        rest: &[u8],
        expect: &Expect,
        commit: impl FnOnce(&mut TempFile) -> Result<Stat, MediaError>,
        wanted: &Weak<()>,
    ) -> Result<Written, MediaError> {
        let finish = || {
            self.append(rest)?;
            let sha256 = self.check(expect)?;
            let temp = self.temp.as_mut().ok_or(MediaError::Stopping)?;
            temp.sync()?;
            if wanted.strong_count() == 0 {
                return Err(MediaError::Stopping);
            }
            let Stat { length, etag, .. } = commit(temp)?;
            Ok(Written { length, sha256, etag })
        };
        let written = finish();
        if written.is_err() {
            drop(self.temp.take());
        }
        written
    }

    fn check(&mut self, expect: &Expect) -> Result<[u8; 32], MediaError> {
        let differ = |algorithm, expected: &[u8], got: &[u8]| MediaError::ChecksumMismatch {
            algorithm,
            expected: hex(expected),
            got: hex(got),
        };
        let sha256: [u8; 32] = self.sha256.finalize_reset().into();
        if let Some(expected) = expect.sha256.filter(|expected| *expected != sha256) {
            return Err(differ(Checksum::Sha256, &expected, &sha256));
        }
        let md5: Option<[u8; 16]> = self.md5.take().map(|md5| md5.finalize().into());
        match (expect.md5, md5) {
            (Some(expected), Some(got)) if expected != got => Err(differ(Checksum::Md5, &expected, &got)),
            _ => Ok(sha256),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_full_disk_is_told_apart() {
        let error = MediaError::io(Path::new("/x"), ErrorKind::StorageFull.into());
        assert!(matches!(error, MediaError::NoSpace { .. }));
        // /dev/full refuses every byte, as a full disk does.
        let Ok(file) = OpenOptions::new().write(true).open("/dev/full") else {
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("half");
        std::fs::write(&path, "").unwrap();
        let temp = Some(TempFile { path: path.clone(), file, renamed: false });
        let upload = Upload { temp, sha256: Sha256::new(), md5: None };
        assert!(matches!(upload.write(vec![0; 10]), Err(MediaError::NoSpace { .. })));
        assert!(!path.exists());
    }
    #[test]
    fn an_upload_that_nobody_waits_for_any_more_is_not_renamed() {
        let folder = tempfile::tempdir().unwrap();
        let expect = Expect { length: None, sha256: None, md5: None, max_length: 10 };
        let (upload, _) = Upload::create(folder.path().join("half"), false).unwrap();
        let gone = Weak::new();
        let commit = |_: &mut TempFile| panic!("renamed");
        let result = upload.finish(b"bytes", &expect, commit, &gone);
        assert!(matches!(result, Err(MediaError::Stopping)));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
