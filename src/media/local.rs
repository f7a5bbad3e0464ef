//! Media on local disk: one file per key, written aside and renamed into place, so that whoever reads sees whole objects.
//!
//! Uses tokio's threads for blocking work: no call here holds up the threads that serve requests. Keys are made by the
//! server, and checked on every call: no text of a client ever becomes a path. Does not know which object a key
//! belongs to, or who may read it.

use std::error::Error;
use std::fs::{File, Metadata, ReadDir};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{Stream, stream};
use tokio::task::{JoinHandle, spawn_blocking};

use super::MediaError;
use super::disk::{blocking, if_found, sync_folder};
use super::upload::{self, Expect, Written};
use crate::domain::hex;

/// Two of these are in memory for each download: one is sent while the next is read.
const READ_BLOCK: u64 = 256 * 1024;

/// 32 lowercase hexadecimal digits, as [`crate::domain::MediaObject::own_key`] makes them.
fn is_key(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Bytes of a disk.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    pub capacity: u64,
    /// Those that can still be written.
    pub free: u64,
}

/// What is known about a stored object without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// In bytes.
    pub length: u64,
    /// Strong, with its quotes, as HTTP sends it. Other bytes under the same key have another one.
    pub etag: String,
    pub modified: DateTime<Utc>,
}

impl Stat {
    pub(super) fn new(metadata: &Metadata) -> Stat {
        let nanoseconds = i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Stat {
            length: metadata.len(),
            etag: format!("\"{:x}-{nanoseconds:x}\"", metadata.len()),
            modified: u32::try_from(metadata.mtime_nsec())
                .ok()
                .and_then(|nanoseconds| DateTime::from_timestamp(metadata.mtime(), nanoseconds))
                .unwrap_or_default(),
        }
    }
}

/// A stored object found by [`LocalMedia::list`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// In bytes.
    pub length: u64,
    pub modified: DateTime<Utc>,
}

/// A folder with media. Copies of this value are the same store.
///
/// One process at a time: opening the folder clears away the unfinished uploads of a crash, and would take those of a
/// second running server for such.
#[derive(Debug, Clone)]
pub struct LocalMedia {
    folder: Arc<Folder>,
}

#[derive(Debug)]
struct Folder {
    root: PathBuf,
    objects: PathBuf,
    tmp: PathBuf,
    /// Makes the names in `tmp` unique.
    uploads: AtomicU64,
    /// One rename at a time: each looks at the object that it replaces.
    replacing: Mutex<()>,
}

