//! The catalogue on a local disk: every file is written beside, flushed, linked into place, and its folder flushed,
//! so that a file in place is whole and survives a power cut. (object_store's local store flushes nothing.)

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::LogStoreRef;
use rustix::fs::FlockOperation;
use tokio::sync::oneshot;

use super::{Create, Store, StoreError};
use crate::catalog::paths;
use crate::catalog::publish::{PublishError, local_table};

#[derive(Debug, Clone)]
pub struct LocalStore {
    inner: Arc<Inner>,
    /// Creates, which is what commits are made of: nothing else shall hold them up.
    commits: Worker,
    files: Worker,
    /// Parts of cold files, which requests wait for.
    pages: Worker,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    next_temporary: AtomicU64,
    access: Access,
}

#[derive(Debug)]
enum Access {
    /// The lock is held for as long as the store is open: one process at a time.
    Write(Mutex<Option<File>>),
    /// Beside whoever writes.
    Read,
}

impl LocalStore {
    /// Opens or makes the folder and takes it for this process alone.
    ///
    /// Errors: another process has it, or the folder cannot be written.
    pub fn open(root: PathBuf) -> Result<Self, StoreError> {
        make_folders(&root.join("tmp"))?;
        let path = root.join("lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| failure(&path, &error))?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| StoreError {
            location: path.display().to_string(),
            reason: "another process has this catalogue open: stop it, or choose another data folder".into(),
            full: false,
        })?;
        // Files that a crash left half-written; nothing refers to them.
        let temporary = root.join("tmp");
        for entry in fs::read_dir(&temporary).map_err(|error| failure(&temporary, &error))? {
            let path = entry.map_err(|error| failure(&temporary, &error))?.path();
            fs::remove_file(&path).map_err(|error| failure(&path, &error))?;
        }
        // A name that a failed flush left behind counts as written from here on, so it must be.
        for folder in [root.join("log"), root.clone()].iter().filter(|folder| folder.is_dir()) {
            File::open(folder).and_then(|open| open.sync_all()).map_err(|error| failure(folder, &error))?;
        }
        Self::start(root, Access::Write(Mutex::new(Some(lock))))
    }

    /// Opens the folder to read it, also while a server writes there. Nothing is made or changed, and writes are refused.
    ///
    /// Errors: there is no such folder.
    pub fn open_read_only(root: PathBuf) -> Result<Self, StoreError> {
        fs::read_dir(&root).map_err(|error| failure(&root, &error))?;
        Self::start(root, Access::Read)
    }

    fn start(root: PathBuf, access: Access) -> Result<Self, StoreError> {
        let inner = Arc::new(Inner { root, next_temporary: AtomicU64::new(0), access });
        let start = |name| Worker::start(name).map_err(|error| failure(&inner.root, &error));
        let (commits, files, pages) = (start("store-commits")?, start("store-files")?, start("store-pages")?);
        Ok(Self { inner, commits, files, pages })
    }

    /// Bytes of a file; `None` where none is.
    pub async fn length(&self, path: &str) -> Result<Option<u64>, StoreError> {
        self.run(&self.files, path, |_, target| match fs::metadata(target) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure(target, &error)),
        })
        .await?
    }

    async fn run<T: Send + 'static>(
        &self,
        worker: &Worker,
        path: &str,
        work: impl FnOnce(&Inner, &Path) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (inner, target) = (self.inner.clone(), self.inner.root.join(path));
        let location = target.display().to_string();
        let stopped = || StoreError { location, reason: "work on files has stopped".into(), full: false };
        worker.run(move || work(&inner, &target)).await.ok_or_else(stopped)
    }
}

/// A thread that does one job after the other. It is there from the start: a pool that starts threads when they are
/// needed fails when the system has none to give, and that must not be in the middle of a commit.
#[derive(Debug, Clone)]
struct Worker(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

impl Worker {
    fn start(name: &str) -> io::Result<Self> {
        // Each caller waits for its one job, so the queue is as short as the callers are few.
        let (sender, jobs) = mpsc::channel::<Job>();
        let work = move || jobs.into_iter().for_each(|job| drop(catch_unwind(AssertUnwindSafe(job))));
        std::thread::Builder::new().name(name.into()).spawn(work)?;
        Ok(Self(sender))
    }

    /// `None` if the job did not come to its end.
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = oneshot::channel();
        // A caller that has gone needs no answer.
        self.0.send(Box::new(move || drop(answer.send(job())))).ok()?;
        answered.await.ok()
    }
}

