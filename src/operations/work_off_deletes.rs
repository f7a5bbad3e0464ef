//! Deletions that are too long for one commit: each commit takes a stretch and says in the request's row what is left,
//! so that a restart goes on where the last commit ended. Readers see nothing of the segments from the first moment on
//! (`catalog::View::scan_segments`).
//! Spec: GET_flow-delete-requests-request-id; asked for by DELETE_flows-flowId and DELETE_flows-flowId-segments

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{OperationError, Tams, collect_objects};
use crate::catalog::{Change, ReadError, View};
use crate::domain::{DeleteRequest, DeleteRequestId, DeleteStatus, FlowId, ObjectId, TimeRange, UtcTime};

/// How long a finished request can still be asked for.
const EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
/// Finished requests that one commit forgets, at most.
const FORGOTTEN_AT_ONCE: usize = 1_000;
/// Objects that may wait to be looked at or collected before more segments are deleted.
const MOST_IN_DOUBT: usize = 20_000;
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// What is to be deleted of a Flow.
pub(super) struct Deletion {
    /// For the request, if there has to be one.
    pub id: DeleteRequestId,
    pub flow_id: FlowId,
    /// Segments that lie wholly inside.
    pub timerange: TimeRange,
    /// Only segments that use it.
    pub object_id: Option<ObjectId>,
    pub delete_flow: bool,
}

impl Deletion {
    fn request(&self, timerange_remaining: TimeRange, now: UtcTime) -> DeleteRequest {
        DeleteRequest {
            id: self.id,
            flow_id: self.flow_id,
            timerange_to_delete: self.timerange,
            timerange_remaining,
            delete_flow: self.delete_flow,
            status: DeleteStatus::Created,
            created: now,
            created_by: None,
            updated: now,
            expiry: None,
            object_id: self.object_id.clone(),
        }
    }

    /// The changes that delete the segments, or that ask for it; then with the request.
    ///
    /// Asked for is what is there now, from the first segment to the last: what is registered beside it later stays.
    pub fn decide(
        &self,
        view: View<'_>,
        now: UtcTime,
        at_once: usize,
    ) -> Result<(Vec<Change>, Option<Arc<DeleteRequest>>), ReadError> {
        let wanted = self.request(self.timerange, now);
        let mut inside = view.still_to_delete(&wanted);
        let first = inside.by_ref().take(at_once).collect::<Result<Vec<_>, _>>()?;
        let more = inside.next().transpose()?.map_or(Ok(None), |_| view.last_to_delete(&wanted))?;
        Ok(match (first.first(), more) {
            (Some(first), Some(last)) => {
                let request = Arc::new(self.request(first.timerange.hull(&last.timerange), now));
                (vec![Change::PutDeleteRequest(request.clone())], Some(request))
            }
            _ => (view.delete(&wanted, &first, now)?, None),
        })
    }
}

/// The next stretch of a request, and what is left of it.
fn decide(view: View<'_>, now: UtcTime, id: DeleteRequestId, at_once: usize) -> Result<Vec<Change>, ReadError> {
    let unfinished = view.state().delete_request(id).filter(|request| !request.is_done());
    let Some(request) = unfinished else { return Ok(Vec::new()) };
    let mut left = view.still_to_delete(request);
    let stretch = left.by_ref().take(at_once.max(1)).collect::<Result<Vec<_>, _>>()?;
    let next = left.next().transpose()?;
    let mut changes = view.delete(request, &stretch, now)?;
    let (status, timerange_remaining) = match &next {
        Some(next) => {
            let (start, end) = (next.timerange.start_key(), request.timerange_remaining.end_key());
            (DeleteStatus::Started, TimeRange::from_keys(start, end))
        }
        None => (DeleteStatus::Done, TimeRange::NEVER),
    };
    changes.push(Change::PutDeleteRequest(Arc::new(DeleteRequest {
        timerange_remaining,
        status,
        updated: now,
        expiry: next.is_none().then(|| now + EXPIRY),
        ..DeleteRequest::clone(request)
    })));
    Ok(changes)
}

/// Works off all requests that wait, the oldest first, and forgets those that are past their expiry.
pub async fn work_off_deletes(tams: &Tams, stop: &watch::Receiver<bool>) -> Result<(), OperationError> {
    loop {
        let state = tams.catalog.read().await?;
        let next = state.next_deletion().map(|request| request.id);
        let Some(id) = next.filter(|_| !*stop.borrow()) else { break };
        // Objects that are about to go take memory.
        if state.objects_in_doubt() > MOST_IN_DOUBT {
            collect_objects(tams).await?;
        }
        let at_once = tams.settings.max_delete_segments;
        tams.catalog
            .commit(1_024, move |state, now| Ok::<_, OperationError>((decide(state, now, id, at_once)?, ())))
            .await?;
        tams.collect.notify_one();
    }
    let now = tams.clock.now();
    while tams.catalog.read().await?.expired_deletions(now).next().is_some() {
        tams.catalog
            .commit(64 * FORGOTTEN_AT_ONCE, move |state, now| {
                let expired = state.expired_deletions(now).take(FORGOTTEN_AT_ONCE);
                let dropped = expired.map(|request| Change::DropDeleteRequest(request.id)).collect();
                Ok::<_, OperationError>((dropped, ()))
            })
            .await?;
    }
    Ok(())
}

/// Works off requests whenever there are any, until `stop` turns true.
pub async fn run_deleter(tams: Arc<Tams>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let pause = match work_off_deletes(&tams, &stop).await {
            Ok(()) => LONGEST_WAIT,
            Err(error) => {
                tracing::warn!(%error, "a deletion got stuck; trying again soon");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tams.delete.notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}

#[cfg(test)]
mod tests;
