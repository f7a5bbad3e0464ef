//! What there is at the top.

use poem_openapi::OpenApi;

use super::error::ApiError;
use super::json::JsonReply;

pub struct RootApi;

/// As the specification names them, whatever of them is served yet.
const PATHS: [&str; 4] = ["service", "flows", "sources", "flow-delete-requests"];

#[OpenApi]
impl RootApi {
    /// Names of the paths at the top.
    ///
    /// Spec: GET_root
    #[oai(path = "/", method = "get", operation_id = "GET_root")]
    async fn get_root(&self) -> Result<JsonReply<Vec<String>>, ApiError> {
        JsonReply::of(&PATHS)
    }
}
