//! Several writers on one store, each behind faults of its own, racing for the same seconds; the log that is left is
//! then compared with what each client was told.
//!
//! The catalogue was broken by hand to see that this is noticed, one line at a time; each of these failed within the 40 seeds:
//! - `Log::put`: our own entry read back taken for a winner's; "exists" or "unclear" taken for landed, or "unclear" or an
//!   empty slot for failed; a refused second try taken for the outcome of the first;
//! - `Committer`: writing goes on after an unresolved put, or says that nothing was written; a refusal is answered
//!   without a look at what other writers did; `Catalog::read`: the same for reads.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::faults::{FaultStore, Faults, Late};
use super::helpers::{assert_same, clock, flow_id, memory, open, put, put_flow, put_source, register, second};
use crate::catalog::log::Log;
use crate::catalog::{Catalog, Change, CommitError, ReadError, SegmentKey, Store, View};

const WRITERS: u64 = 3;
const CLIENTS_OF_WRITER: u64 = 4;
const OPERATIONS_OF_CLIENT: u32 = 24;
const SECONDS: i32 = 8;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Effect {
    /// Object ids are used once, so they name the operation.
    Registered(String),
    Deleted(SegmentKey),
}

#[derive(Debug)]
enum Outcome {
    /// Durable in this entry.
    Acknowledged(u64),
    /// Decided against on the state of this entry.
    Refused(u64),
    /// Nothing was written, says the catalogue.
    NotWritten,
    Unknown,
}

struct Told {
    writer: u64,
    effect: Effect,
    /// The newest entry that any client had an answer from when this was asked for.
    known_before: u64,
    outcome: Outcome,
}

enum Answer {
    Refused(u64),
    Failed(CommitError),
}

impl From<ReadError> for Answer {
    fn from(error: ReadError) -> Self {
        panic!("{error}");
    }
}

impl From<CommitError> for Answer {
    fn from(error: CommitError) -> Self {
        Self::Failed(error)
    }
}

struct Writer {
    store: Arc<FaultStore>,
    catalog: RefCell<Catalog>,
    /// Of the process: a restart makes a new one.
    number: RefCell<u64>,
}

#[derive(Default)]
struct Journal {
    told: Vec<Told>,
    newest_answer: u64,
    halted: BTreeSet<u64>,
    restarts: u64,
}

struct World {
    seed: u64,
    bare: Arc<dyn Store>,
    late: Arc<Late>,
    writers: Vec<Writer>,
    journal: RefCell<Journal>,
}

impl World {
    async fn new(seed: u64) -> Rc<Self> {
        let (bare, late) = (memory(), Arc::new(Late::default()));
        let mut writers = Vec::new();
        for number in 0..WRITERS {
            let store = FaultStore::new(bare.clone(), late.clone(), Faults::MANY, seed * 100 + number);
            let catalog = open(store.clone(), clock(seed * 1_000 + number)).await.unwrap().0;
            writers.push(Writer { store, catalog: catalog.into(), number: number.into() });
        }
        let catalog = writers[0].catalog.borrow().clone();
        put(&catalog, vec![put_source(1), put_flow(1, 1), put_flow(2, 1)]).await.unwrap();
        writers.iter().for_each(|writer| writer.store.arm(true));
        let journal = Journal { newest_answer: 1, ..Journal::default() };
        Rc::new(Self { seed, bare, late, writers, journal: journal.into() })
    }

    async fn client(self: Rc<Self>, place: usize, client: u64) {
        let mut dice = StdRng::seed_from_u64(self.seed * 10_000 + client);
        for operation in 0..OPERATIONS_OF_CLIENT {
            let (flow, at) = (dice.random_range(1..=2), dice.random_range(0..SECONDS));
            match dice.random_range(0..10) {
                0 => self.read(place).await,
                1..4 => {
                    let key = SegmentKey { flow_id: flow_id(flow), start: second(at).start_key() };
                    self.commit(place, Effect::Deleted(key), move |state| {
                        Ok(state.segment(&key)?.is_some().then(|| vec![Change::DeleteSegment(key)]))
                    })
                    .await;
                }
                _ => {
                    let object = format!("object-{client}-{operation}");
                    self.commit(place, Effect::Registered(object.clone()), move |state| {
                        Ok(is_free(state, flow, at)?.then(|| register(flow, at, &object)))
                    })
                    .await;
                }
            }
        }
    }

