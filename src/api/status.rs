//! The statuses of what layers below refuse or fail at. Part of [`super::error`], apart for length.

use poem::error::{MethodNotAllowedError, NotFoundError, ReadBodyError};
use poem::http::StatusCode;
use poem_openapi::error::{ContentTypeError, ParsePathError, ParseRequestPayloadError};

use super::error::{ApiError, Detail, DetailKind, Place};
use crate::catalog::{CommitError, ReadError};
use crate::media::{DigestError, MediaError, SignatureError};
use crate::operations::{OperationError, SegmentRefusal};

impl From<OperationError> for ApiError {
    fn from(error: OperationError) -> Self {
        use OperationError as E;
        let text = error.to_string();
        match error {
            E::FlowNotFound(_)
            | E::SourceNotFound(_)
            | E::ObjectNotFound(_)
            | E::TagNotFound(_)
            | E::ProfileNotFound(_)
            | E::DeleteRequestNotFound(_)
            | E::InstanceNotFound { .. } => Self::not_found(text),
            E::SecretElsewhere => body_value("api_key_value", text),
            E::WebhookNotFound(_) => Self::not_found(text),
            E::WebhookInError(_) => Self::bad_request("webhook_in_error", text),
            E::TooManyWebhooks(_) => Self::bad_request("too_many_webhooks", text),
            E::ReadOnly(_) => Self::new(StatusCode::FORBIDDEN, "read_only", text),
            E::SourceFormat { .. } | E::FormatChange { .. } => Self::bad_request("source_conflict", text),
            E::ContainerInUse(_) => Self::bad_request("container_in_use", text),
            E::NoContainer(_) => Self::bad_request("no_container", text),
            E::CollectsItself(_) | E::MemberNotFound(_) | E::CollectionCycle { .. } | E::CollectionConflict { .. } => {
                Self::bad_request("collection_invalid", text)
            }
            E::ProfileExists(_) => Self::bad_request("profile_exists", text),
            E::ProfileMulti => body_value("flow_metadata", text),
            E::ProfileUnknown(_) => body_value("profile_id", text),
            E::ProfileLinked(_) => Self::bad_request("profile_linked", text),
            E::FlowBeingDeleted(_) => Self::bad_request("flow_being_deleted", text),
            E::InstanceChoice => Self::bad_request("instance_choice", text),
            E::TooManyInstances(..) => Self::bad_request("too_many_instances", text),
            E::LastInstance(_) => Self::bad_request("last_instance", text),
            E::InstanceExists { .. } | E::NothingToCopy { .. } => body_value("storage_id", text),
            E::LabelTaken { .. } | E::LabelOfBackend(_) => body_value("label", text),
            E::NotAUrl(_) => body_value("url", text),
            E::NoStorage => Self::bad_request("no_storage", text),
            E::StorageNotFound(_) => body_value("storage_id", text),
            E::ObjectsExist(_) => Self::bad_request("object_exists", text),
            E::ObjectTwice(_) => body_value("object_ids", text),
            E::BytesMissing(_) => Self::not_found(text),
            E::NoSpaceForMedia => Self::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", text),
            E::BytesImmutable(_) => Self::new(StatusCode::CONFLICT, "bytes_immutable", text),
            E::Segment(refusal) => refusal.into(),
            E::Commit(error) => error.into(),
            E::Read(error) => error.into(),
            E::Media(error) => error.into(),
        }
    }
}

fn body_value(key: &'static str, text: String) -> ApiError {
    Detail::new(DetailKind::Value, vec![Place::Name("body".into()), Place::Name(key.into())], text).into()
}

/// The answer to one request too many at a time.
pub fn busy(text: &str) -> ApiError {
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", text).retry_after(1)
}

/// The `type` of a segment's refusal: of the answer, or of its entry in the list of failed segments.
pub fn segment_refusal_kind(refusal: &SegmentRefusal) -> &'static str {
    use SegmentRefusal as R;
    match refusal {
        R::Overlap { .. } => "segment_overlap",
        R::DeletionRunning { .. } => "deletion_running",
        R::ObjectUnknown(_) | R::ObjectCondemned(_) | R::AllocationExpired(_) => "object_unknown",
        R::ObjectOfOtherFlow { .. } => "object_wrong_flow",
        R::UrlsOfKnownObject(_)
        | R::ObjectTimerangeConflict { .. }
        | R::OutsideObject { .. }
        | R::KeyFrameCountConflict { .. } => "object_conflict",
        R::InitMissing(_) | R::InitUnexpected(_) | R::InitConflict { .. } | R::InitAsMedia(_) | R::MediaAsInit(_) => {
            "init_conflict"
        }
        R::Timerange(_)
        | R::OffsetOutOfRange(_)
        | R::ObjectTimerange(_)
        | R::KeyFrameCountNegative(_)
        | R::LastDurationNegative
        | R::LabelTwice(_)
        | R::LabelOfBackend(_)
        | R::NotAUrl(_) => "segment_invalid",
    }
}

impl From<SegmentRefusal> for ApiError {
    fn from(refusal: SegmentRefusal) -> Self {
        Self::bad_request(segment_refusal_kind(&refusal), refusal.to_string())
    }
}

