//! What is simulated: time, the order in which tasks run, and a store with everything that goes wrong. All of it follows
//! from one seed.

use std::cell::{Cell, RefCell};
use std::collections::btree_map;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Range;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::LogStoreRef;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::Runtime;

use crate::catalog::entry;
use crate::catalog::publish::{PublishError, object_table};
use crate::catalog::tests::helpers::{memory, start_of_time};
use crate::catalog::tests::watched_objects::{Fate, Watch, WatchedObjects};
use crate::catalog::{Create, Store, StoreError, paths};
use crate::clock::Clock;

type Task = Pin<Box<dyn Future<Output = ()>>>;

thread_local! {
    /// Tasks that did not begin yet: they stay on their thread, a store need not.
    static SPAWNED: RefCell<Vec<Task>> = const { RefCell::new(Vec::new()) };
    /// Whether the task that runs gave way, and does not wait for a thread that is not of this world.
    static GAVE_WAY: Cell<bool> = const { Cell::new(false) };
    /// How many parts of the task that runs wait for time to pass, if it runs [`World::with_threads`].
    static SLEEPING: RefCell<Option<Arc<AtomicUsize>>> = const { RefCell::new(None) };
}

/// Counts a part that sleeps, as long as it does.
struct Sleeping(Option<Arc<AtomicUsize>>);

impl Sleeping {
    fn begin() -> Self {
        let count = SLEEPING.with_borrow(Clone::clone);
        if let Some(count) = &count {
            count.fetch_add(1, Ordering::SeqCst);
        }
        Self(count)
    }
}

impl Drop for Sleeping {
    fn drop(&mut self) {
        if let Some(count) = &self.0 {
            count.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Longer than log entries are kept in these histories, and than a writer trusts what it knew of the log's end.
const LONG_STALL: Range<u64> = 400..1_500;
/// Longer than files that nobody knows of are left alone.
const HOURS: Range<u64> = 8_000..12_000;

/// A put that is under way although its writer waits no longer for it.
struct Late {
    due: u64,
    path: String,
    bytes: Bytes,
    only_if_absent: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub operations: u64,
    pub lost_responses: u64,
    pub late_landings: u64,
    pub empty_conflicts: u64,
    pub stalls: u64,
    /// Entries that were put into a slot whose entry had been truncated.
    pub strays: u64,
    /// Of a published table.
    pub delta_commits: u64,
    pub lost_delta_commits: u64,
}

struct Core {
    dice: StdRng,
    trace: DefaultHasher,
    now: Duration,
    clocks: Vec<Clock>,
    sleepers: BTreeMap<(Duration, u64), Waker>,
    late: Vec<Late>,
    tasks: usize,
    killed: Vec<usize>,
    /// Every entry of the log, the truncated ones too.
    chain: BTreeMap<u64, entry::Entry>,
    armed: bool,
    counts: Counts,
    failure: Option<String>,
}

pub struct World {
    bare: Arc<dyn Store>,
    core: Mutex<Core>,
    /// Truncation puts no floor marks.
    without_floor_marks: bool,
    /// Delta Lake's library wants threads.
    runtime: Runtime,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("World")
    }
}

struct TaskWaker {
    task: usize,
    ready: Arc<Mutex<BTreeSet<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().insert(self.task);
    }
}

/// Wakes a task from within the world, or this thread from without.
struct BothWakers {
    world: Waker,
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for BothWakers {
    fn wake(self: Arc<Self>) {
        if std::thread::current().id() == self.thread.id() {
            self.world.wake_by_ref();
        }
        self.woken.store(true, Ordering::SeqCst);
        self.thread.unpark();
    }
}

impl World {
    pub fn new(seed: u64, without_floor_marks: bool) -> Arc<Self> {
        let core = Core {
            dice: StdRng::seed_from_u64(seed),
            trace: DefaultHasher::new(),
            now: Duration::ZERO,
            clocks: Vec::new(),
            sleepers: BTreeMap::new(),
            late: Vec::new(),
            tasks: 0,
            killed: Vec::new(),
            chain: BTreeMap::new(),
            armed: false,
            counts: Counts::default(),
            failure: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
        Arc::new(Self { bare: memory(), core: Mutex::new(core), without_floor_marks, runtime })
    }

    fn core(&self) -> MutexGuard<'_, Core> {
        self.core.lock().unwrap()
    }

