//! Runs a history and compares everything that can be asked.

use super::*;

pub async fn replay(actions: &[Action]) {
    let (store, clock) = (memory(), clock(1));
    let (mut catalog, mut log) = open(store.clone(), clock.clone()).await.unwrap();
    let mut model = Model::default();
    for action in actions {
        clock.advance(Duration::from_secs(1));
        let acts = model.act(action, clock.now());
        let (asked, before) = (action.clone(), catalog.snapshot().seq());
        let decided = catalog.commit(64, move |state, now| Ok::<_, CommitError>((decide(state, now, &asked), ())));
        decided.await.unwrap();
        assert_eq!(catalog.snapshot().seq() > before, acts, "{action:?}");
        same(&catalog.snapshot(), &model);
        if let Action::Restart { checkpoint } = action {
            let state = catalog.snapshot();
            if *checkpoint {
                checkpoint::write(&log, &state).await.unwrap();
            }
            catalog.close().await;
            (catalog, log) = open(store.clone(), clock.clone()).await.unwrap();
            assert_same(&catalog.snapshot(), &state, "after a restart");
        }
    }
    checkpoint::write(&log, &catalog.snapshot()).await.unwrap();
    let (from_checkpoint, _) = open(store, clock).await.unwrap();
    assert_same(&from_checkpoint.snapshot(), &catalog.snapshot(), "from a checkpoint");
    every_scan(&catalog, &model);
}

fn same(state: &State, model: &Model) {
    let flows: Vec<_> = model.flows.keys().map(|flow| flow_id(*flow)).collect();
    assert_eq!(state.flows().map(|flow| flow.id).collect::<Vec<_>>(), flows);
    let sources: BTreeSet<_> = model.flows.values().map(|(source, ..)| source_id(*source)).collect();
    assert_eq!(state.sources().map(|source| source.id).collect::<BTreeSet<_>>(), sources);
    for source in 1..=2 {
        let of_source = model.flows.iter().filter(|(_, (of, ..))| *of == source).map(|(flow, _)| flow_id(*flow));
        let found: Vec<_> = state.flows_of_source(source_id(source)).map(|flow| flow.id).collect();
        assert_eq!(found, of_source.collect::<Vec<_>>());
    }
    for flow in 1..=FLOWS {
        let collectors = model.flows.iter().filter(|(_, (_, members, _))| members.contains(&flow));
        let collectors: Vec<_> = collectors.map(|(collector, _)| flow_id(*collector)).collect();
        assert_eq!(state.collectors_of(flow_id(flow)).collect::<Vec<_>>(), collectors);
        let updated = model.flows.get(&flow).and_then(|(_, _, updated)| *updated);
        assert_eq!(state.segments_updated(flow_id(flow)), updated, "segments_updated of {flow}");
    }
    let objects = model.media.keys().chain(&model.inits);
    let condemned: BTreeSet<_> = objects.clone().filter(|id| model.is_condemned(id)).map(|id| object_id(id)).collect();
    assert_eq!(state.condemned().map(|object| object.id.clone()).collect::<BTreeSet<_>>(), condemned);
    assert_eq!(state.objects.len(), objects.count());
    for object in state.objects.values().map(|stored| &stored.row) {
        referring(state, model, object);
    }
}

fn referring(state: &State, model: &Model, object: &MediaObject) {
    let id = object.id.as_str();
    let uses = |media: &str| media == id || model.media.get(media).is_some_and(|init| *init == Some(id));
    let flows: BTreeSet<u8> =
        model.segments.iter().filter(|(_, _, media)| uses(media)).map(|(flow, ..)| *flow).collect();
    for after in 0..=FLOWS {
        let expected: Vec<_> = flows.iter().filter(|flow| **flow > after).map(|flow| flow_id(*flow)).collect();
        let after = (after > 0).then(|| flow_id(after));
        assert_eq!(state.flows_referring_to(object, after).collect::<Vec<_>>(), expected, "{id} after {after:?}");
    }
}

/// All windows, both directions, all sizes of page.
fn every_scan(catalog: &Catalog, model: &Model) {
    let state = catalog.snapshot();
    let starts = (0..PLACES).flat_map(|at| [Some((at, true)), Some((at, false))]).chain([None]);
    for start in starts {
        let ends = (0..PLACES).flat_map(|at| [Some((at, true)), Some((at, false))]).chain([None]);
        for window in ends.map(|end| Span { start, end }) {
            for flow in 1..=FLOWS {
                scan(&state, model, flow, window);
            }
        }
    }
    for flow in 1..=FLOWS {
        paged(&state, model, flow, Span::ALL);
    }
}

fn scan(state: &State, model: &Model, flow: u8, window: Span) {
    let expected = model.scan(flow, window);
    let (id, timerange) = (flow_id(flow), window.range());
    let extent = match (expected.first(), expected.last()) {
        (Some((first, _)), Some((last, _))) => TimeRange::new(first.start(), last.end()),
        _ => TimeRange::NEVER,
    };
    assert_eq!(state.segments_extent(id, timerange), extent, "extent in {timerange}");
    let overlapping = state.overlapping_segment(id, timerange).map(|segment| segment.timerange);
    assert_eq!(overlapping, expected.first().map(|(range, _)| *range), "overlapping {timerange}");
    for reverse_order in [false, true] {
        let found = page(state, flow, window, reverse_order, None, usize::MAX);
        let mut expected = expected.clone();
        if reverse_order {
            expected.reverse();
        }
        assert_eq!(found, expected, "in {timerange}, reverse {reverse_order}");
    }
    if expected.len() > 1 {
        paged(state, model, flow, window);
    }
}

fn paged(state: &State, model: &Model, flow: u8, window: Span) {
    let mut expected = model.scan(flow, window);
    for reverse_order in [false, true] {
        for size in 1..=expected.len() + 1 {
            let (mut found, mut after) = (Vec::new(), None);
            // One more than it takes, so that a page that comes again is seen and not asked for without end.
            for _ in 0..=expected.len() {
                let page = page(state, flow, window, reverse_order, after, size);
                after = page.last().map_or(after, |(last, _)| Some(last.start_key()));
                found.extend(page);
            }
            assert_eq!(found, expected, "in {:?}, reverse {reverse_order}, pages of {size}", window.range());
        }
        expected.reverse();
    }
}

fn page(
    state: &State,
    flow: u8,
    window: Span,
    reverse_order: bool,
    after: Option<i128>,
    size: usize,
) -> Vec<(TimeRange, ObjectId)> {
    let scan = SegmentScan { flow_id: flow_id(flow), timerange: window.range(), reverse_order, after };
    let found = state.scan_segments(&scan).take(size);
    found.map(|segment| (segment.timerange, segment.object_id.clone())).collect()
}
