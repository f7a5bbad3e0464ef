//! One query of a client, with what can end it early.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use datafusion_postgres::datafusion_pg_catalog::sql::PostgresCompatibilityParser;
use futures::stream::{self, StreamExt};
use pgwire::api::portal::Format;
use pgwire::api::results::{FieldInfo, QueryResponse};
use pgwire::api::{ClientInfo, RandomPidSecretKeyGenerator};
use pgwire::error::PgWireResult;
use pgwire::types::format::FormatOptions;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::errors::{CANCELLED, PROTOCOL, error, fatal, of_query};
use super::session::{Cancels, Session};
use super::{rows, statement, talk, words};
use crate::query::{Answer, Engine, Question, Sql, as_of, depth};

/// What all connections share.
pub struct Front {
    pub sql: Sql,
    pub cancels: Arc<Cancels>,
    pub places: Arc<Semaphore>,
    pub ids: RandomPidSecretKeyGenerator,
    compatibility: PostgresCompatibilityParser,
}

impl Front {
    pub fn new(sql: Sql, max_connections: usize) -> Self {
        Self {
            sql,
            cancels: Arc::default(),
            places: Arc::new(Semaphore::new(max_connections)),
            ids: RandomPidSecretKeyGenerator::default(),
            compatibility: PostgresCompatibilityParser::new(),
        }
    }

    /// A query as it was sent; where it needs PostgreSQL's own tables, in DataFusion's words.
    pub fn question(&self, session: &Session, sql: &str) -> PgWireResult<Question> {
        let question =
            Question { engine: Some(Engine::DataFusion), caller: session.caller.clone(), ..Question::new(sql) };
        // What is too long is refused where all are, not taken apart here.
        if sql.len() > LONGEST_OF_POSTGRES.min(self.sql.settings().max_sql_bytes) || !statement::is_of_postgres(sql) {
            return Ok(question);
        }
        let (bare, as_of) = as_of::split(sql).map_err(of_query)?;
        depth::check(bare).map_err(of_query)?;
        let said = words::other(bare);
        // What it cannot read is for DataFusion to judge.
        let sql = match self.compatibility.parse(&said).as_deref() {
            Ok([statement]) => statement.to_string(),
            _ => said,
        };
        Ok(Question { sql, as_of, postgres: true, ..question })
    }

    /// Rows of a query, which ends when they are dropped, when the client goes away or cancels it, or by its limits.
    pub async fn run<C: ClientInfo>(
        &self,
        client: &C,
        question: Question,
        format: &Format,
    ) -> PgWireResult<QueryResponse> {
        let session = session(client)?;
        let mut ending =
            Ending { token: session.begin(), timeout: talk::statement_timeout(client.metadata()).map(sleep) };
        let answer = tokio::select! {
            answer = self.sql.ask(question) => answer.map_err(of_query)?,
            ended = ending.reached() => return Err(ended),
        };
        let fields = fields(&rows::shown(&answer.schema), format, client.metadata())?;
        Ok(respond(answer, fields, ending))
    }
}

/// Queries of tools are shorter; rewriting takes time.
const LONGEST_OF_POSTGRES: usize = 64 << 10;

type Sleep = std::pin::Pin<Box<tokio::time::Sleep>>;

fn sleep(time: Duration) -> Sleep {
    Box::pin(tokio::time::sleep(time))
}

/// Why a query ends before its rows do.
struct Ending {
    token: CancellationToken,
    /// The client's own, besides that of the server.
    timeout: Option<Sleep>,
}

impl Ending {
    async fn reached(&mut self) -> pgwire::error::PgWireError {
        let timeout = async {
            match &mut self.timeout {
                Some(sleep) => sleep.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.token.cancelled() => error(CANCELLED, "the query was cancelled"),
            () = timeout => error(CANCELLED, "the query took longer than the statement_timeout that you have set"),
        }
    }
}

fn respond(answer: Answer, fields: Vec<FieldInfo>, ending: Ending) -> QueryResponse {
    let schema = rows::shown(&answer.schema);
    let fields = Arc::new(fields);
    let encoded = fields.clone();
    let batches = stream::unfold(Some((answer.batches, ending)), |state| async move {
        let (mut batches, mut ending) = state?;
        let next = tokio::select! {
            biased;
            ended = ending.reached() => return Some((Err(ended), None)),
            next = batches.next() => next?,
        };
        match next {
            Ok(batch) => Some((Ok(batch), Some((batches, ending)))),
            Err(failed) => Some((Err(of_query(failed)), None)),
        }
    });
    let rows = batches.flat_map(move |batch| {
        let converted =
            batch.and_then(|batch| rows::convert(&batch, &schema).map_err(|failed| error("22000", failed.to_string())));
        match converted {
            Ok(batch) => stream::iter(arrow_pg::encode_recordbatch(encoded.clone(), batch)).left_stream(),
            Err(error) => stream::iter([Err(error)]).right_stream(),
        }
    });
    QueryResponse::new(fields, rows)
}

/// Columns of [`rows::shown`] in the formats that the client wants.
pub fn fields(
    schema: &arrow::datatypes::Schema,
    format: &Format,
    settings: &HashMap<String, String>,
) -> PgWireResult<Vec<FieldInfo>> {
    let columns = schema.fields().len();
    if let Format::Individual(formats) = format
        && formats.len() != columns
    {
        return Err(error(PROTOCOL, format!("{} formats for {columns} columns", formats.len())));
    }
    let options = Arc::new(FormatOptions::from_client_metadata(settings));
    let types = rows::column_types(schema)?;
    let fields = schema.fields().iter().zip(types).enumerate().map(|(at, (field, kind))| {
        FieldInfo::new(field.name().clone(), None, None, kind, format.format_for(at))
            .with_format_options(options.clone())
    });
    Ok(fields.collect())
}

pub fn session<C: ClientInfo>(client: &C) -> PgWireResult<Arc<Session>> {
    // Inserted as an `Arc`, it comes in two.
    let session = client.session_extensions().get::<Arc<Session>>();
    session.map(|session| (*session).clone()).ok_or_else(|| fatal("XX000", "the connection has no session"))
}
