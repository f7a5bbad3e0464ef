use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use tokio::sync::Notify;

use super::*;
use crate::catalog::SegmentScan;
use crate::catalog::tests::helpers::{self, ByHand, object_id, range, second};
use crate::clock::Clock;
use crate::domain::essence::MultiEssence;
use crate::domain::{Essence, FlowSegment, TimeRange, Timestamp};
use crate::media::{Expect, LocalMedia};
use crate::operations::{
    SegmentRefusal, SegmentRequest, Settings, StorageRequest, UncontrolledUrl, allocate_storage, ensure_storage_id,
    register_segments, register_sized_segments, write_media,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

struct World {
    tams: Tams,
    by_hand: ByHand,
    _folder: tempfile::TempDir,
}

impl World {
    /// With a Flow 1, and a Flow 2 whose segments need init objects.
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = helpers::clock(1);
        let by_hand = ByHand::open(helpers::memory(), clock.clone()).await;
        let (catalog, media) = (by_hand.catalog.clone(), LocalMedia::open(folder.path().into()).unwrap());
        let settings =
            Settings { object_timeout: DAY, storage_label: "local".into(), max_delete_segments: 10, min_free: 0 };
        let (collect, delete) = (Notify::new(), Notify::new());
        let tams = Tams { catalog, media, clock, settings, collect, delete, collecting: tokio::sync::Mutex::default() };
        ensure_storage_id(&tams).await.unwrap();
        let flow = |n, init_segments| {
            let mut flow = helpers::flow(n, 1);
            flow.technical.container = Some("video/mp2t".parse().unwrap());
            flow.technical.essence = Essence::Multi(Some(MultiEssence { init_segments }));
            Change::PutFlow(Arc::new(flow))
        };
        let flows = vec![helpers::put_source(1), flow(1, None), flow(2, Some(true))];
        helpers::put(&tams.catalog, flows).await.unwrap();
        Self { tams, by_hand, _folder: folder }
    }

    fn clock(&self) -> &Clock {
        &self.tams.clock
    }

    /// Storage for Objects; their keys.
    async fn allocate(&self, flow: u8, ids: &[&str]) -> Vec<String> {
        let object_ids = Some(ids.iter().map(|id| object_id(id)).collect());
        let request = StorageRequest { object_ids, ..StorageRequest::default() };
        let allocated = allocate_storage(&self.tams, helpers::flow_id(flow), request).await.unwrap();
        allocated.into_iter().map(|object| object.key).collect()
    }

    async fn upload(&self, id: &str, key: &str, bytes: usize) {
        let body = stream::iter([Ok::<_, Infallible>(Bytes::from(vec![7; bytes]))]);
        let expect = Expect { length: None, sha256: None, md5: None, max_length: 1_000 };
        write_media(&self.tams, &object_id(id), key, body, expect).await.unwrap();
    }

    async fn register(&self, flow: u8, requests: Vec<SegmentRequest>) -> Vec<Result<(), SegmentRefusal>> {
        register_segments(&self.tams, helpers::flow_id(flow), requests).await.unwrap()
    }

    async fn size(&self, id: &str) -> Option<i64> {
        let object = helpers::ask(&self.tams.catalog, |view| view.object(&object_id(id))).await;
        object.unwrap().size_bytes
    }

    async fn segments(&self, flow: u8) -> Vec<Arc<FlowSegment>> {
        let (flow_id, timerange) = (helpers::flow_id(flow), TimeRange::ETERNITY);
        let scan = SegmentScan { flow_id, timerange, reverse_order: false, after: None };
        helpers::ask(&self.tams.catalog, |view| view.scan_segments(&scan).collect()).await
    }
}

fn request(id: &str, at: i32) -> SegmentRequest {
    SegmentRequest {
        object_id: object_id(id),
        timerange: second(at),
        ts_offset: Timestamp::ZERO,
        object_timerange: None,
        last_duration: None,
        sample_offset: None,
        sample_count: None,
        get_urls: None,
        key_frame_count: None,
        init_object_id: None,
    }
}

fn with_init(id: &str, at: i32, init: &str) -> SegmentRequest {
    SegmentRequest { init_object_id: Some(object_id(init)), ..request(id, at) }
}

