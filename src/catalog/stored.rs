//! All stored rows of a state as streams, a page of each file in memory: for work that looks at everything once.

use std::sync::Arc;

use super::MaintenanceError;
use super::change::{Lsn, ReferenceKey, SegmentKey};
use super::cold::ColdTable;
use super::compact::{Merged, Row};
use super::log::Log;
use super::pages::damaged;
use super::state::State;
use crate::domain::{FlowSegment, MediaObject, ObjectId};

/// Segments in the order of their keys, those included that are being deleted.
pub struct StoredSegments<'a> {
    log: &'a Log,
    state: &'a State,
    cold: Merged<'a>,
    same: Vec<Row>,
    hot: Box<dyn Iterator<Item = (&'a SegmentKey, &'a Arc<FlowSegment>)> + Send + 'a>,
    next_hot: Option<(SegmentKey, Arc<FlowSegment>)>,
    next_cold: Option<(SegmentKey, Vec<FlowSegment>)>,
}

/// A segment, and whether a cold file has it.
pub struct StoredSegment {
    pub row: Arc<FlowSegment>,
    pub is_cold: bool,
}

impl<'a> StoredSegments<'a> {
    pub async fn open(log: &'a Log, state: &'a State) -> Result<Self, MaintenanceError> {
        let cold = Merged::open(log, state.files_of(ColdTable::FlowSegments)).await?;
        let hot = Box::new(state.segments.iter().map(|(key, stored)| (key, &stored.row)));
        let mut opened = Self { log, state, cold, same: Vec::new(), hot, next_hot: None, next_cold: None };
        opened.next_hot = opened.hot.next().map(|(key, row)| (*key, row.clone()));
        opened.advance_cold().await?;
        Ok(opened)
    }

    async fn advance_cold(&mut self) -> Result<(), MaintenanceError> {
        self.next_cold = None;
        while self.cold.next(&mut self.same).await? {
            let mut live = Vec::new();
            let mut at = None;
            for row in &self.same {
                let key = row.page.segment_key(row.row).map_err(|error| damaged(&*self.log.store, error))?;
                at = Some(key);
                if !self.state.tombstones.hide(key, row.lsn) {
                    live.push(row.page.segment(row.row).map_err(|error| damaged(&*self.log.store, error))?);
                }
            }
            if let Some(key) = at.filter(|_| !live.is_empty()) {
                self.next_cold = Some((key, live));
                break;
            }
        }
        Ok(())
    }

    pub async fn next(&mut self) -> Result<Option<StoredSegment>, MaintenanceError> {
        let hot_first = match (&self.next_hot, &self.next_cold) {
            (Some((hot, _)), Some((cold, _))) => hot < cold,
            (hot, _) => hot.is_some(),
        };
        if hot_first {
            let next = self.hot.next().map(|(key, row)| (*key, row.clone()));
            let found = std::mem::replace(&mut self.next_hot, next);
            return Ok(found.map(|(_, row)| StoredSegment { row, is_cold: false }));
        }
        let Some((_, live)) = &mut self.next_cold else { return Ok(None) };
        let found = live.pop().map(|row| StoredSegment { row: Arc::new(row), is_cold: true });
        if live.is_empty() {
            self.advance_cold().await?;
        }
        Ok(found)
    }
}

/// Objects in whatever stage of their life: cold ones first, each kind in an order of its own.
pub struct StoredObjects<'a> {
    log: &'a Log,
    state: &'a State,
    cold: Merged<'a>,
    same: Vec<Row>,
    hot: Box<dyn Iterator<Item = &'a Arc<MediaObject>> + Send + 'a>,
}

impl<'a> StoredObjects<'a> {
    pub async fn open(log: &'a Log, state: &'a State) -> Result<Self, MaintenanceError> {
        let cold = Merged::open(log, state.files_of(ColdTable::Objects)).await?;
        let hot = Box::new(state.objects.values().filter_map(|hot| hot.row.as_ref()));
        Ok(Self { log, state, cold, same: Vec::new(), hot })
    }

    pub async fn next(&mut self) -> Result<Option<Arc<MediaObject>>, MaintenanceError> {
        while self.cold.next(&mut self.same).await? {
            let Some(Row { page, row, .. }) = self.same.last() else { continue };
            let id: Option<ObjectId> = page.object_id(*row).and_then(|id| id.parse().ok());
            // A hot row, or the word that it is gone, counts more.
            let is_replaced = id.is_some_and(|id| self.state.objects.contains_key(&id));
            if !page.is_deleted(*row) && !is_replaced {
                return Ok(Some(Arc::new(page.object(*row).map_err(|error| damaged(&*self.log.store, error))?)));
            }
        }
        Ok(self.hot.next().cloned())
    }
}

/// Rows of `object_references`: cold ones first.
pub struct StoredReferences<'a> {
    log: &'a Log,
    state: &'a State,
    cold: Merged<'a>,
    same: Vec<Row>,
    hot: Box<dyn Iterator<Item = (&'a ReferenceKey, &'a Lsn)> + Send + 'a>,
}

impl<'a> StoredReferences<'a> {
    pub async fn open(log: &'a Log, state: &'a State) -> Result<Self, MaintenanceError> {
        let cold = Merged::open(log, state.files_of(ColdTable::References)).await?;
        Ok(Self { log, state, cold, same: Vec::new(), hot: Box::new(state.references.iter()) })
    }

    pub async fn next(&mut self) -> Result<Option<ReferenceKey>, MaintenanceError> {
        loop {
            while let Some(Row { page, row, .. }) = self.same.pop() {
                let reference = page.reference(row).map_err(|error| damaged(&*self.log.store, error))?;
                if !self.state.tombstones.hide(reference.key.segment, reference.lsn) {
                    return Ok(Some(reference.key));
                }
            }
            if !self.cold.next(&mut self.same).await? {
                return Ok(self.hot.next().map(|(key, _)| *key));
            }
        }
    }
}
