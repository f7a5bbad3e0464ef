//! The calls of Flight SQL.

use std::pin::Pin;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::ipc::writer::IpcWriteOptions;
use arrow_flight::decode::FlightRecordBatchStream;
use arrow_flight::encode::{DictionaryHandling, FlightDataEncoderBuilder};
use arrow_flight::error::FlightError;
use arrow_flight::flight_service_server::FlightService;
use arrow_flight::sql::metadata::{GetCatalogsBuilder, SqlInfoData};
use arrow_flight::sql::server::{FlightSqlService, PeekableFlightDataStream};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult,
    CommandGetCatalogs, CommandGetDbSchemas, CommandGetSqlInfo, CommandGetTableTypes, CommandGetTables,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest, CommandStatementQuery,
    CommandStatementUpdate, DoPutPreparedStatementResult, ProstMessageExt, SqlInfo, TicketStatementQuery,
};
use arrow_flight::{
    Action, FlightDescriptor, FlightEndpoint, FlightInfo, HandshakeRequest, HandshakeResponse, IpcMessage, SchemaAsIpc,
    Ticket,
};
use bytes::Bytes;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::{Request, Response, Status, Streaming};

use super::handle::{Asks, Handle};
use super::listing::{self, TABLE_TYPES};
use super::params;
use super::status::{internal, of_query, read_only};
use crate::query::datafusion::CATALOG;
use crate::query::{Description, Engine, Question, Sql};

pub struct Front {
    sql: Sql,
    info: SqlInfoData,
}

impl Front {
    pub fn new(sql: Sql) -> Result<Self, FlightError> {
        Ok(Self { sql, info: listing::sql_info()? })
    }

    async fn describe(&self, question: Question) -> Result<Description, Status> {
        if question.engine.unwrap_or(self.sql.settings().engine) == Engine::DataFusion {
            return self.sql.describe(question).await.map_err(of_query);
        }
        // DuckDB tells what an answer looks like when it answers.
        let empty = Question {
            sql: format!("SELECT * FROM (\n{}\n) LIMIT 0", question.sql.trim().trim_end_matches(';')),
            ..question
        };
        let schema = match self.sql.ask(empty).await {
            Ok(answer) => answer.schema,
            // What cannot stand inside of another query can be an answer all the same; a mistake is told by asking.
            Err(crate::query::QueryError::Wrong(_) | crate::query::QueryError::Parameter { .. }) => {
                SchemaRef::new(Schema::empty())
            }
            Err(failed) => return Err(of_query(failed)),
        };
        Ok(Description { schema, params: Vec::new() })
    }

    async fn answer(&self, handle: &Handle, asks: &Asks) -> Result<Response<Batches>, Status> {
        let answer = self.sql.ask(handle.question(asks)?).await.map_err(of_query)?;
        Ok(Response::new(encode(answer.schema, answer.batches.map_err(|failed| of_query(failed).into()))))
    }

    /// Where an answer can be had: here.
    fn info(schema: &Schema, descriptor: FlightDescriptor, ticket: Vec<u8>) -> Result<Response<FlightInfo>, Status> {
        let endpoint = FlightEndpoint::new().with_ticket(Ticket::new(ticket));
        let info = FlightInfo::new().with_endpoint(endpoint).with_descriptor(descriptor);
        // None at all says that it is not known before the answer.
        let info = if schema.fields().is_empty() { info } else { info.try_with_schema(schema).map_err(internal)? };
        Ok(Response::new(info))
    }
}

type Batches = <Front as FlightService>::DoGetStream;

fn encode(
    schema: SchemaRef,
    batches: impl Stream<Item = Result<RecordBatch, FlightError>> + Send + 'static,
) -> Batches {
    FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_dictionary_handling(DictionaryHandling::Resend)
        .build(batches)
        .map_err(Status::from)
        .boxed()
}

fn listed(batch: RecordBatch) -> Response<Batches> {
    Response::new(encode(batch.schema(), stream::iter([Ok(batch)])))
}

fn schema_bytes(schema: &Schema) -> Result<Bytes, Status> {
    let IpcMessage(bytes) = SchemaAsIpc::new(schema, &IpcWriteOptions::default()).try_into().map_err(internal)?;
    Ok(bytes)
}

#[tonic::async_trait]
impl FlightSqlService for Front {
    type FlightService = Self;

    /// Whoever asks may ask. Clients that sent a name expect a token for it.
    async fn do_handshake(
        &self,
        _: Request<Streaming<HandshakeRequest>>,
    ) -> Result<Response<Pin<Box<dyn Stream<Item = Result<HandshakeResponse, Status>> + Send>>>, Status> {
        const ANYBODY: &str = "anybody";
        let answer = HandshakeResponse { protocol_version: 0, payload: ANYBODY.into() };
        let mut response = Response::new(stream::iter([Ok(answer)]).boxed() as Pin<Box<_>>);
        response.metadata_mut().insert("authorization", tonic::metadata::MetadataValue::from_static("Bearer anybody"));
        Ok(response)
    }

    async fn get_flight_info_statement(
        &self,
        query: CommandStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let asks = Asks::of(&request)?;
        let handle = asks.handle(query.query);
        let described = self.describe(handle.question(&asks)?).await?;
        let ticket = TicketStatementQuery { statement_handle: handle.write()? };
        Self::info(&described.schema, request.into_inner(), ticket.as_any().encode_to_vec())
    }

