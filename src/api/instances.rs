//! Instances of objects: the places where their bytes can be had.

use std::sync::Arc;

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{ApiResponse, OpenApi};

use super::Api;
use super::error::ApiError;
use super::json::{Done, JsonBody};
use super::query::Query;
use super::wire::InstancePost;
use crate::domain::ObjectId;
use crate::operations::{add_instance, delete_instance};

pub struct InstancesApi(pub Arc<Api>);

#[derive(ApiResponse)]
enum InstanceReply {
    /// The instance was registered.
    #[oai(status = 201)]
    Registered,
}

#[OpenApi]
impl InstancesApi {
    /// Registers another place where the object's bytes can be had. Whoever names a URL answers for what is there.
    ///
    /// Spec: POST_objects-instances
    #[oai(path = "/objects/:objectId/instances", method = "post", operation_id = "POST_objects-instances")]
    async fn post_objects_instances(
        &self,
        #[oai(name = "objectId")] object_id: Path<ObjectId>,
        body: JsonBody<InstancePost>,
    ) -> Result<InstanceReply, ApiError> {
        add_instance(&self.0.tams, object_id.0, body.0.into_request()?).await?;
        Ok(InstanceReply::Registered)
    }

    /// Removes one place from the object. Bytes that this server keeps there are deleted; the last place stays.
    ///
    /// Spec: DELETE_objects-instances
    #[oai(path = "/objects/:objectId/instances", method = "delete", operation_id = "DELETE_objects-instances")]
    async fn delete_objects_instances(
        &self,
        #[oai(name = "objectId")] object_id: Path<ObjectId>,
        request: &Request,
    ) -> Result<Done, ApiError> {
        let query = Query::of(request);
        let given = |name| query.text(name).map(str::to_owned);
        delete_instance(&self.0.tams, object_id.0, given("storage_id"), given("label")).await?;
        Ok(Done)
    }
}
