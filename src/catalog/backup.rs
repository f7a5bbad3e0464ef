//! A copy of a catalogue at one LSN, while a server goes on writing: the newest checkpoint, the log behind it, the cold
//! files of every state from there on, and the bytes of media of the last one.
//!
//! All these files never change, so that a second backup into the same folder copies only what is new. `backup.json` says
//! what belongs to it; it is replaced last, so that a backup that was cut short leaves the one before it as it was.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::change::Change;
use super::checkpoint::CheckpointError;
use super::log::Log;
use super::progress::Progress;
use super::recovery::{self, RecoveryError};
use super::state::State;
use super::store::{LocalStore, Store, StoreError};
use super::stored::StoredObjects;
use super::{MaintenanceError, OpenError, existing_log, paths};
use crate::clock::Clock;
use crate::domain::{UtcTime, hex};

pub const MANIFEST: &str = "backup.json";
/// Where in the backup the catalogue is.
const FOLDER: &str = "catalog";
const FORMAT: u32 = 1;
/// How often a file may be gone before it was copied, because the server had replaced it.
const TRIES: u32 = 20;
/// Keys in one list of media.
const LIST_KEYS: usize = 100_000;

#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Rows(#[from] MaintenanceError),
    #[error(
        "{location} is missing. Run `tamslake fsck` on the data folder: a backup is made of a whole catalogue only"
    )]
    Missing { location: String },
    #[error("{location} is damaged: {reason}. Run `tamslake fsck` on the data folder")]
    Damaged { location: String, reason: String },
    #[error("{location} was copied and does not read back as it was written: see to that disk, then run it again")]
    NotWritten { location: String },
    #[error("{location} is a backup of catalogue {is}, not of {wanted}: choose another folder for this one")]
    OtherCatalogue { location: String, is: String, wanted: String },
    #[error("{location} cannot be read: {reason}. Choose another folder, or move this file away to begin anew")]
    Manifest { location: String, reason: String },
    #[error("media: {0}")]
    Media(String),
}

/// What became of the bytes of an Object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediaCopy {
    Copied(u64),
    /// They were there with as many bytes.
    Kept(u64),
    Missing,
}

/// Copies bytes of media into a backup, or out of one.
pub trait MediaCopier: Send + Sync {
    /// Where they can still be exchanged for others of the same length, they are copied in any case.
    fn copy(&self, key: &str, in_any_case: bool) -> Result<MediaCopy, String>;
}