    async fn do_get_statement(
        &self,
        ticket: TicketStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Batches>, Status> {
        self.answer(&Handle::read(&ticket.statement_handle)?, &Asks::of(&request)?).await
    }

    async fn do_action_create_prepared_statement(
        &self,
        query: ActionCreatePreparedStatementRequest,
        request: Request<Action>,
    ) -> Result<ActionCreatePreparedStatementResult, Status> {
        let asks = Asks::of(&request)?;
        let handle = asks.handle(query.query);
        let described = self.describe(handle.question(&asks)?).await?;
        let params = described.params.iter().map(|(name, kind)| {
            // Text, where nothing tells: it becomes what it is compared with.
            Field::new(name, kind.clone().unwrap_or(DataType::Utf8), true)
        });
        let params = Schema::new(params.collect::<Vec<_>>());
        let names = described.params.iter().map(|(name, _)| name.clone()).collect();
        Ok(ActionCreatePreparedStatementResult {
            prepared_statement_handle: Handle { names, ..handle }.write()?,
            dataset_schema: schema_bytes(&described.schema)?,
            parameter_schema: schema_bytes(&params)?,
        })
    }

    /// Nothing was kept.
    async fn do_action_close_prepared_statement(
        &self,
        _: ActionClosePreparedStatementRequest,
        _: Request<Action>,
    ) -> Result<(), Status> {
        Ok(())
    }

    /// The client gets a handle with the values in it.
    async fn do_put_prepared_statement_query(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<PeekableFlightDataStream>,
    ) -> Result<DoPutPreparedStatementResult, Status> {
        Asks::of(&request)?;
        let mut handle = Handle::read(&query.prepared_statement_handle)?;
        let sent = request.into_inner().map_err(FlightError::from);
        let mut batches = FlightRecordBatchStream::new_from_flight_data(sent);
        let mut bound = None;
        while let Some(batch) = batches.next().await {
            let batch = batch.map_err(|error| Status::invalid_argument(format!("parameters: {error}")))?;
            if batch.num_rows() > 1 || (batch.num_rows() == 1 && bound.is_some()) {
                return Err(Status::invalid_argument("parameters: send one row, and run the statement for each"));
            }
            if batch.num_rows() == 1 {
                let row = params::row(&batch);
                bound = Some(row.map_err(|error| Status::invalid_argument(format!("parameters: {error}")))?);
            }
        }
        handle.values = bound.unwrap_or_default();
        Ok(DoPutPreparedStatementResult { prepared_statement_handle: Some(handle.write()?) })
    }

    async fn get_flight_info_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let asks = Asks::of(&request)?;
        let handle = Handle::read(&query.prepared_statement_handle)?;
        let described = self.describe(handle.question(&asks)?).await?;
        Self::info(&described.schema, request.into_inner(), query.as_any().encode_to_vec())
    }

    async fn do_get_prepared_statement(
        &self,
        query: CommandPreparedStatementQuery,
        request: Request<Ticket>,
    ) -> Result<Response<Batches>, Status> {
        self.answer(&Handle::read(&query.prepared_statement_handle)?, &Asks::of(&request)?).await
    }

    async fn get_flight_info_catalogs(
        &self,
        query: CommandGetCatalogs,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Self::info(&GetCatalogsBuilder::new().schema(), request.into_inner(), query.as_any().encode_to_vec())
    }

    async fn do_get_catalogs(
        &self,
        _: CommandGetCatalogs,
        request: Request<Ticket>,
    ) -> Result<Response<Batches>, Status> {
        Asks::of(&request)?;
        let mut listing = GetCatalogsBuilder::new();
        listing.append(CATALOG);
        listing.build().map(listed).map_err(internal)
    }

    async fn get_flight_info_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = query.clone().into_builder().schema();
        Self::info(&schema, request.into_inner(), query.as_any().encode_to_vec())
    }

    async fn do_get_schemas(
        &self,
        query: CommandGetDbSchemas,
        request: Request<Ticket>,
    ) -> Result<Response<Batches>, Status> {
        listing::schemas(&self.sql, &Asks::of(&request)?, query).await.map(listed)
    }

    async fn get_flight_info_tables(
        &self,
        query: CommandGetTables,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = query.clone().into_builder().schema();
        Self::info(&schema, request.into_inner(), query.as_any().encode_to_vec())
    }

    async fn do_get_tables(
        &self,
        query: CommandGetTables,
        request: Request<Ticket>,
    ) -> Result<Response<Batches>, Status> {
        listing::tables(&self.sql, &Asks::of(&request)?, query).await.map(listed)
    }

    async fn get_flight_info_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        Self::info(&query.into_builder().schema(), request.into_inner(), query.as_any().encode_to_vec())
    }

    async fn do_get_table_types(
        &self,
        query: CommandGetTableTypes,
        request: Request<Ticket>,
    ) -> Result<Response<Batches>, Status> {
        Asks::of(&request)?;
        let mut listing = query.into_builder();
        TABLE_TYPES.into_iter().for_each(|kind| listing.append(kind));
        listing.build().map(listed).map_err(internal)
    }

    async fn get_flight_info_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<FlightDescriptor>,
    ) -> Result<Response<FlightInfo>, Status> {
        let schema = query.clone().into_builder(&self.info).schema();
        Self::info(&schema, request.into_inner(), query.as_any().encode_to_vec())
    }

    async fn do_get_sql_info(
        &self,
        query: CommandGetSqlInfo,
        request: Request<Ticket>,
    ) -> Result<Response<Batches>, Status> {
        Asks::of(&request)?;
        query.into_builder(&self.info).build().map(listed).map_err(internal)
    }

    async fn do_put_statement_update(
        &self,
        _: CommandStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_prepared_statement_update(
        &self,
        _: CommandPreparedStatementUpdate,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn do_put_statement_ingest(
        &self,
        _: CommandStatementIngest,
        _: Request<PeekableFlightDataStream>,
    ) -> Result<i64, Status> {
        Err(read_only())
    }

    async fn register_sql_info(&self, _: i32, _: &SqlInfo) {}
}