    /// Whether faults happen.
    pub fn arm(&self, armed: bool) {
        self.core().armed = armed;
    }

    pub fn bare(&self) -> Arc<dyn Store> {
        self.bare.clone()
    }

    pub fn counts(&self) -> Counts {
        self.core().counts
    }

    pub fn trace(&self) -> u64 {
        self.core().trace.finish()
    }

    pub fn chain(&self) -> BTreeMap<u64, entry::Entry> {
        self.core().chain.clone()
    }

    pub fn roll(&self, range: Range<u64>) -> u64 {
        self.core().dice.random_range(range)
    }

    /// Ends the run.
    pub fn fail(&self, reason: String) {
        self.core().failure.get_or_insert(reason);
    }

    pub fn failure(&self) -> Option<String> {
        self.core().failure.clone()
    }

    /// A process's clock: a few seconds off, and its dice are its own.
    pub fn clock(&self) -> Clock {
        let mut core = self.core();
        let seed = core.dice.random();
        let skew = Duration::from_millis(core.dice.random_range(0..5_000));
        let clock = Clock::manual(start_of_time(), seed);
        clock.advance(core.now + skew);
        core.clocks.push(clock.clone());
        clock
    }

    /// Another task; returns its number.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) -> usize {
        SPAWNED.with_borrow_mut(|spawned| spawned.push(Box::pin(task)));
        let mut core = self.core();
        core.tasks += 1;
        core.tasks - 1
    }

    /// The task ends where it is.
    pub fn kill(&self, task: usize) {
        self.core().killed.push(task);
    }

