//! A store that works until a given operation and never after it: a crash, as whoever starts next finds it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::LogStoreRef;

use super::watched_objects::{Fate, Watch, WatchedObjects};
use crate::catalog::publish::{PublishError, object_table};
use crate::catalog::{Create, Store, StoreError};

#[derive(Debug)]
pub struct CrashStore {
    inner: Arc<dyn Store>,
    run: Arc<Run>,
    exclusive: bool,
}

/// Before an operation takes effect, or after: by its number, and by its name for people.
#[derive(Debug, Clone)]
pub struct Point {
    operation: usize,
    after: bool,
    name: String,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, if self.after { "after" } else { "before" })
    }
}

#[derive(Debug, Default)]
struct Run(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Operations since the crash was armed, by name.
    names: Vec<String>,
    armed: bool,
    crash: Option<Point>,
    dead: bool,
}

/// The same for what is alike, whether from the catalogue's folder on or from the bucket's.
fn what(path: &str) -> String {
    let parts: Vec<&str> = path.split('/').skip_while(|part| *part == "catalog").collect();
    match parts[..] {
        ["log", _] => "log entry".into(),
        ["floor", _] => "floor mark".into(),
        ["tables", table, "data", _] => format!("tables/{table}"),
        ["tables", table, "dv", _] => format!("deletion vector of {table}"),
        ["tables", table, "_delta_log", file] => match file.split_once('.') {
            Some((_, "json")) => format!("Delta commit of {table}"),
            Some((_, rest)) if rest.contains("checkpoint") => "Delta checkpoint".into(),
            _ => format!("Delta log {file}"),
        },
        ["checkpoints", _, file] => format!("checkpoints/{}", file.split(['-', '.']).next().unwrap()),
        _ => path.into(),
    }
}

impl Watch for Run {
    fn fate(&self, verb: &str, path: &str) -> Fate {
        let mut run = self.0.lock().unwrap();
        if run.dead {
            return Fate::Refused;
        }
        if !run.armed {
            return Fate::Done;
        }
        run.names.push(format!("{verb} {}", what(path)));
        let number = run.names.len() - 1;
        match run.crash.as_ref().filter(|crash| crash.operation == number) {
            None => Fate::Done,
            Some(crash) => {
                let fate = if crash.after { Fate::LostAnswer } else { Fate::Refused };
                run.dead = true;
                fate
            }
        }
    }
}

/// Of the Delta log only what is put or deleted is an operation: its library reads as it likes.
#[derive(Debug)]
struct Changes(Arc<Run>);

impl Watch for Changes {
    fn fate(&self, verb: &str, path: &str) -> Fate {
        if ["put", "delete"].contains(&verb) {
            return self.0.fate(verb, path);
        }
        if self.0.0.lock().unwrap().dead { Fate::Refused } else { Fate::Done }
    }
}

impl CrashStore {
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { exclusive: inner.exclusive(), inner, run: Arc::default() })
    }

    /// Like a local disk, which one process has to itself.
    pub fn exclusive(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { exclusive: true, inner, run: Arc::default() })
    }

    pub fn inner(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// From now on operations are noted, and there is a crash at this one.
    pub fn arm(&self, crash: Option<&Point>) {
        *self.run.0.lock().unwrap() = Seen { armed: true, crash: crash.cloned(), ..Seen::default() };
    }

    pub fn is_dead(&self) -> bool {
        self.run.0.lock().unwrap().dead
    }

    /// Where it can crash in what was noted. Of operations that are alike, such as the deletions of a thousand log entries,
    /// the first and the last.
    pub fn points(&self) -> Vec<Point> {
        let run = self.run.0.lock().unwrap();
        let mut operations: BTreeMap<&String, BTreeSet<usize>> = BTreeMap::new();
        for (number, name) in run.names.iter().enumerate() {
            let numbers = operations.entry(name).or_default();
            if numbers.len() > 1 {
                numbers.pop_last();
            }
            numbers.insert(number);
        }
        let of_name = |(name, numbers): (&String, BTreeSet<usize>)| {
            let name = name.clone();
            numbers
                .into_iter()
                .flat_map(move |operation| [false, true].map(|after| Point { operation, after, name: name.clone() }))
        };
        operations.into_iter().flat_map(of_name).collect()
    }

    fn error(&self, path: &str) -> StoreError {
        StoreError { location: self.inner.location(path), reason: "it crashed".into(), full: false }
    }

    async fn operate<T>(
        &self,
        verb: &str,
        path: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        match self.run.fate(verb, path) {
            Fate::Done => work.await,
            Fate::LostAnswer => {
                let _ = work.await;
                Err(self.error(path))
            }
            Fate::Refused => Err(self.error(path)),
        }
    }
}

#[async_trait]
impl Store for CrashStore {
    async fn create(&self, path: &str, bytes: Bytes) -> Create {
        match self.run.fate("create", path) {
            Fate::Done => self.inner.create(path, bytes).await,
            Fate::LostAnswer => {
                let _ = self.inner.create(path, bytes).await;
                Create::Unclear(self.error(path))
            }
            Fate::Refused => Create::Unclear(self.error(path)),
        }
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        self.operate("write", path, self.inner.write(path, bytes)).await
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        self.operate("read", path, self.inner.read(path)).await
    }

    async fn read_ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError> {
        self.operate("read ranges of", path, self.inner.read_ranges(path, ranges)).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        self.operate("list", folder, self.inner.list(folder)).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        self.operate("delete", path, self.inner.delete(path)).await
    }

    fn exclusive(&self) -> bool {
        self.exclusive
    }

    fn delta_log(&self, table: &str) -> Option<Result<LogStoreRef, PublishError>> {
        let log_store = self.inner.delta_log(table)?;
        Some(log_store.and_then(|log_store| {
            let objects = WatchedObjects::new(log_store.root_object_store(None), Changes(self.run.clone()));
            object_table(Arc::new(objects), log_store.root_url().as_str())
        }))
    }

    fn location(&self, path: &str) -> String {
        self.inner.location(path)
    }
}
