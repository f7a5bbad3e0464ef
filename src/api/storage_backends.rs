//! Where media can be kept.

use std::cmp::Ordering;
use std::sync::Arc;

use poem::Request;
use poem_openapi::OpenApi;

use super::Api;
use super::cursor::ListPlace;
use super::error::ApiError;
use super::json::JsonArray;
use super::paging::{Paged, Paging};
use super::query::Query;
use super::wire::StorageBackendShape;
use crate::domain::StorageId;
use crate::operations::{Cursor, Page, SortKey, StorageBackend, storage_backends};

pub struct StorageBackendsApi(pub Arc<Api>);

#[OpenApi]
impl StorageBackendsApi {
    /// The storage backends, by label.
    ///
    /// Spec: GET_storage-backends
    #[oai(path = "/service/storage-backends", method = "get", operation_id = "GET_storage-backends")]
    async fn get_storage_backends(
        &self,
        request: &Request,
    ) -> Result<Paged<Vec<StorageBackendShape<'static>>>, ApiError> {
        let query = Query::of(request);
        let paging = Paging::of(&self.0, request, &query)?;
        let tags = query.tags("tag")?;
        let state = self.0.state().await?;
        let mut backends = storage_backends(&self.0.tams, &state);
        backends.retain(|backend| tags.matches(&backend.tags));
        let label_of = |id| backends.iter().find(|backend| backend.id == id).map(|backend| backend.label.clone());
        let after = paging.after::<ListPlace<StorageId>>()?.map(|place| place.resolve(label_of)).transpose()?;
        let page = page(backends, paging.reverse_order, after.as_ref(), paging.limit);
        let mut items = JsonArray::new();
        for backend in &page.items {
            items.push(&StorageBackendShape::from(&query.dialect.backend(backend.clone())))?;
        }
        let count = items.count;
        Ok(paging.reply(items.finish(), count, page.next.map(ListPlace::from).as_ref()))
    }
}

fn page(
    mut backends: Vec<StorageBackend>,
    reverse_order: bool,
    after: Option<&Cursor<StorageId>>,
    limit: usize,
) -> Page<StorageBackend, Cursor<StorageId>> {
    let order = |left: (&str, StorageId), right: (&str, StorageId)| -> Ordering {
        if reverse_order { right.cmp(&left) } else { left.cmp(&right) }
    };
    backends.sort_by(|left, right| order((&left.label, left.id), (&right.label, right.id)));
    if let Some(Cursor { key: SortKey::Text(Some(label)), id }) = after {
        backends.retain(|backend| order((&backend.label, backend.id), (label, *id)).is_gt());
    }
    Page::cut(backends, limit, |backend| Cursor { key: SortKey::Text(Some(backend.label.clone())), id: backend.id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Tags;

    #[test]
    fn pages_of_backends_follow_the_labels_in_both_directions() {
        let backend = |label: &str, byte| StorageBackend {
            id: StorageId::from_random([byte; 16]),
            label: label.into(),
            provider: String::new(),
            store_product: String::new(),
            default_storage: false,
            tags: Tags::new(),
        };
        let backends = vec![backend("b", 1), backend("a", 2), backend("c", 3)];
        for (reverse_order, wanted) in [(false, "abc"), (true, "cba")] {
            let (mut seen, mut after) = (String::new(), None);
            loop {
                let page = page(backends.clone(), reverse_order, after.as_ref(), 1);
                seen.extend(page.items.iter().map(|backend| backend.label.as_str()));
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            assert_eq!(seen, wanted);
        }
    }
}
