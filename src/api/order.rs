//! The order in which refusals are told. A request is read before it is decided, so a mistake in its body or query would
//! be told of things that are not there, or that refuse every change. This layer looks again: what is not there is 404
//! and what is read-only is 403, and only then is a mistake 400. A request without a mistake pays nothing for it.
//!
//! The specification leaves the order open.

use std::sync::Arc;

use percent_encoding::percent_decode_str;
use poem::http::{Method, StatusCode};
use poem::{Endpoint, Request, Result};

use super::Api;
use super::error::ApiError;
use crate::catalog::View;
use crate::domain::{FlowId, ObjectId, SourceId};
use crate::operations::{OperationError, TagFilter, get_object};

pub struct Order<E> {
    pub api: Arc<Api>,
    pub inner: E,
}

impl<E: Endpoint> Endpoint for Order<E> {
    type Output = E::Output;

    async fn call(&self, request: Request) -> Result<E::Output> {
        let target = Target::of(request.method(), request.uri().path());
        let error = match self.inner.call(request).await {
            Err(error) => ApiError::from(error),
            reply => return reply,
        };
        let Some(target) = target.filter(|_| error.status() == StatusCode::BAD_REQUEST) else {
            return Err(error.into());
        };
        match self.api.tams.catalog.ask(|view| target.check(view)).await {
            Err(first) => Err(ApiError::from(first).into()),
            Ok(()) => Err(error.into()),
        }
    }
}

/// What a write is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Target {
    Flow(FlowId),
    /// It may be new.
    FlowOrNone(FlowId),
    /// It may be made writable by this very request.
    UnlockedFlow(FlowId),
    Source(SourceId),
    Object(ObjectId),
}

impl Target {
    /// `None` where nothing has to be there, and where an id is malformed, which is a 404 already.
    fn of(method: &Method, path: &str) -> Option<Self> {
        if !matches!(*method, Method::PUT | Method::POST | Method::DELETE) {
            return None;
        }
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        match parts.as_slice() {
            ["flows", id] if *method == Method::PUT => id.parse().ok().map(Self::FlowOrNone),
            ["flows", id, "read_only"] => id.parse().ok().map(Self::UnlockedFlow),
            ["flows", id, ..] => id.parse().ok().map(Self::Flow),
            ["sources", id, ..] => id.parse().ok().map(Self::Source),
            ["objects", id, "instances"] => percent_decode_str(id).decode_utf8().ok()?.parse().ok().map(Self::Object),
            _ => None,
        }
    }

    fn check(&self, state: View<'_>) -> Result<(), OperationError> {
        let flow = |id: FlowId| state.flow(id).ok_or(OperationError::FlowNotFound(id));
        let read_only = |id| Err(OperationError::ReadOnly(id));
        match self {
            Self::Flow(id) if flow(*id)?.read_only => read_only(*id),
            Self::FlowOrNone(id) if flow(*id).is_ok_and(|flow| flow.read_only) => read_only(*id),
            Self::Flow(_) | Self::FlowOrNone(_) => Ok(()),
            Self::UnlockedFlow(id) => flow(*id).map(drop),
            Self::Source(id) => state.source(*id).map(drop).ok_or(OperationError::SourceNotFound(*id)),
            Self::Object(id) => get_object(state, id, &TagFilter::default(), None, 1).map(drop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_writes_to_something_that_must_be_there_have_a_target() {
        const ID: &str = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11";
        let target = |method, path: &str| Target::of(&method, &path.replace("ID", ID));
        let flow = ID.parse().unwrap();
        assert_eq!(target(Method::PUT, "/flows/ID"), Some(Target::FlowOrNone(flow)));
        assert_eq!(target(Method::DELETE, "/flows/ID"), Some(Target::Flow(flow)));
        assert_eq!(target(Method::PUT, "/flows/ID/read_only"), Some(Target::UnlockedFlow(flow)));
        assert_eq!(target(Method::POST, "/flows/ID/segments"), Some(Target::Flow(flow)));
        assert_eq!(target(Method::PUT, "/flows/ID/tags/a"), Some(Target::Flow(flow)));
        assert_eq!(target(Method::PUT, "/sources/ID/label"), Some(Target::Source(ID.parse().unwrap())));
        let object = Target::Object("a/b".parse().unwrap());
        assert_eq!(target(Method::POST, "/objects/a%2Fb/instances"), Some(object));
        for (method, path) in [
            (Method::GET, "/flows/ID/segments"),
            (Method::PUT, "/flows/x/label"),
            (Method::POST, "/service"),
            (Method::POST, "/service/profiles/ID"),
            (Method::POST, "/flows"),
        ] {
            assert_eq!(target(method, path), None, "{path}");
        }
    }
}
