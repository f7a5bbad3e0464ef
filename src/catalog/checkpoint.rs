//! Checkpoints: the whole state at one entry, as Arrow files, so that a start does not replay history; and the
//! truncation of the log behind them.
//!
//! Parts come first, the manifest last: a folder without one is an attempt that a crash cut short. Part files are Arrow
//! IPC files with the tables' columns and the LSN of each row.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::FieldRef;
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use bytes::Bytes;
use chrono::TimeDelta;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::change::{Lsn, SegmentKey};
use super::cold::ColdFile;
use super::log::{Log, LogError};
use super::paths;
use super::rows::{
    self, DeleteRequestRow, FileRow, FlowRow, GoneRow, ObjectKeyRow, ObjectRow, PathRow, ProfileRow, RangeRow,
    RowError, SegmentRow, ServiceRow, SourceRow, StoredFlow, WebhookRow,
};
use super::state::{State, Stored};
use super::store::StoreError;
use super::tables::Table;
use crate::domain::{
    DeleteRequest, FlowId, FlowSegment, MediaObject, ObjectId, Profile, ServiceInfo, Source, TimeRange, UtcTime,
    Webhook, hex, unhex,
};

/// Rows of one part file, so that writing one takes bounded memory.
const PART_ROWS: usize = 50_000;
/// 1 knew no cold files.
const FORMAT: u32 = 2;
const FORMATS: std::ops::RangeInclusive<u32> = 1..=FORMAT;
/// Checkpoints kept for the time of the retention, about.
const KEPT_IN_RETENTION: u128 = 24;

#[derive(Debug, Clone, thiserror::Error)]
pub enum CheckpointError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("{0}")]
    Row(#[from] RowError),
    #[error(
        "checkpoint file {location} is damaged: {reason}. Nothing was changed. Restore this file from a backup, or move \
         its folder away to start from the checkpoint before it, if the log still reaches back to that"
    )]
    Damaged { location: String, reason: String },
    #[error("checkpoint {location} has format {format}, which this version cannot read: a newer tamslake wrote it")]
    Format { location: String, format: u32 },
}

/// The manifest file: the manifest's text and the hash of exactly that text.
#[derive(Serialize, Deserialize)]
struct ManifestFile {
    sha256: String,
    manifest: Box<RawValue>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    format: u32,
    /// Hex, like the hashes.
    catalogue: String,
    seq: u64,
    entry_hash: String,
    /// Microseconds since 1970, UTC.
    committed: i64,
    /// Rows of this entry and before are in cold files; since format 2.
    #[serde(default)]
    flushed: u64,
    parts: Vec<Part>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    table: String,
    path: String,
    rows: usize,
    bytes: usize,
    sha256: String,
}

/// Names of parts that are no tables.
mod part {
    /// Hot Objects that are gone, which counts more than what cold files have of them.
    pub const GONE: &str = "gone_objects";
    pub const TOMBSTONES: &str = "tombstones";
    pub const COLD_EXTENTS: &str = "cold_extents";
    pub const SUSPECTS: &str = "suspect_objects";
    pub const CONDEMNED: &str = "condemned_objects";
    pub const RETIRED: &str = "retired_files";
}

/// Parts in the order in which a state is built up from them: cold files come before what may stand on their rows, a
/// segment after its Object, a Flow after its Source, and a segment whose Flow went before it after the request that
/// deletes both.
const PARTS: [&str; 15] = [
    "files",
    part::RETIRED,
    part::TOMBSTONES,
    part::COLD_EXTENTS,
    "service",
    "profiles",
    "sources",
    "flows",
    part::GONE,
    "objects",
    "flow_delete_requests",
    "flow_segments",
    part::SUSPECTS,
    part::CONDEMNED,
    "webhooks",
];

