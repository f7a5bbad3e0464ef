//! Bytes of Objects that the embedded store keeps: in while an Object is handed out, out while anything refers to it.
//! Spec: the put_url of POST_flows-flowId-storage, and get_urls

use std::error::Error;
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;

use super::object_sizes::{self, Sizes};
use super::{OperationError, Tams};
use crate::catalog::View;
use crate::domain::{MediaObject, MimeType, ObjectId};
use crate::media::{Expect, MediaError, MediaFile};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredMedia {
    /// Bytes.
    pub length: u64,
    /// With its quotes.
    pub etag: String,
}

/// Stores an Object's bytes. They may be put again until a segment refers to them; from then on they never change.
pub async fn write_media<S, E>(
    tams: &Tams,
    object_id: &ObjectId,
    key: &str,
    body: S,
    expect: Expect,
) -> Result<StoredMedia, OperationError>
where
    S: Stream<Item = Result<Bytes, E>> + Unpin,
    E: Into<Box<dyn Error + Send + Sync>>,
{
    let object = tams.catalog.ask(|view| kept_object(view, object_id, key)).await?;
    if object.is_registered() && tams.media.stat(key).await?.is_some() {
        return Err(OperationError::BytesImmutable(object_id.clone()));
    }
    // The catalogue may share the disk, and without space nothing can even be deleted.
    let needed = tams.settings.min_free.saturating_add(expect.length.unwrap_or(0));
    if tams.media.free_space().await? < needed {
        return Err(OperationError::NoSpaceForMedia);
    }
    // Asked again when the body is complete: it may have been registered, or be gone, by then.
    let accept = {
        let (catalog, object, key) = (tams.catalog.clone(), object.clone(), key.to_owned());
        move |exists: bool| {
            let state = catalog.snapshot();
            let recent = state.recent_object(&object.id);
            // What is not in memory is in a cold file, and only what is registered goes there.
            let is_cold = recent.is_none();
            let now = recent.unwrap_or_else(|| Some(object.clone()));
            let kept = now.filter(|object| !state.is_condemned(&object.id) && has_key(object, &key));
            kept.is_some_and(|object| !(exists && (is_cold || object.is_registered())))
        }
    };
    match tams.media.write(key, body, expect, accept).await {
        Ok(written) => {
            // Of what is registered later, the registration asks for the size.
            let is_registered = |object: Arc<MediaObject>| object.is_registered();
            if tams.catalog.snapshot().recent_object(object_id).is_none_or(|recent| recent.is_some_and(is_registered)) {
                object_sizes::note_new(tams, [(object_id.clone(), key.to_owned())].into(), &Sizes::new()).await;
            }
            Ok(StoredMedia { length: written.length, etag: written.etag })
        }
        Err(MediaError::NotAccepted) => Err(OperationError::BytesImmutable(object_id.clone())),
        Err(error) => Err(error.into()),
    }
}

/// Opens an Object's bytes, with their media type. What is opened can be read to its end even if it is deleted meanwhile.
pub async fn read_media(tams: &Tams, object_id: &ObjectId, key: &str) -> Result<(MediaFile, MimeType), OperationError> {
    let object = tams.catalog.ask(|view| kept_object(view, object_id, key)).await?;
    let missing = || OperationError::ObjectNotFound(object_id.clone());
    let content_type = object.allocation.as_ref().map(|allocation| allocation.content_type.clone());
    let file = tams.media.open_object(key).await?;
    let registered = object.is_registered();
    match (file, content_type) {
        (Some(file), Some(content_type)) => Ok((file, content_type)),
        _ if registered => {
            tracing::warn!(
                object_id = object_id.as_str(),
                key,
                "bytes of a registered object were asked for and are not here"
            );
            Err(OperationError::BytesMissing(object_id.clone()))
        }
        _ => Err(missing()),
    }
}

/// The Object, if the key is that of its bytes and they are not about to go.
fn kept_object(view: View<'_>, object_id: &ObjectId, key: &str) -> Result<Arc<MediaObject>, OperationError> {
    let not_found = || OperationError::ObjectNotFound(object_id.clone());
    let object = view.object(object_id)?.filter(|object| !view.is_condemned(object_id) && has_key(object, key));
    // One that lost its last reference may still wait to be condemned.
    if view.is_suspect(object_id) && !view.is_referenced(object_id)? {
        return Err(not_found());
    }
    object.ok_or_else(not_found)
}

fn has_key(object: &MediaObject, key: &str) -> bool {
    object.controlled().any(|(_, known)| known == key)
}
