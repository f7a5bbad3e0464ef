//! Events follow from changes, stand in the same entry, and are the same when they are read again.

use super::helpers::{
    clock, flow_id, media, memory, object_id, open, put, put_flow, put_object, put_segment, put_source, range,
    register, second, source_id,
};
use crate::catalog::{Catalog, Change, LoggedEvent, SegmentKey};
use crate::domain::{EventKind, EventPlace, TimeRange};

async fn all(catalog: &Catalog) -> Vec<LoggedEvent> {
    catalog.events().after(EventPlace::default(), usize::MAX).await.unwrap().0
}

/// What the last commit told: kind and, of deleted segments, the timerange.
async fn told(catalog: &Catalog, changes: Vec<Change>) -> Vec<(EventKind, Option<TimeRange>)> {
    let before = all(catalog).await.len();
    put(catalog, changes).await.unwrap();
    all(catalog).await.split_off(before).into_iter().map(|one| (one.event.kind, one.event.timerange)).collect()
}

/// A Flow with segments in these seconds.
async fn with_segments(seconds: &[i32]) -> Catalog {
    let (catalog, _) = open(memory(), clock(1)).await.unwrap();
    put(&catalog, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    let segments = seconds.iter().flat_map(|at| register(1, *at, &format!("o{at}"))).collect();
    put(&catalog, segments).await.unwrap();
    catalog
}

fn delete(at: i32) -> Change {
    Change::DeleteSegment(SegmentKey { flow_id: flow_id(1), start: second(at).start_key() })
}

fn within(timerange: &str) -> Change {
    Change::DeleteSegmentsWithin { flow_id: flow_id(1), timerange: range(timerange) }
}

fn removed(ranges: &[&str]) -> Vec<(EventKind, Option<TimeRange>)> {
    ranges.iter().map(|text| (EventKind::SegmentsDeleted, Some(range(text)))).collect()
}

#[tokio::test]
async fn deleted_segments_are_one_run_where_none_survives_between_them() {
    let seconds = [0, 1, 2, 3, 5, 9];
    for (deleted, runs) in [
        (vec![0], vec!["[0:0_1:0)"]),
        (vec![0, 1], vec!["[0:0_2:0)"]),
        (vec![1, 0], vec!["[0:0_2:0)"]),
        (vec![0, 2], vec!["[0:0_1:0)", "[2:0_3:0)"]),
        (vec![3, 5, 9], vec!["[3:0_10:0)"]),
        (vec![0, 1, 3, 9], vec!["[0:0_2:0)", "[3:0_4:0)", "[9:0_10:0)"]),
        (vec![9, 5, 3, 2, 1, 0], vec!["[0:0_10:0)"]),
    ] {
        let catalog = with_segments(&seconds).await;
        let changes = deleted.iter().map(|at| delete(*at)).collect();
        assert_eq!(told(&catalog, changes).await, removed(&runs), "{deleted:?}");
    }
}

#[tokio::test]
async fn a_deleted_range_is_told_as_far_as_segments_were_in_it() {
    let catalog = with_segments(&[0, 1, 2, 5]).await;
    assert_eq!(told(&catalog, vec![within("[3:0_5:0)")]).await, []);
    assert_eq!(told(&catalog, vec![within("[0:500000000_2:500000000)")]).await, removed(&["[1:0_2:0)"]));
    assert_eq!(told(&catalog, vec![within("_")]).await, removed(&["[0:0_6:0)"]));
    assert_eq!(told(&catalog, vec![within("_")]).await, []);
}

#[tokio::test]
async fn a_flow_ends_after_its_segments_and_before_its_source() {
    let catalog = with_segments(&[0, 1]).await;
    let end = vec![within("_"), Change::DeleteFlow(flow_id(1)), Change::DeleteSource(source_id(1))];
    let kinds: Vec<_> = told(&catalog, end).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [EventKind::SegmentsDeleted, EventKind::FlowDeleted, EventKind::SourceDeleted]);
}

#[tokio::test]
async fn many_segments_are_told_in_pieces_that_name_each_once() {
    let catalog = with_segments(&[]).await;
    let before = all(&catalog).await.len();
    put(&catalog, (0..250).flat_map(|at| register(1, at, &format!("o{at}"))).collect()).await.unwrap();
    let added = all(&catalog).await.split_off(before);
    let named: Vec<Vec<_>> = added
        .iter()
        .map(|one| {
            one.rows()
                .map(|row| match row {
                    Change::PutSegment(segment) => segment.timerange,
                    other => panic!("{other:?}"),
                })
                .collect()
        })
        .collect();
    assert_eq!(named.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
    assert_eq!(named.concat(), (0..250).map(second).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_no_flow_segment_or_source_tells_nothing() {
    let catalog = with_segments(&[0]).await;
    assert_eq!(told(&catalog, vec![put_object(media("other", 1))]).await, []);
    assert_eq!(told(&catalog, vec![Change::DeleteObject(object_id("other"), media("other", 1).place())]).await, []);
}

#[tokio::test]
async fn events_are_read_again_from_the_log_as_they_were_told() {
    let store = memory();
    let (catalog, _) = open(store.clone(), clock(1)).await.unwrap();
    // Committed together: the places of rows are those in the whole entry.
    let flows = (1..=3).map(|n| put(&catalog, vec![put_source(n), put_flow(n, n)]));
    futures::future::try_join_all(flows).await.unwrap();
    let segments = (1..=3).map(|n| {
        let object = format!("o{n}");
        put(&catalog, vec![put_object(media(&object, n)), put_segment(n, second(0), &object)])
    });
    futures::future::try_join_all(segments).await.unwrap();
    put(&catalog, vec![Change::DeleteSegment(SegmentKey { flow_id: flow_id(2), start: second(0).start_key() })])
        .await
        .unwrap();
    let show = |events: Vec<LoggedEvent>| -> Vec<_> {
        let rows = |one: &LoggedEvent| one.rows().cloned().collect::<Vec<_>>();
        events.iter().map(|one| (one.place, one.committed, (*one.event).clone(), rows(one))).collect()
    };
    let told = show(all(&catalog).await);
    assert_eq!(told.len(), 3 * 3 + 1);
    assert_eq!(told.iter().map(|one| one.0.seq).max(), Some(3), "the test is about entries of several commits");
    for (_, _, event, rows) in &told {
        let about: Vec<_> = rows
            .iter()
            .map(|row| match row {
                Change::PutSource(source) => source.id == event.source_id,
                Change::PutFlow(flow) => Some(flow.id) == event.flow_id,
                Change::PutSegment(segment) => Some(segment.flow_id) == event.flow_id,
                _ => false,
            })
            .collect();
        assert!(about.iter().all(|it_is| *it_is), "{event:?} {rows:?}");
    }
    catalog.close().await;
    let (again, _) = open(store, clock(2)).await.unwrap();
    assert_eq!(show(all(&again).await), told);
    // From any place on, the rest and nothing else.
    for (number, (place, ..)) in told.iter().enumerate() {
        let (rest, reached) = again.events().after(*place, usize::MAX).await.unwrap();
        assert_eq!(show(rest), told[number + 1..]);
        assert!(again.events().after(reached, usize::MAX).await.unwrap().0.is_empty());
    }
}
