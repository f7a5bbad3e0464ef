//! The URLs at which an object's bytes can be had: which of them a request wants, and how much it wants to know of them.
//! Filters all have to hold; one that leaves no URL still leaves the segment or object.

use poem::Request;

use super::Api;
use super::dialect::Dialect;
use super::error::ApiError;
use super::query::Query;
use super::request::base_url;
use super::wire::{GetUrl, STORE_TYPE};
use crate::catalog::State;
use crate::domain::{Instance, MediaObject, StorageId, Tags, UtcTime, Webhook};
use crate::media::{Access, expiry};
use crate::operations::{StorageBackend, TagFilter, storage_backends};

/// What a request or a webhook says about get_urls.
#[derive(Clone)]
pub struct Wish {
    /// `None`: any; empty: no URL at all.
    labels: Option<Vec<String>>,
    storage_ids: Option<Vec<StorageId>>,
    presigned: Option<bool>,
    backend_tags: TagFilter,
    verbose: bool,
}

impl Wish {
    pub fn of(query: &Query<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            labels: query.list("accept_get_urls")?,
            // Here, other than with labels, an empty text is no filter.
            storage_ids: query.ids("accept_storage_ids")?.filter(|ids| !ids.is_empty()),
            presigned: query.flag("presigned")?,
            backend_tags: query.tags("storage_backend_tag")?,
            verbose: query.flag("verbose_storage")?.unwrap_or(false),
        })
    }

    /// Nobody can ask for a URL without a label by its label.
    fn wants_label(&self, label: Option<&str>) -> bool {
        self.labels.as_ref().is_none_or(|labels| label.is_some_and(|label| labels.iter().any(|wanted| wanted == label)))
    }

    /// URLs of this server's storage are always signed.
    fn wants_backend(&self, backend: &StorageBackend) -> bool {
        self.wants_label(Some(&backend.label))
            && self.storage_ids.as_ref().is_none_or(|ids| ids.contains(&backend.id))
            && self.presigned != Some(false)
            && self.backend_tags.matches(&backend.tags)
    }

    /// Somebody else's URLs have no backend and thus no tags, and are not known to be signed.
    fn wants_uncontrolled(&self) -> bool {
        self.storage_ids.is_none() && self.presigned != Some(true) && self.backend_tags.matches(&Tags::new())
    }
}

impl From<&Webhook> for Wish {
    fn from(webhook: &Webhook) -> Self {
        Self {
            labels: webhook.accept_get_urls.clone(),
            storage_ids: webhook.accept_storage_ids.clone().filter(|ids| !ids.is_empty()),
            presigned: webhook.presigned,
            backend_tags: TagFilter::default(),
            verbose: webhook.verbose_storage.unwrap_or(false),
        }
    }
}

/// Makes the get_urls of all objects in one answer.
pub struct GetUrls<'a> {
    api: &'a Api,
    base: String,
    expires: UtcTime,
    /// With whether the request wants its URLs.
    backends: Vec<(StorageBackend, bool)>,
    uncontrolled: bool,
    wish: Wish,
}

impl<'a> GetUrls<'a> {
    pub fn of(api: &'a Api, request: &Request, query: &Query<'_>, state: &State) -> Result<Self, ApiError> {
        let base = base_url(request, api.settings.public_url.as_deref());
        Ok(Self::with(api, base, Wish::of(query)?, query.dialect, state))
    }

    pub fn with(api: &'a Api, base: String, wish: Wish, dialect: Dialect, state: &State) -> Self {
        let with_wish = |backend| {
            let wanted = wish.wants_backend(&backend);
            (dialect.backend(backend), wanted)
        };
        Self {
            api,
            base,
            expires: expiry(api.tams.clock.now(), api.settings.url_ttl),
            backends: storage_backends(&api.tams, state).into_iter().map(with_wish).collect(),
            uncontrolled: wish.wants_uncontrolled(),
            wish,
        }
    }

    /// `None` where no URL is left.
    pub fn get<'o>(&'o self, object: &'o MediaObject) -> Option<Vec<GetUrl<'o>>> {
        let urls: Vec<_> = object.instances.iter().filter_map(|instance| self.url(object, instance)).collect();
        Some(urls).filter(|urls| !urls.is_empty())
    }

    fn url<'o>(&'o self, object: &MediaObject, instance: &'o Instance) -> Option<GetUrl<'o>> {
        match instance {
            Instance::Controlled { storage_id, key } => {
                let (backend, wanted) = self.backends.iter().find(|(backend, _)| backend.id == *storage_id)?;
                let sign = || self.api.signer.media_url(&self.base, Access::Get, object.id.as_str(), key, self.expires);
                wanted.then(|| controlled(sign(), backend, self.wish.verbose))
            }
            Instance::Uncontrolled { url, label } => {
                let wanted = self.uncontrolled && self.wish.wants_label(label.as_deref());
                wanted.then(|| uncontrolled(url, label.as_deref(), self.wish.verbose))
            }
        }
    }
}

