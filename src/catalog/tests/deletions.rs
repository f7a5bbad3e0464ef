//! Deletions that are half done, across checkpoints and restarts.

use std::sync::Arc;

use super::helpers::{
    ask, assert_same, clock, flow_id, media, memory, object_id, open, put, put_flow, put_object, put_segment,
    put_source, range, register, second, source_id, start_of_time,
};
use crate::catalog::{Change, SegmentKey, checkpoint, compact, flush};
use crate::domain::{
    CondemnedInstance, DeleteRequest, DeleteRequestId, DeleteStatus, MediaObject, StorageId, TimeRange,
};

fn request(n: u8, flow: u8, remaining: TimeRange, delete_flow: bool) -> Change {
    Change::PutDeleteRequest(Arc::new(DeleteRequest {
        id: DeleteRequestId::from_random([n; 16]),
        flow_id: flow_id(flow),
        timerange_to_delete: TimeRange::ETERNITY,
        timerange_remaining: remaining,
        delete_flow,
        status: if remaining.is_never() { DeleteStatus::Done } else { DeleteStatus::Started },
        created: start_of_time(),
        created_by: None,
        updated: start_of_time(),
        expiry: remaining.is_never().then(start_of_time),
        object_id: None,
    }))
}

#[tokio::test]
async fn a_checkpoint_holds_what_a_deletion_has_still_to_do() {
    let store = memory();
    let (catalog, log) = open(store.clone(), clock(1)).await.unwrap();
    let mut changes = vec![put_source(1), put_flow(1, 1), put_flow(2, 1), put_object(media("long", 1))];
    changes.extend((0..6).flat_map(|n| [put_segment(1, second(n), "long"), put_segment(2, second(n), "long")]));
    put(&catalog, changes).await.unwrap();
    let gone = CondemnedInstance { storage_id: StorageId::from_random([9; 16]), key: "key".into() };
    put(
        &catalog,
        vec![
            request(1, 1, range("[0:0_6:0)"), true),
            Change::DeleteFlow(flow_id(1)),
            request(2, 2, range("[1:0_3:0)"), false),
            request(3, 2, TimeRange::NEVER, false),
            put_object(MediaObject { condemned_instances: vec![gone], ..media("long", 1) }),
        ],
    )
    .await
    .unwrap();
    put(
        &catalog,
        vec![
            Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: range("[0:0_2:0)") },
            request(1, 1, range("[2:0_6:0)"), true),
        ],
    )
    .await
    .unwrap();
    let state = catalog.snapshot();
    checkpoint::write(&log, &state).await.unwrap();
    let read = checkpoint::read(&log, state.seq()).await.unwrap();
    assert_same(&read, &state, "from a checkpoint");
    assert!(read.is_being_deleted(flow_id(1)) && !read.is_being_deleted(flow_id(2)));
    assert_eq!(read.with_condemned_instances().count(), 1);
    catalog.close().await;

    let (catalog, _) = open(store, clock(2)).await.unwrap();
    assert_same(&catalog.snapshot(), &state, "from the log");
    put(
        &catalog,
        vec![
            Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: range("[2:0_6:0)") },
            request(1, 1, TimeRange::NEVER, true),
            Change::DeleteSegmentsWithin { flow_id: flow_id(2), timerange: TimeRange::ETERNITY },
            Change::DropDeleteRequest(DeleteRequestId::from_random([2; 16])),
            Change::DeleteFlow(flow_id(2)),
            Change::DeleteSource(source_id(1)),
        ],
    )
    .await
    .unwrap();
    let state = catalog.snapshot();
    assert!(state.next_deletion().is_none() && state.segments_updated(flow_id(1)).is_none());
    assert_eq!(state.suspects().count(), 1);
}

#[tokio::test]
async fn a_flow_without_a_deletion_is_not_deleted_before_its_segments() {
    let (catalog, _) = open(memory(), clock(1)).await.unwrap();
    let changes = vec![put_source(1), put_flow(1, 1), put_object(media("long", 1)), put_segment(1, second(0), "long")];
    put(&catalog, changes).await.unwrap();
    put(&catalog, vec![Change::DeleteFlow(flow_id(1))]).await.unwrap_err();
    put(&catalog, vec![request(1, 1, second(0), false), Change::DeleteFlow(flow_id(1))]).await.unwrap_err();
    put(&catalog, vec![request(1, 1, second(0), true), Change::DeleteFlow(flow_id(1))]).await.unwrap();
}

#[tokio::test]
async fn an_id_that_is_used_again_elsewhere_does_not_bring_back_the_object_before() {
    let store = memory();
    let (catalog, log) = open(store.clone(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1), put_flow(2, 1)]).await.unwrap();
    let id = || object_id("again");
    let gone = |flow| {
        let key = SegmentKey { flow_id: flow_id(flow), start: second(0).start_key() };
        let place = media("again", flow).place();
        vec![Change::DeleteSegment(key), Change::CondemnObject(id()), Change::DeleteObject(id(), place)]
    };
    put(&catalog, register(1, 0, "again")).await.unwrap();
    flush::flush(&log, &catalog).await.unwrap();
    put(&catalog, gone(1)).await.unwrap();
    put(&catalog, register(2, 0, "again")).await.unwrap();

    checkpoint::write(&log, &catalog.snapshot()).await.unwrap();
    let (again, _) = open(store, clock(2)).await.unwrap();
    assert_same(&again.snapshot(), &catalog.snapshot(), "with an id that was used again");
    flush::flush(&log, &catalog).await.unwrap();
    put(&catalog, gone(2)).await.unwrap();
    flush::flush(&log, &catalog).await.unwrap();
    compact::compact_all(&log, &catalog).await.unwrap();
    assert_eq!(ask(&catalog, |view| view.object(&id())).await, None);
}
