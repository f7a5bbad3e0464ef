//! `GET /analytics` and `GET /analytics/{name}`: the questions of `queries/`, answered as JSON for charts. Beside TAMS.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::TryStreamExt;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::{EndpointExt, Request, Response};
use serde_json::{Map, Value, json};

use super::Api;
use super::error::ApiError;
use super::json::JSON;
use super::query::Query;
use super::routes::Methods;
use super::sql::{ask, caller, format, respond, saying};
use super::status::internal;
use crate::query::canned::{self, Canned, Shape};
use crate::query::output::{self, Format};
use crate::query::{Answer, Engine, Question, parse_as_of};

/// What a query string may hold besides the question's own parameters.
const OURS: [&str; 3] = ["engine", "as_of", "as"];

/// All questions, with what they take and give.
pub fn list() -> Methods {
    let get = poem::endpoint::make(|_: Request| async {
        let questions: Vec<Value> = canned::all()
            .iter()
            .map(|canned| {
                let mut question = serde_json::to_value(canned).unwrap_or_default();
                question["path"] = format!("/analytics/{}", canned.name).into();
                question
            })
            .collect();
        let body = json!({ "questions": questions }).to_string();
        Ok::<_, poem::Error>(Response::builder().content_type(JSON).body(body))
    });
    Methods::new([(Method::GET, get.map_to_response().boxed())])
}

pub fn one(api: Arc<Api>) -> Methods {
    let get = poem::endpoint::make(move |request: Request| {
        let api = api.clone();
        async move { Ok::<_, poem::Error>(answer(&api, &request).await?) }
    });
    Methods::new([(Method::GET, get.map_to_response().boxed())])
}

/// The paths that earlier clients know, at the top level.
pub fn moved(name: &'static str) -> Methods {
    let get = poem::endpoint::make(move |request: Request| async move {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let location = HeaderValue::try_from(format!("/analytics/{name}{query}")).map_err(internal)?;
        let mut response = Response::builder().status(StatusCode::PERMANENT_REDIRECT).finish();
        response.headers_mut().insert(header::LOCATION, location);
        Ok::<_, poem::Error>(response)
    });
    Methods::new([(Method::GET, get.map_to_response().boxed())])
}

async fn answer(api: &Api, request: &Request) -> Result<Response, ApiError> {
    let name = request.path_params::<String>().unwrap_or_default();
    let canned = canned::find(&name).ok_or_else(|| {
        ApiError::not_found(format!("There is no question {name:?}: GET /analytics lists those that there are"))
    })?;
    let query = Query::of(request);
    let given = query.pairs.iter().filter(|(name, _)| !OURS.contains(&&**name));
    let values: BTreeMap<String, String> =
        given.map(|(name, value)| (name.clone().into_owned(), value.clone().into_owned())).collect();
    let (sql, used) = canned.sql(&values, api.tams.clock.now())?;
    let question = Question {
        sql,
        engine: query.value::<Engine>("engine")?.or(canned.engine),
        as_of: query.text("as_of").map(parse_as_of).transpose()?,
        caller: caller(request),
        ..Question::default()
    };
    // Some questions have a parameter `format` of their own.
    let words = Format::ALL.map(|format| (format.name(), format));
    let form = match query.word("as", &words)? {
        Some(form) => form,
        None if canned.parameters.iter().any(|parameter| parameter.name == "format") => Format::Json,
        None => format(request, &Query { pairs: Vec::new(), dialect: query.dialect })?,
    };
    let answer = ask(api, request, question).await?;
    if form != Format::Json {
        return respond(answer, form);
    }
    let (lsn, engine) = (answer.lsn, answer.engine);
    let body = shaped(canned, answer, used).await?;
    Ok(saying(Response::builder().content_type(JSON).body(body.to_string()), lsn, engine))
}

async fn shaped(canned: &Canned, answer: Answer, used: BTreeMap<&str, Value>) -> Result<Value, ApiError> {
    let (lsn, engine) = (answer.lsn, answer.engine);
    let mut rows = Vec::new();
    let mut batches = answer.batches;
    while let Some(batch) = batches.try_next().await? {
        for line in output::json_lines(&batch)?.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            rows.push(serde_json::from_slice::<Map<String, Value>>(line).map_err(internal)?);
        }
    }
    Ok(match canned.shape {
        Shape::List => rows.into_iter().map(Value::Object).collect(),
        Shape::Object => nested(rows.into_iter().next().unwrap_or_default()),
        Shape::Table => json!({
            "name": canned.name,
            "question": canned.question,
            "parameters": used,
            "engine": engine.name(),
            "lsn": lsn,
            "chart": canned.chart,
            "columns": canned.columns,
            "row_count": rows.len(),
            "rows": rows,
        }),
    })
}

/// `{"a.b": 1}` as `{"a": {"b": 1}}`.
fn nested(row: Map<String, Value>) -> Value {
    let mut object = Map::new();
    for (name, value) in row {
        match name.split_once('.') {
            None => drop(object.insert(name, value)),
            Some((outer, inner)) => {
                if let Value::Object(within) = object.entry(outer).or_insert_with(|| Value::Object(Map::new())) {
                    within.insert(inner.to_owned(), value);
                }
            }
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_in_a_name_nests() {
        let Value::Object(row) = json!({ "a": 1, "time.start": 2, "time.end": null }) else { unreachable!() };
        assert_eq!(nested(row), json!({ "a": 1, "time": { "start": 2, "end": null } }));
    }
}