fn controlled(url: String, backend: &StorageBackend, verbose: bool) -> GetUrl<'_> {
    GetUrl {
        url,
        presigned: Some(true),
        label: Some(&backend.label),
        controlled: verbose.then_some(true),
        storage_id: verbose.then_some(backend.id),
        store_type: verbose.then_some(STORE_TYPE),
        provider: verbose.then_some(&*backend.provider),
        store_product: verbose.then_some(&*backend.store_product),
        tags: Some(&backend.tags).filter(|tags| verbose && !tags.is_empty()),
    }
}

fn uncontrolled<'a>(url: &str, label: Option<&'a str>, verbose: bool) -> GetUrl<'a> {
    GetUrl {
        url: url.to_owned(),
        presigned: None,
        label,
        controlled: verbose.then_some(false),
        storage_id: None,
        store_type: None,
        provider: None,
        store_product: None,
        tags: None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::TagValue;

    const ID: &str = "2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b11";

    fn backend() -> StorageBackend {
        StorageBackend {
            id: ID.parse().unwrap(),
            label: "local".into(),
            provider: "p".into(),
            store_product: "s".into(),
            default_storage: true,
            tags: [("tier".into(), TagValue::One("hot".into()))].into(),
        }
    }

    /// Whether a controlled URL and one labelled `cdn` of somebody else are wanted.
    fn wanted(query: &str) -> (bool, bool) {
        let wish = Wish::of(&Query::parse(query)).unwrap();
        (wish.wants_backend(&backend()), wish.wants_uncontrolled() && wish.wants_label(Some("cdn")))
    }

    #[test]
    fn an_empty_list_of_labels_wants_nothing_and_one_of_ids_wants_everything() {
        assert_eq!(wanted(""), (true, true));
        assert_eq!(wanted("accept_get_urls=local"), (true, false));
        assert_eq!(wanted("accept_get_urls=cdn,local"), (true, true));
        assert_eq!(wanted("accept_get_urls="), (false, false));
        assert_eq!(wanted("accept_get_urls=nope"), (false, false));
        assert_eq!(wanted("accept_storage_ids="), (true, true));
        assert_eq!(wanted(&format!("accept_storage_ids={ID}")), (true, false));
        assert_eq!(wanted("accept_storage_ids=2f8c1c1e-7d6b-4a39-9d0e-0d5a3f0f6b12"), (false, false));
    }

    #[test]
    fn all_filters_have_to_hold() {
        assert_eq!(wanted("presigned=true"), (true, false));
        assert_eq!(wanted("presigned=false"), (false, true));
        assert_eq!(wanted("storage_backend_tag.tier=hot"), (true, false));
        assert_eq!(wanted("storage_backend_tag.tier=cold"), (false, false));
        assert_eq!(wanted("storage_backend_tag_exists.tier=false"), (false, true));
        assert_eq!(wanted("storage_backend_tag.tier=hot&presigned=true&accept_get_urls=local"), (true, false));
        assert_eq!(wanted("storage_backend_tag.tier=hot&accept_get_urls=cdn"), (false, false));
    }

    #[test]
    fn the_backend_is_only_told_to_those_who_ask() {
        let backend = backend();
        let url = |verbose| serde_json::to_value(controlled("u".into(), &backend, verbose)).unwrap();
        assert_eq!(url(false), json!({"url": "u", "presigned": true, "label": "local"}));
        assert_eq!(
            url(true),
            json!({
                "url": "u", "presigned": true, "label": "local", "controlled": true, "storage_id": ID,
                "store_type": "http_object_store", "provider": "p", "store_product": "s", "tags": {"tier": "hot"},
            })
        );
        let url = |verbose| serde_json::to_value(uncontrolled("u", Some("cdn"), verbose)).unwrap();
        assert_eq!(url(false), json!({"url": "u", "label": "cdn"}));
        assert_eq!(url(true), json!({"url": "u", "label": "cdn", "controlled": false}));
    }

    #[test]
    fn a_url_without_a_label_passes_where_no_label_is_asked_for() {
        let wants = |query| Wish::of(&Query::parse(query)).unwrap().wants_label(None);
        assert!(wants(""));
        assert!(!wants("accept_get_urls=") && !wants("accept_get_urls=cdn"));
    }
}
