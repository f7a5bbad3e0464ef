//! Requests for storage and what is handed out.

use serde::{Deserialize, Serialize};

use super::text::is_plain_mime_type;
use crate::api::error::{ApiError, Detail, DetailKind, Place};
use crate::domain::{MimeType, ObjectId, StorageId};
use crate::operations::StorageRequest;

shape! {
    /// Asks for places to upload media to. Everything is optional, and so is the body.
    #[derive(Deserialize, Default)]
    struct StoragePost as "StoragePost" {
        required {}
        optional {
            /// How many objects, where the server makes up their ids.
            limit as "limit": i64,
            /// Ids for the objects, all of them new; not together with limit.
            object_ids as "object_ids": Vec<ObjectId>,
            /// The storage backend, where it is not to be the default one.
            storage_id as "storage_id": StorageId,
            /// What will be uploaded, where it is not the Flow's container.
            content_type as "content_type": MimeType,
            /// Whether the URLs are to be signed; this server's always are.
            presigned as "presigned": bool,
        }
    }
}

/// Storage for more objects than this is not handed out at once.
const MAX_OBJECTS: u32 = 1000;

fn at(key: &'static str, text: &'static str) -> ApiError {
    Detail::new(DetailKind::Value, vec![Place::Name("body".into()), Place::Name(key.into())], text).into()
}

impl StoragePost {
    pub fn into_request(self) -> Result<StorageRequest, ApiError> {
        if self.limit.is_some() && self.object_ids.is_some() {
            return Err(at("limit", "cannot be given together with object_ids"));
        }
        let limit = match self.limit {
            Some(limit) if limit < 1 => return Err(at("limit", "is at least 1")),
            limit => limit.map(|limit| u32::try_from(limit).unwrap_or(u32::MAX).min(MAX_OBJECTS)),
        };
        if self.object_ids.as_ref().is_some_and(Vec::is_empty) {
            return Err(at("object_ids", "needs at least one id"));
        }
        if self.content_type.as_ref().is_some_and(|kind| !is_plain_mime_type(kind.as_str())) {
            return Err(at("content_type", "is not a media type such as video/mp2t, without parameters"));
        }
        if self.presigned == Some(false) {
            return Err(at("presigned", "cannot be false: the URLs of this server's storage are always signed"));
        }
        Ok(StorageRequest {
            limit,
            object_ids: self.object_ids,
            storage_id: self.storage_id,
            content_type: self.content_type,
        })
    }
}

shape! {
    /// The request that uploads an object's bytes.
    #[derive(Serialize)]
    struct PutUrl<'a> as "PutUrl" {
        required {
            /// Take a PUT to it.
            url as "url": String,
        }
        optional {
            content_type as "content-type": &'a MimeType,
        }
    }
}

shape! {
    /// One object to upload and then to register.
    #[derive(Serialize)]
    struct MediaObjectShape<'a> as "MediaObject" {
        required {
            object_id as "object_id": &'a ObjectId,
            put_url as "put_url": PutUrl<'a>,
        }
        optional {
            /// Whether the URL carries its own permission.
            presigned as "presigned": bool,
        }
    }
}

shape! {
    /// Storage that was handed out.
    #[derive(Serialize)]
    struct MediaObjects<'a> as "MediaObjects" {
        required {
            media_objects as "media_objects": Vec<MediaObjectShape<'a>>,
        }
        optional {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn request(body: serde_json::Value) -> Result<StorageRequest, ApiError> {
        serde_json::from_value::<StoragePost>(body).unwrap().into_request()
    }

    #[test]
    fn a_limit_is_cut_and_must_stand_alone() {
        assert_eq!(request(json!({})).unwrap().limit, None);
        assert_eq!(request(json!({"limit": 3})).unwrap().limit, Some(3));
        assert_eq!(request(json!({"limit": 9_999_999_999_i64})).unwrap().limit, Some(MAX_OBJECTS));
        for bad in [
            json!({"limit": 0}),
            json!({"limit": -1}),
            json!({"limit": 1, "object_ids": ["a"]}),
            json!({"object_ids": []}),
            json!({"content_type": "foo/bar"}),
            json!({"presigned": false}),
        ] {
            assert!(request(bad.clone()).is_err(), "{bad}");
        }
        assert!(request(json!({"content-type": "nonsense", "presigned": true})).is_ok(), "unknown keys are dropped");
    }
}
