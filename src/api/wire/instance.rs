//! Instances of objects as clients ask for them.

use serde::Deserialize;

use crate::api::error::{ApiError, Detail, DetailKind, Place};
use crate::domain::StorageId;
use crate::operations::NewInstance;

shape! {
    /// A new instance: a copy on a storage backend (storage_id), or a URL under which the same bytes can be had (url and
    /// label).
    #[derive(Deserialize)]
    struct InstancePost as "InstancePost" {
        required {}
        optional {
            /// The storage backend to copy to.
            storage_id as "storage_id": StorageId,
            url as "url": String,
            /// Name of the URL, to choose by.
            label as "label": String,
        }
    }
}

impl InstancePost {
    pub fn into_request(self) -> Result<NewInstance, ApiError> {
        let wrong = |key: &'static str, kind, text| {
            let place = vec![Place::Name("body".into()), Place::Name(key.into())];
            ApiError::from(Detail::new(kind, place, text))
        };
        match (self.storage_id, self.url, self.label) {
            (None, Some(url), Some(label)) => Ok(NewInstance::Uncontrolled { url, label }),
            (Some(_), Some(_), Some(_)) => {
                Err(wrong("storage_id", DetailKind::Value, "cannot be given together with url and label"))
            }
            // By the schema half of the other form is no form, and thus an unknown key.
            (Some(storage_id), _, _) => Ok(NewInstance::Controlled { storage_id }),
            (None, Some(_), None) => Err(wrong("label", DetailKind::Missing, "required with url")),
            (None, None, Some(_)) => Err(wrong("url", DetailKind::Missing, "required with label")),
            (None, None, None) => Err(wrong("storage_id", DetailKind::Missing, "required, or url and label")),
        }
    }
}