impl Inner {
    fn check_lock(&self) -> Result<(), StoreError> {
        let refused =
            |reason: &str| StoreError { location: self.root.display().to_string(), reason: reason.into(), full: false };
        match &self.access {
            Access::Write(lock) if lock.lock().unwrap_or_else(PoisonError::into_inner).is_some() => Ok(()),
            Access::Write(_) => Err(refused("the catalogue is closed")),
            Access::Read => Err(refused("the catalogue was opened to be read only")),
        }
    }

    /// A flushed file under a temporary name, to be linked or renamed into place.
    fn write_beside(&self, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        self.check_lock()?;
        let name = self.next_temporary.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("tmp").join(name.to_string());
        let write = || {
            let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().map_err(|error| {
            // Best effort: what stays is removed at the next start.
            let _ = fs::remove_file(&path);
            failure(&path, &error)
        })?;
        Ok(path)
    }

    fn create(&self, target: &Path, bytes: &[u8]) -> Create {
        if let Err(error) = self.check_lock() {
            return Create::Failed(error);
        }
        if let Some(folder) = target.parent()
            && let Err(error) = make_folders(folder)
        {
            return Create::Failed(error);
        }
        // Opened first: once the file is in place only the flush itself may fail, for nobody knows what that has done.
        let folder = match open_folder_of(target) {
            Ok(folder) => folder,
            Err(error) => return Create::Failed(error),
        };
        let beside = match self.write_beside(bytes) {
            Ok(path) => path,
            Err(error) => return Create::Failed(error),
        };
        let linked = fs::hard_link(&beside, target);
        let _ = fs::remove_file(&beside);
        match linked {
            Ok(()) => match folder.sync_all() {
                Ok(()) => Create::Created,
                Err(error) => Create::Unclear(failure(target, &error)),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Create::Exists,
            Err(error) => Create::Failed(failure(target, &error)),
        }
    }

    /// A checkpoint's folder goes with its last file; the folders below the root stay.
    fn remove_if_empty(&self, folder: Option<&Path>) {
        if let Some(folder) = folder.filter(|folder| folder.parent() != Some(&self.root) && *folder != self.root) {
            // Refused by the system while anything is in it.
            let _ = fs::remove_dir(folder);
        }
    }

    fn write(&self, target: &Path, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_lock()?;
        if let Some(folder) = target.parent() {
            make_folders(folder)?;
        }
        let beside = self.write_beside(bytes)?;
        fs::rename(&beside, target).map_err(|error| {
            let _ = fs::remove_file(&beside);
            failure(target, &error)
        })?;
        flush_folder_of(target)
    }
}

#[async_trait]
impl Store for LocalStore {
    async fn create(&self, path: &str, bytes: Bytes) -> Create {
        match self.run(&self.commits, path, move |inner, target| inner.create(target, &bytes)).await {
            Ok(outcome) => outcome,
            Err(error) => Create::Unclear(error),
        }
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.run(&self.files, path, move |inner, target| inner.write(target, &bytes)).await?
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.run(&self.files, path, |_, target| match fs::read(target) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(failure(target, &error)),
        })
        .await?
    }

    async fn read_ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError> {
        self.run(&self.pages, path, move |_, target| {
            let read = || {
                let file = File::open(target)?;
                ranges.iter().map(|range| read_range(&file, range)).collect::<io::Result<Vec<Bytes>>>()
            };
            read().map_err(|error| failure(target, &error))
        })
        .await?
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.run(&self.files, folder, |inner, target| {
            let mut found = Vec::new();
            list_below(target, &inner.root, &mut found)?;
            found.sort_unstable();
            Ok(found)
        })
        .await?
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.run(&self.files, path, |inner, target| match inner.check_lock().map(|()| fs::remove_file(target))? {
            Ok(()) => {
                flush_folder_of(target)?;
                inner.remove_if_empty(target.parent());
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failure(target, &error)),
        })
        .await?
    }

    fn release(&self) {
        if let Access::Write(lock) = &self.inner.access {
            drop(lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }

    fn exclusive(&self) -> bool {
        true
    }

    fn delta_log(&self, table: &str) -> Option<Result<LogStoreRef, PublishError>> {
        Some(local_table(&self.inner.root.join(paths::TABLES).join(table)))
    }

    fn location(&self, path: &str) -> String {
        self.inner.root.join(path).display().to_string()
    }
}

fn read_range(file: &File, range: &Range<u64>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes.into())
}

fn failure(path: &Path, error: &io::Error) -> StoreError {
    StoreError {
        location: path.display().to_string(),
        reason: error.to_string(),
        full: matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded),
    }
}

/// Makes a folder and those above it, and flushes each parent, so that the names survive too.
fn make_folders(folder: &Path) -> Result<(), StoreError> {
    if folder.is_dir() {
        return Ok(());
    }
    if let Some(parent) = folder.parent()
        && !parent.as_os_str().is_empty()
    {
        make_folders(parent)?;
    }
    match fs::create_dir(folder) {
        Ok(()) => flush_folder_of(folder),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(failure(folder, &error)),
    }
}

fn open_folder_of(path: &Path) -> Result<File, StoreError> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(folder).map_err(|error| failure(folder, &error))
}