/// Writes the state beside its log and reads it back; on return the checkpoint can be relied on.
pub async fn write(log: &Log, state: &State) -> Result<(), CheckpointError> {
    // By another writer, or before a restart: the log may be truncated up to it already.
    let is_there = log.store.read(&paths::checkpoint_manifest(state.seq)).await?.is_some();
    if is_there && verify(log, state.seq).await.is_ok() {
        return Ok(());
    }
    let mut parts = Parts { log, seq: state.seq, parts: Vec::new() };
    let at = Lsn { seq: state.seq, index: 0 };
    let files = state.files.iter().map(|file| (at, Ok(FileRow::from(&**file))));
    parts.write("files", Table::Files.schema().fields(), files).await?;
    let retired =
        state.retired.iter().map(|(path, seq)| (Lsn { seq: *seq, index: 0 }, Ok(PathRow { path: path.clone() })));
    parts.write(part::RETIRED, Table::Files.key_fields(), retired).await?;
    let tombstones = state
        .tombstones
        .iter()
        .map(|(from, to, lsn)| (lsn, Ok(RangeRow::from((from.flow_id, TimeRange::from_keys(from.start, to))))));
    parts.write(part::TOMBSTONES, &rows::range_fields(), tombstones).await?;
    let extents = state.cold_extents.iter().map(|(id, extent)| (at, Ok(RangeRow::of_extent(*id, *extent))));
    parts.write(part::COLD_EXTENTS, &rows::range_fields(), extents).await?;
    let service = &state.service;
    let row: ServiceRow = (&*service.row).into();
    parts.write_table(Table::Service, std::iter::once((service.lsn, Ok(row)))).await?;
    parts.write_table(Table::Sources, state.sources.values().map(|s| (s.lsn, Ok(SourceRow::from(&*s.row))))).await?;
    parts.write_table(Table::Profiles, state.profiles.values().map(|s| (s.lsn, ProfileRow::try_from(&*s.row)))).await?;
    let requests = state.delete_requests.values();
    parts
        .write_table(Table::FlowDeleteRequests, requests.map(|s| (s.lsn, Ok(DeleteRequestRow::from(&*s.row)))))
        .await?;
    parts.write_table(Table::Webhooks, state.webhooks.values().map(|s| (s.lsn, Ok(WebhookRow::from(&*s.row))))).await?;
    let flows = state.flows.iter().map(|(id, stored)| {
        let row = StoredFlow { flow: stored.row.clone(), segments_updated: state.segments_updated(*id) };
        (stored.lsn, FlowRow::try_from(&row))
    });
    parts.write_table(Table::Flows, flows).await?;
    let objects = state.objects.values().filter_map(|hot| Some((hot.lsn, Ok(ObjectRow::from(&**hot.row.as_ref()?)))));
    parts.write_table(Table::Objects, objects).await?;
    let gone = state.objects.iter().flat_map(|(id, hot)| hot.gone().map(move |(place, lsn)| (id, place, lsn)));
    let gone = gone.map(|(id, place, lsn)| (lsn, Ok(GoneRow::new(id, place))));
    parts.write(part::GONE, &rows::gone_fields(), gone).await?;
    let segments = state.segments.values().map(|s| (s.lsn, Ok(SegmentRow::from(&*s.row))));
    parts.write_table(Table::FlowSegments, segments).await?;
    let key = Table::Objects.key_fields();
    let in_doubt = |id: &ObjectId, seq| (Lsn { seq, index: 0 }, Ok(ObjectKeyRow { id: id.clone() }));
    let suspects: Vec<_> = state.suspects.iter().map(|(id, since)| in_doubt(id, *since)).collect();
    let condemned: Vec<_> = state.condemned.iter().map(|id| in_doubt(id, state.seq)).collect();
    parts.write(part::SUSPECTS, key, suspects.into_iter()).await?;
    parts.write(part::CONDEMNED, key, condemned.into_iter()).await?;
    let manifest = Manifest {
        format: FORMAT,
        catalogue: hex(&log.catalogue),
        seq: state.seq,
        entry_hash: hex(&state.hash),
        committed: state.committed.timestamp_micros(),
        flushed: state.flushed,
        parts: parts.parts,
    };
    let text = serde_json::value::to_raw_value(&manifest).map_err(|error| RowError(error.to_string()))?;
    let file = ManifestFile { sha256: hex(&Sha256::digest(text.get())), manifest: text };
    let bytes = serde_json::to_vec(&file).map_err(|error| RowError(error.to_string()))?;
    log.store.write(&paths::checkpoint_manifest(state.seq), bytes.into()).await?;
    let verified = verify(log, state.seq).await;
    // One that could not be read may be good, and others may rely on it.
    if verified.as_ref().is_err_and(|error| !matches!(error, CheckpointError::Store(_))) {
        // A start would choose it and fail, although the log has everything. Best effort: it is an error either way.
        let _ = log.store.delete(&paths::checkpoint_manifest(state.seq)).await;
    }
    verified
}

