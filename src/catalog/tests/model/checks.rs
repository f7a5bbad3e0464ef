//! Runs a history and compares everything that can be asked.

use super::*;
use crate::catalog::fsck::{Scope, fsck, problems_between_rows};
use crate::catalog::progress::Silent;

/// Longer than files that nobody knows of are left alone.
const HOURS: Duration = Duration::from_secs(3 * 60 * 60);

async fn open(store: &Arc<dyn Store>, clock: &crate::clock::Clock) -> (Catalog, Log) {
    open_without_cache(store.clone(), clock.clone()).await.unwrap()
}

pub async fn replay(actions: &[Action]) {
    let (store, clock) = (memory(), clock(1));
    let (mut catalog, mut log) = open(&store, &clock).await;
    let mut model = Model::default();
    let mut looked = Looked::default();
    for action in actions {
        clock.advance(Duration::from_secs(1));
        let before = catalog.snapshot();
        let acts = model.act(action, clock.now(), before.flushed() > looked.seen);
        match action {
            Action::Look { most } => {
                let suspects: Vec<_> = before.suspects().take(*most).cloned().collect();
                let mut verdicts = Vec::new();
                for id in suspects {
                    let referenced = ask(&catalog, |view| view.is_referenced(&id)).await;
                    verdicts.push((id, referenced));
                }
                looked = Looked { seen: before.seq(), verdicts };
            }
            Action::Flush => drop(flush::flush(&log, &catalog).await.unwrap()),
            Action::Compact => compact::compact(&log, &catalog, 2).await.unwrap(),
            Action::CompactAll => {
                compact::compact_all(&log, &catalog).await.unwrap();
            }
            Action::Restart { checkpoint } => {
                if *checkpoint {
                    checkpoint::write(&log, &before).await.unwrap();
                }
                catalog.close().await;
                (catalog, log) = open(&store, &clock).await;
                assert_same(&catalog.snapshot(), &before, "after a restart");
            }
            Action::Tidy => {
                clock.advance(HOURS);
                checkpoint::write(&log, &before).await.unwrap();
                checkpoint::truncate(&log, before.seq(), keep(Duration::ZERO)).await.unwrap();
                compact::delete_retired(&log, &catalog, Duration::ZERO).await.unwrap();
                compact::delete_orphans(&log, &catalog).await.unwrap();
                only_known_files(&catalog, &*store).await;
            }
            _ => {
                let asked = (action.clone(), looked.clone());
                commit(&catalog, move |view, now| Ok((decide(view, now, &asked.0, &asked.1)?, ()))).await.unwrap();
                if matches!(action, Action::Judge) {
                    looked = Looked::default();
                }
            }
        }
        if !action.is_maintenance() {
            assert_eq!(catalog.snapshot().seq() > before.seq(), acts, "{action:?}");
        } else {
            assert_eq!(problems_between_rows(&log, &catalog.snapshot()).await, [""; 0], "after {action:?}");
        }
        same(&catalog, &model).await;
    }
    checkpoint::write(&log, &catalog.snapshot()).await.unwrap();
    let scope = Scope { level: 4, media: None, always_media: false };
    let report = fsck(store.clone(), clock.clone(), &scope, &Silent).await.unwrap();
    assert_eq!(report.problems, 0, "{:#?}", report.findings);
    let (from_checkpoint, _) = open(&store, &clock).await;
    assert_same(&from_checkpoint.snapshot(), &catalog.snapshot(), "from a checkpoint");
    every_scan(&from_checkpoint, &model).await;
}

async fn only_known_files(catalog: &Catalog, store: &dyn Store) {
    let state = catalog.snapshot();
    let known = known_files(&state);
    let found: BTreeSet<_> = store.list(paths::TABLES).await.unwrap().into_iter().collect();
    assert_eq!(found, known, "files and what is known of them");
}

async fn same(catalog: &Catalog, model: &Model) {
    let state = catalog.snapshot();
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
        let being_deleted = model.requests.iter().any(|request| request.flow == flow && request.delete_flow);
        assert_eq!(state.is_being_deleted(flow_id(flow)), being_deleted);
    }
    let ids = |ids: &mut dyn Iterator<Item = &&'static str>| ids.map(|id| object_id(id)).collect::<BTreeSet<_>>();
    assert_eq!(state.condemned().cloned().collect::<BTreeSet<_>>(), ids(&mut model.condemned.iter()), "condemned");
    assert_eq!(state.suspects().cloned().collect::<BTreeSet<_>>(), ids(&mut model.suspects.keys()), "suspects");
    for id in model.media.keys().chain(model.inits.keys()).filter(|id| !model.is_used(id)) {
        assert!(model.suspects.contains_key(id) || model.condemned.contains(id), "{id} would stay for ever");
    }
    for id in OBJECTS.iter().chain(&INITS) {
        ask(catalog, |view| object(view, model, id)).await;
    }
    for flow in 1..=FLOWS {
        ask(catalog, |view| scan(view, model, flow, Span::ALL)).await;
        ask(catalog, |view| each_segment(view, model, flow)).await;
    }
    ask(catalog, |view| {
        for (asked, request) in model.requests.iter().zip(view.delete_requests().filter(|request| !request.is_done())) {
            let left = view.still_to_delete(request).collect::<Result<Vec<_>, _>>()?;
            let left: Vec<_> = left.iter().map(|segment| segment.timerange).collect();
            let expected: Vec<_> = model.covered(asked).into_iter().map(|(_, span, _)| span.range()).collect();
            assert_eq!(left, expected, "left of {request:?}");
        }
        Ok(())
    })
    .await;
}