fn flush_folder_of(path: &Path) -> Result<(), StoreError> {
    open_folder_of(path)?.sync_all().map_err(|error| failure(path, &error))
}

fn list_below(folder: &Path, root: &Path, found: &mut Vec<String>) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failure(folder, &error)),
    };
    for entry in entries {
        let entry = entry.map_err(|error| failure(folder, &error))?;
        let kind = entry.file_type().map_err(|error| failure(folder, &error))?;
        if kind.is_dir() {
            list_below(&entry.path(), root, found)?;
        } else if let Some(path) = entry.path().strip_prefix(root).ok().and_then(Path::to_str) {
            // Names of ours are ASCII; a name that is not text cannot be ours.
            found.push(path.to_owned());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_is_told_that_the_folder_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        let _first = LocalStore::open(folder.path().into()).unwrap();
        let error = LocalStore::open(folder.path().into()).unwrap_err();
        assert!(error.to_string().contains("another process"), "{error}");
    }

    #[tokio::test]
    async fn a_reader_sees_what_a_writer_puts_and_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        assert!(LocalStore::open_read_only(folder.path().join("none")).is_err());
        let writer = LocalStore::open(folder.path().into()).unwrap();
        fs::write(folder.path().join("tmp/half"), "half").unwrap();
        let reader = LocalStore::open_read_only(folder.path().into()).unwrap();
        assert!(folder.path().join("tmp/half").exists());
        assert!(matches!(writer.create("log/1", Bytes::from_static(b"one")).await, Create::Created));
        assert_eq!(reader.read("log/1").await.unwrap().as_deref(), Some(&b"one"[..]));
        assert!(matches!(reader.create("new/1", Bytes::new()).await, Create::Failed(_)));
        assert!(reader.write("new/1", Bytes::new()).await.is_err() && reader.delete("log/1").await.is_err());
        assert!(!folder.path().join("new").exists());
    }

    #[test]
    fn leftovers_of_a_crash_are_swept_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        drop(LocalStore::open(folder.path().into()).unwrap());
        fs::write(folder.path().join("tmp/0"), "half").unwrap();
        let store = LocalStore::open(folder.path().into()).unwrap();
        assert!(fs::read_dir(folder.path().join("tmp")).unwrap().next().is_none());
        assert!(matches!(store.inner.create(&folder.path().join("log/1"), b"x"), Create::Created));
    }

    #[test]
    fn an_exists_leaves_the_old_bytes_and_no_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let store = LocalStore::open(folder.path().into()).unwrap();
        let target = folder.path().join("log/1");
        assert!(matches!(store.inner.create(&target, b"one"), Create::Created));
        assert!(matches!(store.inner.create(&target, b"two"), Create::Exists));
        assert_eq!(fs::read(&target).unwrap(), b"one");
        assert!(fs::read_dir(folder.path().join("tmp")).unwrap().next().is_none());
    }
}
