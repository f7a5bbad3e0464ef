//! The catalogue on an object store. Its client's own retries must be off: a retry inside a conditional put can
//! collide with our own first put, and what happened is then for the log to find out, not for the client to guess.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};

use super::{Create, Store, StoreError};

#[derive(Debug)]
pub struct ObjectStoreStore {
    store: Arc<dyn ObjectStore>,
    /// How an operator knows the bucket, such as `s3://archive/catalog`.
    name: String,
}

impl ObjectStoreStore {
    pub fn new(store: Arc<dyn ObjectStore>, name: String) -> Self {
        Self { store, name }
    }

    fn failure(&self, path: &str, error: &object_store::Error) -> StoreError {
        StoreError { location: self.location(path), reason: error.to_string(), full: false }
    }
}

#[async_trait]
impl Store for ObjectStoreStore {
    async fn create(&self, path: &str, bytes: Bytes) -> Create {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&Path::from(path), bytes.into(), options).await {
            Ok(_) => Create::Created,
            Err(object_store::Error::AlreadyExists { .. }) => Create::Exists,
            // These are refused before anything is stored.
            Err(
                error @ (object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
                | object_store::Error::NotImplemented { .. }
                | object_store::Error::NotSupported { .. }
                | object_store::Error::InvalidPath { .. }),
            ) => Create::Failed(self.failure(path, &error)),
            Err(error) => Create::Unclear(self.failure(path, &error)),
        }
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        match self.store.put(&Path::from(path), bytes.into()).await {
            Ok(_) => Ok(()),
            Err(error) => Err(self.failure(path, &error)),
        }
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        let read = async { self.store.get(&Path::from(path)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failure(path, &error)),
        }
    }

    async fn read_ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError> {
        self.store.get_ranges(&Path::from(path), &ranges).await.map_err(|error| self.failure(path, &error))
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let found = self.store.list(Some(&Path::from(folder)));
        let mut paths: Vec<String> = found
            .map_ok(|meta| meta.location.to_string())
            .try_collect()
            .await
            .map_err(|error| self.failure(folder, &error))?;
        paths.sort_unstable();
        Ok(paths)
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        match self.store.delete(&Path::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failure(path, &error)),
        }
    }

    fn exclusive(&self) -> bool {
        false
    }

    fn location(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }
}
