//! The OpenAPI document and the page that shows it. Nothing is loaded from elsewhere: both work without a network.

use std::collections::HashMap;

use bytes::Bytes;
use poem::endpoint::{BoxEndpoint, make_sync};
use poem::http::{Method, header};
use poem::{EndpointExt, Response, Route};
use poem_openapi::registry::{MetaApi, MetaOperationParam, MetaParamIn, MetaSchema, MetaSchemaRef, Registry};
use poem_openapi::types::Type;
use poem_openapi::{OpenApi, OpenApiService};

use super::Resources;
use super::compression::Compression;
use super::dialect::Dialect;
use super::json::JSON;
use super::routes::Methods;
use crate::domain::{ContentFormat, FlowStatus, ProfileId, SourceId, TimeRange};

/// The operationId of every operation, in no order.
pub fn operation_ids() -> Vec<&'static str> {
    let paths = Resources::meta().into_iter().flat_map(|api| api.paths);
    paths.flat_map(|path| path.operations).filter_map(|operation| operation.operation_id).collect()
}

/// Handlers with the query parameters that they read by themselves.
pub struct Documented<T>(pub T);

impl<T: OpenApi> OpenApi for Documented<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        let paths = apis.iter_mut().flat_map(|api| &mut api.paths);
        for operation in paths.flat_map(|path| &mut path.operations) {
            operation.params.extend(operation.operation_id.map(query_parameters).unwrap_or_default());
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(table);
    }
}

fn query(name: &str, schema: MetaSchemaRef, description: &str) -> MetaOperationParam {
    MetaOperationParam {
        name: name.to_owned(),
        schema,
        in_type: MetaParamIn::Query,
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        explode: true,
        style: None,
    }
}

fn text() -> MetaSchemaRef {
    String::schema_ref()
}

fn flag() -> MetaSchemaRef {
    bool::schema_ref()
}

fn one_of(words: &[&str]) -> MetaSchemaRef {
    let enum_items = words.iter().map(|word| (*word).into()).collect();
    MetaSchemaRef::Inline(Box::new(MetaSchema { enum_items, ..MetaSchema::new("string") }))
}

fn page() -> Vec<MetaOperationParam> {
    vec![
        query("page", text(), "Where to go on: X-Paging-NextKey of the page before."),
        query("limit", u32::schema_ref(), "Items in a page at most; more than the server allows is cut."),
    ]
}

fn order(sort_keys: &[&str]) -> Vec<MetaOperationParam> {
    let mut order = vec![query("reverse_order", flag(), "Turns the order round.")];
    if !sort_keys.is_empty() {
        order.push(query(
            "sort_by",
            one_of(sort_keys),
            "Times run from newest to oldest, labels upwards, items without one last.",
        ));
    }
    order
}

fn tags(prefix: &str, of: &str) -> Vec<MetaOperationParam> {
    vec![
        query(
            &format!("{prefix}.{{name}}"),
            text(),
            &format!("Only {of} whose tag of this name is one of these values, separated by commas."),
        ),
        query(
            &format!("{prefix}_exists.{{name}}"),
            flag(),
            &format!("Only {of} that have (true) or lack (false) a tag of this name."),
        ),
    ]
}

fn get_urls() -> Vec<MetaOperationParam> {
    let mut urls = vec![
        query("verbose_storage", flag(), "Whether get_urls tell of their storage backend too."),
        query(
            "accept_get_urls",
            text(),
            "Only get_urls with one of these labels, separated by commas; empty for none at all.",
        ),
        query("accept_storage_ids", text(), "Only get_urls on one of these storage backends, separated by commas."),
        query("presigned", flag(), "Only get_urls that carry (true) or do not carry (false) their own permission."),
    ];
    urls.extend(tags("storage_backend_tag", "get_urls on storage backends"));
    urls
}

