//! Single properties of a Flow. What a Flow does not have reads as `null` (or `false`, `[]`, `{}`), and unsetting it
//! again is no error; a tag that is not there is not found.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::Path;

use super::Api;
use super::dialect::Dialect;
use super::error::ApiError;
use super::json::{Done, JsonBody, JsonReply};
use super::wire::{TagName, check_collection};
use crate::domain::{BitRate, CollectionItem, Flow, FlowId, TagValue, Tags};
use crate::operations::{FlowEdit, OperationError, edit_flow};

pub struct FlowPropertiesApi(pub Arc<Api>);

impl FlowPropertiesApi {
    async fn flow(&self, id: FlowId) -> Result<Arc<Flow>, ApiError> {
        let state = self.0.state().await?;
        Ok(state.flow(id).cloned().ok_or(OperationError::FlowNotFound(id))?)
    }

    /// What is the same in every dialect.
    async fn edit(&self, id: FlowId, edit: FlowEdit) -> Result<Done, ApiError> {
        edit_flow(&self.0.tams, id, edit, None).await?;
        Ok(Done)
    }

    async fn edit_as(&self, id: FlowId, edit: FlowEdit, dialect: Dialect) -> Result<Done, ApiError> {
        edit_flow(&self.0.tams, id, edit, dialect.flow_edit_meaning()).await?;
        Ok(Done)
    }
}

#[OpenApi]
impl FlowPropertiesApi {
    /// All tags of a Flow.
    ///
    /// Spec: GET_flows-flowId-tags
    #[oai(path = "/flows/:flowId/tags", method = "get", operation_id = "GET_flows-flowId-tags")]
    async fn get_flows_flow_id_tags(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        dialect: Dialect,
    ) -> Result<JsonReply<Tags>, ApiError> {
        JsonReply::of(&*dialect.tags(&self.flow(flow_id.0).await?.tags))
    }

    /// One tag of a Flow.
    ///
    /// Spec: GET_flows-flowId-tags-name
    #[oai(path = "/flows/:flowId/tags/:name", method = "get", operation_id = "GET_flows-flowId-tags-name")]
    async fn get_flows_flow_id_tags_name(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        name: Path<TagName>,
        dialect: Dialect,
    ) -> Result<JsonReply<TagValue>, ApiError> {
        let flow = self.flow(flow_id.0).await?;
        let name = name.0.0;
        JsonReply::of(&*dialect.tag(flow.tags.get(&name).ok_or(OperationError::TagNotFound(name))?))
    }

    /// Sets one tag of a Flow.
    ///
    /// Spec: PUT_flows-flowId-tags-name
    #[oai(path = "/flows/:flowId/tags/:name", method = "put", operation_id = "PUT_flows-flowId-tags-name")]
    async fn put_flows_flow_id_tags_name(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        name: Path<TagName>,
        dialect: Dialect,
        body: JsonBody<TagValue>,
    ) -> Result<Done, ApiError> {
        self.edit_as(flow_id.0, FlowEdit::PutTag(name.0.0, body.0), dialect).await
    }