impl LocalMedia {
    /// Makes the folders that are missing and removes unfinished uploads. Blocks: call it while starting.
    pub fn open(root: PathBuf) -> Result<LocalMedia, MediaError> {
        let objects = root.join("objects");
        let tmp = root.join("tmp");
        for folder in [&objects, &tmp] {
            std::fs::create_dir_all(folder).map_err(|source| MediaError::io(folder, source))?;
        }
        // All shards at once: an upload then never has to make a folder durable before its file.
        for shard in 0..=255_u8 {
            let shard = objects.join(hex(&[shard]));
            match std::fs::create_dir(&shard) {
                Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                    return Err(MediaError::io(&shard, error));
                }
                _ => {}
            }
        }
        for leftover in std::fs::read_dir(&tmp).map_err(|source| MediaError::io(&tmp, source))? {
            let leftover = leftover.map_err(|source| MediaError::io(&tmp, source))?.path();
            std::fs::remove_file(&leftover).map_err(|source| MediaError::io(&leftover, source))?;
        }
        sync_folder(&objects)?;
        sync_folder(&root)?;
        let (uploads, replacing) = (AtomicU64::new(0), Mutex::new(()));
        let folder = Folder { root, objects, tmp, uploads, replacing };
        Ok(LocalMedia { folder: Arc::new(folder) })
    }

    /// For looking only, also while a server works on the folder: makes and clears away nothing.
    pub fn open_to_read(root: PathBuf) -> LocalMedia {
        let (objects, tmp) = (root.join("objects"), root.join("tmp"));
        let (uploads, replacing) = (AtomicU64::new(0), Mutex::new(()));
        LocalMedia { folder: Arc::new(Folder { root, objects, tmp, uploads, replacing }) }
    }

    /// The file of an object, whether or not it is there.
    pub fn path(&self, key: &str) -> Result<PathBuf, MediaError> {
        self.place(key).map(|(_, path)| path)
    }

    /// Stores a body under a key: takes it in blocks, checks it, and makes it durable before it returns. An object that
    /// is there already is replaced at once and whole.
    ///
    /// `accept` has the last word, when the body is complete and nothing else can put or delete an object meanwhile; it
    /// is told whether there is one under the key already. Where it says no, the error is `NotAccepted`.
    ///
    /// After an error, or when the future is dropped, the store is as before: the old bytes stay, and the unfinished file
    /// goes. There are two limits: a drop in the instant of the rename can come too late, and if the disk fails right
    /// after the rename (`Io` that names a folder) the new bytes are in place, but may be gone after a power cut.
    pub async fn write<S, E>(
        &self,
        key: &str,
        body: S,
        expect: Expect,
        accept: impl FnOnce(bool) -> bool + Send + 'static,
    ) -> Result<Written, MediaError>
    where
        S: Stream<Item = Result<Bytes, E>> + Unpin,
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        let (shard, target) = self.place(key)?;
        let number = self.folder.uploads.fetch_add(1, Ordering::Relaxed);
        let tmp = self.folder.tmp.join(format!("{key}.{number}"));
        let folder = Arc::clone(&self.folder);
        upload::receive(body, expect, tmp, move |file| {
            let guard = folder.replacing.lock().unwrap_or_else(PoisonError::into_inner);
            let exists = if_found(std::fs::metadata(&target), &target)?.is_some();
            if !accept(exists) {
                return Err(MediaError::NotAccepted);
            }
            let stat = file.rename(&target)?;
            drop(guard);
            sync_folder(&shard)?;
            Ok(stat)
        })
        .await
    }

    /// Opens an object for reading. What is opened stays readable when the object is deleted or replaced meanwhile.
    pub async fn open_object(&self, key: &str) -> Result<Option<MediaFile>, MediaError> {
        let (_, path) = self.place(key)?;
        blocking(move || {
            let opened = File::open(&path).and_then(|file| Ok((file.metadata()?, file)));
            let Some((metadata, file)) = if_found(opened, &path)? else {
                return Ok(None);
            };
            let Stat { length, etag, modified } = Stat::new(&metadata);
            Ok(Some(MediaFile { length, etag, modified, file: Arc::new(file) }))
        })
        .await
    }

    pub async fn stat(&self, key: &str) -> Result<Option<Stat>, MediaError> {
        let (_, path) = self.place(key)?;
        blocking(move || {
            let metadata = if_found(std::fs::metadata(&path), &path)?;
            Ok(metadata.as_ref().map(Stat::new))
        })
        .await
    }

    /// Bytes of each of these objects, in their order; `None` for those that are not there.
    pub async fn lengths(&self, keys: &[String]) -> Result<Vec<Option<u64>>, MediaError> {
        let paths = keys.iter().map(|key| self.path(key)).collect::<Result<Vec<_>, _>>()?;
        let length = |path: &PathBuf| Ok(if_found(std::fs::metadata(path), path)?.map(|metadata| metadata.len()));
        blocking(move || paths.iter().map(length).collect()).await
    }

    /// Removes an object for good. True if it was there.
    pub async fn delete(&self, key: &str) -> Result<bool, MediaError> {
        let (shard, path) = self.place(key)?;
        let folder = Arc::clone(&self.folder);
        blocking(move || {
            let guard = folder.replacing.lock().unwrap_or_else(PoisonError::into_inner);
            let removed = if_found(std::fs::remove_file(&path), &path)?;
            drop(guard);
            // Also if it was not there: the one who removed it may have crashed before this line.
            sync_folder(&shard)?;
            Ok(removed.is_some())
        })
        .await
    }

    /// All stored objects, in no order; files that the store did not make are passed over. An object that comes or goes
    /// meanwhile may be in it or not. Blocks: not for the threads that serve requests.
    pub fn list(&self) -> impl Iterator<Item = Result<Listed, MediaError>> + Send + use<> {
        let objects = self.folder.objects.clone();
        (0..=255_u8).flat_map(move |shard| {
            let shard = objects.join(hex(&[shard]));
            let (entries, error) = match std::fs::read_dir(&shard) {
                Ok(entries) => (Some(list_shard(entries, shard)), None),
                // A folder that was restored has those that it needs.
                Err(source) if source.kind() == ErrorKind::NotFound => (None, None),
                Err(source) => (None, Some(Err(MediaError::io(&shard, source)))),
            };
            entries.into_iter().flatten().chain(error)
        })
    }

    /// Bytes that can still be written to the disk of the store.
    pub async fn free_space(&self) -> Result<u64, MediaError> {
        let local = self.clone();
        blocking(move || Ok(local.space()?.free)).await
    }

    /// The disk of the store. Blocks for a moment.
    pub fn space(&self) -> Result<Space, MediaError> {
        let root = &self.folder.root;
        let disk = rustix::fs::statvfs(root).map_err(|error| MediaError::io(root, error.into()))?;
        let bytes = |blocks: u64| blocks.saturating_mul(disk.f_frsize);
        Ok(Space { capacity: bytes(disk.f_blocks), free: bytes(disk.f_bavail) })
    }

    /// The folder and the file of a key.
    fn place(&self, key: &str) -> Result<(PathBuf, PathBuf), MediaError> {
        match key.get(..2) {
            Some(shard) if is_key(key) => {
                let shard = self.folder.objects.join(shard);
                let path = shard.join(key);
                Ok((shard, path))
            }
            _ => Err(MediaError::InvalidKey { key: key.to_owned() }),
        }
    }
}

