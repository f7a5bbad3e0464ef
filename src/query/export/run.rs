//! One export from its beginning, or from where it was cut short, to its end.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::RecordBatch;
use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use super::database;
use super::error::ExportError;
use super::job::{File, Job, JobState, Manifest, Progress, Record};
use super::part::Part;
use super::request::{ExportRequest, Plan};
use super::rows::Shape;
use super::target::Target;
use crate::catalog::{AsOf, ColdTable};
use crate::clock::Clock;
use crate::domain::FlowId;
use crate::query::error::QueryError;
use crate::query::sql::{Answer, Engine, Question, Sql};

const MOST_PARTITIONS: usize = 10_000;
/// `job.json` names them all, and is written again and again.
const MOST_FILES: usize = 20_000;

/// Who is told how far an export has come, and may have a say.
pub trait Watch: Send + Sync {
    fn progress(&self, _: &Job) {}
    /// Asked before each file: whether there is room for more.
    fn room(&self, _: &Job) -> Result<(), ExportError> {
        Ok(())
    }
}

/// Nobody.
pub struct Silent;

impl Watch for Silent {}

/// An export as it would begin now: its state is pinned, and the question is one that can be asked.
pub async fn begin(sql: &Sql, clock: &Clock, request: ExportRequest, caller: &str) -> Result<Record, ExportError> {
    let plan = request.plan()?;
    let catalog = sql.catalog();
    let state = match plan.as_of {
        None => catalog.read().await.map_err(QueryError::from)?,
        Some(as_of) => catalog.past(as_of).await.map_err(QueryError::from)?,
    };
    let question = |sql: String| Question {
        engine: plan.engine,
        as_of: Some(AsOf::Lsn(state.seq())),
        caller: caller.to_owned(),
        ..Question::new(sql)
    };
    let schema = match plan.engine.unwrap_or(sql.settings().engine) {
        Engine::DuckDb if request.table.is_none() => {
            let nothing = format!("SELECT * FROM (\n{}\n) AS asked LIMIT 0", plan.sql);
            sql.ask(question(nothing)).await?.schema
        }
        _ => sql.describe(question(plan.sql.clone())).await?.schema,
    };
    Shape::new(&schema, &plan.partition_by)?;
    let stored = |table| Some(state.stored_rows(table).0);
    let estimated_rows = match request.table.as_deref() {
        Some("flow_segments") => stored(ColdTable::FlowSegments),
        Some("objects") => stored(ColdTable::Objects),
        Some("object_references") => stored(ColdTable::References),
        _ => None,
    };
    let now = clock.now();
    Ok(Record::new(Job {
        // A UUID like all others.
        id: FlowId::from_random(clock.random_bytes()).to_string(),
        state: JobState::Queued,
        error: None,
        request,
        caller: caller.to_owned(),
        catalogue: catalog.opened().catalogue.clone(),
        lsn: state.seq(),
        committed: state.committed(),
        progress: Progress { estimated_rows, ..Progress::default() },
        created: now,
        started: None,
        updated: now,
        ended: None,
    }))
}

/// What an export works with.
pub struct Run<'a> {
    pub sql: &'a Sql,
    pub clock: &'a Clock,
    pub target: &'a dyn Target,
    pub watch: &'a dyn Watch,
    pub stop: &'a CancellationToken,
}

impl Run<'_> {
    /// Writes what is missing. Blocks: for a thread that may, and none of a runtime that polls tasks.
    ///
    /// After an error other than the end of space or a wrong question, the same record can be run again.
    pub fn to_end(&self, record: &mut Record) -> Result<(), ExportError> {
        let plan = record.job.request.plan()?;
        record.job.state = JobState::Running;
        record.job.started.get_or_insert(self.clock.now());
        self.tell(record);
        if !record.all_rows && !self.write(&plan, record, true)? {
            // What is there was made of other rows, or by another version.
            tracing::warn!(export = record.job.id, "an export that was cut short begins anew: its rows are others now");
            self.write(&plan, record, false)?;
        }
        if plan.format == super::ExportFormat::DuckDb && record.files.iter().any(|file| file.name != database::NAME) {
            let made = database::make(self.sql, &plan, record, self.target, self.stop)?;
            record.files = vec![made];
            record.count();
            record.save(self.target)?;
        }
        self.forget_others(record)?;
        record.count();
        Manifest::of(record).save(self.target)?;
        record.job.state = JobState::Done;
        record.job.ended = Some(self.clock.now());
        self.tell(record);
        record.save(self.target)
    }

    /// All rows into files, as far as they are not there; false if the last of the files that are is not as it would be now.
    fn write(&self, plan: &Plan, record: &mut Record, go_on: bool) -> Result<bool, ExportError> {
        if !(go_on && plan.repeats) {
            record.files.clear();
        }
        // The last one is written again: if it comes out the same, the others would too.
        let mut known = record.files.pop();
        record.count();
        self.forget_others(record)?;
        record.save(self.target)?;
        let mut skipped = record.job.progress.rows;
        let mut answer = self.ask(plan, &record.job)?;
        let shape = Shape::new(&answer.schema, &plan.partition_by)?;
        record.columns = shape.columns();
        let mut files = Files::new(self, plan, &shape, record);
        while let Some(batch) = self.next(&mut answer)? {
            let left_out = usize::try_from(skipped).unwrap_or(usize::MAX).min(batch.num_rows());
            skipped -= left_out as u64;
            for (folder, rows) in shape.split(&batch.slice(left_out, batch.num_rows() - left_out))? {
                files.push(&folder, rows)?;
                if let Some(known) = known.take_if(|_| !files.finished_any.is_empty())
                    && files.finished_any.first() != Some(&known)
                {
                    return Ok(false);
                }
            }
            files.tell();
        }
        files.end()?;
        // Fewer rows than were written once, or another last file.
        let same = known.is_none_or(|known| files.finished_any.first() == Some(&known));
        if skipped > 0 || !same {
            return Ok(false);
        }
        record.all_rows = true;
        record.save(self.target)?;
        Ok(true)
    }

    fn ask(&self, plan: &Plan, job: &Job) -> Result<Answer, ExportError> {
        let question = Question {
            // A table's SQL is DataFusion's, whatever the server's engine is.
            engine: if job.request.table.is_some() { Some(Engine::DataFusion) } else { plan.engine },
            as_of: Some(AsOf::Lsn(job.lsn)),
            caller: job.caller.clone(),
            export: true,
            ..Question::new(plan.sql.clone())
        };
        let asked = async {
            tokio::select! {
                answer = self.sql.ask(question) => Ok(answer?),
                () = self.stop.cancelled() => Err(ExportError::Stopped),
            }
        };
        self.sql.handle().block_on(asked)
    }

    fn next(&self, answer: &mut Answer) -> Result<Option<RecordBatch>, ExportError> {
        let next = async {
            tokio::select! {
                // What stops the server also ends its queries.
                biased;
                () = self.stop.cancelled() => Err(ExportError::Stopped),
                batch = answer.batches.next() => Ok(batch.transpose()?),
            }
        };
        self.sql.handle().block_on(next)
    }

    /// Removes files of rows that the record does not name.
    fn forget_others(&self, record: &Record) -> Result<(), ExportError> {
        let known: BTreeSet<&str> = record.files.iter().map(|file| file.name.as_str()).collect();
        let others = self.target.names()?.into_iter().filter(|name| !known.contains(name.as_str()));
        others.into_iter().try_for_each(|name| self.target.remove(&name))
    }

    fn tell(&self, record: &mut Record) {
        record.job.updated = self.clock.now();
        self.watch.progress(&record.job);
    }
}

