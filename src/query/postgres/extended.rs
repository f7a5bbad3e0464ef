//! Prepared statements. They are planned anew each time they run: each time they see the newest state.

use std::fmt::Debug;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use futures::{Sink, SinkExt, StreamExt};
use pgwire::api::portal::{Format, Portal, PortalExecutionState};
use pgwire::api::query::{ExtendedQueryHandler, send_execution_response};
use pgwire::api::results::{FieldInfo, Response, Tag};
use pgwire::api::stmt::{QueryParser, StoredStatement};
use pgwire::api::store::{Entry, PortalStore};
use pgwire::api::{ClientInfo, ClientPortalStore, DEFAULT_NAME, PgWireConnectionState, Type};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::extendedquery::{
    Bind, BindComplete, Close, CloseComplete, Execute, Parse, ParseComplete, PortalSuspended, Sync as Synchronize,
    TARGET_TYPE_BYTE_STATEMENT,
};
use pgwire::messages::response::{EmptyQueryResponse, ReadyForQuery, TransactionStatus};

use super::errors::{LIMIT, NO_SUCH_PARAMETER, PROTOCOL, UNSUPPORTED, error, of_query, refused};
use super::front::{Front, fields, session};
use super::rows;
use super::statement::{self, Statement, Talk};
use super::talk;
use crate::query::{Description, Params, Question};

#[derive(Debug, Clone)]
pub enum Prepared {
    Query {
        question: Question,
        /// As the client sees it.
        columns: SchemaRef,
        params: Vec<Type>,
    },
    Talk(Talk),
}

#[async_trait]
impl QueryParser for Front {
    type Statement = Prepared;

    async fn parse_sql<C>(&self, client: &C, sql: &str, _: &[Option<Type>]) -> PgWireResult<Option<Prepared>>
    where
        C: ClientInfo + Unpin + Send + Sync,
    {
        let statements = statement::split(sql);
        let sql = match statements.as_slice() {
            [] => return Ok(None),
            [sql] => *sql,
            _ => return Err(error("42601", "only one statement can be prepared at a time")),
        };
        match statement::read(sql) {
            Statement::Query(sql) => {
                let question = self.question(&*session(client)?, &sql)?;
                let described = self.sql.describe(question.clone()).await.map_err(of_query)?;
                let params = parameter_types(&sql, &described)?;
                Ok(Some(Prepared::Query { question, columns: rows::shown(&described.schema), params }))
            }
            Statement::Talk(talk) => Ok(Some(Prepared::Talk(talk))),
            Statement::Refused(what) => Err(refused(&what)),
        }
    }

    fn get_parameter_types(&self, prepared: &Prepared) -> PgWireResult<Vec<Type>> {
        match prepared {
            Prepared::Query { params, .. } => Ok(params.clone()),
            Prepared::Talk(_) => Ok(Vec::new()),
        }
    }

    fn get_result_schema(&self, prepared: &Prepared, format: Option<&Format>) -> PgWireResult<Vec<FieldInfo>> {
        let format = format.unwrap_or(&Format::UnifiedText);
        match prepared {
            Prepared::Query { columns, .. } => fields(columns, format, &Default::default()),
            Prepared::Talk(Talk::Show(name)) => Ok(vec![talk::shown(name, format)]),
            Prepared::Talk(_) => Ok(Vec::new()),
        }
    }
}

fn parameter_types(sql: &str, described: &Description) -> PgWireResult<Vec<Type>> {
    let mut types = Vec::new();
    for (name, kind) in &described.params {
        let number = name.parse::<usize>().ok().filter(|number| (1..=MAX_PARAMS).contains(number));
        let Some(number) = number else {
            return Err(error(NO_SUCH_PARAMETER, format!("parameter ${name}: say $1, $2 and so on, to ${MAX_PARAMS}")));
        };
        if types.len() < number {
            types.resize(number, Type::TEXT);
        }
        if let Some(place) = types.get_mut(number - 1) {
            *place = match kind {
                None if statement::is_count(sql, name) => Type::INT8,
                kind => rows::parameter_type(kind.as_ref()),
            };
        }
    }
    Ok(types)
}

/// As many as the protocol can count.
const MAX_PARAMS: usize = 65_535;

/// The front, where the protocol wants its statements parsed by somebody else.
pub struct Extended(pub Arc<Front>);

#[async_trait]
impl ExtendedQueryHandler for Extended {
    type Statement = Prepared;
    type QueryParser = Front;

    fn query_parser(&self) -> Arc<Front> {
        self.0.clone()
    }