struct Parts<'a> {
    log: &'a Log,
    seq: u64,
    parts: Vec<Part>,
}

impl Parts<'_> {
    async fn write_table<R: Serialize, I>(&mut self, table: Table, rows: I) -> Result<(), CheckpointError>
    where
        I: Iterator<Item = (Lsn, Result<R, RowError>)>,
    {
        self.write(table.name(), table.schema().fields(), rows).await
    }

    async fn write<R: Serialize, I>(
        &mut self,
        name: &str,
        fields: &[FieldRef],
        mut rows: I,
    ) -> Result<(), CheckpointError>
    where
        I: Iterator<Item = (Lsn, Result<R, RowError>)>,
    {
        for number in 0.. {
            let mut lsns = Vec::new();
            let mut part = Vec::new();
            for (lsn, row) in rows.by_ref().take(PART_ROWS) {
                lsns.push(lsn);
                part.push(row?);
            }
            if part.is_empty() {
                break;
            }
            let bytes = arrow_file(fields, &part, &lsns)?;
            let path = paths::checkpoint_part(self.seq, name, number);
            self.parts.push(Part {
                table: name.to_owned(),
                path: path.clone(),
                rows: part.len(),
                bytes: bytes.len(),
                sha256: hex(&Sha256::digest(&bytes)),
            });
            self.log.store.write(&path, bytes).await?;
        }
        Ok(())
    }
}

fn arrow_file<R: Serialize>(fields: &[FieldRef], part: &[R], lsns: &[Lsn]) -> Result<Bytes, RowError> {
    let batch = rows::to_batch_with_lsn(fields, part, lsns)?;
    let failed = |error: arrow::error::ArrowError| RowError(error.to_string());
    let mut writer = FileWriter::try_new(Vec::new(), &batch.schema()).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    Ok(writer.into_inner().map_err(failed)?.into())
}

/// The newest checkpoint that was finished, by its manifest.
pub async fn newest(log: &Log) -> Result<Option<u64>, StoreError> {
    Ok(finished(log).await?.into_iter().next_back())
}

/// Whether a checkpoint's state was committed so long ago, at least.
pub async fn is_older(log: &Log, seq: u64, than: Duration) -> Result<bool, CheckpointError> {
    Ok(manifest(log, seq).await?.committed <= before(log, than))
}

/// So long ago, as manifests have it.
fn before(log: &Log, time: Duration) -> i64 {
    let then = log.clock.now().checked_sub_signed(TimeDelta::from_std(time).unwrap_or(TimeDelta::MAX));
    then.unwrap_or(UtcTime::UNIX_EPOCH).timestamp_micros()
}

/// The oldest checkpoint that is kept.
pub async fn oldest(log: &Log) -> Result<Option<u64>, StoreError> {
    Ok(finished(log).await?.into_iter().next())
}

pub async fn finished(log: &Log) -> Result<Vec<u64>, StoreError> {
    let files = log.store.list(paths::CHECKPOINTS).await?;
    let manifests = files.iter().filter_map(|path| paths::parse_checkpoint_file(path));
    Ok(manifests.filter(|(_, is_manifest)| *is_manifest).map(|(seq, _)| seq).collect())
}

