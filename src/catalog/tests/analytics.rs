//! The catalogue of `tests/analytics`, whose rows are told as JSON.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use arrow::json::ReaderBuilder;
use serde::de::DeserializeOwned;

use super::helpers;
use crate::catalog::rows::{
    self, DeleteRequestRow, FlowRow, ObjectRow, ProfileRow, SegmentRow, ServiceRow, SourceRow, StoredFlow, WebhookRow,
};
use crate::catalog::tables::Table;
use crate::catalog::{Catalog, Change};
use crate::clock::Clock;
use crate::domain::FlowSegment;

const AT_ONCE: usize = 500;

/// Commits the rows of all tables. The clock moves to the moments at which Flows' segments last changed.
pub async fn load(catalog: &Catalog, clock: &Clock) {
    let mut changes: Vec<Change> = Vec::new();
    changes.extend(read::<ServiceRow>(Table::Service).into_iter().map(|row| Change::PutService(Arc::new(row.into()))));
    let profiles = read::<ProfileRow>(Table::Profiles).into_iter();
    changes.extend(profiles.map(|row| Change::PutProfile(Arc::new(row.try_into().unwrap()))));
    let sources = read::<SourceRow>(Table::Sources).into_iter();
    changes.extend(sources.map(|row| Change::PutSource(Arc::new(row.try_into().unwrap()))));
    let flows = read::<FlowRow>(Table::Flows).into_iter().map(|row| StoredFlow::try_from(row).unwrap());
    let mut flows: Vec<StoredFlow> = flows.collect();
    changes.extend(flows.iter().map(|stored| Change::PutFlow(stored.flow.clone())));
    let objects = read::<ObjectRow>(Table::Objects).into_iter();
    changes.extend(objects.map(|row| Change::PutObject(Arc::new(row.try_into().unwrap()))));
    let requests = read::<DeleteRequestRow>(Table::FlowDeleteRequests).into_iter();
    changes.extend(requests.map(|row| Change::PutDeleteRequest(Arc::new(row.try_into().unwrap()))));
    let webhooks = read::<WebhookRow>(Table::Webhooks).into_iter();
    changes.extend(webhooks.map(|row| Change::PutWebhook(Arc::new(row.try_into().unwrap()))));
    put(catalog, &changes).await;
    let segments = read::<SegmentRow>(Table::FlowSegments).into_iter();
    let segments: Vec<FlowSegment> = segments.map(|row| row.try_into().unwrap()).collect();
    flows.sort_by_key(|stored| stored.segments_updated);
    for stored in flows {
        let Some(updated) = stored.segments_updated else { continue };
        clock.advance((updated - clock.now()).to_std().unwrap());
        let own = segments.iter().filter(|segment| segment.flow_id == stored.flow.id);
        put(catalog, &own.map(|segment| Change::PutSegment(Arc::new(segment.clone()))).collect::<Vec<_>>()).await;
    }
}

async fn put(catalog: &Catalog, changes: &[Change]) {
    for changes in changes.chunks(AT_ONCE) {
        helpers::put(catalog, changes.to_vec()).await.unwrap();
    }
}

fn read<R: DeserializeOwned>(table: Table) -> Vec<R> {
    let text = std::fs::read_to_string(format!("tests/analytics/tables/{}.json", table.name())).unwrap();
    let values: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    let schema: SchemaRef = Arc::new(Schema::new(table.log_fields().to_vec()));
    let mut decoder = ReaderBuilder::new(schema).with_batch_size(values.len().max(1)).build_decoder().unwrap();
    decoder.serialize(&values).unwrap();
    decoder.flush().unwrap().map(|batch| rows::from_batch(&batch).unwrap()).unwrap_or_default()
}
