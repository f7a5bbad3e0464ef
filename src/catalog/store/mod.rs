//! Where the catalogue's files live: a few verbs that a local disk and an object store can both keep.
//!
//! The log relies on [`Store::create`] alone; what its outcomes promise is what makes commits safe.

mod local;
mod object;

use std::fmt::Debug;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::LogStoreRef;

use super::publish::PublishError;

pub use local::LocalStore;
pub use object::ObjectStoreStore;

#[derive(Debug, Clone, thiserror::Error)]
#[error("{location}: {reason}")]
pub struct StoreError {
    /// The file, as an operator would look for it.
    pub location: String,
    pub reason: String,
    /// The disk or the quota is full.
    pub full: bool,
}

/// What became of a conditional put.
#[derive(Debug)]
pub enum Create {
    /// Durable now, and ours.
    Created,
    /// Something is there: somebody else's file, or our own of an earlier try whose answer was lost.
    Exists,
    /// It may have landed or not, or may land later; only reading the place back tells.
    Unclear(StoreError),
    /// Nothing landed and nothing will.
    Failed(StoreError),
}

#[async_trait]
pub trait Store: Debug + Send + Sync {
    /// Puts a file where none is. Whoever gets [`Create::Created`] can forget the bytes: no crash loses them.
    async fn create(&self, path: &str, bytes: Bytes) -> Create;

    /// Puts a file, replacing what is there; durable on return.
    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError>;

    /// `None` where no file is.
    async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError>;

    /// Parts of one file, as long as asked for; a file that is not there, or ends before, is an error.
    async fn read_ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError>;

    /// Paths of all files below a folder, sorted.
    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError>;

    /// Removes a file; one that is not there is no error.
    async fn delete(&self, path: &str) -> Result<(), StoreError>;

    /// Lets others have the store; whoever still holds this value cannot write any more.
    fn release(&self) {}

    /// Whether this process is the only writer, so that a read needs no look for others' commits.
    fn exclusive(&self) -> bool;

    /// The Delta log of a published table, as Delta Lake's library wants it; `None` where it cannot reach the store.
    fn delta_log(&self, _table: &str) -> Option<Result<LogStoreRef, PublishError>> {
        None
    }

    /// How to name a path to an operator.
    fn location(&self, path: &str) -> String;
}

/// Start-up self-test: what the commit log relies on must hold on this store.
///
/// Errors say which promise is broken.
pub async fn self_test(store: &dyn Store, probe: &str) -> Result<(), StoreError> {
    let broken = |reason: &str| StoreError { location: store.location(probe), reason: reason.to_owned(), full: false };
    if store.read(probe).await?.is_some() {
        return Err(broken("the name chosen for the self-test exists already"));
    }
    match store.create(probe, Bytes::from_static(b"one")).await {
        Create::Created => {}
        Create::Exists => return Err(broken("a first create says that the file exists: creates must be conditional")),
        Create::Unclear(error) | Create::Failed(error) => return Err(error),
    }
    let outcome = async {
        match store.create(probe, Bytes::from_static(b"two")).await {
            Create::Exists => {}
            Create::Created => {
                return Err(broken("a second create replaced the first: this store cannot do a put-if-absent"));
            }
            Create::Unclear(error) | Create::Failed(error) => return Err(error),
        }
        if store.read(probe).await?.as_deref() != Some(b"one") {
            return Err(broken("what was put is not what is read"));
        }
        let folder = probe.rsplit_once('/').map_or("", |(folder, _)| folder);
        if !store.list(folder).await?.iter().any(|path| path == probe) {
            return Err(broken("a list does not show what was just put"));
        }
        Ok(())
    }
    .await;
    store.delete(probe).await?;
    outcome
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn stores() -> (tempfile::TempDir, Vec<Arc<dyn Store>>) {
        let folder = tempfile::tempdir().unwrap();
        let local = LocalStore::open(folder.path().join("catalog")).unwrap();
        let memory = ObjectStoreStore::new(
            Arc::new(object_store::memory::InMemory::new()),
            "memory:///catalog".parse().unwrap(),
        );
        (folder, vec![Arc::new(local), Arc::new(memory)])
    }

    #[tokio::test]
    async fn every_store_keeps_the_promises_of_the_self_test() {
        let (_folder, stores) = stores();
        for store in stores {
            self_test(&*store, "selftest/1").await.unwrap();
            assert_eq!(store.read("selftest/1").await.unwrap(), None, "{store:?} keeps the probe");
        }
    }

    #[tokio::test]
    async fn only_one_of_many_creators_of_one_path_succeeds() {
        let (_folder, stores) = stores();
        for store in stores {
            let tries = (0..32u8).map(|n| {
                let store = store.clone();
                tokio::spawn(async move { (n, store.create("log/1", Bytes::from(vec![n])).await) })
            });
            let mut winners = Vec::new();
            for outcome in futures::future::join_all(tries).await {
                match outcome.unwrap() {
                    (n, Create::Created) => winners.push(n),
                    (_, Create::Exists) => {}
                    (_, other) => panic!("{other:?}"),
                }
            }
            assert_eq!(winners.len(), 1, "{store:?}");
            assert_eq!(store.read("log/1").await.unwrap().as_deref(), Some(&winners[..]));
        }
    }

    #[tokio::test]
    async fn a_list_is_sorted_and_goes_below_the_folder_only() {
        let (_folder, stores) = stores();
        for store in stores {
            for path in ["log/2", "log/1", "logs/1", "checkpoints/1/a", "checkpoints/1/b"] {
                store.write(path, Bytes::new()).await.unwrap();
            }
            assert_eq!(store.list("log").await.unwrap(), ["log/1", "log/2"]);
            assert_eq!(store.list("checkpoints").await.unwrap(), ["checkpoints/1/a", "checkpoints/1/b"]);
            assert_eq!(store.list("none").await.unwrap(), [""; 0]);
            store.delete("log/1").await.unwrap();
            store.delete("log/1").await.unwrap();
            assert_eq!(store.list("log").await.unwrap(), ["log/2"]);
        }
    }
}
