//! `POST /_tamslake/flush`: beside TAMS, for those who run the server. Whoever reaches the server may ask for it.

use std::sync::Arc;

use poem::endpoint::make;
use poem::http::{Method, StatusCode};
use poem::{EndpointExt, Response};
use serde_json::json;

use super::Api;
use super::error::ApiError;
use super::routes::Methods;
use crate::catalog::MaintenanceError;

/// Puts all rows that are at rest into files, and brings the published tables up to date.
pub fn flush(api: Arc<Api>) -> Methods {
    let post = make(move |_| {
        let api = api.clone();
        async move {
            let published = api.tams.catalog.publish().await.map_err(refused)?;
            let body = json!({ "seq": published.seq, "versions": published.versions });
            Ok::<_, poem::Error>(Response::builder().content_type("application/json").body(body.to_string()))
        }
    });
    Methods::new([(Method::POST, post.map_to_response().boxed())])
}

fn refused(error: MaintenanceError) -> ApiError {
    match error {
        MaintenanceError::Commit(error) => error.into(),
        MaintenanceError::Read(error) => error.into(),
        error => {
            let summary = "The tables could not be published: the server's log says why";
            ApiError::failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", summary, error).retry_after(5)
        }
    }
}