impl From<CommitError> for ApiError {
    fn from(error: CommitError) -> Self {
        let unavailable = |summary, seconds, error: CommitError| {
            Self::failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", summary, error).retry_after(seconds)
        };
        match error {
            CommitError::Busy => unavailable("The server has more writes than it can take: try again", 1, error),
            CommitError::Full { .. } => Self::failure(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage_full",
                "The server has no space left to store this",
                error,
            ),
            CommitError::Unavailable { .. } => unavailable("The server cannot reach its store: try again", 5, error),
            CommitError::Halted { .. } => unavailable("The server must start again before it can write", 5, error),
            CommitError::Closed => unavailable("The server is stopping", 5, error),
            CommitError::Bug { .. } => internal(error),
        }
    }
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Store(_) => {
                let summary = "The server cannot read its store: try again";
                Self::failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", summary, error).retry_after(5)
            }
            ReadError::Damaged { .. } | ReadError::Rows { .. } | ReadError::NotLoaded => internal(error),
        }
    }
}

impl From<MediaError> for ApiError {
    fn from(error: MediaError) -> Self {
        let text = error.to_string();
        match error {
            // Keys of this server stand in signed URLs, so a malformed one was never signed here.
            MediaError::InvalidKey { .. } => Self::not_found("There is no such media"),
            MediaError::TooLong { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", text),
            MediaError::LengthMismatch { .. } => Self::bad_request("length_mismatch", text),
            MediaError::ChecksumMismatch { .. } => Self::bad_request("checksum_mismatch", text),
            MediaError::NotAccepted => Self::new(StatusCode::CONFLICT, "bytes_immutable", text),
            MediaError::Body(_) => Self::bad_request("incomplete_body", text),
            MediaError::NoSpace { .. } => Self::failure(
                StatusCode::INSUFFICIENT_STORAGE,
                "storage_full",
                "The server has no space left to store this",
                error,
            ),
            MediaError::Stopping => {
                Self::failure(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "The server is stopping", error)
                    .retry_after(5)
            }
            MediaError::Io { .. } | MediaError::KeyFileNotPrivate { .. } | MediaError::KeyFileMalformed { .. } => {
                internal(error)
            }
        }
    }
}

impl From<DigestError> for ApiError {
    fn from(error: DigestError) -> Self {
        Self::bad_request("digest_invalid", error.to_string())
    }
}

impl From<SignatureError> for ApiError {
    fn from(error: SignatureError) -> Self {
        let text = error.to_string();
        match error {
            SignatureError::Expired { .. } => Self::new(StatusCode::FORBIDDEN, "url_expired", text),
            SignatureError::Wrong => Self::new(StatusCode::FORBIDDEN, "signature_wrong", text),
        }
    }
}

pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ApiError {
    ApiError::failure(StatusCode::INTERNAL_SERVER_ERROR, "internal", "The server failed", cause)
}

/// Errors of the framework, whose texts are not for clients.
impl From<poem::Error> for ApiError {
    fn from(error: poem::Error) -> Self {
        let error = match error.downcast::<ApiError>() {
            Ok(error) => return error,
            Err(error) => error,
        };
        if error.is::<NotFoundError>() {
            return Self::not_found("There is nothing at this path");
        }
        if error.is::<MethodNotAllowedError>() {
            return Self::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "This path does not know the method",
            );
        }
        if let Some(parameter) = error.downcast_ref::<ParsePathError>() {
            let name = parameter.name;
            tracing::debug!(name, reason = parameter.reason, "malformed path");
            return Self::not_found("There is nothing at this path: an id in it is malformed");
        }
        if error.is::<ContentTypeError>() {
            return Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "unsupported",
                "The content type of the body is not known here",
            );
        }
        if error.is::<ReadBodyError>() || error.is::<ParseRequestPayloadError>() {
            return Self::bad_request("incomplete_body", "The body could not be read");
        }
        let status = error.status();
        if status.is_client_error() {
            return Self::new(status, "bad_request", status.canonical_reason().unwrap_or("The request cannot be met"));
        }
        internal(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::TimeRange;

    #[test]
    fn failures_keep_their_cause_out_of_the_answer() {
        let secret = std::path::PathBuf::from("/var/lib/secret");
        let error = ApiError::from(MediaError::NoSpace { path: secret });
        assert_eq!(error.status().as_u16(), 507);
        assert!(!error.summary().contains("secret"));
        assert!(error.cause().unwrap().to_string().contains("secret"));
    }

    #[test]
    fn refusals_say_what_to_change() {
        let flow_id = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11".parse().unwrap();
        let range = |text: &str| text.parse::<TimeRange>().unwrap();
        let overlap = SegmentRefusal::Overlap { flow_id, new: range("[1:0_3:0)"), existing: range("[0:0_2:0)") };
        let error = ApiError::from(OperationError::Segment(overlap));
        assert_eq!((error.status().as_u16(), error.kind()), (400, "segment_overlap"));
        assert!(error.summary().starts_with("[1:0_3:0) overlaps [0:0_2:0)"));
        let error = ApiError::from(OperationError::ObjectsExist(vec!["o1".parse().unwrap()]));
        assert!(
            error.details().is_empty() && error.summary().contains("already exist"),
            "ingest tools look for these words"
        );
        assert_eq!(ApiError::from(OperationError::ReadOnly(flow_id)).status().as_u16(), 403);
        assert_eq!(ApiError::from(poem::Error::from(NotFoundError)).status().as_u16(), 404);
    }
}