fn object(view: View<'_>, model: &Model, id: &str) -> Result<(), ReadError> {
    let found = view.object(&object_id(id))?;
    let expected = model.media.get(id).map(|row| (flow_id(row.first_flow), row.init.map(object_id)));
    let expected = expected.or_else(|| model.inits.get(id).map(|flow| (flow_id(*flow), None)));
    assert_eq!(found.map(|row| (row.first_flow, row.init_object.clone())), expected, "the row of {id}");
    assert_eq!(view.is_referenced(&object_id(id))?, model.is_used(id), "whether {id} is used");
    let uses = |media: &str| media == id || model.media[media].init == Some(id);
    let flows: BTreeSet<u8> = model
        .segments
        .iter()
        .filter(|(flow, _, media)| uses(media) && model.flows.contains_key(flow))
        .map(|(flow, ..)| *flow)
        .collect();
    for after in 0..=FLOWS {
        let expected: Vec<_> = flows.iter().filter(|flow| **flow > after).map(|flow| flow_id(*flow)).collect();
        let after = (after > 0).then(|| flow_id(after));
        let found = view.flows_referring_to(&object_id(id), after).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(found, expected, "{id} after {after:?}");
    }
    Ok(())
}

fn each_segment(view: View<'_>, model: &Model, flow: u8) -> Result<(), ReadError> {
    for (_, span, object) in model.segments.iter().filter(|(of, ..)| *of == flow) {
        let key = SegmentKey { flow_id: flow_id(flow), start: span.range().start_key() };
        let found = view.segment(&key)?.unwrap_or_else(|| panic!("{key:?} is not there"));
        let init = model.media[object].init.map(object_id);
        assert_eq!((found.timerange, &found.object_id), (span.range(), &object_id(object)));
        assert_eq!(found.init_object, init, "the init object of {key:?}");
        let row = view.object_of(&found)?.unwrap_or_else(|| panic!("the Object of {key:?} is not there"));
        assert_eq!((&row.id, &row.init_object), (&object_id(object), &init));
    }
    Ok(())
}

/// All windows, both directions, all sizes of page.
async fn every_scan(catalog: &Catalog, model: &Model) {
    let bounds = || (0..PLACES).flat_map(|at| [Some((at, true)), Some((at, false))]).chain([None]);
    for flow in 1..=FLOWS {
        ask(catalog, |view| {
            for start in bounds() {
                for end in bounds() {
                    scan(view, model, flow, Span { start, end })?;
                }
            }
            paged(view, model, flow, Span::ALL)
        })
        .await;
    }
}

fn scan(view: View<'_>, model: &Model, flow: u8, window: Span) -> Result<(), ReadError> {
    let expected = model.scan(flow, window);
    let (id, timerange) = (flow_id(flow), window.range());
    let extent = match (expected.first(), expected.last()) {
        (Some((first, _)), Some((last, _))) => TimeRange::new(first.start(), last.end()),
        _ => TimeRange::NEVER,
    };
    assert_eq!(view.segments_extent(id, timerange)?, extent, "extent in {timerange}");
    let overlapping = view.overlapping_segment(id, timerange)?.map(|segment| segment.timerange);
    assert_eq!(overlapping, expected.first().map(|(range, _)| *range), "overlapping {timerange}");
    for reverse_order in [false, true] {
        let found = page(view, flow, window, reverse_order, None, usize::MAX)?;
        let mut expected = expected.clone();
        if reverse_order {
            expected.reverse();
        }
        assert_eq!(found, expected, "in {timerange}, reverse {reverse_order}");
    }
    let using = |id: &ObjectId| expected.iter().filter(|(_, object)| object == id).cloned().collect::<Vec<_>>();
    for id in OBJECTS.map(object_id) {
        let scan = SegmentScan { flow_id: flow_id(flow), timerange, reverse_order: false, after: None };
        let found = view.segments_using(&scan, &id).collect::<Result<Vec<_>, _>>()?;
        let found: Vec<_> = found.iter().map(|segment| (segment.timerange, segment.object_id.clone())).collect();
        assert_eq!(found, using(&id), "using {id} in {timerange}");
    }
    if expected.len() > 1 { paged(view, model, flow, window) } else { Ok(()) }
}

fn paged(view: View<'_>, model: &Model, flow: u8, window: Span) -> Result<(), ReadError> {
    let mut expected = model.scan(flow, window);
    for reverse_order in [false, true] {
        for size in 1..=expected.len() + 1 {
            let (mut found, mut after) = (Vec::new(), None);
            // One more than it takes, so that a page that comes again is seen and not asked for without end.
            for _ in 0..=expected.len() {
                let page = page(view, flow, window, reverse_order, after, size)?;
                after = page.last().map_or(after, |(last, _)| Some(last.start_key()));
                found.extend(page);
            }
            assert_eq!(found, expected, "in {:?}, reverse {reverse_order}, pages of {size}", window.range());
        }
        expected.reverse();
    }
    Ok(())
}

fn page(
    view: View<'_>,
    flow: u8,
    window: Span,
    reverse_order: bool,
    after: Option<i128>,
    size: usize,
) -> Result<Vec<(TimeRange, ObjectId)>, ReadError> {
    let scan = SegmentScan { flow_id: flow_id(flow), timerange: window.range(), reverse_order, after };
    let found = view.scan_segments(&scan).take(size);
    found.map(|segment| segment.map(|segment| (segment.timerange, segment.object_id.clone()))).collect()
}