fn list_shard(entries: ReadDir, shard: PathBuf) -> impl Iterator<Item = Result<Listed, MediaError>> + Send {
    entries.filter_map(move |entry| {
        let found = entry.and_then(|entry| match entry.file_name().into_string() {
            Ok(key) if is_key(&key) => Ok(Some((key, entry.metadata()?))),
            _ => Ok(None),
        });
        match if_found(found, &shard) {
            Ok(found) => found.flatten().map(|(key, metadata)| {
                let Stat { length, modified, .. } = Stat::new(&metadata);
                Ok(Listed { key, length, modified })
            }),
            Err(error) => Some(Err(error)),
        }
    })
}

/// An object opened for reading.
#[derive(Debug)]
pub struct MediaFile {
    /// In bytes.
    pub length: u64,
    /// Strong, with its quotes, as HTTP sends it.
    pub etag: String,
    pub modified: DateTime<Utc>,
    file: Arc<File>,
}

impl MediaFile {
    /// A file that never changes, wherever it is; `None` where none is.
    pub async fn open(path: PathBuf) -> Result<Option<MediaFile>, MediaError> {
        blocking(move || {
            let Some(file) = if_found(File::open(&path), &path)? else { return Ok(None) };
            let metadata = file.metadata().map_err(|error| MediaError::io(&path, error))?;
            let Stat { length, etag, modified } = Stat::new(&metadata);
            Ok(Some(MediaFile { length, etag, modified, file: Arc::new(file) }).filter(|_| metadata.is_file()))
        })
        .await
    }

    /// The bytes of a range, cut at the end of the object, in blocks of up to 256 KB. Reads one block ahead.
    pub fn read(self, range: Range<u64>) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let file = self.file;
        let end = range.end.min(self.length);
        // Starts to read a block; tells where the next one begins.
        let start = move |at: u64| {
            if at >= end {
                return None;
            }
            let (file, next) = (Arc::clone(&file), end.min(at.saturating_add(READ_BLOCK)));
            let block = spawn_blocking(move || {
                // Fits: at most READ_BLOCK.
                #[expect(clippy::cast_possible_truncation, reason = "at most READ_BLOCK")]
                let mut block = vec![0; (next - at) as usize];
                file.read_exact_at(&mut block, at)?;
                Ok(Bytes::from(block))
            });
            Some((block, next))
        };
        let begin = range.start;
        stream::unfold(None, move |ahead: Option<Option<(JoinHandle<io::Result<Bytes>>, u64)>>| {
            // Outer None: nothing was read yet. Inner None: nothing is left.
            let current = ahead.unwrap_or_else(|| start(begin));
            let ahead = current.as_ref().map(|(_, next)| start(*next));
            async move {
                let (block, _) = current?;
                match block.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
                    Ok(block) => Some((Ok(block), ahead)),
                    // A reader cannot go on behind a hole.
                    Err(error) => Some((Err(error), Some(None))),
                }
            }
        })
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "test data is small")]
mod tests {
    use std::convert::Infallible;
    use std::fs::OpenOptions;
    use std::time::Duration;

