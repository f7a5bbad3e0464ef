//! `/exports`: beside TAMS, for those who want rows as files. An export is a job; docs/exports.md explains them.

use poem::endpoint::make;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{EndpointExt, Request, Response};
use serde::Serialize;
use serde_json::json;

use super::error::{ApiError, Detail, DetailKind, Place};
use super::json::{JSON, read_json};
use super::media::respond;
use super::routes::Methods;
use super::sql::caller;
use super::status::{busy, internal};
use crate::media::MediaFile;
use crate::query::export::{ExportError, ExportFormat, ExportRequest, Exports};

/// Exports that a list shows, the newest.
const LISTED: usize = 1_000;

/// `GET` and `POST /exports`.
pub fn all(exports: Option<Exports>) -> Methods {
    let given = exports.clone();
    let list = make(move |_| {
        let exports = given.clone();
        async move {
            let mut jobs = on(&exports)?.list();
            jobs.truncate(LISTED);
            Ok::<_, poem::Error>(reply(StatusCode::OK, &json!({ "exports": jobs }))?)
        }
    });
    let create = make(move |request| {
        let exports = exports.clone();
        async move { Ok::<_, poem::Error>(create(on(&exports)?, request).await?) }
    });
    Methods::new([(Method::GET, list.boxed()), (Method::POST, create.boxed())])
}

async fn create(exports: &Exports, mut request: Request) -> Result<Response, ApiError> {
    let wanted: ExportRequest = read_json(&mut request).await?;
    let job = exports.create(wanted, &caller(&request)).await?;
    let mut response = reply(StatusCode::ACCEPTED, &job)?;
    // An id is a UUID, which a header can hold.
    if let Ok(place) = HeaderValue::try_from(format!("/exports/{}", job.id)) {
        response.headers_mut().insert(header::LOCATION, place);
    }
    Ok(response)
}

/// `GET` and `DELETE /exports/:id`.
pub fn one(exports: Option<Exports>) -> Methods {
    let given = exports.clone();
    let get = make(move |request: Request| {
        let exports = given.clone();
        async move {
            let job = on(&exports)?.get(id(&request)).map_err(ApiError::from)?;
            Ok::<_, poem::Error>(reply(StatusCode::OK, &job)?)
        }
    });
    let delete = make(move |request: Request| {
        let exports = exports.clone();
        async move {
            let kept = on(&exports)?.remove(id(&request)).await.map_err(ApiError::from)?;
            Ok::<_, poem::Error>(match kept {
                Some(job) => reply(StatusCode::ACCEPTED, &job)?,
                None => Response::builder().status(StatusCode::NO_CONTENT).finish(),
            })
        }
    });
    Methods::new([(Method::GET, get.boxed()), (Method::DELETE, delete.boxed())])
}

/// `GET /exports/:id/manifest`.
pub fn manifest(exports: Option<Exports>) -> Methods {
    let get = make(move |request: Request| {
        let exports = exports.clone();
        async move {
            let path = on(&exports)?.manifest(id(&request)).map_err(ApiError::from)?;
            Ok::<_, poem::Error>(send(&request, path, JSON).await?)
        }
    });
    Methods::new([(Method::GET, get.boxed())])
}

/// `GET /exports/:id/files/*name`.
pub fn file(exports: Option<Exports>) -> Methods {
    let get = make(move |request: Request| {
        let exports = exports.clone();
        async move {
            // Names of partitions are percent-encoded once as folders, and once more in URLs.
            let name = request.path_params::<(String, String)>().map(|(_, name)| name).unwrap_or_default();
            let path = on(&exports)?.file(id(&request), &name).map_err(ApiError::from)?;
            let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
            let format = ExportFormat::ALL.into_iter().find(|format| format.name() == kind);
            let content_type = format.map_or("application/octet-stream", ExportFormat::content_type);
            Ok::<_, poem::Error>(send(&request, path, content_type).await?)
        }
    });
    Methods::new([(Method::GET, get.boxed())])
}

async fn send(request: &Request, path: std::path::PathBuf, content_type: &str) -> Result<Response, ApiError> {
    let gone = || ApiError::not_found("There is no such file in the export");
    let file = MediaFile::open(path).await?.ok_or_else(gone)?;
    let mut response = respond(request, file, content_type)?;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
    Ok(response)
}

fn on(exports: &Option<Exports>) -> Result<&Exports, ApiError> {
    exports.as_ref().ok_or_else(|| ApiError::not_found("This server makes no exports"))
}

fn id(request: &Request) -> &str {
    request.raw_path_param("id").unwrap_or_default()
}

fn reply(status: StatusCode, value: &impl Serialize) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(internal)?;
    let length = body.len();
    Ok(Response::builder().status(status).content_type(JSON).header(header::CONTENT_LENGTH, length).body(body))
}

fn value(key: &'static str, text: String) -> ApiError {
    Detail::new(DetailKind::Value, vec![Place::Name("body".into()), Place::Name(key.into())], text).into()
}

impl From<ExportError> for ApiError {
    fn from(error: ExportError) -> Self {
        let text = error.to_string();
        match error {
            ExportError::Wrong { key, reason } => value(key, reason),
            ExportError::Query(error) => error.into(),
            ExportError::NotFound(_) => Self::not_found(text),
            ExportError::NotDone { .. } => Self::new(StatusCode::CONFLICT, "export_not_done", text),
            ExportError::Busy(_) => busy(&text),
            ExportError::TooMany(_) | ExportError::NoSpace(_) => {
                Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", text)
            }
            ExportError::TooManyPartitions(_) => value("partition_by", text),
            ExportError::TooManyFiles(_) => value("rows_per_file", text),
            ExportError::Stopped => {
                Self::failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server is stopping", error)
                    .retry_after(5)
            }
            ExportError::Io { .. }
            | ExportError::Unreadable { .. }
            | ExportError::OtherExport(_)
            | ExportError::Encode(_) => internal(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_key_and_say_what_to_change() {
        let error = ApiError::from(ExportRequest::default().plan().unwrap_err());
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!(error.summary(), "body.table: say either table or sql");
        let error = ApiError::from(ExportError::NoSpace("exports take too much".into()));
        assert_eq!(error.status(), StatusCode::INSUFFICIENT_STORAGE);
    }
}
