//! Holds every answer that the tests get against the official API files.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use jsonschema::{Draft, Retrieve, Uri, Validator};
use percent_encoding::percent_decode_str;
use reqwest::header::HeaderMap;
use reqwest::{Method, StatusCode};
use serde_json::Value;

use super::specification;

/// Where the schema files are said to be, so that they can refer to each other. Nothing is ever fetched from there.
const HOME: &str = "https://tams.invalid/";

/// One version of the API: the official file and what was made of it so far.
pub struct Contract {
    version: &'static str,
    document: Value,
    operations: Vec<Operation>,
    /// Compiled schemas by operation and status.
    validators: Mutex<Validators>,
}

/// `None` where the file has no schema.
type Validators = HashMap<(String, u16), Option<Arc<Validator>>>;

#[derive(Debug, Clone)]
pub struct Operation {
    pub id: String,
    pub method: Method,
    /// The path as the file has it, with names in braces.
    pub template: String,
}

impl Operation {
    fn matches(&self, method: &Method, path: &str) -> bool {
        let (mut wanted, mut given) = (self.template.split('/'), path.split('/'));
        self.method == *method
            && loop {
                match (wanted.next(), given.next()) {
                    (None, None) => break true,
                    (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {}
                    (Some(wanted), Some(given)) if *wanted == *percent_decode_str(given).decode_utf8_lossy() => {}
                    _ => break false,
                }
            }
    }
}

impl Contract {
    /// The contract of a version, or `None` where the official files are not there.
    pub fn of(version: &'static str) -> Option<&'static Self> {
        static V8_2: OnceLock<Option<Contract>> = OnceLock::new();
        static V7_0: OnceLock<Option<Contract>> = OnceLock::new();
        let contract = if version == "7.0" { &V7_0 } else { &V8_2 };
        contract.get_or_init(|| Self::read(version)).as_ref()
    }

    fn read(version: &'static str) -> Option<Self> {
        let file = specification(version)?.join("TimeAddressableMediaStore.yaml");
        let document: Value = serde_yaml_ng::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        let mut operations = Vec::new();
        for (template, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if let Some(id) = operation["operationId"].as_str() {
                    let method = method.to_uppercase().parse().unwrap();
                    operations.push(Operation { id: id.to_owned(), method, template: template.clone() });
                }
            }
        }
        Some(Self { version, document, operations, validators: Mutex::default() })
    }

    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operation that a path without prefix and query belongs to.
    pub fn operation(&self, method: &Method, path: &str) -> Option<&Operation> {
        let mut found = self.operations.iter().filter(|operation| operation.matches(method, path));
        // A fixed name goes before a parameter.
        let first = found.next()?;
        Some(found.fold(first, |best, other| {
            if other.template.matches('{').count() < best.template.matches('{').count() { other } else { best }
        }))
    }

    fn response(&self, operation: &Operation, status: StatusCode) -> Option<(&Value, &Value)> {
        let method = operation.method.as_str().to_lowercase();
        let item = &self.document["paths"][&operation.template][method];
        let response = item["responses"].get(status.as_str())?;
        // Headers stand beside a `$ref` in two places.
        let target = response["$ref"]
            .as_str()
            .map_or(response, |reference| self.document.pointer(reference.trim_start_matches('#')).unwrap());
        Some((target, &response["headers"]))
    }

    /// `None` where the file has no schema for this answer.
    fn validator(&self, operation: &Operation, status: StatusCode) -> Option<Arc<Validator>> {
        let mut known = self.validators.lock().unwrap();
        let key = (operation.id.clone(), status.as_u16());
        known
            .entry(key)
            .or_insert_with(|| {
                let (response, _) = self.response(operation, status)?;
                let schema = response["content"]["application/json"].get("schema")?;
                let schema = if schema.is_null() { &Value::Bool(true) } else { schema };
                Some(Arc::new(compile(self.version, schema)))
            })
            .clone()
    }

