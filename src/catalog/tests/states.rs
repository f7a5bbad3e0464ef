//! What one commit may do to others in its entry, and what no commit may do to the state.

use std::sync::Arc;

use super::helpers::{
    assert_same, clock, commit, flow, flow_id, local, media, memory, object_id, open, put, put_flow, put_object,
    put_segment, put_source, range, register, second, source_id,
};
use crate::catalog::{Catalog, CatalogSettings, Change, CommitError, ReadError, SegmentKey};
use crate::domain::{BitRate, Flow, MediaObject, ObjectKind, TimeRange};

async fn with_one_segment() -> (Catalog, std::sync::Arc<dyn crate::catalog::Store>) {
    let store = memory();
    let (catalog, _) = open(store.clone(), clock(1)).await.unwrap();
    let mut changes = vec![put_source(1), put_flow(1, 1)];
    changes.extend(register(1, 0, "zero"));
    put(&catalog, changes).await.unwrap();
    (catalog, store)
}

#[tokio::test]
async fn a_change_that_contradicts_the_state_is_refused_and_leaves_nothing() {
    let (catalog, store) = with_one_segment().await;
    let condemned = MediaObject { kind: None, condemned: true, ..media("expired", 1) };
    put(&catalog, vec![put_object(condemned), put_object(MediaObject { kind: None, ..media("waiting", 1) })])
        .await
        .unwrap();
    let before = catalog.snapshot();
    let key = |at| SegmentKey { flow_id: flow_id(1), start: second(at).start_key() };
    let init = || put_object(MediaObject { kind: Some(ObjectKind::Init), ..media("init", 1) });
    let contradictions = [
        ("a Flow without its Source", vec![put_flow(2, 9)]),
        ("a Flow that is not there", vec![Change::DeleteFlow(flow_id(9))]),
        ("a Flow that has segments", vec![Change::DeleteFlow(flow_id(1))]),
        ("a Source that is not there", vec![Change::DeleteSource(source_id(9))]),
        ("a Source that has Flows", vec![Change::DeleteSource(source_id(1))]),
        ("a segment of no Flow", register(9, 5, "five")),
        ("a segment of no Object", vec![put_segment(1, second(5), "unknown")]),
        ("a segment of an init Object", vec![init(), put_segment(1, second(5), "init")]),
        ("a segment of an Object not registered", vec![put_segment(1, second(5), "waiting")]),
        ("a segment that overlaps", register(1, 0, "other")),
        ("a segment that overlaps by an instant", {
            vec![put_object(media("other", 1)), put_segment(1, range("[-1:0_0:0]"), "other")]
        }),
        ("a segment of a condemned Object", {
            let condemned = Change::CondemnObject(object_id("zero"));
            vec![Change::DeleteSegment(key(0)), condemned, put_segment(1, second(7), "zero")]
        }),
        ("an Object cleared that is no suspect", vec![Change::ClearObject(object_id("zero"))]),
        ("a file retired that is not there", vec![Change::RetireFile("tables/none".into())]),
        ("a file forgotten that was not retired", vec![Change::ForgetFile("tables/none".into())]),
        ("rows flushed that are not there yet", vec![Change::Flushed { as_of: 4 }]),
        ("an Object that is not there", vec![Change::DeleteObject(object_id("unknown"), media("unknown", 1).place())]),
        ("a deletion of no time", {
            vec![Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: TimeRange::NEVER }]
        }),
    ];
    for (what, changes) in contradictions {
        // Something good comes first, and must not stay either.
        let mut all = register(1, 100, "good");
        all.extend(changes);
        let outcome = put(&catalog, all).await;
        assert!(matches!(outcome, Err(CommitError::Bug { .. })), "{what}: {outcome:?}");
        assert_same(&catalog.snapshot(), &before, what);
    }
    let (again, _) = open(store, clock(2)).await.unwrap();
    assert_same(&again.snapshot(), &before, "after all refusals and a restart");
}