async fn manifest(log: &Log, seq: u64) -> Result<Manifest, CheckpointError> {
    let path = paths::checkpoint_manifest(seq);
    let damaged = |reason: String| CheckpointError::Damaged { location: log.store.location(&path), reason };
    let bytes = log.store.read(&path).await?.ok_or_else(|| damaged("it is missing".into()))?;
    let file: ManifestFile = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if hex(&Sha256::digest(file.manifest.get())) != file.sha256 {
        return Err(damaged("it does not match its checksum".into()));
    }
    let manifest: Manifest = serde_json::from_str(file.manifest.get()).map_err(|error| damaged(error.to_string()))?;
    if !FORMATS.contains(&manifest.format) {
        return Err(CheckpointError::Format { location: log.store.location(&path), format: manifest.format });
    }
    if manifest.catalogue != hex(&log.catalogue) || manifest.seq != seq {
        return Err(damaged("it is of another catalogue or another place in the log".into()));
    }
    Ok(manifest)
}

async fn read_part(log: &Log, part: &Part) -> Result<Bytes, CheckpointError> {
    let damaged =
        |reason: &str| CheckpointError::Damaged { location: log.store.location(&part.path), reason: reason.to_owned() };
    let bytes = log.store.read(&part.path).await?.ok_or_else(|| damaged("it is missing"))?;
    if hex(&Sha256::digest(&bytes)) != part.sha256 {
        return Err(damaged("it does not match its checksum"));
    }
    Ok(bytes)
}

/// What is wrong with the files of a checkpoint, each by itself, and the paths of all that it is made of.
pub async fn check(log: &Log, seq: u64) -> (Vec<String>, Vec<(String, CheckpointError)>) {
    let path = paths::checkpoint_manifest(seq);
    let manifest = match manifest(log, seq).await {
        Ok(manifest) => manifest,
        Err(error) => return (vec![path.clone()], vec![(path, error)]),
    };
    let (mut parts, mut wrong) = (vec![path], Vec::new());
    for part in manifest.parts {
        if let Err(error) = read_part(log, &part).await {
            wrong.push((part.path.clone(), error));
        }
        parts.push(part.path);
    }
    (parts, wrong)
}

async fn verify(log: &Log, seq: u64) -> Result<(), CheckpointError> {
    for part in manifest(log, seq).await?.parts {
        read_part(log, &part).await?;
    }
    Ok(())
}

/// The state that a checkpoint holds.
pub async fn read(log: &Log, seq: u64) -> Result<State, CheckpointError> {
    let manifest = manifest(log, seq).await?;
    let location = log.store.location(&paths::checkpoint_manifest(seq));
    let damaged = |reason: &str| CheckpointError::Damaged { location: location.clone(), reason: reason.to_owned() };
    let mut state = State::empty();
    state.seq = seq;
    state.hash = unhex(&manifest.entry_hash).ok_or_else(|| damaged("its entry_hash is no hash"))?;
    state.committed =
        UtcTime::from_timestamp_micros(manifest.committed).ok_or_else(|| damaged("its time is no time"))?;
    state.flushed = manifest.flushed;
    if let Some(unknown) = manifest.parts.iter().find(|part| !PARTS.contains(&part.table.as_str())) {
        return Err(damaged(&format!("it names a part {:?} that is not known", unknown.table)));
    }
    for name in PARTS {
        for part in manifest.parts.iter().filter(|part| part.table == name) {
            let bytes = read_part(log, part).await?;
            load(&mut state, name, bytes).map_err(|error| CheckpointError::Damaged {
                location: log.store.location(&part.path),
                reason: error.0,
            })?;
        }
    }
    if manifest.format == 1 {
        // Who was condemned was not written down; it follows from the references.
        // Storage that waits to be registered has none.
        let registered =
            state.objects.iter().filter(|(_, hot)| hot.row.as_ref().is_some_and(|row| row.is_registered()));
        state.suspects = registered.map(|(id, _)| (id.clone(), seq)).collect();
    }
    Ok(state)
}

