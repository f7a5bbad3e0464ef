//! All exports of a server: who waits, who runs, what is kept and how long.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::MANIFEST;
use super::error::ExportError;
use super::job::{Job, JobState, Record};
use super::request::ExportRequest;
use super::run::{Run, Watch, begin};
use super::target::{Folder, Target, is_ours};
use crate::clock::Clock;
use crate::query::sql::Sql;

/// Exports that wait for their turn.
const MOST_QUEUED: usize = 64;
/// Exports that are kept, of all states.
const MOST_KEPT: usize = 1_000;
const SWEEP: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Clone)]
pub struct ExportSettings {
    /// Each export has a folder in it.
    pub dir: PathBuf,
    /// At one time; others wait.
    pub max_running: usize,
    /// How long they are kept once they are over.
    pub retention: Duration,
    /// Bytes of all exports.
    pub space_bytes: u64,
    /// Bytes that stay free on the disk.
    pub min_free_bytes: u64,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Exports(Arc<Inner>);

struct Inner {
    sql: Sql,
    clock: Clock,
    settings: ExportSettings,
    jobs: Mutex<BTreeMap<String, Entry>>,
    turns: Arc<Semaphore>,
    closing: CancellationToken,
    tasks: TaskTracker,
    /// Told whenever something of a job has changed.
    changed: watch::Sender<()>,
}

struct Entry {
    job: Job,
    /// Somebody wants it no more.
    cancel: CancellationToken,
}

impl Exports {
    /// Opens the folder of exports and goes on with those that were cut short.
    pub fn open(sql: Sql, clock: Clock, settings: ExportSettings) -> Result<Self, ExportError> {
        std::fs::create_dir_all(&settings.dir).map_err(|error| ExportError::io(&settings.dir, error))?;
        let turns = Arc::new(Semaphore::new(settings.max_running.max(1)));
        let (closing, tasks) = (CancellationToken::new(), TaskTracker::new());
        let changed = watch::Sender::new(());
        let exports =
            Self(Arc::new(Inner { sql, clock, settings, jobs: Mutex::default(), turns, closing, tasks, changed }));
        let mut unfinished = Vec::new();
        for record in exports.0.found()? {
            exports.0.jobs().insert(record.job.id.clone(), Entry::new(record.job.clone()));
            if !record.job.state.is_over() {
                unfinished.push(record);
            }
        }
        exports.sweep();
        unfinished.sort_by(|one, other| (one.job.created, &one.job.id).cmp(&(other.job.created, &other.job.id)));
        for record in unfinished {
            tracing::info!(export = record.job.id, files = record.files.len(), "an export goes on");
            exports.start(record);
        }
        let (inner, handle) = (exports.clone(), exports.0.sql.handle().clone());
        exports.0.tasks.spawn_on(async move { inner.keep_swept().await }, &handle);
        Ok(exports)
    }

    /// Takes an export on; its state is that of now, or the one it asks for.
    pub async fn create(&self, request: ExportRequest, caller: &str) -> Result<Job, ExportError> {
        self.sweep();
        let inner = &self.0;
        inner.room_for_one_more()?;
        inner.room(None)?;
        let record = begin(&inner.sql, &inner.clock, request, caller).await?;
        let (job, first) = (record.job.clone(), record.clone());
        let made = inner.clone();
        let save = move || first.save(&made.folder(&first.job.id)?);
        {
            let mut jobs = inner.jobs();
            // Others may have come meanwhile.
            Inner::check_room(&jobs)?;
            jobs.insert(job.id.clone(), Entry::new(job.clone()));
        }
        let saved = inner.sql.handle().spawn_blocking(save).await.unwrap_or(Err(ExportError::Stopped));
        if let Err(error) = saved {
            inner.jobs().remove(&job.id);
            return Err(error);
        }
        self.start(record);
        Ok(job)
    }

    /// The newest first.
    pub fn list(&self) -> Vec<Job> {
        let mut all: Vec<Job> = self.0.jobs().values().map(|entry| entry.job.clone()).collect();
        all.sort_by(|one, other| (other.created, &other.id).cmp(&(one.created, &one.id)));
        all
    }

    pub fn get(&self, id: &str) -> Result<Job, ExportError> {
        let jobs = self.0.jobs();
        jobs.get(id).map(|entry| entry.job.clone()).ok_or_else(|| ExportError::NotFound(id.to_owned()))
    }

    /// Waits until a job is as it is wanted.
    pub async fn wait(&self, id: &str, until: impl Fn(&Job) -> bool) -> Result<Job, ExportError> {
        let mut changed = self.0.changed.subscribe();
        loop {
            let job = self.get(id)?;
            // An error means that nothing changes any more, which cannot be while this is there.
            if until(&job) || changed.changed().await.is_err() {
                return Ok(job);
            }
        }
    }