    use futures::StreamExt as _;
    use md5::Md5;
    use sha2::{Digest as _, Sha256};
    use tempfile::TempDir;

    use super::super::Checksum;
    use super::super::upload::WRITE_BLOCK;
    use super::*;
    use crate::domain::{MediaObject, UtcTime};

    const KEY: &str = "00112233445566778899aabbccddeeff";

    fn store() -> (TempDir, LocalMedia) {
        let folder = tempfile::tempdir().unwrap();
        let media = LocalMedia::open(folder.path().join("media")).unwrap();
        (folder, media)
    }

    fn anything() -> Expect {
        Expect { length: None, sha256: None, md5: None, max_length: u64::MAX }
    }

    /// The text in chunks of `size` bytes.
    fn body(bytes: &[u8], size: usize) -> impl Stream<Item = Result<Bytes, Infallible>> + Unpin + use<> {
        let chunks: Vec<_> = bytes.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        stream::iter(chunks)
    }

    async fn put(media: &LocalMedia, bytes: &[u8], expect: Expect) -> Result<Written, MediaError> {
        media.write(KEY, body(bytes, 100_000), expect, |_| true).await
    }

    async fn get(media: &LocalMedia, range: Range<u64>) -> Vec<u8> {
        let file = media.open_object(KEY).await.unwrap().unwrap();
        let blocks: Vec<_> = file.read(range).collect().await;
        let blocks: Vec<_> = blocks.into_iter().map(Result::unwrap).collect();
        assert!(blocks.iter().all(|block| !block.is_empty() && block.len() as u64 <= READ_BLOCK));
        blocks.concat()
    }

    fn path(media: &LocalMedia) -> PathBuf {
        media.place(KEY).unwrap().1
    }

    fn unfinished(media: &LocalMedia) -> usize {
        std::fs::read_dir(&media.folder.tmp).unwrap().count()
    }