#[tokio::test]
async fn only_rows_that_a_flush_moves_count_as_memory_it_would_free() {
    let (catalog, _) = with_one_segment().await;
    let before = catalog.snapshot().hot_bytes();
    put(&catalog, vec![put_object(MediaObject { kind: None, ..media("waiting", 1) })]).await.unwrap();
    assert_eq!(catalog.snapshot().hot_bytes(), before);
    put(&catalog, vec![put_object(media("waiting", 1))]).await.unwrap();
    assert!(catalog.snapshot().hot_bytes() > before);
}

/// Queued together, so that one entry is to hold them all.
async fn commit_beside_others(catalog: &Catalog, bad: Vec<Change>) -> Result<(), CommitError> {
    let (one, outcome, other) = tokio::join!(
        put(catalog, register(1, 10, "before")),
        put(catalog, bad),
        put(catalog, register(1, 20, "after"))
    );
    one.unwrap();
    other.unwrap();
    assert!(catalog.snapshot().hot_object(&object_id("before")).is_some());
    assert!(catalog.snapshot().hot_object(&object_id("after")).is_some());
    outcome
}

#[tokio::test]
async fn a_change_that_cannot_be_stored_does_not_fail_the_others_of_its_entry() {
    let (catalog, store) = with_one_segment().await;
    let too_large = Flow { max_bit_rate: Some(BitRate::unchecked(u64::MAX)), ..flow(2, 1) };
    let outcome = commit_beside_others(&catalog, vec![Change::PutFlow(Arc::new(too_large))]).await;
    assert!(matches!(outcome, Err(CommitError::Bug { .. })), "{outcome:?}");
    assert!(catalog.snapshot().flow(flow_id(2)).is_none());
    let (again, _) = open(store, clock(2)).await.unwrap();
    assert_same(&again.snapshot(), &catalog.snapshot(), "after a restart");
}

#[tokio::test]
async fn a_change_that_contradicts_does_not_fail_the_others_of_its_entry() {
    let (catalog, _) = with_one_segment().await;
    let outcome = commit_beside_others(&catalog, register(1, 10, "same second")).await;
    assert!(matches!(outcome, Err(CommitError::Bug { .. })), "{outcome:?}");
    assert_eq!(catalog.snapshot().seq(), 2, "the two good ones share an entry");
}

#[tokio::test]
async fn a_decision_that_panics_does_not_fail_the_others_of_its_entry() {
    let (catalog, _) = with_one_segment().await;
    let panics = commit(&catalog, |_, _| -> Result<(Vec<Change>, ()), ReadError> { panic!("on purpose") });
    let (good, bad) = tokio::join!(put(&catalog, register(1, 10, "good")), panics);
    good.unwrap();
    assert!(matches!(bad, Err(CommitError::Bug { .. })), "{bad:?}");
    put(&catalog, register(1, 20, "later")).await.unwrap();
}

#[tokio::test]
async fn who_finds_no_room_in_the_queue_is_told_that_it_is_busy() {
    let settings = CatalogSettings { queue_operations: 2, ..super::helpers::settings() };
    let (catalog, _) = super::helpers::open_with(memory(), clock(1), settings).await.unwrap();
    let outcomes = tokio::join!(
        put(&catalog, vec![put_source(1)]),
        put(&catalog, vec![put_source(2)]),
        put(&catalog, vec![put_source(3)])
    );
    outcomes.0.unwrap();
    outcomes.1.unwrap();
    assert!(matches!(outcomes.2, Err(CommitError::Busy)), "{:?}", outcomes.2);
    assert!(catalog.snapshot().source(source_id(3)).is_none());
}

#[tokio::test]
async fn a_closed_catalogue_has_what_was_queued_and_its_folder_can_be_opened_at_once() {
    let folder = tempfile::tempdir().unwrap();
    for round in 1..=20 {
        let catalog = Catalog::open(local(&folder), clock(round.into()), super::helpers::settings()).await.unwrap();
        let (queued, ()) = tokio::join!(put(&catalog, vec![put_source(round)]), catalog.close());
        queued.unwrap();
        let late = put(&catalog, vec![put_source(round)]).await;
        assert!(matches!(late, Err(CommitError::Closed)), "{late:?}");
    }
    let (catalog, _) = open(local(&folder), clock(0)).await.unwrap();
    assert_eq!(catalog.snapshot().sources().count(), 20);
}
