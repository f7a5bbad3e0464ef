//! The one way to an answer: a question is given a state, room and a time limit, and runs on threads of its own, which
//! leave the processors to requests of the API.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::{BoxStream, StreamExt};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use super::as_of;
use super::backends::{self, Backend};
use super::datafusion::{Session, SessionSettings};
use super::depth;
use super::duckdb::{Databases, DuckSettings};
use super::error::QueryError;
use super::params::Params;
use super::places::Places;
use crate::catalog::{AsOf, Catalog, State, be_patient};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    DataFusion,
    DuckDb,
}

impl Engine {
    pub const ALL: [Self; 2] = [Self::DataFusion, Self::DuckDb];

    pub fn name(self) -> &'static str {
        match self {
            Self::DataFusion => "datafusion",
            Self::DuckDb => "duckdb",
        }
    }
}

impl std::str::FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|engine| engine.name() == text)
            .ok_or_else(|| format!("{text:?} is no engine: say datafusion or duckdb"))
    }
}

/// Of a thread, for expressions that nest as deep as a query's text is long. Only what is used takes memory.
const STACK: usize = 256 << 20;

#[derive(Debug, Clone)]
pub struct SqlSettings {
    /// Of queries that do not say.
    pub engine: Engine,
    pub threads: usize,
    pub timeout: Duration,
    /// For each query of DataFusion, and for all of DuckDB together.
    pub memory_bytes: u64,
    /// For what does not fit into memory: of each query of DataFusion, and of DuckDB's.
    pub scratch: PathBuf,
    pub scratch_bytes: u64,
    pub max_rows: u64,
    pub max_sql_bytes: usize,
    /// Queries at one time.
    pub max_running: usize,
    pub max_running_of_caller: usize,
    /// How long a query waits for its turn.
    pub patience: Duration,
}

impl SqlSettings {
    /// Those of them that are DuckDB's.
    pub(super) fn duckdb(&self) -> DuckSettings {
        DuckSettings {
            threads: self.threads.max(1),
            memory_bytes: self.memory_bytes,
            scratch: self.scratch.clone(),
            scratch_bytes: self.scratch_bytes,
        }
    }
}

/// What somebody wants to know.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub sql: String,
    pub params: Params,
    pub engine: Option<Engine>,
    /// Besides what the SQL says itself.
    pub as_of: Option<AsOf>,
    /// Who asks: an address, later a name.
    pub caller: String,
    /// Without limits of time and rows, on one thread, so that the same question of the same state has the same answer in the
    /// same order.
    pub export: bool,
    /// With the system tables that clients of PostgreSQL look for.
    pub postgres: bool,
}

impl Question {
    pub fn new(sql: impl Into<String>) -> Self {
        Self { sql: sql.into(), ..Self::default() }
    }
}

pub type AnswerBatches = BoxStream<'static, Result<RecordBatch, QueryError>>;

pub struct Answer {
    pub schema: SchemaRef,
    pub engine: Engine,
    /// Log entry whose state was asked.
    pub lsn: u64,
    /// Dropped, it ends the query.
    pub batches: AnswerBatches,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Answer").field("engine", &self.engine).field("lsn", &self.lsn).finish_non_exhaustive()
    }
}

/// What an answer would look like.
#[derive(Debug, Clone)]
pub struct Description {
    pub schema: SchemaRef,
    /// Names without `$` and types of the placeholders, as far as the query tells; in their order.
    pub params: Vec<(String, Option<arrow::datatypes::DataType>)>,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Sql(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    settings: SqlSettings,
    runtime: Option<Runtime>,
    handle: Handle,
    places: Places,
    databases: Databases,
    backends: Backends,
    /// The earlier state that was asked last: making it takes a while.
    past: Mutex<Option<Arc<State>>>,
}

/// The storage backends as they are now, as rows of `storage_backends`.
pub type Backends = Arc<dyn Fn() -> Vec<Backend> + Send + Sync>;

impl Drop for Inner {
    fn drop(&mut self) {
        // Dropped by a task of another runtime, it could not wait for its threads.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Sql {
    pub fn new(catalog: Catalog, settings: SqlSettings, backends: Backends) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(settings.threads.max(1))
            .thread_name("sql")
            .thread_stack_size(STACK)
            .max_blocking_threads(4 * settings.max_running.max(1) + 16)
            .on_thread_start(be_patient)
            .enable_all()
            .build()?;
        let databases = Databases::new(settings.duckdb());
        let places = Places::new(settings.max_running, settings.max_running_of_caller, settings.patience);
        let handle = runtime.handle().clone();
        let runtime = Some(runtime);
        let past = Mutex::default();
        Ok(Self(Arc::new(Inner { catalog, settings, runtime, handle, places, databases, backends, past })))
    }

