//! A Flow Segment: a stretch of a Flow's timeline, and the Object (or part of one) that holds it.

use super::{FlowId, ObjectId, TimeRange, Timestamp, UtcTime};

/// Never changes: a different segment is a deleted one and a new one. No two of a Flow overlap.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowSegment {
    pub flow_id: FlowId,
    /// On the Flow's timeline; bounded and not empty.
    pub timerange: TimeRange,
    pub object_id: ObjectId,
    /// Flow time = Object time + `ts_offset`.
    pub ts_offset: Timestamp,
    /// Duration of the last sample, where it differs; not negative.
    pub last_duration: Option<Timestamp>,
    /// Deprecated since TAMS 8.0; kept and returned, not used.
    pub sample_offset: Option<i64>,
    /// Deprecated since TAMS 8.0; kept and returned, not used.
    pub sample_count: Option<i64>,
    /// The init object that its Object needs.
    pub init_object: Option<ObjectId>,
    /// Where its Object was first, unless that is [`FlowSegment::likely_place`].
    pub object_place: Option<ObjectPlace>,
    /// When that was; older rows do not say it. No part of TAMS.
    pub registered: Option<UtcTime>,
}

/// The Flow that an Object was first registered for and the start of the Object's timerange, which never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectPlace {
    pub flow_id: FlowId,
    /// [`TimeRange::start_key`], on the Object's own timeline.
    pub start: i128,
}

impl ObjectPlace {
    /// They have no timerange, and Flows share them.
    pub const OF_INIT_OBJECTS: Self = Self { flow_id: FlowId::MIN, start: i128::MIN };
}

impl FlowSegment {
    /// Whether the same was registered, at whatever time.
    pub fn is_same_but_for_time(&self, other: &Self) -> bool {
        *self == Self { registered: self.registered, ..other.clone() }
    }

    /// The place of the Object of a segment that was the Object's first, and uses it from its start.
    pub fn likely_place(&self) -> Option<ObjectPlace> {
        Some(ObjectPlace { flow_id: self.flow_id, start: self.used_object_timerange()?.start_key() })
    }

    /// The part of the Object that is used, on the Object's own timeline; `None` where that leaves the range of times.
    pub fn used_object_timerange(&self) -> Option<TimeRange> {
        self.ts_offset.checked_neg().and_then(|back| self.timerange.shift(back))
    }
}
