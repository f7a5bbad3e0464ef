//! One query of a database, on a thread of its own, as batches of our Arrow.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow_ipc_58::writer::StreamWriter;
use duckdb::arrow::datatypes::Schema as DuckSchema;
use duckdb::arrow::record_batch::RecordBatch as DuckBatch;
use duckdb::types::Value;
use duckdb::{InterruptHandle, Statement, params_from_iter};
use futures::stream::{self, StreamExt};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{Duck, DuckError, duck};
use crate::query::cancel::InterruptOnDrop;
use crate::query::error::QueryError;
use crate::query::params::{Param, Params};
use crate::query::sql::AnswerBatches;

enum Message {
    Begun(Arc<InterruptHandle>),
    Schema(SchemaRef),
    Rows(RecordBatch),
}

/// What the thread tells. Dropped, it stops the query.
struct Told {
    coming: mpsc::Receiver<Result<Message, DuckError>>,
    interrupt: Option<InterruptOnDrop>,
    over: CancellationToken,
}

impl Duck {
    /// The answer to one query. Its rows come as the thread makes them; dropped, they stop it.
    pub async fn ask(self: &Arc<Self>, sql: String, params: Params) -> Result<(SchemaRef, AnswerBatches), QueryError> {
        let (messages, coming) = mpsc::channel(2);
        let over = CancellationToken::new();
        let guard = over.clone().drop_guard();
        let duck = self.clone();
        tokio::task::spawn_blocking(move || {
            // A panic must not look like the end of the rows.
            let ran = catch_unwind(AssertUnwindSafe(|| duck.run(&sql, &params, &messages, guard)));
            let panicked = || Err(DuckError::Inside("the thread of the query panicked".into()));
            if let Err(error) = ran.unwrap_or_else(|_| panicked()) {
                // Nobody may listen any more.
                let _ = messages.blocking_send(Err(error));
            }
        });
        let mut told = Told { coming, interrupt: None, over };
        let schema = told.schema().await?;
        let rows = stream::unfold(told, |mut told| async move { told.next().await.map(|rows| (rows, told)) });
        Ok((schema, rows.boxed()))
    }

    fn run(
        &self,
        sql: &str,
        params: &Params,
        messages: &mpsc::Sender<Result<Message, DuckError>>,
        _over: DropGuard,
    ) -> Result<(), DuckError> {
        let tell = |message| messages.blocking_send(Ok(message)).is_ok();
        let connection = self.connect()?;
        if !tell(Message::Begun(connection.interrupt_handle())) {
            return Ok(());
        }
        Self::check(&connection, sql)?;
        let mut statement = connection.prepare(sql).map_err(duck)?;
        let values = values(&statement, params)?;
        // It is asked step by step below: as an iterator it would panic where a step fails.
        let _ = statement.stream_arrow(params_from_iter(values)).map_err(duck)?;
        let schema = statement.schema();
        if !tell(Message::Schema(ours(&schema, None)?.0)) {
            return Ok(());
        }
        while let Some(rows) = statement.step().map_err(duck)? {
            let (_, batch) = ours(&schema, Some(&DuckBatch::from(&rows)))?;
            if batch.is_some_and(|batch| !tell(Message::Rows(batch))) {
                break;
            }
        }
        Ok(())
    }
}

impl Told {
    async fn schema(&mut self) -> Result<SchemaRef, QueryError> {
        loop {
            match self.receive().await? {
                Some(Message::Schema(schema)) => return Ok(schema),
                Some(Message::Begun(handle)) => {
                    self.interrupt = Some(InterruptOnDrop::new(handle, self.over.clone()));
                }
                _ => return Err(QueryError::Internal("DuckDB told no schema".into())),
            }
        }
    }

    async fn next(&mut self) -> Option<Result<RecordBatch, QueryError>> {
        match self.receive().await {
            Ok(Some(Message::Rows(batch))) => Some(Ok(batch)),
            Ok(Some(_)) => Some(Err(QueryError::Internal("DuckDB told its schema twice".into()))),
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        }
    }

    async fn receive(&mut self) -> Result<Option<Message>, QueryError> {
        Ok(self.coming.recv().await.transpose()?)
    }
}

/// A value for each placeholder, in DuckDB's order.
fn values(statement: &Statement<'_>, params: &Params) -> Result<Vec<Value>, DuckError> {
    let count = statement.parameter_count();
    let mut values = Vec::with_capacity(count);
    for number in 1..=count {
        let name = statement.parameter_name(number).map_err(duck)?;
        let missing = || DuckError::Parameter { name: name.clone(), reason: "no value was given".into() };
        values.push(match params.get(&name).ok_or_else(missing)? {
            Param::Null => Value::Null,
            Param::Bool(value) => Value::Boolean(*value),
            Param::Int(value) => Value::BigInt(*value),
            Param::Double(value) => Value::Double(*value),
            Param::Text(value) => Value::Text(value.clone()),
        });
    }
    if count < params.len() {
        let reason = format!("{} values were given for {count} placeholders", params.len());
        return Err(DuckError::Parameter { name: "list".into(), reason });
    }
    Ok(values)
}

/// A schema and a batch of DuckDB's Arrow as ours, by way of the form that both write and read.
fn ours(schema: &DuckSchema, batch: Option<&DuckBatch>) -> Result<(SchemaRef, Option<RecordBatch>), DuckError> {
    let mut writer = StreamWriter::try_new(Vec::new(), schema).map_err(odd)?;
    if let Some(batch) = batch {
        writer.write(batch).map_err(odd)?;
    }
    let bytes = writer.into_inner().map_err(odd)?;
    let mut reader = StreamReader::try_new(Cursor::new(bytes), None).map_err(odd)?;
    let schema = reader.schema();
    Ok((schema, reader.next().transpose().map_err(odd)?))
}

fn odd(error: impl std::fmt::Display) -> DuckError {
    DuckError::Inside(format!("rows cannot be handed over: {error}"))
}