    /// Runs tasks one step at a time, always one of those that can go on, until this one ends or the run fails.
    pub fn run<T: 'static>(&self, main: impl Future<Output = T> + 'static) -> Result<T, String> {
        let done: Arc<Mutex<Option<T>>> = Arc::default();
        let result = done.clone();
        self.spawn(async move {
            let value = main.await;
            *result.lock().unwrap() = Some(value);
        });
        let ready: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
        let mut tasks: BTreeMap<usize, Task> = BTreeMap::new();
        loop {
            let spawned = SPAWNED.take();
            let first = self.core().tasks - spawned.len();
            for (task, future) in (first..).zip(spawned) {
                tasks.insert(task, future);
                ready.lock().unwrap().insert(task);
            }
            let killed = std::mem::take(&mut self.core().killed);
            killed.iter().for_each(|task| drop(tasks.remove(task)));
            if let Some(value) = done.lock().unwrap().take() {
                return Ok(value);
            }
            if let Some(failure) = self.failure() {
                return Err(failure);
            }
            let Some(task) = self.next(&ready) else {
                return Err("nothing can go on".into());
            };
            let Some(future) = tasks.get_mut(&task) else { continue };
            let waker = Waker::from(Arc::new(TaskWaker { task, ready: ready.clone() }));
            if future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                tasks.remove(&task);
            }
        }
    }

    /// Who goes on; time passes.
    fn next(&self, ready: &Mutex<BTreeSet<usize>>) -> Option<usize> {
        loop {
            let mut core = self.core();
            let is_idle = ready.lock().unwrap().is_empty();
            if is_idle {
                let ((due, _), _) = core.sleepers.first_key_value()?;
                let by = due.saturating_sub(core.now);
                core.pass(by);
            } else if core.armed {
                let by = match core.dice.random_range(0..20_000) {
                    0 => core.dice.random_range(HOURS) * 1_000,
                    1..20 => core.dice.random_range(LONG_STALL) * 1_000,
                    20..2_500 => core.dice.random_range(1..4_000),
                    _ => 0,
                };
                core.pass(Duration::from_millis(by));
            }
            let awake: Vec<Waker> = core.wake();
            drop(core);
            awake.into_iter().for_each(Waker::wake);
            let mut ready = ready.lock().unwrap();
            if ready.is_empty() {
                continue;
            }
            let place = self.core().dice.random_range(0..ready.len());
            let task = ready.iter().nth(place).copied()?;
            ready.remove(&task);
            task.hash(&mut self.core().trace);
            return Some(task);
        }
    }

    pub async fn sleep(&self, time: Duration) {
        let due = self.core().now + time;
        let (mut number, mut sleeping) = (None, None);
        std::future::poll_fn(|context| {
            let mut core = self.core();
            if core.now >= due {
                return Poll::Ready(());
            }
            sleeping.get_or_insert_with(Sleeping::begin);
            let number = *number.get_or_insert_with(|| core.dice.random());
            core.sleepers.insert((due, number), context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Runs what waits for other threads, too: nobody else goes on, and no time passes, while it waits for those. Of this
    /// world it may wait for the store and for time to pass, and for no other task.
    pub async fn with_threads<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let sleeping = Arc::new(AtomicUsize::new(0));
        std::future::poll_fn(|context| {
            let _entered = self.runtime.enter();
            let both = Arc::new(BothWakers {
                world: context.waker().clone(),
                thread: std::thread::current(),
                woken: AtomicBool::new(false),
            });
            let waker = Waker::from(both.clone());
            loop {
                GAVE_WAY.set(false);
                SLEEPING.set(Some(sleeping.clone()));
                let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
                SLEEPING.set(None);
                match polled {
                    Poll::Pending if !GAVE_WAY.get() && sleeping.load(Ordering::SeqCst) == 0 => {
                        let mut patience = 1_000;
                        while !both.woken.swap(false, Ordering::SeqCst) {
                            assert!(patience > 0, "it waits for nothing that happens");
                            patience -= 1;
                            std::thread::park_timeout(Duration::from_millis(100));
                        }
                    }
                    polled => return polled,
                }
            }
        })
        .await
    }

    async fn land(&self, path: &str, bytes: Bytes) -> Create {
        let outcome = self.bare.create(path, bytes.clone()).await;
        if let (Create::Created, Some(seq)) = (&outcome, paths::parse_log_entry(path)) {
            let entry = entry::decode(&bytes).unwrap();
            let core = &mut *self.core();
            match core.chain.entry(seq) {
                btree_map::Entry::Occupied(_) => core.counts.strays += 1,
                btree_map::Entry::Vacant(free) => {
                    free.insert(entry);
                }
            }
        }
        outcome
    }

    async fn replace(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        if self.without_floor_marks && paths::parse_floor_mark(path).is_some() {
            return Ok(());
        }
        self.bare.write(path, bytes).await
    }

    /// All that is still under way lands.
    pub async fn land_late(&self, operations: u64) {
        let due: Vec<Late> = {
            let mut core = self.core();
            core.late.iter_mut().for_each(|late| late.due = late.due.saturating_sub(operations));
            core.late.extract_if(.., |late| late.due == 0).collect()
        };
        for Late { path, bytes, only_if_absent, .. } in due {
            if only_if_absent {
                self.land(&path, bytes).await;
            } else {
                // It was an error for whoever put it, whatever it is now.
                let _ = self.replace(&path, bytes).await;
            }
        }
    }
}

impl Core {
    fn pass(&mut self, by: Duration) {
        if by.is_zero() {
            return;
        }
        self.now += by;
        self.clocks.iter().for_each(|clock| clock.advance(by));
    }

    fn wake(&mut self) -> Vec<Waker> {
        let later = self.sleepers.split_off(&(self.now + Duration::from_nanos(1), 0));
        std::mem::replace(&mut self.sleepers, later).into_values().collect()
    }

    /// One of 1,000.
    fn fault(&mut self) -> u32 {
        if self.armed { self.dice.random_range(0..1_000) } else { 1_000 }
    }
}

async fn give_way(times: u64) {
    for _ in 0..times {
        let mut first = true;
        std::future::poll_fn(|context| {
            if std::mem::take(&mut first) {
                GAVE_WAY.set(true);
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }
}

/// The store as one process reaches it.
#[derive(Debug)]
pub struct Faulty {
    pub world: Arc<World>,
    pub process: u64,
}

impl Faulty {
    fn error(&self, path: &str) -> StoreError {
        StoreError { location: self.location(path), reason: "no connection".into(), full: false }
    }

    /// One operation: others may go first.
    async fn step(&self, verb: &str, path: &str, bytes: &[u8]) {
        give_way(1).await;
        {
            let mut core = self.world.core();
            core.counts.operations += 1;
            (self.process, verb, path, bytes).hash(&mut core.trace);
        }
        self.world.land_late(1).await;
    }

    /// Short mostly, long at times, and some for longer than the log is kept.
    async fn stall(&self) {
        let time = {
            let mut core = self.world.core();
            core.counts.stalls += 1;
            match core.dice.random_range(0..10) {
                0 => core.dice.random_range(HOURS),
                1..6 => core.dice.random_range(LONG_STALL),
                _ => core.dice.random_range(1..50),
            }
        };
        self.world.sleep(Duration::from_secs(time)).await;
    }

    async fn reach(&self, verb: &str, path: &str) -> Result<(), StoreError> {
        self.step(verb, path, &[]).await;
        let fault = self.world.core().fault();
        match fault {
            0..3 => Err(self.error(path)),
            3 => {
                self.stall().await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn later(&self, path: &str, bytes: Bytes, only_if_absent: bool) {
        let mut core = self.world.core();
        core.counts.late_landings += 1;
        let due = if core.dice.random_range(0..4) == 0 { 1_000 } else { 40 };
        let due = core.dice.random_range(1..due);
        core.late.push(Late { due, path: path.to_owned(), bytes, only_if_absent });
    }
}

#[async_trait]
impl Store for Faulty {
    async fn create(&self, path: &str, bytes: Bytes) -> Create {
        self.step("create", path, &bytes).await;
        let fault = self.world.core().fault();
        match fault {
            0..30 => {
                self.world.land(path, bytes).await;
                self.world.core().counts.lost_responses += 1;
                Create::Unclear(self.error(path))
            }
            30..60 => {
                self.later(path, bytes, true);
                Create::Unclear(self.error(path))
            }
            60..85 if matches!(self.bare_read(path).await, Ok(None)) => {
                self.world.core().counts.empty_conflicts += 1;
                Create::Exists
            }
            60..100 => Create::Unclear(self.error(path)),
            100..115 => Create::Failed(self.error(path)),
            115..145 => {
                self.stall().await;
                self.world.land(path, bytes).await
            }
            145..155 => {
                let outcome = self.world.land(path, bytes).await;
                self.stall().await;
                outcome
            }
            155..250 => {
                give_way(10).await;
                let outcome = self.world.land(path, bytes).await;
                give_way(10).await;
                outcome
            }
            _ => self.world.land(path, bytes).await,
        }
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.step("write", path, &bytes).await;
        let fault = self.world.core().fault();
        match fault {
            0..3 => {
                self.world.replace(path, bytes).await?;
                Err(self.error(path))
            }
            3..6 => {
                self.later(path, bytes, false);
                Err(self.error(path))
            }
            6..9 => Err(self.error(path)),
            9..13 => {
                self.stall().await;
                self.world.replace(path, bytes).await
            }
            _ => self.world.replace(path, bytes).await,
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.reach("read", path).await?;
        self.bare_read(path).await
    }

    async fn read_ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError> {
        self.reach("read", path).await?;
        self.world.bare.read_ranges(path, ranges).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.reach("list", folder).await?;
        self.world.bare.list(folder).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.reach("delete", path).await?;
        self.world.bare.delete(path).await
    }

    fn exclusive(&self) -> bool {
        false
    }

    fn delta_log(&self, table: &str) -> Option<Result<LogStoreRef, PublishError>> {
        let log_store = self.world.bare.delta_log(table)?;
        Some(log_store.and_then(|log_store| {
            let commits = Commits { world: self.world.clone(), process: self.process };
            let objects = WatchedObjects::new(log_store.root_object_store(None), commits);
            object_table(Arc::new(objects), log_store.root_url().as_str())
        }))
    }

    fn location(&self, path: &str) -> String {
        self.world.bare.location(path)
    }
}

/// What becomes of a process's commits to published tables.
#[derive(Debug)]
struct Commits {
    world: Arc<World>,
    process: u64,
}

impl Watch for Commits {
    fn fate(&self, verb: &str, path: &str) -> Fate {
        if verb != "put" || !path.ends_with(".json") {
            return Fate::Done;
        }
        let mut core = self.world.core();
        (self.process, verb, path).hash(&mut core.trace);
        core.counts.operations += 1;
        core.counts.delta_commits += 1;
        match core.fault() {
            0..60 => {
                core.counts.lost_delta_commits += 1;
                Fate::LostAnswer
            }
            60..120 => Fate::Refused,
            _ => Fate::Done,
        }
    }
}

impl Faulty {
    async fn bare_read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.world.bare.read(path).await
    }
}
