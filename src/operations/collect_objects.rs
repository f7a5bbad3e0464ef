//! Deletes the bytes of Objects that nothing refers to any more, and of storage that nobody registered in time.
//!
//! An Object is condemned in the log before its bytes go, and a condemned one cannot be registered: no row ever points
//! to bytes that were deleted. Its own row goes last, so that a crash between leaves work, not orphans.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{OperationError, Tams};
use crate::catalog::Change;
use crate::domain::{MediaObject, ObjectId};

/// Objects in one commit.
const CHUNK: usize = 1_000;
/// Allocations are looked at at least this often.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const AFTER_FAILURE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    pub objects: u64,
    /// Objects of which this server kept bytes.
    pub with_bytes: u64,
}

/// Works off everything that is due now.
pub async fn collect_objects(tams: &Tams) -> Result<Collected, OperationError> {
    let mut done = Collected::default();
    condemn_expired(tams).await?;
    delete_condemned_instances(tams).await?;
    loop {
        let condemned: Vec<Arc<MediaObject>> = tams.catalog.read().await?.condemned().take(CHUNK).cloned().collect();
        if condemned.is_empty() {
            return Ok(done);
        }
        let mut deleted: Vec<ObjectId> = Vec::new();
        let mut failure = None;
        for object in &condemned {
            // One that fails must not keep the others.
            match delete_bytes(tams, object).await {
                Ok(had_bytes) => {
                    done.objects += 1;
                    done.with_bytes += u64::from(had_bytes);
                    deleted.push(object.id.clone());
                }
                Err(error) => failure = Some(error),
            }
        }
        let weight = 64 * deleted.len();
        tams.catalog
            .commit(weight, move |state, _| {
                let still = deleted.iter().filter(|id| state.is_condemned(id));
                Ok::<_, OperationError>((still.map(|id| Change::DeleteObject(id.clone())).collect(), ()))
            })
            .await?;
        if let Some(error) = failure {
            return Err(error);
        }
    }
}

/// Whether there were any.
async fn delete_bytes(tams: &Tams, object: &MediaObject) -> Result<bool, OperationError> {
    let mut had_bytes = false;
    for key in object.kept_keys() {
        had_bytes |= tams.media.delete(key).await?;
    }
    Ok(had_bytes)
}

/// Deletes the bytes of instances that were deleted while their Object stays.
async fn delete_condemned_instances(tams: &Tams) -> Result<(), OperationError> {
    loop {
        let state = tams.catalog.read().await?;
        let condemned: Vec<Arc<MediaObject>> = state.with_condemned_instances().take(CHUNK).cloned().collect();
        if condemned.is_empty() {
            return Ok(());
        }
        for instance in condemned.iter().flat_map(|object| &object.condemned_instances) {
            tams.media.delete(&instance.key).await?;
        }
        tams.catalog
            .commit(256 * condemned.len(), move |state, _| {
                let rows = condemned.iter().filter_map(|was| {
                    let mut object = MediaObject::clone(state.object(&was.id)?);
                    object.condemned_instances.retain(|instance| !was.condemned_instances.contains(instance));
                    Some(Change::PutObject(Arc::new(object)))
                });
                Ok::<_, OperationError>((rows.collect(), ()))
            })
            .await?;
    }
}

async fn condemn_expired(tams: &Tams) -> Result<(), OperationError> {
    loop {
        let now = tams.clock.now();
        if tams.catalog.read().await?.expired_allocations(now).next().is_none() {
            return Ok(());
        }
        tams.catalog
            .commit(256 * CHUNK, move |state, now| {
                let expired = state.expired_allocations(now).take(CHUNK);
                let condemned = expired.map(|object| {
                    Change::PutObject(Arc::new(MediaObject { condemned: true, ..MediaObject::clone(object) }))
                });
                Ok::<_, OperationError>((condemned.collect(), ()))
            })
            .await?;
    }
}

/// Collects whenever something may be due, until `stop` turns true.
pub async fn run_collector(tams: Arc<Tams>, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let pause = match collect_objects(&tams).await {
            Ok(collected) => {
                if collected.objects > 0 {
                    tracing::info!(objects = collected.objects, with_bytes = collected.with_bytes, "objects collected");
                }
                let until_next = tams.catalog.snapshot().next_expiry().map(|expiry| expiry - tams.clock.now());
                let until_next = until_next.and_then(|wait| wait.to_std().ok());
                // Never busy: a clock that stands still would otherwise be asked without end.
                until_next.map_or(LONGEST_WAIT, |wait| wait.clamp(Duration::from_secs(1), LONGEST_WAIT))
            }
            Err(error) => {
                tracing::warn!(%error, "objects could not be collected; trying again soon");
                AFTER_FAILURE
            }
        };
        tokio::select! {
            () = tams.collect.notified() => {}
            () = tokio::time::sleep(pause) => {}
            _ = stop.changed() => {}
        }
    }
}
