//! Columns of `events`.

use serde::{Deserialize, Serialize};

use super::{RowError, times};
use crate::domain::{Event, EventKind, FlowId, SourceId, TimeRange};

#[derive(Debug, Serialize, Deserialize)]
pub struct EventRow {
    kind: String,
    flow_id: Option<FlowId>,
    source_id: SourceId,
    flow_collected_by: Vec<FlowId>,
    source_collected_by: Vec<SourceId>,
    start_seconds: Option<i64>,
    start_nanoseconds: Option<i32>,
    start_inclusive: Option<bool>,
    end_seconds: Option<i64>,
    end_nanoseconds: Option<i32>,
    end_inclusive: Option<bool>,
    segments_updated: Option<i64>,
    changes: Vec<u32>,
}

impl From<&Event> for EventRow {
    fn from(event: &Event) -> Self {
        let (start, end) = event.timerange.map_or((None, None), |range| (range.start(), range.end()));
        let (start_seconds, start_nanoseconds, start_inclusive) = times::bound_columns(start);
        let (end_seconds, end_nanoseconds, end_inclusive) = times::bound_columns(end);
        Self {
            kind: event.kind.word().to_owned(),
            flow_id: event.flow_id,
            source_id: event.source_id,
            flow_collected_by: event.flow_collected_by.clone(),
            source_collected_by: event.source_collected_by.clone(),
            start_seconds,
            start_nanoseconds,
            start_inclusive,
            end_seconds,
            end_nanoseconds,
            end_inclusive,
            segments_updated: event.segments_updated.map(times::micros),
            changes: event.changes.clone(),
        }
    }
}

impl TryFrom<EventRow> for Event {
    type Error = RowError;
    fn try_from(row: EventRow) -> Result<Self, RowError> {
        let start = times::bound((row.start_seconds, row.start_nanoseconds, row.start_inclusive))?;
        let end = times::bound((row.end_seconds, row.end_nanoseconds, row.end_inclusive))?;
        Ok(Self {
            kind: EventKind::from_word(&row.kind)
                .ok_or_else(|| RowError(format!("{:?} is no kind of event", row.kind)))?,
            flow_id: row.flow_id,
            source_id: row.source_id,
            flow_collected_by: row.flow_collected_by,
            source_collected_by: row.source_collected_by,
            timerange: (start.is_some() && end.is_some()).then(|| TimeRange::new(start, end)),
            segments_updated: row.segments_updated.map(times::utc).transpose()?,
            changes: row.changes,
        })
    }
}
