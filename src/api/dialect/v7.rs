//! TAMS 7.0 as a view of 8.2. The first half is what 7.0 shows of a value, the second half what a client of 7.0 means by
//! a value that it read here, changed in part, and sends back: what it could not see stays as it is.

use std::borrow::Cow;
use std::sync::Arc;

use crate::catalog::State;
use crate::domain::{CollectionItem, ContentFormat, Essence, Flow, FlowId, Source, TagValue, Tags};
use crate::operations::{FlowEdit, FlowRequest, FlowView, SourceEdit, SourceView, StorageBackend, TechnicalFrom};

/// Whether a path is one of 7.0's, or of the event streams, which are in no version. Profiles, instances of objects and
/// webhooks by id came later.
pub fn knows(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    matches!(
        parts.as_slice(),
        ["" | "service" | "sources" | "flows" | "flow-delete-requests" | "events"]
            | ["events", "ws"]
            | ["service", "storage-backends" | "webhooks"]
            | ["sources" | "flows", _, ..]
            | ["flow-delete-requests" | "objects", _]
    )
}

pub fn flow(state: &State, view: &FlowView) -> FlowView {
    let mut flow = Flow::clone(&view.flow);
    flow.tags = tags(&flow.tags);
    flow.flow_collection = collection(state, &flow.flow_collection);
    flow.profile_id = None;
    match &mut flow.technical.essence {
        Essence::Video(video) => (video.vfr, video.init_segments) = (None, None),
        Essence::Audio(audio) => audio.init_segments = None,
        Essence::Image(_) => {}
        Essence::Data(data) => data.init_segments = None,
        Essence::Multi(multi) => *multi = None,
    }
    FlowView { flow: Arc::new(flow), ..view.clone() }
}

pub fn source(state: &State, view: &SourceView) -> SourceView {
    let mut source = Source::clone(&view.source);
    source.tags = tags(&source.tags);
    let members = view.source_collection.iter().map(|(id, role)| {
        let word = || state.source(*id).map(|member| word(member.format).to_owned());
        (*id, role.clone().or_else(word))
    });
    SourceView { source: Arc::new(source), source_collection: members.collect(), ..view.clone() }
}

pub fn tags(tags: &Tags) -> Tags {
    tags.iter().map(|(name, value)| (name.clone(), tag(value))).collect()
}

pub fn tag(value: &TagValue) -> TagValue {
    TagValue::One(value.joined().into_owned())
}

/// With a role for every member: 7.0 requires one.
pub fn collection(state: &State, items: &[CollectionItem]) -> Vec<CollectionItem> {
    let with_role = |item: &CollectionItem| {
        let role = item.role.clone().or_else(|| role_shown(state, item.id).map(str::to_owned));
        CollectionItem { role, ..item.clone() }
    };
    items.iter().map(with_role).collect()
}

pub fn backend(backend: StorageBackend) -> StorageBackend {
    StorageBackend { tags: Tags::new(), ..backend }
}

/// The role of a member that was given none.
fn role_shown(state: &State, member: FlowId) -> Option<&'static str> {
    state.flow(member).map(|flow| word(flow.format()))
}

fn word(format: ContentFormat) -> &'static str {
    match format {
        ContentFormat::Video => "video",
        ContentFormat::Audio => "audio",
        ContentFormat::Image => "image",
        ContentFormat::Data => "data",
        ContentFormat::Multi => "multi",
    }
}

pub fn restore_flow(state: &State, stored: &Flow, put: &mut FlowRequest) {
    for (name, value) in &mut put.tags {
        restore_tag(stored.tags.get(name), value);
    }
    put.status = put.status.or(stored.status);
    if let TechnicalFrom::Client(technical) = &mut put.technical {
        restore_essence(&stored.technical.essence, &mut technical.essence);
        // The profile cannot be seen in 7.0, so not naming it does not mean to leave it.
        if let Some(profile_id) = stored.profile_id.filter(|_| **technical == stored.technical) {
            put.technical = TechnicalFrom::Profile(profile_id);
        }
    }
    restore_roles(state, &stored.flow_collection, &mut put.flow_collection);
}

pub fn restore_flow_edit(state: &State, stored: &Flow, edit: &mut FlowEdit) {
    match edit {
        FlowEdit::PutTag(name, value) => restore_tag(stored.tags.get(name), value),
        FlowEdit::FlowCollection(items) => restore_roles(state, &stored.flow_collection, items),
        _ => {}
    }
}

pub fn restore_source_edit(stored: &Source, edit: &mut SourceEdit) {
    if let SourceEdit::PutTag(name, value) = edit {
        restore_tag(stored.tags.get(name), value);
    }
}

/// The text that a list is shown as is that list again.
fn restore_tag(stored: Option<&TagValue>, given: &mut TagValue) {
    if let (Some(stored @ TagValue::Many(_)), TagValue::One(text)) = (stored, &*given)
        && stored.joined() == Cow::Borrowed(text.as_str())
    {
        *given = stored.clone();
    }
}

