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
pub fn all(exports: Exports) -> Methods {
    let given = exports.clone();
    let list = make(move |_| {
        let exports = given.clone();
        async move {
            let mut jobs = exports.list();
            jobs.truncate(LISTED);
            Ok::<_, poem::Error>(reply(StatusCode::OK, &json!({ "exports": jobs }))?)
        }
    });
    let create = make(move |request| {
        let exports = exports.clone();
        async move { Ok::<_, poem::Error>(create(&exports, request).await?) }
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
pub fn one(exports: Exports) -> Methods {
    let given = exports.clone();
    let get = make(move |request: Request| {
        let exports = given.clone();
        async move {
            let job = exports.get(id(&request)).map_err(ApiError::from)?;
            Ok::<_, poem::Error>(reply(StatusCode::OK, &job)?)
        }
    });
    let delete = make(move |request: Request| {
        let exports = exports.clone();
        async move {
            let kept = exports.remove(id(&request)).await.map_err(ApiError::from)?;
            Ok::<_, poem::Error>(match kept {
                Some(job) => reply(StatusCode::ACCEPTED, &job)?,
                None => Response::builder().status(StatusCode::NO_CONTENT).finish(),
            })
        }
    });
    Methods::new([(Method::GET, get.boxed()), (Method::DELETE, delete.boxed())])
}

/// `GET /exports/:id/manifest`.
pub fn manifest(exports: Exports) -> Methods {
    let get = make(move |request: Request| {
        let exports = exports.clone();
        async move {
            let path = exports.manifest(id(&request)).map_err(ApiError::from)?;
            Ok::<_, poem::Error>(send(&request, path, JSON).await?)
        }
    });
    Methods::new([(Method::GET, get.boxed())])
}

/// `GET /exports/:id/files/*name`.
pub fn file(exports: Exports) -> Methods {
    let get = make(move |request: Request| {
        let exports = exports.clone();
        async move {
            // Names of partitions are percent-encoded once as folders, and once more in URLs.
            let name = request.path_params::<(String, String)>().map(|(_, name)| name).unwrap_or_default();
            let path = exports.file(id(&request), &name).map_err(ApiError::from)?;
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
    use std::sync::Arc;
    use std::time::Duration;

    use poem::{Endpoint, Route};
    use serde_json::Value;

    use super::*;
    use crate::catalog::tests::helpers;
    use crate::query::export::{ExportSettings, JobState};
    use crate::query::{Engine, Sql, SqlSettings};

    async fn exports(folder: &tempfile::TempDir) -> Exports {
        let clock = helpers::clock(1);
        let by_hand = helpers::ByHand::open(helpers::memory(), clock.clone()).await;
        let flows = (1..4).map(|n| helpers::put_flow(n, 1));
        helpers::put(&by_hand.catalog, std::iter::once(helpers::put_source(1)).chain(flows).collect()).await.unwrap();
        let settings = SqlSettings {
            engine: Engine::DataFusion,
            threads: 1,
            timeout: Duration::from_secs(60),
            memory_bytes: 64 << 20,
            scratch: folder.path().to_owned(),
            scratch_bytes: 1 << 30,
            max_rows: 10,
            max_sql_bytes: 1 << 20,
            max_running: 1,
            max_running_of_caller: 1,
            patience: Duration::from_secs(60),
        };
        let sql = Sql::new(by_hand.catalog, settings, Arc::new(Vec::new)).unwrap();
        let settings = ExportSettings {
            dir: folder.path().join("exports"),
            max_running: 1,
            retention: Duration::from_secs(60),
            space_bytes: 1 << 30,
            min_free_bytes: 0,
        };
        Exports::open(sql, clock, settings).unwrap()
    }

    async fn ask(exports: &Exports, request: poem::RequestBuilder) -> Result<(Response, Vec<u8>), ApiError> {
        let given = || exports.clone();
        let routes = Route::new()
            .at("/exports", all(given()))
            .at("/exports/:id", one(given()))
            .at("/exports/:id/manifest", manifest(given()))
            .at("/exports/:id/files/*name", file(given()));
        let mut response = routes.call(request.finish()).await.map_err(ApiError::from)?;
        let body = response.take_body().into_vec().await.unwrap();
        Ok((response, body))
    }

    #[tokio::test]
    async fn an_export_is_asked_for_watched_fetched_and_removed() {
        let folder = tempfile::tempdir().unwrap();
        let exports = exports(&folder).await;
        let wanted = json!({"table": "flows", "format": "csv", "partition_by": "id"}).to_string();
        let request = Request::builder().method(Method::POST).uri_str("/exports").content_type(JSON).body(wanted);
        let response = all(exports.clone()).call(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        let place = response.header("location").unwrap().to_owned();
        let id = place.strip_prefix("/exports/").unwrap();
        exports.wait(id, |job| job.state == JobState::Done).await.unwrap();

        let get = |path: String| Request::builder().uri_str(path);
        let (_, body) = ask(&exports, get("/exports".into())).await.unwrap();
        let list: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(list["exports"][0]["state"], "done");
        let (_, body) = ask(&exports, get(format!("{place}/manifest"))).await.unwrap();
        let found: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((&found["rows"], found["files"].as_array().unwrap().len()), (&json!(3), 3));
        let name = found["files"][0]["name"].as_str().unwrap();
        assert!(name.starts_with("id=") && name.ends_with("/part-00000.csv"), "{name}");
        let path = format!("{place}/files/{}", name.replace('=', "%3D"));
        let (response, whole) = ask(&exports, get(path.clone())).await.unwrap();
        assert_eq!(whole.len() as u64, found["files"][0]["bytes"].as_u64().unwrap());
        assert!(response.content_type().unwrap().starts_with("text/csv"));
        let (response, part) = ask(&exports, get(path).header("range", "bytes=2-4")).await.unwrap();
        assert_eq!((response.status(), part.as_slice()), (StatusCode::PARTIAL_CONTENT, &whole[2..5]));
        for path in ["files/part-00009.csv", "files/job.json", "files/..%2F..%2Fx", "files/"] {
            let error = ask(&exports, get(format!("{place}/{path}"))).await.unwrap_err();
            assert_eq!(error.status(), StatusCode::NOT_FOUND, "{path}");
        }

        let delete = || Request::builder().method(Method::DELETE).uri_str(place.clone());
        let (response, _) = ask(&exports, delete()).await.unwrap();
        assert_eq!(response.status(), StatusCode::NO_CONTENT);
        assert_eq!(ask(&exports, delete()).await.unwrap_err().status(), StatusCode::NOT_FOUND);
        exports.close().await;
    }

    #[test]
    fn refusals_name_the_key_and_say_what_to_change() {
        let error = ApiError::from(ExportRequest::default().plan().unwrap_err());
        assert_eq!(error.status(), StatusCode::BAD_REQUEST);
        assert_eq!(error.summary(), "body.table: say either table or sql");
        let error = ApiError::from(ExportError::NoSpace("exports take too much".into()));
        assert_eq!(error.status(), StatusCode::INSUFFICIENT_STORAGE);
    }
}