fn query_parameters(operation_id: &str) -> Vec<MetaOperationParam> {
    let timerange = |description| query("timerange", TimeRange::schema_ref(), description);
    let label = || query("label", text(), "Only those with exactly this label.");
    let format = || query("format", ContentFormat::schema_ref(), "Only those of this format.");
    let collected_by = || {
        let description =
            "Only those in a collection of one of these ids, separated by commas; empty for those in none.";
        query("collected_by_ids", text(), description)
    };
    match operation_id {
        "GET_webhooks" => [tags("tag", "webhooks"), order(&[]), page()].concat_all(),
        "GET_storage-backends" => [tags("tag", "backends"), order(&[]), page()].concat_all(),
        "GET_profiles" => {
            [vec![format(), query("codec", text(), "Only profiles with exactly this codec."), label()], page()]
                .concat_all()
        }
        "GET_flow-delete-requests" => [order(&["created", "expiry"]), page()].concat_all(),
        "DELETE_objects-instances" => vec![
            query("storage_id", text(), "The instance on this storage backend."),
            query("label", text(), "The instance whose URL has this label; one of the two has to be given."),
        ],
        "GET_sources" => [
            vec![label(), format(), collected_by()],
            tags("tag", "Sources"),
            order(&["created", "updated", "label"]),
            page(),
        ]
        .concat_all(),
        "GET_flows" => [
            vec![
                query("source_id", SourceId::schema_ref(), "Only Flows of this Source."),
                timerange("Only Flows whose extent overlaps this; () for Flows without segments."),
                format(),
                query("codec", text(), "Only Flows with exactly this codec."),
                query("profile_id", ProfileId::schema_ref(), "Only Flows with this profile."),
                label(),
                query("status", FlowStatus::schema_ref(), "Only Flows with this status."),
                query("frame_width", u32::schema_ref(), "Only video Flows of this width in pixels."),
                query("frame_height", u32::schema_ref(), "Only video Flows of this height in pixels."),
                query("init_segments", flag(), "Only Flows whose media objects need init objects, or do not."),
                collected_by(),
            ],
            tags("tag", "Flows"),
            order(&["created", "metadata_updated", "label"]),
            page(),
        ]
        .concat_all(),
        "GET_flows-flowId" => vec![
            query("include_timerange", flag(), "Whether to tell the extent of the Flow's segments."),
            timerange("Only segments that overlap this count for the extent."),
        ],
        "GET_flows-flowId-segments" => [
            vec![
                timerange("Only segments that overlap this, wholly or in part; they are shown whole."),
                query("object_id", text(), "Only segments that use this media object."),
                query("include_object_timerange", flag(), "Whether to tell the timerange of each segment's object."),
            ],
            get_urls(),
            order(&[]),
            page(),
        ]
        .concat_all(),
        "DELETE_flows-flowId-segments" => vec![
            timerange("Only segments that lie wholly inside this."),
            query("object_id", text(), "Only segments that use this media object."),
        ],
        "GET_objects" => [get_urls(), tags("flow_tag", "referring Flows"), page()].concat_all(),
        _ => Vec::new(),
    }
}

trait ConcatAll {
    fn concat_all(self) -> Vec<MetaOperationParam>;
}

impl<const N: usize> ConcatAll for [Vec<MetaOperationParam>; N] {
    // `concat` would want to clone.
    fn concat_all(self) -> Vec<MetaOperationParam> {
        self.into_iter().flatten().collect()
    }
}

/// The OpenAPI document as JSON, and the page that shows it.
fn documents() -> (String, String) {
    // The document follows from the types alone; no handler is made for it.
    let service = OpenApiService::new(Described, "tamslake", Dialect::default().version())
        .description(
            "A time-addressable media store: the BBC's TAMS API 8.2. The same paths are served below /v8.2, and below \
             /v7.0 as clients of TAMS 7.0 know them.",
        )
        .url_prefix("");
    (service.spec(), service.swagger_ui_html())
}

pub fn specification() -> String {
    documents().0
}

/// Stands for the handlers where only their description is wanted.
struct Described;

impl OpenApi for Described {
    fn meta() -> Vec<MetaApi> {
        Resources::meta()
    }

    fn register(registry: &mut Registry) {
        Resources::register(registry);
    }

    fn add_routes(self, _: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {}
}

pub fn with_docs(routes: Route, compression: bool) -> Route {
    let (document, page) = documents();
    let document = fixed(JSON, document, compression);
    let page = Bytes::from(page);
    let show = |page: Bytes| fixed("text/html; charset=utf-8", page, compression);
    routes.at("/openapi.json", document).at("/docs", show(page))
}

fn fixed(content_type: &'static str, body: impl Into<Bytes>, compression: bool) -> BoxEndpoint<'static> {
    let body = body.into();
    let get = make_sync(move |_| {
        Response::builder().content_type(content_type).header(header::CONTENT_LENGTH, body.len()).body(body.clone())
    });
    let methods = Methods::new([(Method::GET, get.boxed())]);
    if compression { Compression { inner: methods }.boxed() } else { methods.boxed() }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_document_describes_every_operation_with_a_name_of_its_own() {
        let ids = operation_ids();
        let mut unique = ids.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), ids.len());
        for id in ["GET_root", "GET_flows-flowId-segments", "POST_flows-flowId-storage", "GET_objects"] {
            assert!(ids.contains(&id), "{id}");
        }
        let document: Value = serde_json::from_str(&specification()).unwrap();
        let flows = &document["paths"]["/flows"]["get"];
        let names: Vec<&str> =
            flows["parameters"].as_array().unwrap().iter().filter_map(|p| p["name"].as_str()).collect();
        assert!(names.contains(&"tag.{name}") && names.contains(&"collected_by_ids"), "{names:?}");
        assert!(document["components"]["schemas"]["Flow"]["properties"]["essence_parameters"].is_object());
    }

    #[test]
    fn the_document_has_only_types_that_openapi_knows() {
        fn walk(value: &Value, found: &mut Vec<String>) {
            match value {
                Value::Object(map) => {
                    // A property may be called type; its value is then a schema.
                    found.extend(map.get("type").and_then(Value::as_str).map(str::to_owned));
                    map.values().for_each(|value| walk(value, found));
                }
                Value::Array(list) => list.iter().for_each(|value| walk(value, found)),
                _ => {}
            }
        }
        let mut found = Vec::new();
        walk(&serde_json::from_str(&specification()).unwrap(), &mut found);
        for name in found {
            assert!(["string", "integer", "number", "boolean", "array", "object"].contains(&&*name), "{name}");
        }
    }
}