    /// Stops an export that waits or runs, which is kept as cancelled; removes one that is over. The job, where it is kept.
    pub async fn remove(&self, id: &str) -> Result<Option<Job>, ExportError> {
        let job = self.get(id)?;
        if !job.state.is_over() {
            if let Some(entry) = self.0.jobs().get(id) {
                entry.cancel.cancel();
            }
            return Ok(Some(job));
        }
        self.0.jobs().remove(id);
        let path = self.0.settings.dir.join(id);
        let gone = self.0.sql.handle().spawn_blocking(move || remove_folder(&path)).await;
        gone.unwrap_or(Err(ExportError::Stopped)).map(|()| None)
    }

    /// Where the manifest of a finished export is.
    pub fn manifest(&self, id: &str) -> Result<PathBuf, ExportError> {
        self.done(id).map(|folder| folder.join(MANIFEST))
    }

    /// Where a file of a finished export would be, if it has one of that name.
    pub fn file(&self, id: &str, name: &str) -> Result<PathBuf, ExportError> {
        let folder = self.done(id)?;
        if !is_ours(name) {
            return Err(ExportError::NotFound(format!("{id} with a file {name:?}")));
        }
        Ok(folder.join(name))
    }

    fn done(&self, id: &str) -> Result<PathBuf, ExportError> {
        let job = self.get(id)?;
        if job.state != JobState::Done {
            return Err(ExportError::NotDone { id: job.id, state: job.state.name() });
        }
        Ok(self.0.settings.dir.join(job.id))
    }

    /// Stops what runs, to go on when it is opened again.
    pub async fn close(&self) {
        self.0.closing.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    fn start(&self, record: Record) {
        let (inner, handle) = (self.0.clone(), self.0.sql.handle().clone());
        let Some(cancel) = inner.jobs().get(&record.job.id).map(|entry| entry.cancel.clone()) else { return };
        self.0.tasks.spawn_on(async move { inner.take_turn(record, cancel).await }, &handle);
    }

    /// Removes what is older than it is kept.
    pub fn sweep(&self) {
        let inner = &self.0;
        let now = inner.clock.now();
        let is_old = |job: &Job| {
            let age = job.ended.map(|ended| (now - ended).to_std().unwrap_or_default());
            job.state.is_over() && age.is_some_and(|age| age > inner.settings.retention)
        };
        let old: Vec<String> =
            inner.jobs().values().filter(|entry| is_old(&entry.job)).map(|entry| entry.job.id.clone()).collect();
        for id in old {
            match remove_folder(&inner.settings.dir.join(&id)) {
                Ok(()) => {
                    inner.jobs().remove(&id);
                }
                Err(error) => tracing::warn!(export = id, %error, "an old export cannot be removed"),
            }
        }
    }

    async fn keep_swept(&self) {
        while tokio::time::timeout(SWEEP, self.0.closing.cancelled()).await.is_err() {
            self.sweep();
        }
    }
}

impl Entry {
    fn new(job: Job) -> Self {
        Self { job, cancel: CancellationToken::new() }
    }
}

impl Inner {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn folder(&self, id: &str) -> Result<Folder, ExportError> {
        Folder::new(&self.settings.dir.join(id))
    }

    /// The exports that the folder holds.
    fn found(&self) -> Result<Vec<Record>, ExportError> {
        let dir = &self.settings.dir;
        let failed = |error| ExportError::io(dir, error);
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if !path.is_dir() || name.parse::<crate::domain::FlowId>().is_err() {
                continue;
            }
            match Record::read(&Folder::new(&path)?) {
                Ok(Some(record)) if record.job.id == name => found.push(record),
                // A crash came before anybody was told of it.
                Ok(None) => remove_folder(&path)?,
                Ok(Some(_)) => tracing::warn!(folder = %path.display(), "this is another export than its name says"),
                Err(error) => tracing::warn!(%error, "an export is left out"),
            }
        }
        Ok(found)
    }

    fn room_for_one_more(&self) -> Result<(), ExportError> {
        Self::check_room(&self.jobs())
    }

    fn check_room(jobs: &BTreeMap<String, Entry>) -> Result<(), ExportError> {
        let queued = jobs.values().filter(|entry| entry.job.state == JobState::Queued).count();
        if queued >= MOST_QUEUED {
            return Err(ExportError::Busy(queued));
        }
        if jobs.len() >= MOST_KEPT { Err(ExportError::TooMany(jobs.len())) } else { Ok(()) }
    }

