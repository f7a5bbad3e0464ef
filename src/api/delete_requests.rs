//! Flow Delete Requests: deletions that go on after their answer.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::cursor::ListPlace;
use super::error::ApiError;
use super::json::{JsonArray, JsonReply};
use super::paging::{Paged, Paging};
use super::query::Query;
use super::request::api_url;
use super::wire::DeleteRequestShape;
use crate::domain::{DeleteRequest, DeleteRequestId};
use crate::operations::{DeleteRequestSort, PageRequest, get_delete_request, list_delete_requests};

pub struct DeleteRequestsApi(pub Arc<Api>);

/// What a deletion is answered with.
#[derive(ApiResponse)]
pub enum DeletionReply {
    /// Deleted.
    #[oai(status = 204)]
    Done,
    /// Gone for all who read; the rest of the work goes on and can be watched.
    #[oai(status = 202)]
    GoesOn(
        JsonReply<DeleteRequestShape<'static>>,
        /// URL of the request.
        #[oai(header = "Location")]
        String,
    ),
}

impl DeletionReply {
    pub fn of(api: &Api, request: &Request, deletion: Option<&DeleteRequest>) -> Result<Self, ApiError> {
        let Some(deletion) = deletion else { return Ok(Self::Done) };
        let base = api_url(request, api.settings.public_url.as_deref());
        let location = format!("{base}/flow-delete-requests/{}", deletion.id);
        Ok(Self::GoesOn(JsonReply::of(&DeleteRequestShape::from(deletion))?, location))
    }
}

#[OpenApi]
impl DeleteRequestsApi {
    /// Deletions that are being worked on, and those that were done in the last day.
    ///
    /// Spec: GET_flow-delete-requests
    #[oai(path = "/flow-delete-requests", method = "get", operation_id = "GET_flow-delete-requests")]
    async fn get_flow_delete_requests(
        &self,
        request: &Request,
    ) -> Result<Paged<Vec<DeleteRequestShape<'static>>>, ApiError> {
        let query = Query::of(request);
        let paging = Paging::of(&self.0, request, &query)?;
        let words = [("created", DeleteRequestSort::Created), ("expiry", DeleteRequestSort::Expiry)];
        let sort = query.word("sort_by", &words)?.unwrap_or_default();
        let state = self.0.state().await?;
        let after = paging.after::<ListPlace<DeleteRequestId>>()?.map(|place| place.resolve(|_| None)).transpose()?;
        let page = PageRequest { after, limit: paging.limit };
        let page = list_delete_requests(&state, self.0.tams.clock.now(), sort, paging.reverse_order, &page);
        let mut items = JsonArray::new();
        for deletion in &page.items {
            items.push(&DeleteRequestShape::from(&**deletion))?;
        }
        let count = items.count;
        Ok(paging.reply(items.finish(), count, page.next.map(ListPlace::from).as_ref()))
    }

    /// One deletion, and how far it has come.
    ///
    /// Spec: GET_flow-delete-requests-request-id
    #[oai(
        path = "/flow-delete-requests/:request_id",
        method = "get",
        operation_id = "GET_flow-delete-requests-request-id"
    )]
    async fn get_flow_delete_requests_request_id(
        &self,
        request_id: Path<DeleteRequestId>,
    ) -> Result<JsonReply<DeleteRequestShape<'static>>, ApiError> {
        let state = self.0.state().await?;
        let deletion = get_delete_request(&state, self.0.tams.clock.now(), request_id.0)?;
        JsonReply::of(&DeleteRequestShape::from(&**deletion))
    }
}
