//! The HTTP layer: one file per resource, handlers that translate and nothing more. `wire` holds the JSON shapes,
//! `error` and `status` turn failures into answers, `paging` and `query` read what lists are asked for, `front` is
//! around everything. Calls `operations`; knows no rule of TAMS beyond the form of requests and answers.
//!
//! Every handler is named after the operationId of the specification.

#[macro_use]
mod wire;

mod analytics;
mod compression;
mod connections;
mod cors;
mod cursor;
mod delete_requests;
mod dialect;
mod docs;
mod error;
mod events;
mod exports;
mod flow_properties;
mod flows;
mod front;
mod get_urls;
mod instances;
mod json;
mod json_error;
mod media;
mod objects;
mod order;
mod paging;
mod profiles;
mod publish;
mod query;
mod request;
mod root;
mod routes;
mod segments;
mod service;
mod source_properties;
mod sources;
mod sql;
mod status;
mod storage;
mod storage_backends;
mod strict;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use poem::Endpoint;
use tokio::sync::Semaphore;

use crate::catalog::State;
use crate::media::UrlSigner;
use crate::operations::Tams;
use crate::query::Sql;
use crate::query::export::Exports;
use error::ApiError;

pub use connections::{Connections, Watched};
pub use docs::{operation_ids, specification};
pub use events::{Events, WebhookShaper};

/// What the handlers work with.
pub struct Api {
    pub tams: Arc<Tams>,
    pub sql: Sql,
    pub connections: Connections,
    pub signer: UrlSigner,
    pub settings: HttpSettings,
    pub events: Events,
    pub exports: Exports,
}

#[derive(Clone)]
pub struct HttpSettings {
    /// Start of the URLs that the server gives out, where it cannot be told from requests.
    pub public_url: Option<String>,
    /// Bytes of a JSON body at most.
    pub max_body: u64,
    /// Bytes of all JSON bodies that are being read, at most.
    pub max_bodies: u64,
    /// Bytes of a media object at most.
    pub max_object: u64,
    /// Uploads at one time, at most.
    pub uploads: Arc<Semaphore>,
    /// How long signed URLs work at least.
    pub url_ttl: Duration,
    pub compression: bool,
    /// `*` for every origin.
    pub cors_allow_origins: Vec<String>,
    /// How long browsers may keep a preflight's answer.
    pub cors_max_age: Duration,
    /// Signs page tokens; a new key makes the old tokens useless.
    pub page_token_key: [u8; 32],
}

impl Api {
    /// The state that one request sees.
    async fn state(&self) -> Result<Arc<State>, ApiError> {
        Ok(self.tams.catalog.read().await?)
    }
}

/// The handlers of all resources.
type Resources = docs::Documented<(
    root::RootApi,
    service::ServiceApi,
    storage_backends::StorageBackendsApi,
    sources::SourcesApi,
    source_properties::SourcePropertiesApi,
    flows::FlowsApi,
    flow_properties::FlowPropertiesApi,
    segments::SegmentsApi,
    storage::StorageApi,
    objects::ObjectsApi,
    webhooks::WebhooksApi,
    profiles::ProfilesApi,
    instances::InstancesApi,
    delete_requests::DeleteRequestsApi,
)>;

fn resources(api: &Arc<Api>) -> Resources {
    docs::Documented((
        root::RootApi,
        service::ServiceApi(api.clone()),
        storage_backends::StorageBackendsApi(api.clone()),
        sources::SourcesApi(api.clone()),
        source_properties::SourcePropertiesApi(api.clone()),
        flows::FlowsApi(api.clone()),
        flow_properties::FlowPropertiesApi(api.clone()),
        segments::SegmentsApi(api.clone()),
        storage::StorageApi(api.clone()),
        objects::ObjectsApi(api.clone()),
        webhooks::WebhooksApi(api.clone()),
        profiles::ProfilesApi(api.clone()),
        instances::InstancesApi(api.clone()),
        delete_requests::DeleteRequestsApi(api.clone()),
    ))
}

/// Questions that earlier clients ask at the top level.
const MOVED: [&str; 3] = ["flow-usage", "storage-usage", "time-range-analysis"];

/// Everything that is served, with its middleware; never fails.
pub fn endpoint(api: Arc<Api>) -> impl Endpoint {
    let compression = api.settings.compression;
    let room = request::BodyRoom::new(api.settings.max_bodies);
    let routes = routes::routes(resources(&api), compression);
    let routes = docs::with_docs(routes, compression)
        .at("/media/:object_id", media::methods(api.clone()))
        .at("/events", events::sse(api.clone()))
        .at("/events/ws", events::websocket(api.clone()))
        .at("/exports", exports::all(api.exports.clone()))
        .at("/exports/:id", exports::one(api.exports.clone()))
        .at("/exports/:id/manifest", exports::manifest(api.exports.clone()))
        .at("/exports/:id/files/*name", exports::file(api.exports.clone()))
        .at("/sql", sql::sql(api.clone()))
        .at("/analytics", analytics::list())
        .at("/analytics/:name", analytics::one(api.clone()))
        .at("/_tamslake/flush", publish::flush(api.clone()));
    let routes = MOVED.into_iter().fold(routes, |routes, name| routes.at(format!("/{name}"), analytics::moved(name)));
    cors::Cors {
        origins: cors::Origins::new(api.settings.cors_allow_origins.clone()),
        max_age: api.settings.cors_max_age,
        inner: front::Front {
            clock: api.tams.clock.clone(),
            max_body: api.settings.max_body,
            room,
            inner: dialect::Versions { api: api.clone(), inner: order::Order { api, inner: routes } },
        },
    }
}
