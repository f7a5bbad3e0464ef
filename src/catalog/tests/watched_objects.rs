//! An object store of which a test sees every operation, and says what becomes of it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Done,
    /// It takes effect, and an error says that it did not.
    LostAnswer,
    Refused,
}

pub trait Watch: fmt::Debug + Send + Sync + 'static {
    /// `put`, `get`, `list` or `delete`, and a path or the folder that is listed.
    fn fate(&self, verb: &str, path: &str) -> Fate;

    /// An object that a list shows.
    fn listed(&self) {}
}

#[derive(Debug)]
pub struct WatchedObjects<W> {
    inner: Arc<dyn ObjectStore>,
    watch: Arc<W>,
}

impl<W> WatchedObjects<W> {
    pub fn new(inner: Arc<dyn ObjectStore>, watch: W) -> Self {
        Self { inner, watch: Arc::new(watch) }
    }

    pub fn watch(&self) -> &W {
        &self.watch
    }
}

fn failure() -> Error {
    Error::Generic { store: "watched", source: "no answer".into() }
}

impl<W: Watch> WatchedObjects<W> {
    async fn operate<T>(&self, verb: &str, path: &Path, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.watch.fate(verb, path.as_ref()) {
            Fate::Done => work.await,
            Fate::LostAnswer => {
                work.await?;
                Err(failure())
            }
            Fate::Refused => Err(failure()),
        }
    }

    fn list(
        &self,
        prefix: Option<&Path>,
        found: BoxStream<'static, Result<ObjectMeta>>,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.watch.fate("list", prefix.map_or("", |prefix| prefix.as_ref())) != Fate::Done {
            return stream::iter([Err(failure())]).boxed();
        }
        let watch = self.watch.clone();
        found.inspect(move |_| watch.listed()).boxed()
    }
}

impl<W> fmt::Display for WatchedObjects<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watched {}", self.inner)
    }
}

#[async_trait]
impl<W: Watch> ObjectStore for WatchedObjects<W> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.operate("put", location, self.inner.put_opts(location, payload, opts)).await
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.operate("put", location, self.inner.put_multipart_opts(location, opts)).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.operate("get", location, self.inner.get_opts(location, options)).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (watch, inner) = (self.watch.clone(), self.inner.clone());
        let delete = move |location: Result<Path>| {
            let (watch, inner) = (watch.clone(), inner.clone());
            async move {
                let location = location?;
                let fate = watch.fate("delete", location.as_ref());
                if fate != Fate::Refused {
                    let one = stream::iter([Ok(location.clone())]).boxed();
                    inner.delete_stream(one).next().await.transpose()?;
                }
                if fate == Fate::Done { Ok(location) } else { Err(failure()) }
            }
        };
        locations.then(delete).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list(prefix, self.inner.list(prefix))
    }

    fn list_with_offset(&self, prefix: Option<&Path>, offset: &Path) -> BoxStream<'static, Result<ObjectMeta>> {
        self.list(prefix, self.inner.list_with_offset(prefix, offset))
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        self.operate("list", &folder, self.inner.list_with_delimiter(prefix)).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.operate("put", to, self.inner.copy_opts(from, to, options)).await
    }
}
