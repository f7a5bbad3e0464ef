//! What the service says of itself.

use std::sync::Arc;
use std::time::Duration;

use poem_openapi::OpenApi;

use super::Api;
use super::dialect::Dialect;
use super::error::ApiError;
use super::json::{JsonBody, JsonReply};
use super::wire::{EventMechanism, ServicePost, ServiceShape};
use crate::domain::Timestamp;
use crate::operations::{ServiceEdit, edit_service};

pub struct ServiceApi(pub Arc<Api>);

#[OpenApi]
impl ServiceApi {
    /// Who this is, which API it speaks, how long it waits.
    ///
    /// Spec: GET_service
    #[oai(path = "/service", method = "get", operation_id = "GET_service")]
    async fn get_service(&self, dialect: Dialect) -> Result<JsonReply<ServiceShape<'static>>, ApiError> {
        let state = self.0.state().await?;
        let info = state.service();
        let object_timeout = self.0.tams.settings.object_timeout;
        JsonReply::of(&ServiceShape {
            service_type: "urn:x-tams:service.tamslake",
            api_version: dialect.version(),
            min_object_timeout: timestamp(object_timeout),
            // An empty text is how clients remove one.
            name: info.name.as_deref().filter(|name| !name.is_empty()),
            description: info.description.as_deref().filter(|description| !description.is_empty()),
            service_version: Some(concat!("tamslake-", env!("CARGO_PKG_VERSION"))),
            min_presigned_url_timeout: Some(timestamp(self.0.settings.url_ttl.min(object_timeout))),
            event_stream_mechanisms: Some(EventMechanism::all()),
        })
    }

    /// Gives the service a name and a description.
    ///
    /// Spec: POST_service
    #[oai(path = "/service", method = "post", operation_id = "POST_service")]
    async fn post_service(
        &self,
        dialect: Dialect,
        body: JsonBody<ServicePost>,
    ) -> Result<JsonReply<ServiceShape<'static>>, ApiError> {
        let ServicePost { name, description } = body.0;
        edit_service(&self.0.tams, ServiceEdit { name, description }).await?;
        self.get_service(dialect).await
    }
}

fn timestamp(duration: Duration) -> Timestamp {
    let nanoseconds = i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    Timestamp::from_nanoseconds(nanoseconds).unwrap_or(Timestamp::MAX)
}