    fn noise(length: usize) -> Vec<u8> {
        (0..length as u64).map(|index| (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8).collect()
    }

    #[tokio::test]
    async fn what_was_written_is_read_back() {
        let (_folder, media) = store();
        for length in [1, WRITE_BLOCK - 1, WRITE_BLOCK, WRITE_BLOCK + 1, 3 * WRITE_BLOCK + 7] {
            let bytes = noise(length);
            for chunk in [7_777, WRITE_BLOCK, 10 * WRITE_BLOCK] {
                let written = media.write(KEY, body(&bytes, chunk), anything(), |_| true).await.unwrap();
                assert_eq!(written.length, length as u64);
                assert_eq!(written.sha256, <[u8; 32]>::from(Sha256::digest(&bytes)));
                assert!(get(&media, 0..u64::MAX).await == bytes, "{length} {chunk}");
            }
        }
        assert_eq!(unfinished(&media), 0);
    }

    #[tokio::test]
    async fn a_range_gives_exactly_its_bytes() {
        let (_folder, media) = store();
        let bytes = noise(3 * 256 * 1024 + 10);
        put(&media, &bytes, anything()).await.unwrap();
        let end = bytes.len() as u64;
        let ranges = [0..1, 5..5, 1..READ_BLOCK, 1..READ_BLOCK + 2, READ_BLOCK..2 * READ_BLOCK, end - 1..end, end..end];
        for range in ranges {
            let expected = &bytes[range.start as usize..range.end as usize];
            assert!(get(&media, range.clone()).await == expected, "{range:?}");
        }
        assert_eq!(get(&media, end..end + 5).await, [0_u8; 0]);
        assert_eq!(get(&media, u64::MAX - 1..u64::MAX).await, [0_u8; 0]);
        assert_eq!(get(&media, end - 2..end + 5).await, bytes[bytes.len() - 2..]);
    }

    #[tokio::test]
    async fn an_object_may_have_no_bytes() {
        let (_folder, media) = store();
        let expect = Expect { length: Some(0), md5: Some(Md5::digest([]).into()), max_length: 0, ..anything() };
        let written = put(&media, &[], expect).await.unwrap();
        assert_eq!(written.length, 0);
        assert_eq!(media.open_object(KEY).await.unwrap().unwrap().length, 0);
        assert_eq!(get(&media, 0..0).await, [0_u8; 0]);
        assert!(media.delete(KEY).await.unwrap());
    }

    #[tokio::test]
    async fn what_is_not_a_key_of_this_server_never_becomes_a_path() {
        let (folder, media) = store();
        std::fs::write(folder.path().join("secret"), "secret").unwrap();
        let upper = KEY.to_uppercase();
        let (short, long) = (KEY.strip_prefix('0').unwrap(), format!("{KEY}0"));
        let (nul, slash, wide) = (format!("{short}\0"), format!("/{short}"), KEY.replacen("00", "é", 1));
        let attacks = ["", "../x", "../../../secret", "..", ".", &upper, short, &long, &nul, &slash, &wide];
        for key in attacks {
            let refused = |result: Result<bool, MediaError>| {
                assert!(matches!(result, Err(MediaError::InvalidKey { .. })), "{key:?} {result:?}");
            };
            refused(media.write(key, body(b"x", 1), anything(), |_| true).await.map(|_| true));
            refused(media.open_object(key).await.map(|_| true));
            refused(media.stat(key).await.map(|_| true));
            refused(media.delete(key).await);
        }
        assert_eq!(media.list().count(), 0);
        assert_eq!(std::fs::read_to_string(folder.path().join("secret")).unwrap(), "secret");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn handlers_may_hold_uploads_and_downloads_across_threads() {
        fn is_send<T: Send>(_: &T) {}
        let (_folder, media) = store();
        is_send(&media.write(KEY, body(b"", 1), anything(), |_| true));
        is_send(&media.open_object(KEY));
        is_send(&media.list());
    }

    #[test]
    fn keys_of_objects_are_keys() {
        let object_id = "any text/at all".parse().unwrap();
        assert!(is_key(&MediaObject::own_key(&object_id, UtcTime::UNIX_EPOCH)));
        assert!(is_key(&hex(&[0xa0; 16])) && is_key(&hex(&[0; 16])));
    }

    #[tokio::test]
    async fn a_wrong_checksum_stores_nothing_and_keeps_the_old_bytes() {
        let (_folder, media) = store();
        let wrong_sha256 = Expect { sha256: Some([1; 32]), ..anything() };
        let error = put(&media, b"new", wrong_sha256.clone()).await.unwrap_err();
        assert!(matches!(error, MediaError::ChecksumMismatch { algorithm: Checksum::Sha256, .. }));
        assert!(media.stat(KEY).await.unwrap().is_none());

        let old = put(&media, b"old", anything()).await.unwrap();
        let wrong_md5 = Expect { md5: Some([1; 16]), ..anything() };
        for expect in [wrong_sha256, wrong_md5] {
            let error = put(&media, &noise(WRITE_BLOCK + 1), expect).await.unwrap_err();
            assert!(matches!(error, MediaError::ChecksumMismatch { .. }));
            assert_eq!(get(&media, 0..9).await, b"old");
            assert_eq!(media.stat(KEY).await.unwrap().unwrap().etag, old.etag);
            assert_eq!(unfinished(&media), 0);
        }
        let right = Expect {
            length: Some(3),
            sha256: Some(Sha256::digest("new").into()),
            md5: Some(Md5::digest("new").into()),
            max_length: 3,
        };
        put(&media, b"new", right).await.unwrap();
        assert_eq!(get(&media, 0..9).await, b"new");
    }

    #[tokio::test]
    async fn a_body_of_another_length_than_announced_is_refused() {
        let (_folder, media) = store();
        for (announced, got) in [(5, 4), (3, 4), (0, 4)] {
            let expect = Expect { length: Some(announced), ..anything() };
            let error = put(&media, b"four", expect).await.unwrap_err();
            assert!(
                matches!(error, MediaError::LengthMismatch { expected, got: found } if (expected, found) == (announced, got)),
                "{error:?}"
            );
        }
        assert_eq!((unfinished(&media), media.list().count()), (0, 0));
    }

    #[tokio::test]
    async fn a_body_without_end_is_stopped_at_the_limit() {
        let (_folder, media) = store();
        let endless = stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[0; 4096])));
        let expect = Expect { max_length: 2 * WRITE_BLOCK as u64, ..anything() };
        let error = media.write(KEY, endless, expect, |_| true).await.unwrap_err();
        assert!(matches!(error, MediaError::TooLong { max_length } if max_length == 2 * WRITE_BLOCK as u64));
        assert_eq!((unfinished(&media), media.list().count()), (0, 0));
        // And at once if it says so itself.
        let never = stream::pending::<Result<Bytes, Infallible>>();
        let expect = Expect { length: Some(11), max_length: 10, ..anything() };
        assert!(matches!(media.write(KEY, never, expect, |_| true).await, Err(MediaError::TooLong { .. })));
    }

    #[tokio::test]
    async fn an_upload_that_breaks_off_leaves_nothing() {
        let (_folder, media) = store();
        for length in [3, 2 * WRITE_BLOCK + 1] {
            let start = body(&noise(length), 4096).map(|chunk| chunk.map_err(|never| match never {}));
            let broken = start.chain(stream::iter([Err(io::Error::from(ErrorKind::ConnectionReset))]));
            let error = media.write(KEY, broken, anything(), |_| true).await.unwrap_err();
            assert!(matches!(error, MediaError::Body(_)), "{error:?}");
            assert_eq!((unfinished(&media), media.list().count()), (0, 0));
        }
    }

    #[tokio::test]
    async fn an_upload_whose_future_is_dropped_leaves_nothing() {
        let (_folder, media) = store();
        for length in [0, 3, 2 * WRITE_BLOCK + 1] {
            let hanging = body(&noise(length), 4096).chain(stream::pending());
            let upload = media.write(KEY, hanging, anything(), |_| true);
            let given_up = tokio::time::timeout(Duration::from_millis(100), upload).await;
            assert!(given_up.is_err());
            let gone = async {
                while unfinished(&media) > 0 {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            let patience = Duration::from_secs(10);
            assert!(tokio::time::timeout(patience, gone).await.is_ok(), "still there: {length}");
            assert_eq!(media.list().count(), 0);
        }
    }

    #[test]
    fn an_upload_that_the_end_of_the_server_cuts_off_leaves_nothing() {
        let (_folder, media) = store();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let uploading = media.clone();
        runtime.spawn(async move {
            let hanging = body(&noise(WRITE_BLOCK + 1), 4096).chain(stream::pending());
            uploading.write(KEY, hanging, anything(), |_| true).await
        });
        runtime.block_on(async {
            while unfinished(&media) == 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        });
        drop(runtime);
        assert_eq!((unfinished(&media), media.list().count()), (0, 0));
    }

    #[tokio::test]
    async fn leftovers_of_a_crash_are_removed_and_objects_stay() {
        let (folder, media) = store();
        put(&media, b"bytes", anything()).await.unwrap();
        std::fs::write(media.folder.tmp.join(format!("{KEY}.7")), "half").unwrap();
        let media = LocalMedia::open(folder.path().join("media")).unwrap();
        assert_eq!(unfinished(&media), 0);
        assert_eq!(get(&media, 0..9).await, b"bytes");
    }

    #[tokio::test]
    async fn new_bytes_of_the_same_length_always_get_a_new_etag() {
        let (_folder, media) = store();
        let mut seen = std::collections::HashSet::new();
        for byte in 0..20 {
            let written = put(&media, &[byte], anything()).await.unwrap();
            assert!(seen.insert(written.etag.clone()), "{}", written.etag);
            let stat = media.stat(KEY).await.unwrap().unwrap();
            assert_eq!((stat.length, &stat.etag), (1, &written.etag));
            let file = media.open_object(KEY).await.unwrap().unwrap();
            assert_eq!((file.length, file.etag, file.modified), (1, written.etag, stat.modified));
        }
        // Also if the clock was set back.
        let now = media.stat(KEY).await.unwrap().unwrap().modified;
        let ahead = now + Duration::from_secs(3600);
        File::open(path(&media)).unwrap().set_modified(ahead.into()).unwrap();
        let before = media.stat(KEY).await.unwrap().unwrap();
        let written = put(&media, &[1], anything()).await.unwrap();
        assert_ne!(written.etag, before.etag);
        assert!(media.stat(KEY).await.unwrap().unwrap().modified > before.modified);
    }

    #[tokio::test]
    async fn a_reader_keeps_the_bytes_it_opened() {
        let (_folder, media) = store();
        let old = noise(2 * READ_BLOCK as usize);
        put(&media, &old, anything()).await.unwrap();
        let file = media.open_object(KEY).await.unwrap().unwrap();
        put(&media, b"new", anything()).await.unwrap();
        media.delete(KEY).await.unwrap();
        let length = file.length;
        let blocks: Vec<_> = file.read(0..length).map(Result::unwrap).collect().await;
        assert!(blocks.concat() == old);
    }

    #[tokio::test]
    async fn a_reader_of_a_file_that_shrinks_gets_an_error_and_then_the_end() {
        let (_folder, media) = store();
        put(&media, &noise(3 * READ_BLOCK as usize), anything()).await.unwrap();
        let file = media.open_object(KEY).await.unwrap().unwrap();
        OpenOptions::new().write(true).open(path(&media)).unwrap().set_len(READ_BLOCK + 1).unwrap();
        let blocks: Vec<_> = file.read(0..u64::MAX).collect().await;
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[1].as_ref().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn a_deleted_object_is_gone() {
        let (_folder, media) = store();
        put(&media, b"bytes", anything()).await.unwrap();
        assert!(media.delete(KEY).await.unwrap());
        assert!(!media.delete(KEY).await.unwrap());
        assert!(media.open_object(KEY).await.unwrap().is_none());
        assert!(media.stat(KEY).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn lengths_come_in_the_order_of_the_keys_and_none_where_nothing_is() {
        let (_folder, media) = store();
        put(&media, b"bytes", anything()).await.unwrap();
        let keys = [hex(&[7; 16]), KEY.to_owned()];
        assert_eq!(media.lengths(&keys).await.unwrap(), [None, Some(5)]);
        assert!(matches!(media.lengths(&["x".into()]).await, Err(MediaError::InvalidKey { .. })));
    }

    #[tokio::test]
    async fn the_list_holds_all_objects_and_no_foreign_files() {
        let (_folder, media) = store();
        let mut expected: Vec<_> =
            (0..20_u8).map(|byte| (hex(&[byte.wrapping_mul(37); 16]), u64::from(byte))).collect();
        for (key, length) in &expected {
            media.write(key, body(&noise(*length as usize), 9), anything(), |_| true).await.unwrap();
        }
        std::fs::write(media.folder.objects.join("00/.DS_Store"), "").unwrap();
        let listed = media.list().map(Result::unwrap);
        let mut listed: Vec<_> = listed.map(|listed| (listed.key, listed.length)).collect();
        listed.sort();
        expected.sort();
        assert_eq!(listed, expected);
    }

    #[tokio::test]
    async fn writers_of_one_key_leave_one_of_their_bodies_whole() {
        let (_folder, media) = store();
        let bodies: Vec<_> = (0..8_u8).map(|byte| vec![byte; WRITE_BLOCK + 5]).collect();
        let uploads = bodies.iter().map(|bytes| put(&media, bytes, anything()));
        let written = futures::future::try_join_all(uploads).await.unwrap();
        let found = get(&media, 0..u64::MAX).await;
        assert!(bodies.contains(&found));
        let etag = media.stat(KEY).await.unwrap().unwrap().etag;
        assert_eq!(written.iter().filter(|written| written.etag == etag).count(), 1);
        assert_eq!(unfinished(&media), 0);
    }

    #[tokio::test]
    async fn free_space_is_told_in_bytes() {
        let (_folder, media) = store();
        assert!(media.free_space().await.unwrap() > 1024 * 1024);
    }
}
