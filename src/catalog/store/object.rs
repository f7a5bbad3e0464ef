//! The catalogue on an object store. Its client's own retries must be off: a retry inside a conditional put can
//! collide with our own first put, and what happened is then for the log to find out, not for the client to guess.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use deltalake::logstore::LogStoreRef;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use url::Url;

use super::{Create, Store, StoreError};
use crate::catalog::paths;
use crate::catalog::publish::{PublishError, object_table};

#[derive(Debug)]
pub struct ObjectStoreStore {
    /// The whole bucket.
    bucket: Arc<dyn ObjectStore>,
    /// The catalogue's part of it.
    store: Arc<dyn ObjectStore>,
    /// How an operator knows the catalogue's part, such as `s3://archive/catalog`.
    url: Url,
}

impl ObjectStoreStore {
    /// A catalogue in the folder of a bucket that the path of its URL names.
    pub fn new(bucket: Arc<dyn ObjectStore>, url: Url) -> Self {
        let store = Arc::new(PrefixStore::new(bucket.clone(), url.path().trim_matches('/')));
        Self { bucket, store, url }
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

    fn delta_log(&self, table: &str) -> Option<Result<LogStoreRef, PublishError>> {
        Some(object_table(self.bucket.clone(), &self.location(&format!("{}/{table}", paths::TABLES))))
    }

    fn location(&self, path: &str) -> String {
        format!("{}/{path}", self.url.as_str().trim_end_matches('/'))
    }
}