    async fn on_parse<C>(&self, client: &mut C, message: Parse) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.clone().unwrap_or_else(|| DEFAULT_NAME.to_owned());
        keep(client, 'S', &name, message.query.len())?;
        match StoredStatement::parse(client, &message, self.query_parser()).await? {
            Some(statement) => client.portal_store().put_statement(Arc::new(statement)),
            None => client.portal_store().put_empty_statement(&name),
        }
        client.feed(PgWireBackendMessage::ParseComplete(ParseComplete::new())).await?;
        Ok(())
    }

    async fn on_bind<C>(&self, client: &mut C, message: Bind) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.portal_name.as_deref().unwrap_or(DEFAULT_NAME);
        let statement = message.statement_name.as_deref().unwrap_or(DEFAULT_NAME);
        let values = message.parameters.len();
        match client.portal_store().get_statement(statement) {
            Some(Entry::Value(statement)) => {
                let wanted = match &statement.statement {
                    Prepared::Query { params, .. } => params.len(),
                    Prepared::Talk(_) => 0,
                };
                let formats = message.parameter_format_codes.len();
                if values != wanted || (formats > 1 && formats != values) {
                    let said = format!("{values} values and {formats} formats for {wanted} parameters");
                    return Err(error(PROTOCOL, said));
                }
                let bytes = message.parameters.iter().flatten().map(bytes::Bytes::len).sum();
                keep(client, 'P', name, bytes)?;
                let portal = Portal::try_new(&message, statement)?;
                client.portal_store().put_portal(Arc::new(portal));
            }
            Some(Entry::Empty) if values == 0 => {
                keep(client, 'P', name, 0)?;
                client.portal_store().put_empty_portal(name);
            }
            Some(Entry::Empty) => return Err(error(PROTOCOL, format!("{values} values for 0 parameters"))),
            None => return Err(PgWireError::StatementNotFound(statement.to_owned())),
        }
        client.feed(PgWireBackendMessage::BindComplete(BindComplete::new())).await?;
        Ok(())
    }

    /// Rows as they come: the protocol's own way would gather them first.
    async fn on_execute<C>(&self, client: &mut C, message: Execute) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let portal = match client.portal_store().get_portal(name) {
            Some(Entry::Value(portal)) => portal,
            Some(Entry::Empty) => {
                client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
                return Ok(());
            }
            None => return Err(PgWireError::PortalNotFound(name.to_owned())),
        };
        client.set_state(PgWireConnectionState::QueryInProgress);
        let state = portal.state();
        let mut state = state.lock().await;
        if matches!(&*state, PortalExecutionState::Initial) {
            match self.do_query(client, &portal, 0).await? {
                Response::Query(rows) => *state = PortalExecutionState::Suspended(rows),
                Response::TransactionStart(tag) => {
                    client.set_transaction_status(client.transaction_status().to_in_transaction_state());
                    send_execution_response(client, tag).await?;
                }
                Response::TransactionEnd(tag) => {
                    client.set_transaction_status(client.transaction_status().to_idle_state());
                    send_execution_response(client, tag).await?;
                }
                Response::Execution(tag) => send_execution_response(client, tag).await?,
                _ => return Err(error(UNSUPPORTED, "this is not supported")),
            }
        }
        if let PortalExecutionState::Suspended(response) = &mut *state {
            // Zero, or what makes no sense, is all of them.
            let limit = usize::try_from(message.max_rows).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
            let mut rows = 0;
            let over = loop {
                if rows == limit {
                    break false;
                }
                match response.data_rows().next().await {
                    Some(Ok(row)) => client.feed(PgWireBackendMessage::DataRow(row)).await?,
                    Some(Err(failed)) => {
                        *state = PortalExecutionState::Finished;
                        return Err(failed);
                    }
                    None => break true,
                }
                rows += 1;
            };
            if over {
                let tag = Tag::new(response.command_tag()).with_rows(rows);
                *state = PortalExecutionState::Finished;
                send_execution_response(client, tag).await?;
            } else {
                client.feed(PgWireBackendMessage::PortalSuspended(PortalSuspended::new())).await?;
            }
        } else if matches!(&*state, PortalExecutionState::Finished) {
            send_execution_response(client, Tag::new("SELECT").with_rows(0)).await?;
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        Ok(())
    }

    /// Outside of a transaction what was bound ends here, and with it what still runs.
    async fn on_sync<C>(&self, client: &mut C, _: Synchronize) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let status = client.transaction_status();
        if matches!(status, TransactionStatus::Idle) {
            client.portal_store().clear_portals();
            session(client)?.forget(|kept| kept.starts_with('P'));
        }
        client.send(PgWireBackendMessage::ReadyForQuery(ReadyForQuery::new(status))).await?;
        Ok(())
    }

    async fn on_close<C>(&self, client: &mut C, message: Close) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let name = message.name.as_deref().unwrap_or(DEFAULT_NAME);
        let kind = if message.target_type == TARGET_TYPE_BYTE_STATEMENT {
            client.portal_store().rm_statement(name);
            'S'
        } else {
            client.portal_store().rm_portal(name);
            'P'
        };
        session(client)?.forget(|kept| kept.strip_prefix(kind) == Some(name));
        client.feed(PgWireBackendMessage::CloseComplete(CloseComplete::new())).await?;
        Ok(())
    }

    async fn do_query<C>(&self, client: &mut C, portal: &Portal<Prepared>, _: usize) -> PgWireResult<Response>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore<Statement = Prepared>,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let formats = &portal.result_column_format;
        match &portal.statement.statement {
            Prepared::Talk(talk) => talk::answer(client, talk, formats).await,
            Prepared::Query { question, params, .. } => {
                let told = &portal.statement.parameter_types;
                let values = portal.parameters.iter().enumerate().map(|(at, value)| {
                    // What the client says its values are, before what they should be.
                    let kind = told.get(at).and_then(Option::as_ref).filter(|told| **told != Type::UNKNOWN);
                    let kind = kind.unwrap_or(params.get(at).unwrap_or(&Type::TEXT));
                    rows::parameter(at + 1, kind, portal.parameter_format.is_binary(at), value.as_deref())
                });
                let params = Params::Listed(values.collect::<PgWireResult<_>>()?);
                let question = Question { params, ..question.clone() };
                Ok(Response::Query(self.0.run(client, question, formats).await?))
            }
        }
    }
}

/// Makes room for a name, or says that there is none.
fn keep<C: ClientInfo>(client: &C, kind: char, name: &str, bytes: usize) -> PgWireResult<()> {
    if session(client)?.keep(format!("{kind}{name}"), bytes + name.len()) {
        return Ok(());
    }
    Err(error(LIMIT, "this connection has too much prepared: close statements that are done, or connect again"))
}
