//! A store that lets a test act just before an operation: to hold it up, or to let somebody else go first.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;

use crate::catalog::{Create, Store, StoreError};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Create,
    Write,
    Read,
    List,
    Delete,
}

type Hook = dyn Fn(Verb, &str) -> BoxFuture<'static, ()> + Send + Sync;

pub struct Hooked {
    inner: Arc<dyn Store>,
    before: Box<Hook>,
}

impl Hooked {
    pub fn new(
        inner: Arc<dyn Store>,
        before: impl Fn(Verb, &str) -> BoxFuture<'static, ()> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { inner, before: Box::new(before) })
    }
}

impl fmt::Debug for Hooked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hooked({:?})", self.inner)
    }
}

#[async_trait]
impl Store for Hooked {
    async fn create(&self, path: &str, bytes: Bytes) -> Create {
        (self.before)(Verb::Create, path).await;
        self.inner.create(path, bytes).await
    }

    async fn write(&self, path: &str, bytes: Bytes) -> Result<(), StoreError> {
        (self.before)(Verb::Write, path).await;
        self.inner.write(path, bytes).await
    }

    async fn read(&self, path: &str) -> Result<Option<Bytes>, StoreError> {
        (self.before)(Verb::Read, path).await;
        self.inner.read(path).await
    }

    async fn read_ranges(&self, path: &str, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>, StoreError> {
        (self.before)(Verb::Read, path).await;
        self.inner.read_ranges(path, ranges).await
    }

    async fn list(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        (self.before)(Verb::List, folder).await;
        self.inner.list(folder).await
    }

    async fn delete(&self, path: &str) -> Result<(), StoreError> {
        (self.before)(Verb::Delete, path).await;
        self.inner.delete(path).await
    }

    fn exclusive(&self) -> bool {
        self.inner.exclusive()
    }

    fn location(&self, path: &str) -> String {
        self.inner.location(path)
    }
}