    /// What is wrong with an answer: nothing, if all is well.
    pub fn complaints(
        &self,
        operation: &Operation,
        status: StatusCode,
        headers: &HeaderMap,
        body: &Value,
    ) -> Vec<String> {
        let Some((_, declared)) = self.response(operation, status) else {
            return vec![format!("status {status} is not declared")];
        };
        let mut complaints = Vec::new();
        let needs = |name: &str| match name.to_lowercase().as_str() {
            // Only where there is more.
            "link" | "x-paging-nextkey" => headers.contains_key("link") != headers.contains_key("x-paging-nextkey"),
            // Of nothing there is no extent.
            "x-paging-timerange" => headers.get("x-paging-count").is_some_and(|count| count != "0"),
            _ => true,
        };
        for name in declared.as_object().into_iter().flat_map(|headers| headers.keys()) {
            if needs(name) && !headers.contains_key(name) {
                complaints.push(format!("the header {name} is missing"));
            }
        }
        if operation.method == Method::HEAD {
            return complaints; // never has a body, whatever the file says of a string
        }
        if body.is_null() && unset_is_null(&operation.id) {
            return complaints;
        }
        match self.validator(operation, status) {
            Some(validator) => {
                for error in validator.iter_errors(body) {
                    complaints.push(format!("at {:?}: {error}", error.instance_path().as_str()));
                }
            }
            None if body.is_null() => {}
            // The file says nothing of a body; ours is what GET shows.
            None if operation.id == "POST_service" => {
                let get = self.operations.iter().find(|operation| operation.id == "GET_service").unwrap();
                return self.complaints(get, status, headers, body);
            }
            None => complaints.push("a body is not declared".to_owned()),
        }
        complaints
    }
}

/// Scalars that are not set are `null`: since 8.1 the specification has neither a status nor a schema for them.
fn unset_is_null(operation_id: &str) -> bool {
    operation_id.starts_with("GET_")
        && ["-label", "-description", "-max-bit-rate", "-avg-bit-rate"].iter().any(|end| operation_id.ends_with(end))
}

/// A schema that stands in a version's official file, or refers to the schema files beside it.
pub fn compile(version: &str, schema: &Value) -> Validator {
    jsonschema::options()
        .with_draft(Draft::Draft202012) // OpenAPI 3.1 says so
        .with_base_uri(format!("{HOME}{version}/TimeAddressableMediaStore.yaml"))
        .with_retriever(Files)
        .should_validate_formats(true)
        .build(schema)
        .unwrap()
}

/// Finds schema files beside the official one.
struct Files;

impl Retrieve for Files {
    fn retrieve(&self, uri: &Uri<String>) -> Result<Value, Box<dyn std::error::Error + Send + Sync>> {
        let path = uri.as_str().strip_prefix(HOME).ok_or_else(|| format!("{uri} is not one of the official files"))?;
        let (version, path) = path.split_once('/').ok_or("there is no version")?;
        let folder: PathBuf = specification(version).ok_or("the official files are gone")?;
        Ok(serde_json::from_slice(&std::fs::read(folder.join(path))?)?)
    }
}

/// Fails the test if an answer breaks the contract. Failures of requests are left out: the specification has no body for
/// them, and the client checks ours. So are paths that are not the specification's.
pub fn check(method: &Method, path: &str, status: StatusCode, headers: &HeaderMap, body: &Value) {
    if !status.is_success() {
        return;
    }
    let (version, path) = match path.strip_prefix("/v7.0") {
        Some(path) => ("7.0", path),
        None => ("8.2", path.strip_prefix("/v8.2").unwrap_or(path)),
    };
    let path = if path.is_empty() { "/" } else { path };
    let Some(contract) = Contract::of(version) else { return };
    let Some(operation) = contract.operation(method, path) else { return };
    let complaints = contract.complaints(operation, status, headers, body);
    assert!(
        complaints.is_empty(),
        "{version} {} ({method} {path} -> {}) breaks the specification:\n{}\nin {body:#}",
        operation.id,
        status.as_u16(),
        complaints.join("\n")
    );
}