    pub fn settings(&self) -> &SqlSettings {
        &self.0.settings
    }

    pub fn catalog(&self) -> &Catalog {
        &self.0.catalog
    }

    /// The threads of queries, for front ends that do nothing else.
    pub fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// The answer to one query, as it comes. The first rows may be waited for.
    pub async fn ask(&self, question: Question) -> Result<Answer, QueryError> {
        let (sql, as_of) = self.read(&question)?;
        let engine = question.engine.unwrap_or(self.0.settings.engine);
        if engine == Engine::DataFusion {
            depth::check(&sql)?;
        }
        // Exports wait in a queue of their own, and may take hours.
        let place = match question.export {
            true => None,
            false => Some(self.0.places.take(&question.caller).await?),
        };
        let state = self.state(as_of).await?;
        let lsn = state.seq();
        let (schema, told) = oneshot::channel();
        let (batches, coming) = mpsc::channel(2);
        let asked = Asked { sql, question, state, schema: Some(schema), batches };
        let inner = self.0.clone();
        let timeout = asked.timeout(&self.0.settings);
        let running = self.0.handle.spawn(async move {
            let _place = place;
            let batches = asked.batches.clone();
            let ran = async {
                match engine {
                    Engine::DataFusion => asked.by_datafusion(&inner).await,
                    Engine::DuckDb => asked.by_duckdb(&inner).await,
                }
            };
            let outcome = tokio::select! {
                outcome = ran => outcome,
                () = limit(timeout) => Err(QueryError::TimedOut(timeout.unwrap_or_default())),
                // Nobody waits for the rest.
                () = batches.closed() => Ok(()),
            };
            match outcome {
                Ok(()) => {}
                // Where the schema was not told yet, its channel is closed now and the first one gets this instead.
                Err(error) => {
                    let _ = tokio::time::timeout(GIVE_UP, batches.send(Err(error))).await;
                }
            }
        });
        let running = AbortOnDropHandle::new(running);
        let mut coming = answer_of(coming, running);
        // The query's own thread may be where it does not look at the clock, as in planning.
        let told = tokio::select! {
            told = told => told,
            () = limit(timeout.map(|timeout| timeout + LENIENCE)) => {
                return Err(QueryError::TimedOut(timeout.unwrap_or_default()));
            }
        };
        match told {
            Ok(schema) => Ok(Answer { schema, engine, lsn, batches: coming }),
            Err(_) => match coming.next().await {
                Some(Err(error)) => Err(error),
                _ => Err(QueryError::Internal("the query ended without an answer".into())),
            },
        }
    }

    /// What an answer would look like, without asking for it.
    pub async fn describe(&self, question: Question) -> Result<Description, QueryError> {
        let (sql, as_of) = self.read(&question)?;
        depth::check(&sql)?;
        let _place = self.0.places.take(&question.caller).await?;
        let state = self.state(as_of).await?;
        let inner = self.0.clone();
        let work = async move {
            let session = Session::new(&inner.catalog, &state, &inner.session_settings(&question))?;
            session.describe(&sql, &question.params).await
        };
        let limit = self.0.settings.timeout;
        let running = AbortOnDropHandle::new(self.0.handle.spawn(work));
        match tokio::time::timeout(limit, running).await {
            Ok(Ok(described)) => described,
            Ok(Err(error)) => Err(QueryError::Internal(error.to_string())),
            Err(_) => Err(QueryError::TimedOut(limit)),
        }
    }

    fn read(&self, question: &Question) -> Result<(String, Option<AsOf>), QueryError> {
        let limit = self.0.settings.max_sql_bytes;
        if question.sql.len() > limit {
            return Err(QueryError::TooLong { bytes: question.sql.len(), limit });
        }
        let (sql, as_of) = as_of::split(&question.sql)?;
        Ok((sql.to_owned(), as_of.or(question.as_of)))
    }

    async fn state(&self, as_of: Option<AsOf>) -> Result<Arc<State>, QueryError> {
        let Some(as_of) = as_of else { return Ok(self.0.catalog.read().await?) };
        let kept = || self.0.past.lock().unwrap_or_else(PoisonError::into_inner);
        if let AsOf::Lsn(lsn) = as_of
            && let Some(state) = kept().clone().filter(|state| state.seq() == lsn)
        {
            return Ok(state);
        }
        let state = self.0.catalog.past(as_of).await?;
        *kept() = Some(state.clone());
        Ok(state)
    }
}

/// How long after its limit a query is given up that does not notice it.
const LENIENCE: Duration = Duration::from_secs(1);
/// How long a failure waits for a reader that is slow.
const GIVE_UP: Duration = Duration::from_secs(60);

async fn limit(timeout: Option<Duration>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout).await,
        None => std::future::pending().await,
    }
}

