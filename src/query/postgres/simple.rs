//! Queries that are sent as text, many at a time.

use std::fmt::Debug;

use async_trait::async_trait;
use futures::{Sink, SinkExt};
use pgwire::api::portal::Format;
use pgwire::api::query::{SimpleQueryHandler, send_execution_response, send_query_response, send_ready_for_query};
use pgwire::api::results::Response;
use pgwire::api::store::PortalStore;
use pgwire::api::{ClientInfo, ClientPortalStore, PgWireConnectionState};
use pgwire::error::{PgWireError, PgWireResult};
use pgwire::messages::PgWireBackendMessage;
use pgwire::messages::response::EmptyQueryResponse;
use pgwire::messages::simplequery::Query;

use super::errors::{UNSUPPORTED, error, refused};
use super::front::{Front, session};
use super::statement::{self, Statement};
use super::talk;

#[async_trait]
impl SimpleQueryHandler for Front {
    /// One statement after the other, each with its own place among the running queries.
    async fn on_query<C>(&self, client: &mut C, query: Query) -> PgWireResult<()>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        let statements: Vec<Statement> = statement::split(&query.query).into_iter().map(statement::read).collect();
        // All or nothing: what can be refused is refused before anything runs.
        for statement in &statements {
            if let Statement::Refused(what) = statement {
                return Err(refused(what));
            }
        }
        client.set_state(PgWireConnectionState::QueryInProgress);
        if statements.is_empty() {
            client.feed(PgWireBackendMessage::EmptyQueryResponse(EmptyQueryResponse::new())).await?;
        }
        for statement in statements {
            let response = match statement {
                Statement::Query(sql) => {
                    let question = self.question(&*session(client)?, &sql)?;
                    Response::Query(self.run(client, question, &Format::UnifiedText).await?)
                }
                Statement::Talk(talk) => talk::answer(client, &talk, &Format::UnifiedText).await?,
                Statement::Refused(what) => return Err(refused(&what)),
            };
            match response {
                Response::Query(rows) => send_query_response(client, rows, true).await?,
                Response::Execution(tag) => send_execution_response(client, tag).await?,
                Response::TransactionStart(tag) => {
                    client.set_transaction_status(client.transaction_status().to_in_transaction_state());
                    send_execution_response(client, tag).await?;
                }
                Response::TransactionEnd(tag) => {
                    client.set_transaction_status(client.transaction_status().to_idle_state());
                    client.portal_store().clear_portals();
                    send_execution_response(client, tag).await?;
                }
                _ => return Err(error(UNSUPPORTED, "this is not supported")),
            }
        }
        client.set_state(PgWireConnectionState::ReadyForQuery);
        let status = client.transaction_status();
        send_ready_for_query(client, status).await
    }

    async fn do_query<C>(&self, _: &mut C, _: &str) -> PgWireResult<Vec<Response>>
    where
        C: ClientInfo + ClientPortalStore + Sink<PgWireBackendMessage> + Unpin + Send + Sync,
        C::PortalStore: PortalStore,
        C::Error: Debug,
        PgWireError: From<<C as Sink<PgWireBackendMessage>>::Error>,
    {
        // Answers as they come need more than a list of them.
        Err(error(UNSUPPORTED, "queries are answered one by one"))
    }
}
