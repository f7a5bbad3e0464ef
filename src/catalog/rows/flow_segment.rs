//! Columns of `flow_segments`, of their keys, and of range deletions.

use serde::{Deserialize, Serialize};

use super::{RowError, times};
use crate::catalog::change::SegmentKey;
use crate::domain::{FlowId, FlowSegment, ObjectId, ObjectPlace, TimeRange};

#[derive(Debug, Serialize, Deserialize)]
pub struct SegmentRow {
    flow_id: FlowId,
    start_seconds: Option<i64>,
    start_nanoseconds: Option<i32>,
    start_inclusive: Option<bool>,
    end_seconds: Option<i64>,
    end_nanoseconds: Option<i32>,
    end_inclusive: Option<bool>,
    object_id: ObjectId,
    ts_offset_seconds: i64,
    ts_offset_nanoseconds: i32,
    last_duration_seconds: Option<i64>,
    last_duration_nanoseconds: Option<i32>,
    sample_offset: Option<i64>,
    sample_count: Option<i64>,
    init_object: Option<ObjectId>,
    object_flow: Option<FlowId>,
    object_start_seconds: Option<i64>,
    object_start_nanoseconds: Option<i32>,
    object_start_inclusive: Option<bool>,
    registered: Option<i64>,
}

impl From<&FlowSegment> for SegmentRow {
    fn from(segment: &FlowSegment) -> Self {
        let (start_seconds, start_nanoseconds, start_inclusive) = times::bound_columns(segment.timerange.start());
        let (end_seconds, end_nanoseconds, end_inclusive) = times::bound_columns(segment.timerange.end());
        let (ts_offset_seconds, ts_offset_nanoseconds) = segment.ts_offset.to_parts();
        let object_start = segment.object_place.and_then(|place| TimeRange::from_keys(place.start, i128::MAX).start());
        let (object_start_seconds, object_start_nanoseconds, object_start_inclusive) =
            times::bound_columns(object_start);
        let last_duration = segment.last_duration.map(|duration| duration.to_parts());
        Self {
            flow_id: segment.flow_id,
            start_seconds,
            start_nanoseconds,
            start_inclusive,
            end_seconds,
            end_nanoseconds,
            end_inclusive,
            object_id: segment.object_id.clone(),
            ts_offset_seconds,
            ts_offset_nanoseconds,
            last_duration_seconds: last_duration.map(|(seconds, _)| seconds),
            last_duration_nanoseconds: last_duration.map(|(_, nanoseconds)| nanoseconds),
            sample_offset: segment.sample_offset,
            sample_count: segment.sample_count,
            init_object: segment.init_object.clone(),
            object_flow: segment.object_place.map(|place| place.flow_id),
            object_start_seconds,
            object_start_nanoseconds,
            object_start_inclusive,
            registered: segment.registered.map(times::micros),
        }
    }
}

impl TryFrom<SegmentRow> for FlowSegment {
    type Error = RowError;
    fn try_from(row: SegmentRow) -> Result<Self, RowError> {
        let last_duration = match (row.last_duration_seconds, row.last_duration_nanoseconds) {
            (None, None) => None,
            (Some(seconds), Some(nanoseconds)) => Some(times::timestamp(seconds, nanoseconds)?),
            _ => return Err(RowError("a last_duration is half there".into())),
        };
        Ok(Self {
            flow_id: row.flow_id,
            timerange: times::bounded(
                (row.start_seconds, row.start_nanoseconds, row.start_inclusive),
                (row.end_seconds, row.end_nanoseconds, row.end_inclusive),
            )?,
            object_id: row.object_id,
            ts_offset: times::timestamp(row.ts_offset_seconds, row.ts_offset_nanoseconds)?,
            last_duration,
            sample_offset: row.sample_offset,
            sample_count: row.sample_count,
            init_object: row.init_object,
            object_place: match row.object_flow {
                None => None,
                Some(flow_id) => {
                    let start = (row.object_start_seconds, row.object_start_nanoseconds, row.object_start_inclusive);
                    Some(ObjectPlace { flow_id, start: TimeRange::new(times::bound(start)?, None).start_key() })
                }
            },
            registered: row.registered.map(times::utc).transpose()?,
        })
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub struct SegmentKeyRow {
    flow_id: FlowId,
    start_seconds: Option<i64>,
    start_nanoseconds: Option<i32>,
    start_inclusive: Option<bool>,
}

impl From<SegmentKey> for SegmentKeyRow {
    fn from(key: SegmentKey) -> Self {
        let start = TimeRange::from_keys(key.start, i128::MAX).start();
        let (start_seconds, start_nanoseconds, start_inclusive) = times::bound_columns(start);
        Self { flow_id: key.flow_id, start_seconds, start_nanoseconds, start_inclusive }
    }
}

impl TryFrom<SegmentKeyRow> for SegmentKey {
    type Error = RowError;
    fn try_from(row: SegmentKeyRow) -> Result<Self, RowError> {
        let start = times::bound((row.start_seconds, row.start_nanoseconds, row.start_inclusive))?
            .ok_or_else(|| RowError("a segment's key has no start".into()))?;
        Ok(Self { flow_id: row.flow_id, start: TimeRange::new(Some(start), None).start_key() })
    }
}

/// A Flow and a timerange that is not empty; either end may be open.
#[derive(Debug, Serialize, Deserialize)]
pub struct RangeRow {
    flow_id: FlowId,
    start_seconds: Option<i64>,
    start_nanoseconds: Option<i32>,
    start_inclusive: Option<bool>,
    end_seconds: Option<i64>,
    end_nanoseconds: Option<i32>,
    end_inclusive: Option<bool>,
}

impl From<(FlowId, TimeRange)> for RangeRow {
    fn from((flow_id, timerange): (FlowId, TimeRange)) -> Self {
        debug_assert!(!timerange.is_never(), "an empty range has no ends, which would read as eternity");
        let (start_seconds, start_nanoseconds, start_inclusive) = times::bound_columns(timerange.start());
        let (end_seconds, end_nanoseconds, end_inclusive) = times::bound_columns(timerange.end());
        Self { flow_id, start_seconds, start_nanoseconds, start_inclusive, end_seconds, end_nanoseconds, end_inclusive }
    }
}

impl RangeRow {
    /// Of an extent, which can be never, but has no open ends: no ends mean never here.
    pub fn of_extent(flow_id: FlowId, extent: TimeRange) -> Self {
        let (start_seconds, start_nanoseconds, start_inclusive) = times::bound_columns(extent.start());
        let (end_seconds, end_nanoseconds, end_inclusive) = times::bound_columns(extent.end());
        Self { flow_id, start_seconds, start_nanoseconds, start_inclusive, end_seconds, end_nanoseconds, end_inclusive }
    }

    pub fn extent(self) -> Result<(FlowId, TimeRange), RowError> {
        let start = (self.start_seconds, self.start_nanoseconds, self.start_inclusive);
        let end = (self.end_seconds, self.end_nanoseconds, self.end_inclusive);
        if start == (None, None, None) && end == (None, None, None) {
            return Ok((self.flow_id, TimeRange::NEVER));
        }
        Ok((self.flow_id, times::bounded(start, end)?))
    }
}

impl TryFrom<RangeRow> for (FlowId, TimeRange) {
    type Error = RowError;
    fn try_from(row: RangeRow) -> Result<Self, RowError> {
        let start = times::bound((row.start_seconds, row.start_nanoseconds, row.start_inclusive))?;
        let end = times::bound((row.end_seconds, row.end_nanoseconds, row.end_inclusive))?;
        Ok((row.flow_id, TimeRange::new(start, end)))
    }
}
