//! Flows.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::cursor::ListPlace;
use super::delete_requests::DeletionReply;
use super::dialect::Dialect;
use super::error::{ApiError, Detail, DetailKind};
use super::json::{JsonArray, JsonBody, JsonReply};
use super::paging::{Paged, Paging};
use super::query::Query;
use super::sources::format;
use super::wire::{FlowPut, FlowShape, is_plain_mime_type};
use crate::catalog::View;
use crate::domain::{FlowId, FlowStatus, TimeRange};
use crate::operations::{FlowFilter, FlowSort, PageRequest, PutFlow, delete_flow, get_flow, list_flows, put_flow};

pub struct FlowsApi(pub Arc<Api>);

#[derive(ApiResponse)]
enum PutFlowReply {
    /// The Flow is new.
    #[oai(status = 201)]
    Created(JsonReply<FlowShape<'static>>),
    /// The Flow was there and has this metadata now.
    #[oai(status = 204)]
    Updated,
}

#[OpenApi]
impl FlowsApi {
    /// Flows that match all filters.
    ///
    /// Spec: GET_flows
    #[oai(path = "/flows", method = "get", operation_id = "GET_flows")]
    async fn get_flows(&self, request: &Request) -> Result<Paged<Vec<FlowShape<'static>>>, ApiError> {
        let query = Query::of(request);
        let paging = Paging::of(&self.0, request, &query)?;
        let (filter, sort) = (filter(&query)?, sort(&query)?);
        let state = self.0.state().await?;
        let label_of = |id| state.flow(id)?.label.clone();
        let after = paging.after::<ListPlace<FlowId>>()?.map(|place| place.resolve(label_of)).transpose()?;
        let page = PageRequest { after, limit: paging.limit };
        let flows = |view: View<'_>| list_flows(view, &filter, sort, paging.reverse_order, &page);
        let page = self.0.tams.catalog.ask_of(&state, flows).await?;
        let mut items = JsonArray::new();
        for flow in &page.items {
            items.push(&FlowShape::from(&*query.dialect.flow(&state, flow)))?;
        }
        let count = items.count;
        Ok(paging.reply(items.finish(), count, page.next.map(ListPlace::from).as_ref()))
    }

    /// One Flow.
    ///
    /// Spec: GET_flows-flowId
    #[oai(path = "/flows/:flowId", method = "get", operation_id = "GET_flows-flowId")]
    async fn get_flows_flow_id(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        request: &Request,
    ) -> Result<JsonReply<FlowShape<'static>>, ApiError> {
        let state = self.0.state().await?;
        let mut flow = get_flow(&state, flow_id.0)?;
        let query = Query::of(request);
        let within = query.timerange()?.unwrap_or(TimeRange::ETERNITY);
        if query.flag("include_timerange")?.unwrap_or(false) {
            flow = self.0.tams.catalog.ask_of(&state, |view| flow.clone().with_timerange(view, within)).await?;
        }
        JsonReply::of(&FlowShape::from(&*query.dialect.flow(&state, &flow)))
    }

    /// Makes a Flow, and its Source if that is new, or replaces a Flow's metadata.
    ///
    /// Spec: PUT_flows-flowId
    #[oai(path = "/flows/:flowId", method = "put", operation_id = "PUT_flows-flowId")]
    async fn put_flows_flow_id(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        dialect: Dialect,
        body: JsonBody<FlowPut>,
    ) -> Result<PutFlowReply, ApiError> {
        let request = body.0.into_request(flow_id.0, dialect)?;
        Ok(match put_flow(&self.0.tams, request, dialect.flow_meaning()).await? {
            PutFlow::Created(flow) => {
                let state = self.0.tams.catalog.snapshot();
                PutFlowReply::Created(JsonReply::of(&FlowShape::from(&*dialect.flow(&state, &flow)))?)
            }
            PutFlow::Updated => PutFlowReply::Updated,
        })
    }

    /// Deletes a Flow with its segments, and objects that nothing else refers to.
    ///
    /// Spec: DELETE_flows-flowId
    #[oai(path = "/flows/:flowId", method = "delete", operation_id = "DELETE_flows-flowId")]
    async fn delete_flows_flow_id(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        request: &Request,
    ) -> Result<DeletionReply, ApiError> {
        let goes_on = delete_flow(&self.0.tams, flow_id.0).await?;
        DeletionReply::of(&self.0, request, goes_on.as_deref())
    }
}

fn filter(query: &Query<'_>) -> Result<FlowFilter, ApiError> {
    let codec = query.text("codec");
    let strict = query.dialect.has_strict_codec_filter();
    let is_well_formed = |codec: &str| if strict { is_plain_mime_type(codec) } else { codec.contains('/') };
    if codec.is_some_and(|codec| !is_well_formed(codec)) {
        return Err(Detail::query(DetailKind::Pattern, "codec", "is not a media type such as video/h264").into());
    }
    let statuses = [
        ("awaiting_content", FlowStatus::AwaitingContent),
        ("ingesting", FlowStatus::Ingesting),
        ("replication_in_progress", FlowStatus::ReplicationInProgress),
        ("closed_complete", FlowStatus::ClosedComplete),
    ];
    Ok(FlowFilter {
        source_id: query.value("source_id")?,
        timerange: query.timerange()?,
        format: format(query)?,
        codec: codec.map(str::to_owned),
        profile_id: query.value("profile_id")?,
        label: query.text("label").map(str::to_owned),
        status: query.word("status", &statuses)?,
        tags: query.tags("tag")?,
        frame_width: query.number("frame_width")?,
        frame_height: query.number("frame_height")?,
        init_segments: query.flag("init_segments")?,
        collected_by: query.collected_by()?,
    })
}

fn sort(query: &Query<'_>) -> Result<FlowSort, ApiError> {
    let words =
        [("created", FlowSort::Created), ("metadata_updated", FlowSort::MetadataUpdated), ("label", FlowSort::Label)];
    Ok(query.word("sort_by", &words)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_filter_with_a_form_refuses_another() {
        for good in [
            "",
            "timerange=()",
            "codec=video/h264",
            "status=ingesting",
            "frame_width=1920",
            "init_segments=false",
            "profile_id=2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11",
            "unknown=1",
        ] {
            assert!(filter(&Query::parse(good)).is_ok(), "{good}");
        }
        for bad in [
            "source_id=x",
            "timerange=[1:0-2:0)",
            "timerange=",
            "format=video",
            "codec=h264",
            "status=done",
            "frame_width=abc",
            "frame_height=-1",
            "init_segments=x",
            "collected_by_ids=x",
            "tag.a=,",
            "tag_exists.a=x",
            "profile_id=x",
        ] {
            assert!(filter(&Query::parse(bad)).is_err(), "{bad}");
        }
        for bad in ["sort_by=updated", "sort_by=segments_updated", "sort_by="] {
            assert!(sort(&Query::parse(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_words_of_status_are_those_of_the_domain() {
        for word in FlowStatus::WORDS {
            let query = format!("status={word}");
            let status = filter(&Query::parse(&query)).unwrap().status.unwrap();
            assert_eq!(serde_json::to_value(status).unwrap(), *word);
        }
    }
}
