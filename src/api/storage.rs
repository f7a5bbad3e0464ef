//! Storage for media that is about to be uploaded.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::error::ApiError;
use super::json::{JsonBody, JsonReply};
use super::request::base_url;
use super::wire::{MediaObjectShape, MediaObjects, PutUrl, StoragePost};
use crate::domain::FlowId;
use crate::media::{Access, expiry};
use crate::operations::{AllocatedObject, allocate_storage};

pub struct StorageApi(pub Arc<Api>);

#[derive(ApiResponse)]
enum StorageReply {
    /// Storage was handed out.
    #[oai(status = 201)]
    Allocated(JsonReply<MediaObjects<'static>>),
}

#[OpenApi]
impl StorageApi {
    /// Hands out objects to upload media to, before segments are registered with them.
    ///
    /// Spec: POST_flows-flowId-storage
    #[oai(path = "/flows/:flowId/storage", method = "post", operation_id = "POST_flows-flowId-storage")]
    async fn post_flows_flow_id_storage(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        request: &Request,
        body: JsonBody<Option<StoragePost>>,
    ) -> Result<StorageReply, ApiError> {
        let wanted = body.0.unwrap_or_default().into_request()?;
        let objects = allocate_storage(&self.0.tams, flow_id.0, wanted).await?;
        let base = base_url(request, self.0.settings.public_url.as_deref());
        let media_objects = objects.iter().map(|object| self.shape(object, &base)).collect();
        JsonReply::of(&MediaObjects { media_objects }).map(StorageReply::Allocated)
    }
}

impl StorageApi {
    fn shape<'a>(&self, object: &'a AllocatedObject, base: &str) -> MediaObjectShape<'a> {
        // Not beyond the object's own end: an upload to a collected object would be lost.
        let expires = expiry(self.0.tams.clock.now(), self.0.settings.url_ttl).min(object.expires);
        let url = self.0.signer.media_url(base, Access::Put, object.object_id.as_str(), &object.key, expires);
        MediaObjectShape {
            object_id: &object.object_id,
            put_url: PutUrl { url, content_type: Some(&object.content_type) },
            presigned: Some(true),
        }
    }
}
