//! A store between a writer and the truth, that answers as a bad network and a busy object store do.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::catalog::{Create, Store, StoreError};

/// Puts that are under way although their writer was told that the outcome is unclear. Shared by all writers of one
/// store, so that one's put lands between the others' operations, or after its writer is gone.
#[derive(Debug, Default)]
pub struct Late(Mutex<Vec<(u32, String, Bytes)>>);

impl Late {
    async fn pass(&self, store: &dyn Store, operations: u32) {
        let due: Vec<_> = {
            let mut waiting = self.0.lock().unwrap();
            waiting.iter_mut().for_each(|(left, ..)| *left = left.saturating_sub(operations));
            waiting.extract_if(.., |(left, ..)| *left == 0).collect()
        };
        for (_, path, bytes) in due {
            // Conditional like the put it was: a slot that was filled meanwhile stays as it is.
            let _ = store.create(&path, bytes).await;
        }
    }

    /// All land that still can.
    pub async fn land(&self, store: &dyn Store) {
        self.pass(store, u32::MAX).await;
    }
}

/// How often each fault happens, of 1,000 creates; the rest is answered as it is.
#[derive(Debug, Clone, Copy, Default)]
pub struct Faults {
    /// Stored, but the answer gets lost.
    pub lost_response: u32,
    /// Unclear now, stored some operations later.
    pub late_landing: u32,
    /// "Exists" although nothing is there: S3's 409.
    pub empty_conflict: u32,
    /// Unclear, and never stored.
    pub lost_request: u32,
    /// Refused before anything is stored.
    pub failure: u32,
    pub full: u32,
    /// Others may go first, before and after it is stored.
    pub slow: u32,
    /// Nothing works for a while, reads neither.
    pub outage: u32,
}

impl Faults {
    pub const MANY: Self = Self {
        lost_response: 60,
        late_landing: 60,
        empty_conflict: 50,
        lost_request: 40,
        failure: 40,
        full: 20,
        slow: 150,
        outage: 5,
    };
}

#[derive(Debug)]
pub struct FaultStore {
    inner: Arc<dyn Store>,
    late: Arc<Late>,
    faults: Faults,
    armed: AtomicBool,
    dice: Mutex<Dice>,
}

#[derive(Debug)]
struct Dice {
    random: StdRng,
    /// Operations that an outage still swallows.
    outage: u32,
}

enum Fault {
    None,
    LostResponse,
    LateLanding(u32),
    EmptyConflict,
    LostRequest,
    Failure { full: bool },
    Slow(u32),
}

impl FaultStore {
    pub fn new(inner: Arc<dyn Store>, late: Arc<Late>, faults: Faults, seed: u64) -> Arc<Self> {
        let dice = Mutex::new(Dice { random: StdRng::seed_from_u64(seed), outage: 0 });
        Arc::new(Self { inner, late, faults, armed: AtomicBool::new(false), dice })
    }

    pub fn arm(&self, armed: bool) {
        self.armed.store(armed, Ordering::Relaxed);
    }

    fn error(&self, path: &str, reason: &str) -> StoreError {
        StoreError { location: self.location(path), reason: reason.into(), full: reason == "full" }
    }

    fn is_out(&self) -> bool {
        let mut dice = self.dice.lock().unwrap();
        let out = dice.outage > 0 && self.armed.load(Ordering::Relaxed);
        dice.outage = dice.outage.saturating_sub(1);
        out
    }

    fn throw(&self) -> Fault {
        if !self.armed.load(Ordering::Relaxed) {
            return Fault::None;
        }
        let faults = self.faults;
        let mut dice = self.dice.lock().unwrap();
        let mut roll = dice.random.random_range(0..1_000);
        let mut hits = |chance: u32| {
            let hit = roll < chance;
            roll = roll.wrapping_sub(if hit { 0 } else { chance });
            hit
        };
        if hits(faults.lost_response) {
            Fault::LostResponse
        } else if hits(faults.late_landing) {
            Fault::LateLanding(dice.random.random_range(1..40))
        } else if hits(faults.empty_conflict) {
            Fault::EmptyConflict
        } else if hits(faults.lost_request) {
            Fault::LostRequest
        } else if hits(faults.failure) {
            Fault::Failure { full: false }
        } else if hits(faults.full) {
            Fault::Failure { full: true }
        } else if hits(faults.slow) {
            Fault::Slow(dice.random.random_range(1..20))
        } else if hits(faults.outage) {
            dice.outage = dice.random.random_range(1..60);
            Fault::LostRequest
        } else {
            Fault::None
        }
    }

    async fn step(&self) {
        self.late.pass(&*self.inner, 1).await;
        tokio::task::yield_now().await;
    }
}

async fn give_way(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

#[async_trait]
impl Store for FaultStore {
    async fn create(&self, path: &str, bytes: Bytes) -> Create {
        self.step().await;
        if self.is_out() {
            return Create::Unclear(self.error(path, "no connection"));
        }
        match self.throw() {
            Fault::None => self.inner.create(path, bytes).await,
            Fault::LostResponse => {
                let _ = self.inner.create(path, bytes).await;
                Create::Unclear(self.error(path, "timeout"))
            }
            Fault::LateLanding(operations) => {
                self.late.0.lock().unwrap().push((operations, path.to_owned(), bytes));
                Create::Unclear(self.error(path, "timeout"))
            }
            Fault::EmptyConflict if matches!(self.inner.read(path).await, Ok(None)) => Create::Exists,
            Fault::EmptyConflict | Fault::LostRequest => Create::Unclear(self.error(path, "timeout")),
            Fault::Failure { full } => Create::Failed(self.error(path, if full { "full" } else { "forbidden" })),
            Fault::Slow(times) => {
                give_way(times).await;
                let outcome = self.inner.create(path, bytes).await;
                give_way(times).await;
                outcome
            }
        }
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.step().await;
        self.inner.write(path, bytes).await
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.step().await;
        if self.is_out() {
            return Err(self.error(path, "no connection"));
        }
        self.inner.read(path).await
    }

    async fn read_ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError> {
        self.step().await;
        if self.is_out() {
            return Err(self.error(path, "no connection"));
        }
        self.inner.read_ranges(path, ranges).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.step().await;
        self.inner.list(folder).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.step().await;
        self.inner.delete(path).await
    }

    fn exclusive(&self) -> bool {
        self.inner.exclusive()
    }

    fn location(&self, path: &str) -> String {
        self.inner.location(path)
    }
}