fn elsewhere(id: &str, at: i32) -> SegmentRequest {
    let url = UncontrolledUrl { url: "https://example.com/a".into(), label: Some("web".into()) };
    SegmentRequest { get_urls: Some(vec![url]), ..request(id, at) }
}

#[tokio::test]
async fn sizes_of_media_and_init_objects_are_those_of_their_files_and_of_others_are_not_known() {
    let world = World::new().await;
    let keys = world.allocate(2, &["one", "two", "init", "without"]).await;
    for (id, key, bytes) in [("one", &keys[0], 11), ("two", &keys[1], 0), ("init", &keys[2], 33)] {
        world.upload(id, key, bytes).await;
        assert_eq!(world.size(id).await, None, "not before it is registered");
    }
    let requests = ["one", "two", "without"].into_iter().zip(0..).map(|(id, at)| with_init(id, at, "init"));
    world.register(2, requests.collect()).await.into_iter().for_each(|outcome| outcome.unwrap());
    world.register(1, vec![elsewhere("elsewhere", 0)]).await.into_iter().for_each(|outcome| outcome.unwrap());
    for (id, size) in [("one", Some(11)), ("two", Some(0)), ("init", Some(33)), ("without", None), ("elsewhere", None)]
    {
        assert_eq!(world.size(id).await, size, "{id}");
    }
    world.by_hand.flush().await;
    assert_eq!((world.size("one").await, world.size("init").await), (Some(11), Some(33)), "from cold files");
}

#[tokio::test]
async fn an_upload_that_ends_after_the_registration_tells_the_size_also_of_an_object_in_a_cold_file() {
    for is_flushed in [false, true] {
        let world = World::new().await;
        let keys = world.allocate(1, &["late"]).await;
        world.register(1, vec![request("late", 0)]).await[0].as_ref().unwrap();
        if is_flushed {
            world.by_hand.flush().await;
        }
        assert_eq!(world.size("late").await, None);
        world.upload("late", &keys[0], 9).await;
        assert_eq!(world.size("late").await, Some(9));
    }
}

#[tokio::test]
async fn bytes_that_were_replaced_while_the_registration_was_decided_are_measured_again() {
    let world = World::new().await;
    let keys = world.allocate(1, &["raced"]).await;
    world.upload("raced", &keys[0], 5).await;
    let id = object_id("raced");
    let waiting = waiting(&world.tams, std::iter::once(&id));
    let sizes = stored(&world.tams, &waiting).await;
    world.upload("raced", &keys[0], 6).await;
    let requests = vec![request("raced", 0)];
    register_sized_segments(&world.tams, helpers::flow_id(1), requests, sizes.clone()).await.unwrap();
    assert_eq!(world.size("raced").await, Some(5));
    note_new(&world.tams, waiting, &sizes).await;
    assert_eq!(world.size("raced").await, Some(6));
}

#[tokio::test]
async fn a_segment_knows_when_it_was_registered_and_the_same_again_changes_nothing() {
    let world = World::new().await;
    let keys = world.allocate(1, &["one"]).await;
    world.upload("one", &keys[0], 3).await;
    let first = world.clock().now();
    let requests = || vec![request("one", 0), elsewhere("two", 1)];
    for is_flushed in [false, true] {
        world.register(1, requests()).await.into_iter().for_each(|outcome| outcome.unwrap());
        let seq = world.tams.catalog.snapshot().seq();
        world.clock().advance(DAY);
        world.register(1, requests()).await.into_iter().for_each(|outcome| outcome.unwrap());
        assert_eq!(world.tams.catalog.snapshot().seq(), seq, "no commit");
        let segments = world.segments(1).await;
        assert!(
            segments.len() == 2 && segments.iter().all(|segment| segment.registered == Some(first)),
            "{segments:?}"
        );
        if !is_flushed {
            world.by_hand.flush().await;
        }
    }
    // One that says something else is still refused.
    let other = SegmentRequest { timerange: range("[0:0_0:500000000)"), ..request("one", 0) };
    assert!(matches!(world.register(1, vec![other]).await[0], Err(SegmentRefusal::Overlap { .. })));
}