fn load(state: &mut State, name: &str, bytes: Bytes) -> Result<(), RowError> {
    let failed = |error: arrow::error::ArrowError| RowError(error.to_string());
    let refused = |reason: &'static str| RowError(reason.to_owned());
    for batch in FileReader::try_new(Cursor::new(bytes), None).map_err(failed)? {
        let batch = batch.map_err(failed)?;
        let lsns = rows::lsns_of(&batch)?;
        match name {
            "files" => {
                for row in read_rows::<FileRow>(&batch)? {
                    state.put_file(&Arc::new(ColdFile::try_from(row)?)).map_err(refused)?;
                }
            }
            part::RETIRED => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<PathRow>(&batch)?) {
                    state.retired.insert(row.path, lsn.seq);
                }
            }
            part::TOMBSTONES => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<RangeRow>(&batch)?) {
                    let (flow_id, range) = <(FlowId, TimeRange)>::try_from(row)?;
                    let from = SegmentKey { flow_id, start: range.start_key() };
                    state.tombstones.restore(from, range.end_key(), lsn);
                }
            }
            part::COLD_EXTENTS => {
                for row in read_rows::<RangeRow>(&batch)? {
                    let (flow_id, extent) = row.extent()?;
                    state.put_cold_extent(flow_id, extent);
                }
            }
            "service" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<ServiceRow>(&batch)?) {
                    state.service = Stored { lsn, row: Arc::new(ServiceInfo::from(row)) };
                }
            }
            "profiles" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<ProfileRow>(&batch)?) {
                    let profile = Arc::new(Profile::try_from(row)?);
                    state.profiles.insert(profile.id, Stored { lsn, row: profile });
                }
            }
            "flow_delete_requests" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<DeleteRequestRow>(&batch)?) {
                    state.put_delete_request(&Arc::new(DeleteRequest::try_from(row)?), lsn);
                }
            }
            "webhooks" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<WebhookRow>(&batch)?) {
                    let webhook = Arc::new(Webhook::try_from(row)?);
                    state.webhooks.insert(webhook.id, Stored { lsn, row: webhook });
                }
            }
            "sources" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<SourceRow>(&batch)?) {
                    let source = Arc::new(Source::try_from(row)?);
                    state.sources.insert(source.id, Stored { lsn, row: source });
                }
            }
            "flows" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<FlowRow>(&batch)?) {
                    let stored = StoredFlow::try_from(row)?;
                    if let Some(time) = stored.segments_updated {
                        state.segments_updated.insert(stored.flow.id, time);
                    }
                    state.put_flow(&stored.flow, lsn).map_err(refused)?;
                }
            }
            "objects" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<ObjectRow>(&batch)?) {
                    state.put_object(&Arc::new(MediaObject::try_from(row)?), lsn);
                }
            }
            part::GONE => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<GoneRow>(&batch)?) {
                    let (id, place) = row.try_into()?;
                    state.put_gone(&id, place, lsn);
                }
            }
            "flow_segments" => {
                for (lsn, row) in lsns.into_iter().zip(read_rows::<SegmentRow>(&batch)?) {
                    let segment = Arc::new(FlowSegment::try_from(row)?);
                    state
                        .put_segment(&segment, lsn)
                        .map_err(|reason| RowError(format!("{reason}: {:?}", SegmentKey::of(&segment))))?;
                }
            }
            part::SUSPECTS => {
                let rows = read_rows::<ObjectKeyRow>(&batch)?;
                state.suspects.extend(rows.into_iter().zip(lsns).map(|(row, lsn)| (row.id, lsn.seq)));
            }
            part::CONDEMNED => state.condemned.extend(read_rows::<ObjectKeyRow>(&batch)?.into_iter().map(|row| row.id)),
            _ => return Err(RowError(format!("{name:?} is no part of a checkpoint"))),
        }
    }
    Ok(())
}

fn read_rows<R: DeserializeOwned>(batch: &arrow::array::RecordBatch) -> Result<Vec<R>, RowError> {
    rows::from_batch(batch)
}

/// What a truncation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Truncated {
    pub entries: u64,
    pub checkpoints: u64,
}

/// How much of the log stays behind the newest checkpoint.
#[derive(Debug, Clone, Copy)]
pub struct Keep {
    pub time: Duration,
    pub entries: u64,
    /// The first entry whose events somebody still has to be told; those are kept in any case. (A webhook that cannot be
    /// told is given up after a while, and holds nothing back from then on.)
    pub needed: u64,
}

