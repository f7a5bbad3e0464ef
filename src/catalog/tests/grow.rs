//! A catalogue of a hundred million segments out of one of ten: its segments again and again, under the ids of other Flows,
//! with the Objects that there are. For measurements (docs/performance.md); what refers to an Object is not told of them.
//!
//! `GROW_DATA=/srv/tams-bench GROW_COPIES=9 cargo test --lib tests::grow -- --ignored`

use std::path::PathBuf;
use std::sync::Arc;

use super::helpers::{put, settings};
use crate::catalog::cold::segments_batch;
use crate::catalog::flush::NewFiles;
use crate::catalog::{Catalog, Change, ColdTable, LocalStore, pages};
use crate::clock::Clock;
use crate::domain::{Flow, FlowId, FlowSegment};

const ROWS: u64 = 1_000_000;
const PAGES: u32 = 8;

/// Ids keep their order, and lie between those of the copies before and after it.
fn copied(id: FlowId, copy: u32, copies: u32) -> FlowId {
    let mut bytes = *id.as_bytes();
    let (head, _) = bytes.split_first_chunk_mut::<4>().unwrap();
    *head = (u32::from_be_bytes(*head) / copies + copy * (u32::MAX / copies)).to_be_bytes();
    FlowId::from_random(bytes)
}

#[tokio::test]
#[ignore = "it makes a catalogue for measurements, and takes minutes"]
async fn grow() {
    let data = PathBuf::from(std::env::var_os("GROW_DATA").expect("GROW_DATA names the folder"));
    let copies: u32 = std::env::var("GROW_COPIES").map_or(9, |text| text.parse().unwrap());
    let store = Arc::new(LocalStore::open(data.join("catalog")).unwrap());
    let (catalog, committer, _) = Catalog::recover(store, Clock::system(), settings()).await.unwrap();
    let log = committer.log.clone();
    tokio::spawn(committer.run());
    let state = catalog.snapshot();
    let files: Vec<_> = state.files_of(ColdTable::FlowSegments).cloned().collect();
    assert!(files.windows(2).all(|two| two[0].meta.last_key < two[1].meta.first_key), "compact it first");

    let mut new = NewFiles::new(&log, state.seq);
    for copy in 0..copies {
        let mut writer = new.writer(ColdTable::FlowSegments).unwrap();
        let mut written = 0;
        for file in &files {
            let index = pages::read_index(&*log.store, file).await.unwrap();
            for group in 0..index.row_groups() {
                let all = index.pages_of(group);
                for first in all.clone().step_by(PAGES as usize) {
                    let some = first..all.end.min(first + PAGES);
                    let page = pages::read_pages(&*log.store, file, &index, some).await.unwrap();
                    let rows: Vec<_> = (0..page.len())
                        .map(|row| {
                            let segment = page.segment(row).unwrap();
                            let object_place = segment.object_place.or_else(|| segment.likely_place());
                            let flow_id = copied(segment.flow_id, copy, copies);
                            (page.lsn(row), FlowSegment { flow_id, object_place, ..segment })
                        })
                        .collect();
                    let rows: Vec<_> = rows.iter().map(|(lsn, segment)| (*lsn, segment)).collect();
                    writer.push(&segments_batch(&rows).unwrap()).unwrap();
                    written += rows.len() as u64;
                }
                if written >= ROWS {
                    let full = std::mem::replace(&mut writer, new.writer(ColdTable::FlowSegments).unwrap());
                    new.put(full.finish().unwrap()).await.unwrap();
                    written = 0;
                }
            }
        }
        if written > 0 {
            new.put(writer.finish().unwrap()).await.unwrap();
        }
        println!("copy {copy} of {copies}");
    }
    let flows: Vec<_> = state.flows().cloned().collect();
    for copy in 0..copies {
        for some in flows.chunks(500) {
            let mut changes = Vec::new();
            for flow in some {
                let id = copied(flow.id, copy, copies);
                changes.push(Change::PutFlow(Arc::new(Flow { id, flow_collection: Vec::new(), ..Flow::clone(flow) })));
                if let Some(timerange) = state.cold_extents.get(&flow.id) {
                    changes.push(Change::PutColdExtent { flow_id: id, timerange: *timerange });
                }
            }
            put(&catalog, changes).await.unwrap();
        }
    }
    let files = std::mem::take(&mut new.files);
    put(&catalog, files.into_iter().map(|file| Change::PutFile(Arc::new(file))).collect()).await.unwrap();
    crate::catalog::checkpoint::write(&log, &catalog.snapshot()).await.unwrap();
    catalog.close().await;
}