    /// Removes one tag of a Flow.
    ///
    /// Spec: DELETE_flows-flowId-tags-name
    #[oai(path = "/flows/:flowId/tags/:name", method = "delete", operation_id = "DELETE_flows-flowId-tags-name")]
    async fn delete_flows_flow_id_tags_name(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        name: Path<TagName>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::DeleteTag(name.0.0)).await
    }

    /// The description of a Flow.
    ///
    /// Spec: GET_flows-flowId-description
    #[oai(path = "/flows/:flowId/description", method = "get", operation_id = "GET_flows-flowId-description")]
    async fn get_flows_flow_id_description(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<JsonReply<Option<String>>, ApiError> {
        JsonReply::of(&self.flow(flow_id.0).await?.description)
    }

    /// Sets the description of a Flow.
    ///
    /// Spec: PUT_flows-flowId-description
    #[oai(path = "/flows/:flowId/description", method = "put", operation_id = "PUT_flows-flowId-description")]
    async fn put_flows_flow_id_description(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        body: JsonBody<String>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::Description(Some(body.0))).await
    }

    /// Removes the description of a Flow.
    ///
    /// Spec: DELETE_flows-flowId-description
    #[oai(path = "/flows/:flowId/description", method = "delete", operation_id = "DELETE_flows-flowId-description")]
    async fn delete_flows_flow_id_description(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::Description(None)).await
    }

    /// The label of a Flow.
    ///
    /// Spec: GET_flows-flowId-label
    #[oai(path = "/flows/:flowId/label", method = "get", operation_id = "GET_flows-flowId-label")]
    async fn get_flows_flow_id_label(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        dialect: Dialect,
    ) -> Result<JsonReply<Option<String>>, ApiError> {
        JsonReply::of(&dialect.label(self.flow(flow_id.0).await?.label.as_deref())?)
    }

    /// Sets the label of a Flow.
    ///
    /// Spec: PUT_flows-flowId-label
    #[oai(path = "/flows/:flowId/label", method = "put", operation_id = "PUT_flows-flowId-label")]
    async fn put_flows_flow_id_label(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        body: JsonBody<String>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::Label(Some(body.0))).await
    }

    /// Removes the label of a Flow.
    ///
    /// Spec: DELETE_flows-flowId-label
    #[oai(path = "/flows/:flowId/label", method = "delete", operation_id = "DELETE_flows-flowId-label")]
    async fn delete_flows_flow_id_label(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::Label(None)).await
    }

    /// The write protection of a Flow.
    ///
    /// Spec: GET_flows-flowId-read-only
    #[oai(path = "/flows/:flowId/read_only", method = "get", operation_id = "GET_flows-flowId-read-only")]
    async fn get_flows_flow_id_read_only(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<JsonReply<bool>, ApiError> {
        JsonReply::of(&self.flow(flow_id.0).await?.read_only)
    }

    /// Sets the write protection of a Flow.
    ///
    /// Spec: PUT_flows-flowId-read-only
    #[oai(path = "/flows/:flowId/read_only", method = "put", operation_id = "PUT_flows-flowId-read-only")]
    async fn put_flows_flow_id_read_only(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        body: JsonBody<bool>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::ReadOnly(body.0)).await
    }

    /// The collection of a Flow.
    ///
    /// Spec: GET_flows-flowId-flow-collection
    #[oai(path = "/flows/:flowId/flow_collection", method = "get", operation_id = "GET_flows-flowId-flow-collection")]
    async fn get_flows_flow_id_flow_collection(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        dialect: Dialect,
    ) -> Result<JsonReply<Vec<CollectionItem>>, ApiError> {
        let state = self.0.state().await?;
        let flow = state.flow(flow_id.0).ok_or(OperationError::FlowNotFound(flow_id.0))?;
        JsonReply::of(&dialect.collection(&state, &flow.flow_collection))
    }

    /// Sets the collection of a Flow.
    ///
    /// Spec: PUT_flows-flowId-flow-collection
    #[oai(path = "/flows/:flowId/flow_collection", method = "put", operation_id = "PUT_flows-flowId-flow-collection")]
    async fn put_flows_flow_id_flow_collection(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        dialect: Dialect,
        body: JsonBody<Vec<CollectionItem>>,
    ) -> Result<Done, ApiError> {
        check_collection(&[], &body.0)?;
        self.edit_as(flow_id.0, FlowEdit::FlowCollection(body.0), dialect).await
    }

    /// Removes the collection of a Flow.
    ///
    /// Spec: DELETE_flows-flowId-flow-collection
    #[oai(
        path = "/flows/:flowId/flow_collection",
        method = "delete",
        operation_id = "DELETE_flows-flowId-flow-collection"
    )]
    async fn delete_flows_flow_id_flow_collection(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::FlowCollection(Vec::new())).await
    }

    /// The maximum bit rate of a Flow.
    ///
    /// Spec: GET_flows-flowId-max-bit-rate
    #[oai(path = "/flows/:flowId/max_bit_rate", method = "get", operation_id = "GET_flows-flowId-max-bit-rate")]
    async fn get_flows_flow_id_max_bit_rate(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<JsonReply<Option<u64>>, ApiError> {
        JsonReply::of(&self.flow(flow_id.0).await?.max_bit_rate)
    }

    /// Sets the maximum bit rate of a Flow.
    ///
    /// Spec: PUT_flows-flowId-max-bit-rate
    #[oai(path = "/flows/:flowId/max_bit_rate", method = "put", operation_id = "PUT_flows-flowId-max-bit-rate")]
    async fn put_flows_flow_id_max_bit_rate(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        body: JsonBody<BitRate>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::MaxBitRate(Some(body.0))).await
    }

    /// Removes the maximum bit rate of a Flow.
    ///
    /// Spec: DELETE_flows-flowId-max-bit-rate
    #[oai(path = "/flows/:flowId/max_bit_rate", method = "delete", operation_id = "DELETE_flows-flowId-max-bit-rate")]
    async fn delete_flows_flow_id_max_bit_rate(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::MaxBitRate(None)).await
    }

    /// The average bit rate of a Flow.
    ///
    /// Spec: GET_flows-flowId-avg-bit-rate
    #[oai(path = "/flows/:flowId/avg_bit_rate", method = "get", operation_id = "GET_flows-flowId-avg-bit-rate")]
    async fn get_flows_flow_id_avg_bit_rate(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<JsonReply<Option<u64>>, ApiError> {
        JsonReply::of(&self.flow(flow_id.0).await?.technical.avg_bit_rate)
    }

    /// Sets the average bit rate of a Flow.
    ///
    /// Spec: PUT_flows-flowId-avg-bit-rate
    #[oai(path = "/flows/:flowId/avg_bit_rate", method = "put", operation_id = "PUT_flows-flowId-avg-bit-rate")]
    async fn put_flows_flow_id_avg_bit_rate(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
        body: JsonBody<BitRate>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::AvgBitRate(Some(body.0))).await
    }

    /// Removes the average bit rate of a Flow.
    ///
    /// Spec: DELETE_flows-flowId-avg-bit-rate
    #[oai(path = "/flows/:flowId/avg_bit_rate", method = "delete", operation_id = "DELETE_flows-flowId-avg-bit-rate")]
    async fn delete_flows_flow_id_avg_bit_rate(
        &self,
        #[oai(name = "flowId")] flow_id: Path<FlowId>,
    ) -> Result<Done, ApiError> {
        self.edit(flow_id.0, FlowEdit::AvgBitRate(None)).await
    }
}