    /// Whether there is room for more bytes.
    fn room(&self, of: Option<&Job>) -> Result<(), ExportError> {
        let mut taken: u64 = 0;
        for entry in self.jobs().values().filter(|entry| of.is_none_or(|job| job.id != entry.job.id)) {
            taken = taken.saturating_add(entry.job.progress.bytes);
        }
        taken = taken.saturating_add(of.map_or(0, |job| job.progress.bytes));
        if taken >= self.settings.space_bytes {
            return Err(ExportError::NoSpace(format!(
                "exports take {taken} of the {} bytes that they may (query.exports_space): remove some with DELETE \
                 /exports/{{id}}",
                self.settings.space_bytes
            )));
        }
        let free = Folder::new(&self.settings.dir)?.free();
        if free.is_some_and(|free| free < self.settings.min_free_bytes) {
            return Err(ExportError::NoSpace(
                "too little disk space is free for an export: remove some, or make room".into(),
            ));
        }
        Ok(())
    }

    async fn take_turn(self: Arc<Self>, mut record: Record, cancel: CancellationToken) {
        let turn = tokio::select! {
            biased;
            () = self.closing.cancelled() => return,
            () = cancel.cancelled() => None,
            turn = self.turns.clone().acquire_owned() => turn.ok(),
        };
        let id = record.job.id.clone();
        let inner = self.clone();
        let work = move || {
            inner.work(&mut record, turn.is_some(), &cancel);
            inner.set(&record.job);
        };
        if let Err(error) = self.sql.handle().spawn_blocking(work).await {
            tracing::error!(export = id, %error, "an export stopped inside");
            let now = self.clock.now();
            if let Some(entry) = self.jobs().get_mut(&id) {
                (entry.job.state, entry.job.ended) = (JobState::Failed, Some(now));
                entry.job.error = Some("it stopped because of an internal error".into());
            }
            self.changed.send_replace(());
        }
    }

    fn work(&self, record: &mut Record, has_turn: bool, cancel: &CancellationToken) {
        let id = record.job.id.clone();
        let target = match self.folder(&id) {
            Ok(target) => target,
            Err(error) => return self.end(record, None, JobState::Failed, Some(error.to_string())),
        };
        // One that is told to stop is either not wanted any more or goes on when the server starts again.
        let stop = CancellationToken::new();
        let stopping = {
            let (stop, cancel, closing) = (stop.clone(), cancel.clone(), self.closing.clone());
            self.sql.handle().spawn(async move {
                tokio::select! {
                    () = cancel.cancelled() => {}
                    () = closing.cancelled() => {}
                }
                stop.cancel();
            })
        };
        let _stopping = tokio_util::task::AbortOnDropHandle::new(stopping);
        let run = Run { sql: &self.sql, clock: &self.clock, target: &target, watch: self, stop: &stop };
        let outcome = if has_turn { run.to_end(record) } else { Err(ExportError::Stopped) };
        match outcome {
            Ok(()) => tracing::info!(export = id, rows = record.job.progress.rows, "an export is done"),
            Err(_) if cancel.is_cancelled() => self.end(record, Some(&target), JobState::Cancelled, None),
            Err(ExportError::Stopped) => {}
            Err(error) => {
                tracing::warn!(export = id, %error, "an export failed");
                self.end(record, Some(&target), JobState::Failed, Some(error.to_string()));
            }
        }
    }

    /// Over, without a result: its files go.
    fn end(&self, record: &mut Record, target: Option<&Folder>, state: JobState, error: Option<String>) {
        record.files.clear();
        record.count();
        record.job.state = state;
        record.job.error = error;
        record.job.updated = self.clock.now();
        record.job.ended = Some(record.job.updated);
        let Some(target) = target else { return };
        let gone = record.save(target).and_then(|()| target.names()?.iter().try_for_each(|name| target.remove(name)));
        if let Err(error) = gone {
            tracing::warn!(export = record.job.id, %error, "what an export has left behind cannot be removed");
        }
    }

    fn set(&self, job: &Job) {
        if let Some(entry) = self.jobs().get_mut(&job.id) {
            entry.job = job.clone();
        }
        self.changed.send_replace(());
    }
}

impl Watch for Inner {
    fn progress(&self, job: &Job) {
        // Not before everything is written down.
        if !job.state.is_over() {
            self.set(job);
        }
    }

    fn room(&self, job: &Job) -> Result<(), ExportError> {
        self.room(Some(job))
    }
}

fn remove_folder(path: &Path) -> Result<(), ExportError> {
    // First what would make it an export: the rest can be removed at any time.
    let _ = std::fs::remove_file(path.join(super::JOB));
    match std::fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(ExportError::io(path, error)),
        _ => Ok(()),
    }
}
