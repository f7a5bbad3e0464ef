//! Room for so many queries at one time, of everybody's and of each caller's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::QueryError;

/// Callers that are remembered before those without a query are forgotten.
const CALLERS: usize = 1_024;
/// Queries that wait for their turn, for each that may run.
const WAITING: usize = 16;

pub struct Places {
    /// Those that run and those that wait.
    queue: Arc<Semaphore>,
    all: Arc<Semaphore>,
    of_caller: usize,
    callers: Mutex<HashMap<String, Weak<Semaphore>>>,
    patience: Duration,
}

/// Held while a query runs.
pub struct Place {
    _queued: OwnedSemaphorePermit,
    _caller: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _of: Arc<Semaphore>,
}

impl Places {
    pub fn new(all: usize, of_caller: usize, patience: Duration) -> Self {
        let all = all.max(1);
        Self {
            queue: Arc::new(Semaphore::new(all * (1 + WAITING))),
            all: Arc::new(Semaphore::new(all)),
            of_caller: of_caller.max(1),
            callers: Mutex::default(),
            patience,
        }
    }

    /// Waits for a turn, but not for long.
    pub async fn take(&self, caller: &str) -> Result<Place, QueryError> {
        let queued = self.queue.clone().try_acquire_owned().map_err(|_| QueryError::Busy)?;
        let of = self.of(caller);
        let waiting = async {
            // A caller's own first: who has many waiting does not keep others out.
            let own = of.clone().acquire_owned().await.map_err(|_| QueryError::Busy)?;
            let all = self.all.clone().acquire_owned().await.map_err(|_| QueryError::Busy)?;
            Ok::<_, QueryError>((own, all))
        };
        let (own, all) = tokio::time::timeout(self.patience, waiting).await.map_err(|_| QueryError::Busy)??;
        Ok(Place { _queued: queued, _caller: own, _all: all, _of: of })
    }

    fn of(&self, caller: &str) -> Arc<Semaphore> {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = callers.get(caller).and_then(Weak::upgrade) {
            return known;
        }
        if callers.len() >= CALLERS {
            callers.retain(|_, places| places.strong_count() > 0);
        }
        let places = Arc::new(Semaphore::new(self.of_caller));
        callers.insert(caller.to_owned(), Arc::downgrade(&places));
        places
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_caller_with_many_queries_leaves_room_for_others() {
        let places = Places::new(3, 2, Duration::from_millis(20));
        let first = places.take("a").await.unwrap();
        let _second = places.take("a").await.unwrap();
        assert!(matches!(places.take("a").await, Err(QueryError::Busy)));
        let _other = places.take("b").await.unwrap();
        assert!(matches!(places.take("c").await, Err(QueryError::Busy)), "three run at most");
        drop(first);
        places.take("c").await.unwrap();
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_left() {
        let places = Arc::new(Places::new(1, 1, Duration::from_secs(60)));
        let held = places.take("a").await.unwrap();
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.take("b").await.map(|_| ()) }
        });
        tokio::task::yield_now().await;
        drop(held);
        waiting.await.unwrap().unwrap();
    }
}
