//! What must hold between rows, broken one by one: each is found, and nothing is where nothing is broken.

use std::sync::{Arc, Mutex};

use futures::FutureExt;

use super::helpers::{
    clock, flow_id, media, memory, object_id, open, put, put_flow, put_source, range, register, second, segment,
};
use super::hooks::{Hooked, Verb};
use crate::catalog::change::{Lsn, ReferenceKey, SegmentKey};
use crate::catalog::fsck::{Scope, fsck, problems_between_rows};
use crate::catalog::log::Log;
use crate::catalog::progress::Silent;
use crate::catalog::state::{HotObject, State, Stored};
use crate::catalog::{compact, flush, paths};
use crate::domain::{MediaObject, ObjectKind};

/// Two Flows, each with a second in a cold file and one in memory.
async fn whole() -> (Log, State) {
    let (catalog, log) = open(memory(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1), put_flow(2, 1)]).await.unwrap();
    for flow in [1, 2] {
        put(&catalog, register(flow, 0, &format!("cold-{flow}"))).await.unwrap();
    }
    flush::flush(&log, &catalog).await.unwrap();
    for flow in [1, 2] {
        put(&catalog, register(flow, 10, &format!("hot-{flow}"))).await.unwrap();
    }
    (log, State::clone(&catalog.snapshot()))
}

fn hot(object: MediaObject) -> HotObject {
    HotObject {
        lsn: Lsn { seq: 9, index: 0 },
        place: object.place(),
        row: Some(Arc::new(object)),
        gone_from: Vec::new(),
    }
}

fn key(flow: u8, at: i32) -> SegmentKey {
    SegmentKey { flow_id: flow_id(flow), start: second(at).start_key() }
}

/// A server writes and merges after the files were listed, and is silent from then on.
#[tokio::test]
async fn what_was_written_and_replaced_after_the_list_is_not_missing() {
    let inner = memory();
    let (catalog, log) = open(inner.clone(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    put(&catalog, register(1, 0, "first")).await.unwrap();
    let busy = Arc::new(Mutex::new(Some((catalog, log))));
    let meanwhile = move |verb, path: &str| {
        let listed = verb == Verb::Read && path == paths::CATALOG;
        let busy = if listed { busy.lock().unwrap().take() } else { None };
        async move {
            let Some((catalog, log)) = busy else { return };
            for second in 1..3 {
                flush::flush(&log, &catalog).await.unwrap();
                put(&catalog, register(1, second, &format!("later-{second}"))).await.unwrap();
            }
            flush::flush(&log, &catalog).await.unwrap();
            assert!(compact::compact_all(&log, &catalog).await.unwrap() > 0);
        }
        .boxed()
    };
    let scope = Scope { level: 4, media: None, always_media: false };
    let report = fsck(Hooked::new(inner, meanwhile), clock(2), &scope, &Silent).await.unwrap();
    assert_eq!((report.problems, report.segments), (0, 3), "{:?}", report.findings);
}

#[tokio::test]
async fn rows_that_hold_together_are_found_to() {
    let (log, state) = whole().await;
    assert_eq!(problems_between_rows(&log, &state).await, [""; 0]);
    assert_eq!(problems_between_rows(&log, &State::empty()).await, [""; 0]);
}

#[tokio::test]
async fn each_broken_rule_is_named() {
    type Break = fn(&mut State);
    let breaks: &[(&str, Break)] = &[
        ("overlaps the one at", |state| {
            let late = segment(1, range("[0:500000000_2:0)"), "cold-1");
            state.segments.insert(SegmentKey::of(&late), Stored { lsn: Lsn::default(), row: Arc::new(late) });
        }),
        ("cold-1, which is not there", |state| {
            let gone = HotObject { row: None, ..hot(media("cold-1", 1)) };
            state.objects.insert(object_id("cold-1"), gone);
        }),
        ("hot-2, which is condemned", |state| {
            state.condemned.insert(object_id("hot-2"));
        }),
        ("cold-2, which is not registered", |state| {
            let waiting = MediaObject { kind: None, ..media("cold-2", 2) };
            state.objects.insert(object_id("cold-2"), hot(waiting));
        }),
        ("cold-2, which is of the other kind", |state| {
            let init = MediaObject { kind: Some(ObjectKind::Init), ..media("cold-2", 2) };
            state.objects.insert(object_id("cold-2"), hot(init));
        }),
        ("names another init object", |state| {
            let other = MediaObject { init_object: Some(object_id("hot-1")), ..media("cold-2", 2) };
            state.objects.insert(object_id("cold-2"), hot(other));
        }),
        ("no segment needs Object lonely", |state| {
            state.objects.insert(object_id("lonely"), hot(media("lonely", 1)));
        }),
        ("has no Flow", |state| {
            state.flows.remove(&flow_id(2));
        }),
        ("the state says", |state| {
            state.cold_extents.remove(&flow_id(1));
        }),
        ("the state says", |state| {
            state.cold_extents.insert(flow_id(3), second(1));
        }),
        ("lacks its reference", |state| {
            let first = state.references.get_min().unwrap().0;
            state.references.remove(&first);
        }),
        ("but no such segment", |state| {
            let reference = ReferenceKey { object_hash: 7, segment: key(1, 77) };
            state.references.insert(reference, Lsn::default());
        }),
        ("no segment needs Object cold-1", |state| {
            state.tombstones.add(key(1, 0), second(0).end_key(), Lsn { seq: 99, index: 0 });
        }),
    ];
    for (named, change) in breaks {
        let (log, mut state) = whole().await;
        change(&mut state);
        let found = problems_between_rows(&log, &state).await;
        assert!(found.iter().any(|what| what.contains(named)), "{named}: {found:#?}");
    }
}

#[tokio::test]
async fn an_object_about_to_be_found_out_is_no_problem() {
    let (log, mut state) = whole().await;
    state.objects.insert(object_id("lonely"), hot(media("lonely", 1)));
    state.suspects.insert(object_id("lonely"), 1);
    assert_eq!(problems_between_rows(&log, &state).await, [""; 0]);
}
