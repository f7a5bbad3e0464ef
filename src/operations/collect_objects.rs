//! Deletes the bytes of Objects that nothing refers to any more, and of storage that nobody registered in time.
//!
//! An Object is condemned in the log before its bytes go, and a condemned one cannot be registered: no row ever points
//! to bytes that were deleted. Its own row goes last, so that a crash between leaves work, not orphans.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{OperationError, Tams};
use crate::catalog::{Change, object_hash, read_all};
use crate::domain::{MediaObject, ObjectId, ObjectPlace};

/// Objects in one commit.
const CHUNK: usize = 1_000;
/// Objects in one question, which keeps the pages that it needs in memory.
const QUESTION: usize = 100;
/// Suspects that are judged at a time: the more, the fewer pages are read for each.
const SUSPECTS: usize = 10_000;
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
    // Two at a time would do the same work.
    let _alone = tams.collecting.lock().await;
    let mut done = Collected::default();
    condemn_expired(tams).await?;
    delete_condemned_instances(tams).await?;
    loop {
        let judged = judge_suspects(tams).await?;
        let condemned: Vec<ObjectId> = tams.catalog.read().await?.condemned().take(CHUNK).cloned().collect();
        if condemned.is_empty() && !judged {
            return Ok(done);
        }
        let objects = objects_of(tams, condemned).await?;
        let mut deleted: Vec<(ObjectId, ObjectPlace)> = Vec::new();
        let mut failure = None;
        for object in &objects {
            // One that fails must not keep the others.
            match delete_bytes(tams, object).await {
                Ok(had_bytes) => {
                    done.objects += 1;
                    done.with_bytes += u64::from(had_bytes);
                    deleted.push((object.id.clone(), object.place()));
                }
                Err(error) => failure = Some(error),
            }
        }
        let weight = 64 * deleted.len();
        tams.catalog
            .commit(weight, move |state, _| {
                let still = deleted.iter().filter(|(id, _)| state.is_condemned(id));
                let gone = still.map(|(id, place)| Change::DeleteObject(id.clone(), *place));
                Ok::<_, OperationError>((gone.collect(), ()))
            })
            .await?;
        if let Some(error) = failure {
            return Err(error);
        }
    }
}

async fn objects_of(tams: &Tams, ids: Vec<ObjectId>) -> Result<Vec<Arc<MediaObject>>, OperationError> {
    let mut objects = Vec::with_capacity(ids.len());
    for some in ids.chunks(QUESTION) {
        let found =
            tams.catalog.ask(|view| read_all(some.iter().map(|id| view.object(id))).map_err(OperationError::from));
        objects.extend(found.await?.into_iter().flatten());
    }
    Ok(objects)
}

/// Condemns suspects that nothing refers to, and clears the others; false if there were none.
async fn judge_suspects(tams: &Tams) -> Result<bool, OperationError> {
    let state = tams.catalog.read().await?;
    let mut suspects: Vec<ObjectId> = state.suspects().take(SUSPECTS).cloned().collect();
    let any = !suspects.is_empty();
    // References are sorted by it: each page of them is read once.
    suspects.sort_by_cached_key(object_hash);
    let mut judged: Vec<(ObjectId, bool)> = Vec::with_capacity(suspects.len());
    for some in suspects.chunks(QUESTION) {
        let referenced = tams.catalog.ask_of(&state, |view| {
            read_all(some.iter().map(|id| view.is_referenced(id))).map_err(OperationError::from)
        });
        judged.extend(some.iter().cloned().zip(referenced.await?));
    }
    let seen = state.seq();
    for some in judged.chunks(CHUNK) {
        let some = some.to_vec();
        tams.catalog
            .commit(64 * some.len(), move |view, _| Ok::<_, OperationError>((view.verdicts(&some, seen), ())))
            .await?;
    }
    Ok(any)
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
            .commit(256 * condemned.len(), move |view, _| {
                let mut changes = Vec::new();
                for was in &condemned {
                    if let Some(object) = view.object(&was.id)? {
                        let mut object = MediaObject::clone(&object);
                        object.condemned_instances.retain(|instance| !was.condemned_instances.contains(instance));
                        changes.push(Change::PutObject(Arc::new(object)));
                    }
                }
                Ok::<_, OperationError>((changes, ()))
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
