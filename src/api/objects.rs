//! Objects: where bytes are and who uses them.

use std::sync::Arc;

use poem::Request;
use poem_openapi::OpenApi;
use poem_openapi::param::Path;

use super::Api;
use super::error::ApiError;
use super::get_urls::GetUrls;
use super::paging::{MAX_LIMIT, Paged, Paging};
use super::query::Query;
use super::status::internal;
use super::wire::{InitObject, ObjectShape};
use crate::catalog::View;
use crate::domain::ObjectId;
use crate::operations::get_object;

pub struct ObjectsApi(pub Arc<Api>);

#[OpenApi]
impl ObjectsApi {
    /// One object. Pages are those of the Flows that refer to it; all else is the same on each page.
    ///
    /// Spec: GET_objects
    #[oai(path = "/objects/:objectId", method = "get", operation_id = "GET_objects")]
    async fn get_objects(
        &self,
        #[oai(name = "objectId")] object_id: Path<ObjectId>,
        request: &Request,
    ) -> Result<Paged<ObjectShape<'static>>, ApiError> {
        let query = Query::of(request);
        let paging = Paging::with_default(&self.0, request, &query, MAX_LIMIT)?;
        let flows = query.tags("flow_tag")?;
        let state = self.0.state().await?;
        let urls = GetUrls::of(&self.0, request, &query, &state)?;
        let view = {
            let (after, limit) = (paging.after()?, paging.limit);
            let object = |view: View<'_>| get_object(view, &object_id.0, &flows, after, limit);
            self.0.tams.catalog.ask_of(&state, object).await?
        };
        let object = &*view.object;
        let body = serde_json::to_vec(&ObjectShape {
            id: &object.id,
            referenced_by_flows: &view.referenced_by_flows.items,
            // Only as long as that Flow is there.
            first_referenced_by_flow: state.flow(object.first_flow).map(|flow| flow.id),
            timerange: object.timerange,
            key_frame_count: object.key_frame_count,
            init_object: view.init_object.as_deref().map(|init| InitObject { id: &init.id, get_urls: urls.get(init) }),
            get_urls: urls.get(object),
        })
        .map_err(internal)?;
        let (count, next) = (view.referenced_by_flows.items.len(), view.referenced_by_flows.next);
        Ok(paging.reply(body, count, next.as_ref()))
    }
}
