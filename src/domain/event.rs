//! Events: what became of Flows, segments and Sources in one commit, as those who asked to be told are told.

use super::{FlowId, SourceId, TimeRange, UtcTime};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventKind {
    FlowCreated,
    FlowUpdated,
    FlowDeleted,
    SegmentsAdded,
    SegmentsDeleted,
    SourceCreated,
    SourceUpdated,
    SourceDeleted,
}

impl EventKind {
    pub const ALL: [Self; 8] = [
        Self::FlowCreated,
        Self::FlowUpdated,
        Self::FlowDeleted,
        Self::SegmentsAdded,
        Self::SegmentsDeleted,
        Self::SourceCreated,
        Self::SourceUpdated,
        Self::SourceDeleted,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Self::FlowCreated => "flows/created",
            Self::FlowUpdated => "flows/updated",
            Self::FlowDeleted => "flows/deleted",
            Self::SegmentsAdded => "flows/segments_added",
            Self::SegmentsDeleted => "flows/segments_deleted",
            Self::SourceCreated => "sources/created",
            Self::SourceUpdated => "sources/updated",
            Self::SourceDeleted => "sources/deleted",
        }
    }

    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// An event as it stands in the log, in the same entry as the changes it speaks of.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub kind: EventKind,
    /// Of events of Flows and segments.
    pub flow_id: Option<FlowId>,
    /// The Source, or the Flow's.
    pub source_id: SourceId,
    /// Flows that collect the Flow, at that moment.
    pub flow_collected_by: Vec<FlowId>,
    /// Sources that collect the Source, at that moment.
    pub source_collected_by: Vec<SourceId>,
    /// Of deleted segments: from the first start to the last end of a run that leaves none inside.
    pub timerange: Option<TimeRange>,
    /// Of events of a Flow: when its segments last changed.
    pub segments_updated: Option<UtcTime>,
    /// Places, in the same log entry, of the rows that were put.
    pub changes: Vec<u32>,
}
