//! How many bytes Objects have, as the media store says. Known once an Object is registered, for from then on its bytes do
//! not change. Told to analysts only: TAMS has no sizes.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{OperationError, Tams};
use crate::catalog::{Change, View};
use crate::domain::{MediaObject, ObjectId};

/// Bytes of Objects, as far as they are known.
pub type Sizes = BTreeMap<ObjectId, i64>;

/// Those of these Objects that are kept here and not registered yet, with their keys. (They are all in memory.)
pub(super) fn waiting<'a>(tams: &Tams, ids: impl Iterator<Item = &'a ObjectId>) -> BTreeMap<ObjectId, String> {
    let state = tams.catalog.snapshot();
    let is_waiting = |object: &Arc<MediaObject>| !object.is_registered();
    let objects = ids.filter_map(|id| state.recent_object(id).flatten().filter(is_waiting));
    objects.filter_map(|object| Some((object.id.clone(), key(&object)?))).collect()
}

/// Their sizes, as far as there are bytes. Nothing waits for a size: a store that cannot tell is a store that does not know.
pub(super) async fn stored(tams: &Tams, objects: &BTreeMap<ObjectId, String>) -> Sizes {
    if objects.is_empty() {
        return Sizes::new();
    }
    let keys: Vec<String> = objects.values().cloned().collect();
    let lengths = tams.media.lengths(&keys).await.unwrap_or_else(|error| {
        tracing::warn!(%error, "sizes of objects are not known");
        Vec::new()
    });
    let sized = objects.keys().zip(lengths);
    sized.filter_map(|(id, length)| Some((id.clone(), i64::try_from(length?).ok()?))).collect()
}

/// Asks for the sizes again, and commits those of registered Objects that are not what is `known`.
///
/// What this is called after has happened, so that a failure is not one of the request.
pub(super) async fn note_new(tams: &Tams, objects: BTreeMap<ObjectId, String>, known: &Sizes) {
    let mut sizes = stored(tams, &objects).await;
    sizes.retain(|id, size| known.get(id) != Some(size));
    if sizes.is_empty() {
        return;
    }
    let weight = 512 * (1 + sizes.len());
    let noted = tams.catalog.commit(weight, move |state, _| {
        let changes = decide(state, &objects, &sizes)?;
        Ok::<_, OperationError>((changes, ()))
    });
    if let Err(error) = noted.await {
        tracing::warn!(%error, "sizes of registered objects were not noted");
    }
}

fn decide(state: View<'_>, objects: &BTreeMap<ObjectId, String>, sizes: &Sizes) -> Result<Vec<Change>, OperationError> {
    let mut changes = Vec::new();
    for (id, size) in sizes {
        let object = state.object(id)?.filter(|object| object.is_registered() && !state.is_condemned(id));
        let changed =
            object.filter(|object| key(object).as_ref() == objects.get(id) && object.size_bytes != Some(*size));
        changes.extend(changed.map(|object| {
            let size_bytes = Some(*size);
            Change::PutObject(Arc::new(MediaObject { size_bytes, ..MediaObject::clone(&object) }))
        }));
    }
    Ok(changes)
}

/// Of the bytes that are kept here.
fn key(object: &MediaObject) -> Option<String> {
    object.controlled().next().map(|(_, key)| key.to_owned())
}

#[cfg(test)]
mod tests;