    async fn commit(
        &self,
        place: usize,
        effect: Effect,
        decide: impl Fn(View<'_>) -> Result<Option<Vec<Change>>, ReadError> + Send + 'static,
    ) {
        let writer = &self.writers[place];
        let (catalog, number) = (writer.catalog.borrow().clone(), *writer.number.borrow());
        let known_before = self.journal.borrow().newest_answer;
        let answer = catalog
            .commit(64, move |state, _| match decide(state)? {
                Some(changes) => Ok((changes, state.seq + 1)),
                None => Err(Answer::Refused(state.seq)),
            })
            .await;
        let outcome = match answer {
            Ok(seq) => {
                let mut journal = self.journal.borrow_mut();
                journal.newest_answer = journal.newest_answer.max(seq);
                assert!(!journal.halted.contains(&number), "seed {}: acknowledged after a halt", self.seed);
                Outcome::Acknowledged(seq)
            }
            Err(Answer::Refused(seq)) => Outcome::Refused(seq),
            Err(Answer::Failed(CommitError::Unavailable { .. } | CommitError::Full { .. })) => Outcome::NotWritten,
            Err(Answer::Failed(CommitError::Halted { .. } | CommitError::Closed)) => Outcome::Unknown,
            Err(Answer::Failed(error)) => panic!("seed {}: {error:?}", self.seed),
        };
        let halted = matches!(outcome, Outcome::Unknown);
        self.journal.borrow_mut().told.push(Told { writer: number, effect, known_before, outcome });
        if halted {
            self.restart(writer, number).await;
        }
    }

    async fn restart(&self, writer: &Writer, halted: u64) {
        if !self.journal.borrow_mut().halted.insert(halted) {
            // Another client restarts it already.
            while *writer.number.borrow() == halted {
                tokio::task::yield_now().await;
            }
            return;
        }
        self.journal.borrow_mut().restarts += 1;
        let number = halted + WRITERS;
        writer.store.arm(false);
        let opened = open(writer.store.clone(), clock(self.seed * 1_000 + number)).await;
        let (catalog, _) = opened.unwrap_or_else(|error| panic!("seed {}: {error}", self.seed));
        writer.store.arm(true);
        *writer.catalog.borrow_mut() = catalog;
        *writer.number.borrow_mut() = number;
    }

    async fn read(&self, place: usize) {
        let catalog = self.writers[place].catalog.borrow().clone();
        let known_before = self.journal.borrow().newest_answer;
        if let Ok(state) = catalog.read().await {
            assert!(state.seq >= known_before, "seed {}: a read at {} misses {known_before}", self.seed, state.seq);
        }
    }

    /// What the log itself says, without the catalogue's own idea of a state.
    async fn effects_by_entry(&self, log: &Log, last: u64) -> Vec<(u64, Effect)> {
        let mut found = Vec::new();
        let mut seconds = BTreeMap::new();
        for seq in 1..=last {
            for change in log.read(seq).await.unwrap().unwrap().changes {
                match change {
                    Change::PutSegment(segment) => {
                        let object = segment.object_id.to_string();
                        let before = seconds.insert(SegmentKey::of(&segment), object.clone());
                        assert_eq!(before, None, "seed {}: two segments in one second", self.seed);
                        found.push((seq, Effect::Registered(object)));
                    }
                    Change::DeleteSegment(key) => {
                        assert!(seconds.remove(&key).is_some(), "seed {}: nothing to delete", self.seed);
                        found.push((seq, Effect::Deleted(key)));
                    }
                    _ => {}
                }
            }
        }
        found
    }

    async fn check(&self) {
        let seed = self.seed;
        self.late.land(&*self.bare).await;
        let (recovered, log) = open(self.bare.clone(), clock(u64::MAX - seed)).await.unwrap();
        let truth = recovered.snapshot();
        for writer in &self.writers {
            writer.store.arm(false);
            let catalog = writer.catalog.borrow().clone();
            assert_same(&catalog.read().await.unwrap(), &truth, &format!("of a writer of seed {seed}"));
        }
        let mut unexplained: BTreeMap<(u64, Effect), u32> = BTreeMap::new();
        for effect in self.effects_by_entry(&log, truth.seq).await {
            *unexplained.entry(effect).or_default() += 1;
        }
        let journal = self.journal.borrow();
        for told in &journal.told {
            let what = format!("seed {seed}: {:?} of writer {}", told.effect, told.writer);
            match told.outcome {
                Outcome::Acknowledged(seq) => {
                    let count = unexplained.get_mut(&(seq, told.effect.clone())).filter(|count| **count > 0);
                    *count.unwrap_or_else(|| panic!("{what} was acknowledged and is not in entry {seq}")) -= 1;
                }
                Outcome::Refused(seq) => {
                    assert!(seq >= told.known_before, "{what} was refused on {seq}, before {}", told.known_before);
                }
                Outcome::NotWritten | Outcome::Unknown => {}
            }
        }
        // What is left must be of clients that were told nothing certain.
        let mut uncertain: BTreeMap<&Effect, u32> = BTreeMap::new();
        for told in journal.told.iter().filter(|told| matches!(told.outcome, Outcome::Unknown)) {
            *uncertain.entry(&told.effect).or_default() += 1;
        }
        for ((seq, effect), count) in &unexplained {
            let left = uncertain.entry(effect).or_default();
            assert!(*left >= *count, "seed {seed}: {effect:?} in entry {seq} was asked for by nobody, or refused");
            *left -= count;
        }
    }
}

fn is_free(state: View<'_>, flow: u8, at: i32) -> Result<bool, ReadError> {
    Ok(state.flow(flow_id(flow)).is_some() && state.overlapping_segment(flow_id(flow), second(at))?.is_none())
}

#[derive(Debug, Default)]
struct Sum {
    acknowledged: usize,
    refused: usize,
    not_written: usize,
    unknown: usize,
    restarts: u64,
}

async fn run(seed: u64, sum: &mut Sum) {
    let world = World::new(seed).await;
    let tasks = tokio::task::LocalSet::new();
    let clients: Vec<_> = (0..WRITERS * CLIENTS_OF_WRITER)
        .map(|client| tasks.spawn_local(world.clone().client(usize::try_from(client % WRITERS).unwrap(), client)))
        .collect();
    tasks.run_until(futures::future::try_join_all(clients)).await.unwrap();
    world.check().await;
    let journal = world.journal.borrow();
    sum.restarts += journal.restarts;
    for told in &journal.told {
        match told.outcome {
            Outcome::Acknowledged(_) => sum.acknowledged += 1,
            Outcome::Refused(_) => sum.refused += 1,
            Outcome::NotWritten => sum.not_written += 1,
            Outcome::Unknown => sum.unknown += 1,
        }
    }
}

#[tokio::test]
async fn what_clients_were_told_is_what_the_log_says_whatever_the_store_does() {
    let mut sum = Sum::default();
    for seed in 0..40 {
        run(seed, &mut sum).await;
    }
    println!("{sum:?}");
    // Every kind of answer came up, so every kind was checked.
    assert!(sum.acknowledged > 1_000 && sum.refused > 1_000, "{sum:?}");
    assert!(sum.not_written > 50 && sum.unknown > 10 && sum.restarts > 5, "{sum:?}");
}

/// Two processes as in earnest: threads of their own, no faults, a thousand times the same second.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_writers_cannot_both_register_the_same_second() {
    let store = memory();
    let one = Catalog::open(store.clone(), clock(1), super::helpers::settings()).await.unwrap();
    let other = Catalog::open(store, clock(2), super::helpers::settings()).await.unwrap();
    put(&one, vec![put_source(1), put_flow(1, 1)]).await.unwrap();
    let race = |catalog: Catalog, at: i32, object: String| async move {
        catalog
            .commit(64, move |state, _| match is_free(state, 1, at)? {
                true => Ok((register(1, at, &object), ())),
                false => Err(Answer::Refused(state.seq)),
            })
            .await
    };
    for at in 0..1_000 {
        let outcomes = tokio::join!(
            tokio::spawn(race(one.clone(), at, format!("one-{at}"))),
            tokio::spawn(race(other.clone(), at, format!("other-{at}")))
        );
        match (outcomes.0.unwrap(), outcomes.1.unwrap()) {
            (Ok(()), Err(Answer::Refused(_))) | (Err(Answer::Refused(_)), Ok(())) => {}
            (one, other) => panic!("second {at}: {} and {} won", one.is_ok(), other.is_ok()),
        }
    }
    let (one, other) = (one.read().await.unwrap(), other.read().await.unwrap());
    assert_same(&one, &other, "after 1,000 races");
    assert_eq!(one.segments.len(), 1_000);
}