/// Deletes log entries that are older than what is to be kept, in whole blocks, each behind its floor mark, and the checkpoints
/// before them; all as far as a checkpoint, none beyond the one at `verified`, makes up for them.
pub async fn truncate(log: &Log, verified: u64, keep: Keep) -> Result<Truncated, CheckpointError> {
    let horizon = before(log, keep.time);
    let oldest = verified.saturating_sub(keep.entries);
    let finished = finished(log).await?;
    let mut committed = Vec::new();
    for seq in finished.iter().copied().filter(|seq| *seq <= verified) {
        committed.push((seq, manifest(log, seq).await?.committed));
    }
    // The newest checkpoint that is older than the retention: with it and all entries behind it, every state since the
    // horizon can be had again.
    let dispensable = |(seq, time): &&(u64, i64)| *seq < keep.needed && (*time < horizon || *seq < oldest);
    let reach = committed.iter().take_while(dispensable).last().map_or(0, |(seq, _)| *seq);
    let kept = worth_keeping(&committed, reach, keep.time);
    let mut done = Truncated::default();
    let mut blocks: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for seq in log.store.list(paths::LOG).await?.iter().filter_map(|path| paths::parse_log_entry(path)) {
        blocks.entry(paths::floor_block(seq)).or_default().push(seq);
    }
    for (block, entries) in blocks {
        if paths::last_of_block(block) > reach {
            break;
        }
        let mark = paths::floor_mark(block);
        if log.store.read(&mark).await?.is_none() {
            log.store.write(&mark, Bytes::from_static(b"entries of this block may be gone\n")).await?;
        }
        for seq in entries {
            log.store.delete(&paths::log_entry(seq)).await?;
            done.entries += 1;
        }
    }
    let mut files: Vec<(bool, u64, String)> = log
        .store
        .list(paths::CHECKPOINTS)
        .await?
        .into_iter()
        .filter_map(|path| paths::parse_checkpoint_file(&path).map(|(seq, is_manifest)| (!is_manifest, seq, path)))
        .collect();
    // Manifests first: a crash half-way must not leave one whose parts are gone.
    files.sort_unstable();
    for (is_part, seq, path) in files {
        // A folder without manifest below the verified one was cut short.
        if seq < verified && !kept.contains(&seq) {
            log.store.delete(&path).await?;
            done.checkpoints += u64::from(!is_part);
        }
    }
    Ok(done)
}

/// The checkpoints to keep: the one that the log reaches back to, the newest two, and between them one for each share of
/// the retention, so that going back to a moment replays little and a busy day does not keep hundreds of whole states.
fn worth_keeping(committed: &[(u64, i64)], reach: u64, retention: Duration) -> BTreeSet<u64> {
    let share = i64::try_from(retention.as_micros() / KEPT_IN_RETENTION).unwrap_or(i64::MAX);
    let mut kept = BTreeSet::new();
    let mut last = None;
    for (place, (seq, time)) in committed.iter().enumerate().filter(|(_, (seq, _))| *seq >= reach) {
        let spaced = last.is_none_or(|last: i64| *time >= last.saturating_add(share));
        if spaced || place + 2 >= committed.len() {
            kept.insert(*seq);
            last = Some(*time);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_checkpoints_every_minute_keeps_about_one_an_hour_and_the_newest_two() {
        let minute = 60_000_000;
        let committed: Vec<(u64, i64)> = (0..2_000).zip((0..).step_by(60_000_000)).collect();
        let reach = committed[2_000 - 1_440 - 1].0;
        let kept = worth_keeping(&committed, reach, Duration::from_secs(24 * 3_600));
        assert!((24..=27).contains(&kept.len()), "{kept:?}");
        assert!(kept.contains(&reach) && kept.contains(&1_998) && kept.contains(&1_999));
        assert!(kept.iter().all(|seq| *seq >= reach));
        let gaps = kept.iter().zip(kept.iter().skip(1)).map(|(one, next)| (next - one) * minute);
        assert!(gaps.max().unwrap() <= 61 * minute, "no stretch longer than an hour is without one");
    }
}