/// The files of an export, one of them open.
struct Files<'a> {
    run: &'a Run<'a>,
    plan: &'a Plan,
    shape: &'a Shape,
    record: &'a mut Record,
    /// How many files a folder has.
    folders: BTreeMap<String, u32>,
    open: Option<(String, Part)>,
    /// Files that `job.json` does not name yet.
    untold: usize,
    /// The first file that this run has finished.
    finished_any: Vec<File>,
}

impl<'a> Files<'a> {
    fn new(run: &'a Run<'a>, plan: &'a Plan, shape: &'a Shape, record: &'a mut Record) -> Self {
        let mut folders = BTreeMap::new();
        for file in &record.files {
            let folder = file.name.rfind('/').and_then(|at| file.name.get(..=at)).unwrap_or_default();
            *folders.entry(folder.to_owned()).or_default() += 1;
        }
        Self { run, plan, shape, record, folders, open: None, untold: 0, finished_any: Vec::new() }
    }

    fn push(&mut self, folder: &str, mut rows: RecordBatch) -> Result<(), ExportError> {
        while rows.num_rows() > 0 {
            if self.open.as_ref().is_some_and(|(open, part)| open != folder || part.rows() >= self.plan.rows_per_file) {
                self.close()?;
            }
            let (_, part) = match &mut self.open {
                Some(open) => open,
                None => {
                    let part = self.begin(folder)?;
                    self.open.insert((folder.to_owned(), part))
                }
            };
            let room = usize::try_from(self.plan.rows_per_file - part.rows()).unwrap_or(usize::MAX);
            let taken = room.min(rows.num_rows());
            part.push(&rows.slice(0, taken))?;
            rows = rows.slice(taken, rows.num_rows() - taken);
        }
        Ok(())
    }

    fn begin(&mut self, folder: &str) -> Result<Part, ExportError> {
        self.run.watch.room(&self.record.job)?;
        if self.record.files.len() >= MOST_FILES {
            return Err(ExportError::TooManyFiles(MOST_FILES));
        }
        let number = self.folders.entry(folder.to_owned()).or_default();
        let name = format!("{folder}part-{number:05}.{}", self.plan.format.of_parts().name());
        *number += 1;
        if self.folders.len() > MOST_PARTITIONS {
            return Err(ExportError::TooManyPartitions(MOST_PARTITIONS));
        }
        Part::begin(self.run.target, name, self.plan.format.of_parts(), self.plan.compression, &self.shape.schema)
    }

    fn close(&mut self) -> Result<(), ExportError> {
        let Some((_, part)) = self.open.take() else { return Ok(()) };
        let file = part.finish(self.run.target)?;
        if self.finished_any.is_empty() {
            self.finished_any.push(file.clone());
        }
        self.record.files.push(file);
        self.record.count();
        self.untold += 1;
        // Of many small files, a few that would have to be written again after a crash.
        if self.untold * 50 > self.record.files.len() {
            self.untold = 0;
            self.record.save(self.run.target)?;
        }
        Ok(())
    }

    fn tell(&mut self) {
        let open = self.open.as_ref().map_or(0, |(_, part)| part.rows());
        let finished = self.record.job.progress.rows;
        self.record.job.progress.rows += open;
        self.run.tell(self.record);
        self.record.job.progress.rows = finished;
    }

    fn end(&mut self) -> Result<(), ExportError> {
        self.close()?;
        // An answer without rows still has columns.
        if self.record.files.is_empty() && self.plan.partition_by.is_empty() {
            let part = self.begin("")?;
            self.open = Some((String::new(), part));
            self.close()?;
        }
        Ok(())
    }
}
