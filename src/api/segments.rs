//! Segments of a Flow: the two hot paths of the API. A page of segments is written item by item into one buffer.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::delete_requests::DeletionReply;
use super::dialect::Dialect;
use super::error::ApiError;
use super::get_urls::GetUrls;
use super::json::{JsonArray, JsonBody, JsonReply};
use super::paging::{Paged, Paging};
use super::query::Query;
use super::status::segment_refusal_kind;
use super::wire::{FailedSegment, FailedSegments, SegmentInit, SegmentShape, Segments, Time};
use crate::domain::{FlowId, TimeRange};
use crate::operations::{
    SegmentFilter, SegmentRequest, SegmentView, delete_segments, list_segments, register_segments,
};

pub struct SegmentsApi(pub Arc<Api>);

#[derive(ApiResponse)]
enum RegisterReply {
    /// Everything was registered.
    #[oai(status = 201)]
    All,
    /// A list was sent and some of it was not registered.
    #[oai(status = 200)]
    NotAll(JsonReply<FailedSegments<'static>>),
}

#[OpenApi]
impl SegmentsApi {
    /// Segments of a Flow in the order of its timeline.
    ///
    /// Spec: GET_flows-flowId-segments
    #[oai(path = "/flows/:flowId/segments", method = "get", operation_id = "GET_flows-flowId-segments")]
    async fn get_flows_flow_id_segments(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        request: &Request,
    ) -> Result<Paged<Vec<SegmentShape<'static>>>, ApiError> {
        let query = Query::of(request);
        let paging = Paging::of(&self.0, request, &query)?;
        let filter = filter(flow_id.0, &query, &paging)?;
        let include_object_timerange = query.flag("include_object_timerange")?.unwrap_or(false);
        let state = self.0.state().await?;
        let urls = GetUrls::of(&self.0, request, &query, &state)?;
        // An object id that no object can have is that of no segment.
        let Some(filter) = filter else { return Ok(paging.reply(b"[]".to_vec(), 0, None::<&i128>)) };
        let page = self.0.tams.catalog.ask_of(&state, |view| list_segments(view, &filter)).await?;
        let mut items = JsonArray::new();
        for view in &page.items {
            items.push(&shape(view, &urls, include_object_timerange))?;
        }
        let count = items.count;
        Ok(paging.reply(items.finish(), count, page.next.as_ref()).covering(extent(&page.items)))
    }

    /// Registers one segment, or a list of them.
    ///
    /// Spec: POST_flows-flowId-segments
    #[oai(path = "/flows/:flowId/segments", method = "post", operation_id = "POST_flows-flowId-segments")]
    async fn post_flows_flow_id_segments(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        dialect: Dialect,
        body: JsonBody<Segments>,
    ) -> Result<RegisterReply, ApiError> {
        match body.0 {
            Segments::One(segment) => self.register_one(flow_id.0, segment.into_request(dialect, None)?).await,
            Segments::Many(segments) => {
                let requests = segments.into_iter().enumerate();
                let requests = requests.map(|(place, segment)| segment.into_request(dialect, Some(place)));
                self.register_many(flow_id.0, requests.collect::<Result<_, _>>()?).await
            }
        }
    }

    /// Deletes the segments that lie wholly inside a timerange, and objects that nothing else refers to.
    ///
    /// Spec: DELETE_flows-flowId-segments
    #[oai(path = "/flows/:flowId/segments", method = "delete", operation_id = "DELETE_flows-flowId-segments")]
    async fn delete_flows_flow_id_segments(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        request: &Request,
    ) -> Result<DeletionReply, ApiError> {
        let query = Query::of(request);
        let mut timerange = query.timerange()?.unwrap_or(TimeRange::ETERNITY);
        let object_id = match query.text("object_id").map(str::parse) {
            None => None,
            Some(Ok(id)) => Some(id),
            // An object id that no object can have is that of no segment.
            Some(Err(_)) => {
                timerange = TimeRange::NEVER;
                None
            }
        };
        let goes_on = delete_segments(&self.0.tams, flow_id.0, timerange, object_id).await?;
        DeletionReply::of(&self.0, request, goes_on.as_deref())
    }
}

impl SegmentsApi {
    async fn register_one(&self, flow_id: FlowId, segment: SegmentRequest) -> Result<RegisterReply, ApiError> {
        let outcomes = register_segments(&self.0.tams, flow_id, vec![segment]).await?;
        outcomes.into_iter().collect::<Result<(), _>>()?;
        Ok(RegisterReply::All)
    }

    async fn register_many(&self, flow_id: FlowId, requests: Vec<SegmentRequest>) -> Result<RegisterReply, ApiError> {
        // Kept to name the failed ones by: the requests go with the commit.
        let names: Vec<_> = requests.iter().map(|request| (request.object_id.clone(), request.timerange)).collect();
        let outcomes = register_segments(&self.0.tams, flow_id, requests).await?;
        let time = Time(self.0.tams.clock.now());
        let failed_segments: Vec<_> = names
            .into_iter()
            .zip(outcomes)
            .filter_map(|((object_id, timerange), outcome)| {
                let refusal = outcome.err()?;
                let kind = segment_refusal_kind(&refusal);
                Some(FailedSegment::new(object_id, timerange, kind, refusal.to_string(), time))
            })
            .collect();
        if failed_segments.is_empty() {
            return Ok(RegisterReply::All);
        }
        Ok(RegisterReply::NotAll(JsonReply::of(&FailedSegments { failed_segments })?))
    }
}

/// `None` where no segment can match.
fn filter(flow_id: FlowId, query: &Query<'_>, paging: &Paging<'_>) -> Result<Option<SegmentFilter>, ApiError> {
    let object_id = query.text("object_id").map(str::parse).transpose();
    let (timerange, after) = (query.timerange()?.unwrap_or(TimeRange::ETERNITY), paging.after()?);
    Ok(object_id.ok().map(|object_id| SegmentFilter {
        flow_id,
        timerange,
        object_id,
        reverse_order: paging.reverse_order,
        after,
        limit: paging.limit,
    }))
}

pub fn shape<'a>(view: &'a SegmentView, urls: &'a GetUrls<'_>, include_object_timerange: bool) -> SegmentShape<'a> {
    let object = &*view.object;
    SegmentShape {
        object_timerange: object.timerange.filter(|_| include_object_timerange),
        key_frame_count: object.key_frame_count,
        init_object: view
            .init_object
            .as_deref()
            .map(|init| SegmentInit { object_id: &init.id, get_urls: urls.get(init) }),
        get_urls: urls.get(object),
        ..SegmentShape::new(&view.segment)
    }
}

/// From the earliest start to the latest end, whichever way the page runs: segments do not overlap.
fn extent(page: &[SegmentView]) -> Option<TimeRange> {
    let (first, last) = (page.first()?, page.last()?);
    Some(first.segment.timerange.hull(&last.segment.timerange))
}