/// `backup.json`: its text and the hash of exactly that text.
#[derive(Serialize, Deserialize)]
struct ManifestFile {
    sha256: String,
    backup: Box<RawValue>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Backup {
    format: u32,
    /// Hex.
    pub catalogue: String,
    /// The last log entry that is part of it.
    pub lsn: u64,
    /// States from this one on can be had.
    pub first_lsn: u64,
    pub committed: UtcTime,
    pub created: UtcTime,
    pub files: Vec<BackupFile>,
    /// `None`: without media.
    pub media: Option<BackupMedia>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupFile {
    pub path: String,
    pub bytes: u64,
    /// Hex.
    pub sha256: String,
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackupMedia {
    pub objects: u64,
    pub bytes: u64,
    /// Those whose bytes were not there.
    pub missing: u64,
    /// Files with a line of JSON for each.
    pub lists: Vec<String>,
}

/// What a backup took.
#[derive(Debug, Clone, Serialize)]
pub struct BackedUp {
    pub backup: Backup,
    pub copied_files: u64,
    pub copied_bytes: u64,
    pub copied_media: u64,
    pub copied_media_bytes: u64,
}

impl Backup {
    /// The backup that a folder holds, if it holds one.
    pub async fn read(store: &dyn Store) -> Result<Option<Self>, BackupError> {
        let Some(bytes) = store.read(MANIFEST).await? else { return Ok(None) };
        let wrong = |reason: String| BackupError::Manifest { location: store.location(MANIFEST), reason };
        let file: ManifestFile = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
        if hex(&Sha256::digest(file.backup.get())) != file.sha256 {
            return Err(wrong("it does not match its checksum".into()));
        }
        let backup: Self = serde_json::from_str(file.backup.get()).map_err(|error| wrong(error.to_string()))?;
        if backup.format != FORMAT {
            return Err(wrong(format!("it has format {}, which a newer tamslake wrote", backup.format)));
        }
        Ok(Some(backup))
    }

    fn encode(&self) -> Result<Bytes, serde_json::Error> {
        let text = serde_json::value::to_raw_value(self)?;
        let file = ManifestFile { sha256: hex(&Sha256::digest(text.get())), backup: text };
        Ok(serde_json::to_vec(&file)?.into())
    }
}

/// Copies a catalogue to a folder, with the media that `media` copies. Table files that an earlier backup copied are held
/// against their checksums again if `verify`.
pub async fn backup(
    from: Arc<dyn Store>,
    to: &LocalStore,
    clock: Clock,
    media: Option<&dyn MediaCopier>,
    verify: bool,
    progress: &dyn Progress,
) -> Result<BackedUp, BackupError> {
    let log = existing_log(from, clock).await?;
    let before = Backup::read(to).await?;
    let catalogue = hex(&log.catalogue);
    if let Some(other) = before.as_ref().filter(|before| before.catalogue != catalogue) {
        let (location, is) = (to.location(MANIFEST), other.catalogue.clone());
        return Err(BackupError::OtherCatalogue { location, is, wanted: catalogue });
    }
    let verified = before.filter(|_| !verify).map_or_else(HashMap::new, |before| {
        before.files.into_iter().map(|file| (file.path, (file.bytes, file.sha256))).collect()
    });
    let mut copier = Copier { log: &log, to, progress, verified, files: BTreeMap::new(), copied: 0, bytes: 0 };
    let mut tries = 1;
    let (state, first_lsn) = loop {
        match copier.copy_catalogue(tries > 2).await {
            Err(BackupError::Missing { .. }) if tries < TRIES => tries += 1,
            outcome => break outcome?,
        }
    };
    let mut copied = CopiedMedia::default();
    let media = match media {
        Some(media) => Some(copy_media(&log, &state, to, media, &mut copied, progress).await?),
        None => None,
    };
    let files = copier.files.into_iter();
    let backup = Backup {
        format: FORMAT,
        catalogue,
        lsn: state.seq,
        first_lsn,
        committed: state.committed,
        created: log.clock.now(),
        files: files.map(|(path, (bytes, sha256))| BackupFile { path, bytes, sha256 }).collect(),
        media,
    };
    let manifest =
        |error: serde_json::Error| BackupError::Manifest { location: to.location(MANIFEST), reason: error.to_string() };
    to.write(MANIFEST, backup.encode().map_err(manifest)?).await?;
    Ok(BackedUp {
        backup,
        copied_files: copier.copied,
        copied_bytes: copier.bytes,
        copied_media: copied.objects,
        copied_media_bytes: copied.bytes,
    })
}

struct Copier<'a> {
    log: &'a Log,
    to: &'a LocalStore,
    progress: &'a dyn Progress,
    /// Length and hash of what the backup before this one has.
    verified: HashMap<String, (u64, String)>,
    files: BTreeMap<String, (u64, String)>,
    copied: u64,
    bytes: u64,
}

impl Copier<'_> {
    /// The state that was copied, and the first that can be had.
    async fn copy_catalogue(&mut self, from_oldest: bool) -> Result<(State, u64), BackupError> {
        self.files.clear();
        // Cold files by path, with their length and hash: of each state that can be had from the copy.
        let mut tables: BTreeMap<String, (u64, [u8; 32])> = BTreeMap::new();
        // At once: a server keeps the newest two, and the log for much longer.
        let mut state = State::empty();
        if let Some((_, parts, of_checkpoint)) = recovery::checkpoint_beside(self.log, from_oldest).await? {
            // The manifest is the first of them and goes last: without it the parts count for nothing.
            for path in parts.iter().rev() {
                self.copy(path, None).await?;
            }
            tables.extend(of_checkpoint.files.iter().map(|f| (f.meta.path.clone(), (f.meta.bytes, f.meta.sha256))));
            state = of_checkpoint;
        }
        let first = state.seq;
        self.progress.begin("log", 0);
        self.copy_log(&mut state, &mut tables).await?;
        self.progress.begin("table files", tables.values().map(|(bytes, _)| bytes).sum());
        for (path, (bytes, sha256)) in &tables {
            self.copy_if_new(path, *bytes, &hex(sha256)).await?;
            self.progress.advance(*bytes);
        }
        self.copy(paths::CATALOG, None).await?;
        Ok((state, first))
    }

    /// Entries after the state, up to the end of the log as it is when this begins: writers may be faster than copies.
    async fn copy_log(
        &mut self,
        state: &mut State,
        tables: &mut BTreeMap<String, (u64, [u8; 32])>,
    ) -> Result<(), BackupError> {
        let entries = self.log.store.list(paths::LOG).await?;
        let end = entries.iter().filter_map(|path| paths::parse_log_entry(path)).max().unwrap_or_default();
        loop {
            let seq = state.seq + 1;
            if seq > end && end > 0 {
                return Ok(());
            }
            let path = paths::log_entry(seq);
            if let Some(entry) = self.log.read(seq).await.map_err(RecoveryError::from)? {
                self.copy(&path, None).await?;
                recovery::replay(self.log, state, &entry).map_err(RecoveryError::from)?;
                for change in &entry.changes {
                    if let Change::PutFile(file) = change {
                        tables.insert(file.meta.path.clone(), (file.meta.bytes, file.meta.sha256));
                    }
                }
                self.progress.advance(1);
            } else if self.log.is_below_floor(seq).await? {
                return Err(BackupError::Missing { location: self.log.store.location(&path) });
            } else if self.log.check_end(seq).await.map_err(RecoveryError::from)? {
                return Ok(());
            }
        }
    }

    async fn copy_if_new(&mut self, path: &str, bytes: u64, sha256: &str) -> Result<(), BackupError> {
        let target = format!("{FOLDER}/{path}");
        if self.to.length(&target).await? == Some(bytes) {
            let is_verified = self.verified.get(&target).is_some_and(|known| *known == (bytes, sha256.to_owned()));
            let is_same = is_verified || self.to.read(&target).await?.is_some_and(|there| hash(&there) == sha256);
            if is_same {
                self.files.insert(target, (bytes, sha256.to_owned()));
                return Ok(());
            }
        }
        self.copy(path, Some(sha256)).await
    }

    async fn copy(&mut self, path: &str, sha256: Option<&str>) -> Result<(), BackupError> {
        let location = || self.log.store.location(path);
        let bytes = self.log.store.read(path).await?.ok_or_else(|| BackupError::Missing { location: location() })?;
        let hashed = hash(&bytes);
        if sha256.is_some_and(|sha256| sha256 != hashed) {
            return Err(BackupError::Damaged { location: location(), reason: "it does not match its checksum".into() });
        }
        let target = format!("{FOLDER}/{path}");
        let there = self.to.read(&target).await?;
        if there.as_ref() != Some(&bytes) {
            self.to.write(&target, bytes.clone()).await?;
            if self.to.read(&target).await?.as_ref() != Some(&bytes) {
                return Err(BackupError::NotWritten { location: self.to.location(&target) });
            }
            self.copied += 1;
            self.bytes += bytes.len() as u64;
        }
        self.files.insert(target, (bytes.len() as u64, hashed));
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

#[derive(Default)]
struct CopiedMedia {
    objects: u64,
    bytes: u64,
}

async fn copy_media(
    log: &Log,
    state: &State,
    to: &LocalStore,
    media: &dyn MediaCopier,
    copied: &mut CopiedMedia,
    progress: &dyn Progress,
) -> Result<BackupMedia, BackupError> {
    progress.begin("media", 0);
    let mut listed = BackupMedia::default();
    let mut list = Vec::new();
    let mut lines = 0;
    let mut objects = StoredObjects::open(log, state).await?;
    while let Some(object) = objects.next().await? {
        for (_, key) in object.controlled() {
            progress.advance(1);
            let bytes = match media.copy(key, !object.is_registered()).map_err(BackupError::Media)? {
                MediaCopy::Copied(bytes) => {
                    (copied.objects, copied.bytes) = (copied.objects + 1, copied.bytes + bytes);
                    bytes
                }
                MediaCopy::Kept(bytes) => bytes,
                MediaCopy::Missing => {
                    listed.missing += u64::from(object.is_registered());
                    continue;
                }
            };
            (listed.objects, listed.bytes) = (listed.objects + 1, listed.bytes + bytes);
            list.extend(json!({"key": key, "bytes": bytes, "object_id": object.id.as_str()}).to_string().bytes());
            list.push(b'\n');
            lines += 1;
            if lines >= LIST_KEYS {
                write_list(to, state.seq, &mut listed, std::mem::take(&mut list)).await?;
                lines = 0;
            }
        }
    }
    write_list(to, state.seq, &mut listed, list).await?;
    Ok(listed)
}

async fn write_list(to: &LocalStore, lsn: u64, listed: &mut BackupMedia, list: Vec<u8>) -> Result<(), StoreError> {
    if !list.is_empty() {
        let path = format!("media-lists/{lsn:020}-{:05}.jsonl", listed.lists.len());
        to.write(&path, list.into()).await?;
        listed.lists.push(path);
    }
    Ok(())
}