/// Parameters that 7.0 does not have. Those of another format belong to other content.
fn restore_essence(stored: &Essence, given: &mut Essence) {
    match (stored, given) {
        (Essence::Video(stored), Essence::Video(given)) => {
            given.init_segments = given.init_segments.or(stored.init_segments);
            // A frame rate that is given now does not vary, whatever it did before.
            if given.frame_rate.is_none() || stored.vfr != Some(true) {
                given.vfr = given.vfr.or(stored.vfr);
            }
        }
        (Essence::Audio(stored), Essence::Audio(given)) => {
            given.init_segments = given.init_segments.or(stored.init_segments);
        }
        (Essence::Data(stored), Essence::Data(given)) => {
            given.init_segments = given.init_segments.or(stored.init_segments);
        }
        (Essence::Multi(Some(stored)), Essence::Multi(given))
            if given.as_ref().is_none_or(|given| given.init_segments.is_none()) =>
        {
            *given = Some(stored.clone());
        }
        _ => {}
    }
}

/// A role that a member was only shown with is still no role.
fn restore_roles(state: &State, stored: &[CollectionItem], given: &mut [CollectionItem]) {
    for item in given {
        let had = |role: Option<&str>| stored.iter().any(|old| old.id == item.id && old.role.as_deref() == role);
        let shown = role_shown(state, item.id);
        if shown.is_some() && item.role.as_deref() == shown && had(None) && !had(shown) {
            item.role = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_came_after_7_0_are_unknown() {
        for path in [
            "/",
            "/service",
            "/service/webhooks",
            "/service/storage-backends",
            "/sources",
            "/sources/x/tags/y",
            "/flows",
            "/flows/x",
            "/flows/x/segments",
            "/flow-delete-requests",
            "/events",
            "/events/ws",
            "/flow-delete-requests/x",
            "/objects/a%2Fb",
        ] {
            assert!(knows(path), "{path}");
        }
        for path in [
            "/service/profiles",
            "/service/profiles/x",
            "/service/webhooks/x",
            "/objects",
            "/objects/x/instances",
            "/openapi.json",
            "/docs",
            "/media/x",
            "/v7.0/flows",
        ] {
            assert!(!knows(path), "{path}");
        }
    }

    #[test]
    fn only_the_text_that_a_list_is_shown_as_stands_for_the_list() {
        let many = |texts: &[&str]| TagValue::Many(texts.iter().map(|text| (*text).to_owned()).collect());
        let one = |text: &str| TagValue::One(text.to_owned());
        for (stored, given, becomes) in [
            (Some(many(&["en", "cy"])), one("en,cy"), many(&["en", "cy"])),
            (Some(many(&["en", "cy"])), one("en"), one("en")),
            (Some(many(&["en"])), one("en"), many(&["en"])),
            (Some(many(&[])), one(""), many(&[])),
            (Some(one("en")), one("en"), one("en")),
            (None, one("en,cy"), one("en,cy")),
            (Some(many(&["en", "cy"])), many(&["cy"]), many(&["cy"])),
        ] {
            let mut value = given.clone();
            restore_tag(stored.as_ref(), &mut value);
            assert_eq!(value, becomes, "{stored:?} {given:?}");
        }
    }

    fn essence(format: ContentFormat, json: serde_json::Value) -> Essence {
        match format {
            ContentFormat::Video => Essence::Video(serde_json::from_value(json).unwrap()),
            ContentFormat::Audio => Essence::Audio(serde_json::from_value(json).unwrap()),
            _ => Essence::Multi(serde_json::from_value(json).unwrap()),
        }
    }

    #[test]
    fn parameters_that_7_0_does_not_have_stay_unless_the_client_contradicts_them() {
        use serde_json::json;
        let rate = json!({"numerator": 25});
        let video = |more: serde_json::Value| {
            let mut all = json!({"frame_width": 1, "frame_height": 1});
            all.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            essence(ContentFormat::Video, all)
        };
        for (stored, given, becomes) in [
            (json!({"vfr": true, "init_segments": true}), json!({}), json!({"vfr": true, "init_segments": true})),
            (json!({"vfr": true}), json!({"frame_rate": rate}), json!({"frame_rate": rate})),
            (
                json!({"vfr": false, "frame_rate": rate}),
                json!({"frame_rate": rate}),
                json!({"vfr": false, "frame_rate": rate}),
            ),
            (json!({"frame_rate": rate}), json!({}), json!({})),
        ] {
            let mut value = video(given);
            restore_essence(&video(stored.clone()), &mut value);
            assert_eq!(value, video(becomes), "{stored}");
        }
        let audio = json!({"sample_rate": 48000, "channels": 2});
        let mut value = essence(ContentFormat::Audio, audio);
        restore_essence(&video(json!({"init_segments": true})), &mut value);
        assert_eq!(value.init_segments(), None);
        let mut value = essence(ContentFormat::Multi, json!(null));
        restore_essence(&essence(ContentFormat::Multi, json!({"init_segments": true})), &mut value);
        assert_eq!(value.init_segments(), Some(true));
    }
}