/// The batches of a task that ends with them.
fn answer_of(coming: mpsc::Receiver<Result<RecordBatch, QueryError>>, running: AbortOnDropHandle<()>) -> AnswerBatches {
    futures::stream::unfold(Some((coming, running)), |open| async move {
        let (mut coming, running) = open?;
        match coming.recv().await {
            Some(batch) => Some((batch, Some((coming, running)))),
            // A task that was stopped could not say so, and half an answer must not look like a whole one.
            None => match running.await {
                Ok(()) => None,
                Err(error) => Some((Err(QueryError::Internal(format!("the query was stopped: {error}"))), None)),
            },
        }
    })
    .boxed()
}

impl Inner {
    fn backend_rows(&self) -> RecordBatch {
        backends::rows(&(self.backends)())
    }

    fn session_settings(&self, question: &Question) -> SessionSettings {
        SessionSettings {
            threads: if question.export { 1 } else { self.settings.threads.max(1) },
            memory_bytes: self.settings.memory_bytes,
            scratch: self.settings.scratch.clone(),
            scratch_bytes: self.settings.scratch_bytes,
            merge_bytes: question.export.then_some(self.settings.memory_bytes / 3),
            backends: self.backend_rows(),
            postgres: question.postgres,
        }
    }
}

/// A question that has its turn.
struct Asked {
    sql: String,
    question: Question,
    state: Arc<State>,
    schema: Option<oneshot::Sender<SchemaRef>>,
    batches: mpsc::Sender<Result<RecordBatch, QueryError>>,
}

impl Asked {
    fn timeout(&self, settings: &SqlSettings) -> Option<Duration> {
        (!self.question.export).then_some(settings.timeout)
    }

    fn row_limit(&self, settings: &SqlSettings) -> u64 {
        if self.question.export { u64::MAX } else { settings.max_rows }
    }

    async fn by_datafusion(self, inner: &Inner) -> Result<(), QueryError> {
        let session = Session::new(&inner.catalog, &self.state, &inner.session_settings(&self.question))?;
        let (schema, rows) = session.query(&self.sql, &self.question.params).await?;
        self.hand_on(schema, rows, inner).await
    }

    async fn by_duckdb(self, inner: &Inner) -> Result<(), QueryError> {
        // By its name alone: what is read for nothing costs time, and what is missing would be a wrong answer.
        let events = self.sql.to_ascii_lowercase().contains("events");
        let (databases, backends) = (&inner.databases, inner.backend_rows());
        let database = match self.question.export {
            true => databases.alone(&inner.catalog, &self.state, &backends, events).await?,
            false => databases.of(&inner.catalog, &self.state, &backends, events).await?,
        };
        let (schema, rows) = database.ask(self.sql.clone(), self.question.params.clone()).await?;
        self.hand_on(schema, rows, inner).await
    }

    /// The first batch before the schema: what fails at once is answered with an error, not with half an answer.
    async fn hand_on(mut self, schema: SchemaRef, mut rows: AnswerBatches, inner: &Inner) -> Result<(), QueryError> {
        let mut limit = RowLimit::new(self.row_limit(&inner.settings));
        let mut next = rows.next().await.transpose()?;
        self.tell(schema);
        while let Some(batch) = next {
            limit.count(&batch)?;
            if self.batches.send(Ok(batch)).await.is_err() {
                return Ok(());
            }
            next = rows.next().await.transpose()?;
        }
        Ok(())
    }

    fn tell(&mut self, schema: SchemaRef) {
        if let Some(sender) = self.schema.take() {
            // An error means that nobody waits any more, which ends the query elsewhere.
            let _ = sender.send(schema);
        }
    }
}

struct RowLimit {
    limit: u64,
    rows: u64,
}

impl RowLimit {
    fn new(limit: u64) -> Self {
        Self { limit, rows: 0 }
    }

    fn count(&mut self, batch: &RecordBatch) -> Result<(), QueryError> {
        self.rows += batch.num_rows() as u64;
        if self.rows > self.limit { Err(QueryError::TooManyRows(self.limit)) } else { Ok(()) }
    }
}
