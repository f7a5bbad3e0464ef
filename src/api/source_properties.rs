//! Single properties of a Source. What a Source does not have reads as `null`, and unsetting it again is no error;
//! a tag that is not there is not found.

use std::sync::Arc;

use poem_openapi::OpenApi;
use poem_openapi::param::Path;

use super::Api;
use super::dialect::Dialect;
use super::error::ApiError;
use super::json::{Done, JsonBody, JsonReply};
use super::wire::TagName;
use crate::domain::{SourceId, TagValue, Tags};
use crate::operations::{OperationError, SourceEdit, edit_source, get_source};

pub struct SourcePropertiesApi(pub Arc<Api>);

impl SourcePropertiesApi {
    /// What is the same in every dialect.
    async fn edit(&self, id: SourceId, edit: SourceEdit) -> Result<Done, ApiError> {
        edit_source(&self.0.tams, id, edit, None).await?;
        Ok(Done)
    }

    async fn edit_as(&self, id: SourceId, edit: SourceEdit, dialect: Dialect) -> Result<Done, ApiError> {
        edit_source(&self.0.tams, id, edit, dialect.source_edit_meaning()).await?;
        Ok(Done)
    }
}

#[OpenApi]
impl SourcePropertiesApi {
    /// All tags of a Source.
    ///
    /// Spec: GET_sources-sourceId-tags
    #[oai(path = "/sources/:sourceId/tags", method = "get", operation_id = "GET_sources-sourceId-tags")]
    async fn get_sources_source_id_tags(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        dialect: Dialect,
    ) -> Result<JsonReply<Tags>, ApiError> {
        let state = self.0.state().await?;
        JsonReply::of(&*dialect.tags(&get_source(&state, source_id.0)?.source.tags))
    }

    /// One tag of a Source.
    ///
    /// Spec: GET_sources-sourceId-tags-name
    #[oai(path = "/sources/:sourceId/tags/:name", method = "get", operation_id = "GET_sources-sourceId-tags-name")]
    async fn get_sources_source_id_tags_name(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        name: Path<TagName>,
        dialect: Dialect,
    ) -> Result<JsonReply<TagValue>, ApiError> {
        let state = self.0.state().await?;
        let source = get_source(&state, source_id.0)?.source;
        let name = name.0.0;
        JsonReply::of(&*dialect.tag(source.tags.get(&name).ok_or(OperationError::TagNotFound(name))?))
    }

    /// Sets one tag of a Source.
    ///
    /// Spec: PUT_sources-sourceId-tags-name
    #[oai(path = "/sources/:sourceId/tags/:name", method = "put", operation_id = "PUT_sources-sourceId-tags-name")]
    async fn put_sources_source_id_tags_name(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        name: Path<TagName>,
        dialect: Dialect,
        body: JsonBody<TagValue>,
    ) -> Result<Done, ApiError> {
        self.edit_as(source_id.0, SourceEdit::PutTag(name.0.0, body.0), dialect).await
    }

    /// Removes one tag of a Source.
    ///
    /// Spec: DELETE_sources-sourceId-tags-name
    #[oai(
        path = "/sources/:sourceId/tags/:name",
        method = "delete",
        operation_id = "DELETE_sources-sourceId-tags-name"
    )]
    async fn delete_sources_source_id_tags_name(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        name: Path<TagName>,
    ) -> Result<Done, ApiError> {
        self.edit(source_id.0, SourceEdit::DeleteTag(name.0.0)).await
    }

    /// The description of a Source.
    ///
    /// Spec: GET_sources-sourceId-description
    #[oai(path = "/sources/:sourceId/description", method = "get", operation_id = "GET_sources-sourceId-description")]
    async fn get_sources_source_id_description(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
    ) -> Result<JsonReply<Option<String>>, ApiError> {
        let state = self.0.state().await?;
        JsonReply::of(&get_source(&state, source_id.0)?.source.description)
    }

    /// Sets the description of a Source.
    ///
    /// Spec: PUT_sources-sourceId-description
    #[oai(path = "/sources/:sourceId/description", method = "put", operation_id = "PUT_sources-sourceId-description")]
    async fn put_sources_source_id_description(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        body: JsonBody<String>,
    ) -> Result<Done, ApiError> {
        self.edit(source_id.0, SourceEdit::Description(Some(body.0))).await
    }

    /// Removes the description of a Source.
    ///
    /// Spec: DELETE_sources-sourceId-description
    #[oai(
        path = "/sources/:sourceId/description",
        method = "delete",
        operation_id = "DELETE_sources-sourceId-description"
    )]
    async fn delete_sources_source_id_description(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
    ) -> Result<Done, ApiError> {
        self.edit(source_id.0, SourceEdit::Description(None)).await
    }

    /// The label of a Source.
    ///
    /// Spec: GET_sources-sourceId-label
    #[oai(path = "/sources/:sourceId/label", method = "get", operation_id = "GET_sources-sourceId-label")]
    async fn get_sources_source_id_label(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        dialect: Dialect,
    ) -> Result<JsonReply<Option<String>>, ApiError> {
        let state = self.0.state().await?;
        JsonReply::of(&dialect.label(get_source(&state, source_id.0)?.source.label.as_deref())?)
    }

    /// Sets the label of a Source.
    ///
    /// Spec: PUT_sources-sourceId-label
    #[oai(path = "/sources/:sourceId/label", method = "put", operation_id = "PUT_sources-sourceId-label")]
    async fn put_sources_source_id_label(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
        body: JsonBody<String>,
    ) -> Result<Done, ApiError> {
        self.edit(source_id.0, SourceEdit::Label(Some(body.0))).await
    }

    /// Removes the label of a Source.
    ///
    /// Spec: DELETE_sources-sourceId-label
    #[oai(path = "/sources/:sourceId/label", method = "delete", operation_id = "DELETE_sources-sourceId-label")]
    async fn delete_sources_source_id_label(
        &self,
        #[oai(name = "sourceId")] source_id: Path<SourceId>,
    ) -> Result<Done, ApiError> {
        self.edit(source_id.0, SourceEdit::Label(None)).await
    }
}
