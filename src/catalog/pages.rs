//! Pages of cold files in memory, decoded, as many as there is room for: reading is cheap beside decoding.
//!
//! [`PageCache`] belongs to the catalogue, [`Pages`] to one question: what it once got it keeps, so that a question asked
//! again gets further each time, whatever the cache throws out meanwhile.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use moka::sync::Cache;

use super::change::Lsn;
use super::cold::{ColdError, ColdFile, FileIndex, Page};
use super::store::{Store, StoreError};
use crate::domain::{MediaObject, ObjectId};

/// Pages that one question loads at the same time.
const AT_ONCE: usize = 8;

#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Noted, to be loaded. Who asks through [`super::Catalog`] never sees it.
    #[error("a page is not loaded yet")]
    NotLoaded,
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cold file {location} is damaged: {reason}. Nothing of it is served. Restore this file from a backup")]
    Damaged { location: String, reason: String },
    #[error("rows of {table} do not become columns: {reason}")]
    Rows { table: &'static str, reason: String },
}

impl From<ColdError> for ReadError {
    fn from(error: ColdError) -> Self {
        Self::Damaged { location: error.path, reason: error.reason }
    }
}

/// As an operator knows the file.
pub fn damaged(store: &dyn Store, error: ColdError) -> ReadError {
    ReadError::Damaged { location: store.location(&error.path), reason: error.reason }
}

/// What stands behind a file's rows.
pub async fn read_tail(store: &dyn Store, file: &ColdFile) -> Result<Bytes, StoreError> {
    let tail = store.read_ranges(&file.meta.path, vec![file.meta.tail()]).await?;
    Ok(tail.into_iter().next().unwrap_or_default())
}

pub async fn read_index(store: &dyn Store, file: &ColdFile) -> Result<FileIndex, ReadError> {
    let tail = read_tail(store, file).await?;
    FileIndex::load(&file.meta, &tail).map_err(|error| damaged(store, error))
}

/// Pages of one row group.
pub async fn read_pages(
    store: &dyn Store,
    file: &ColdFile,
    index: &FileIndex,
    pages: Range<u32>,
) -> Result<Page, ReadError> {
    let bytes = read_parts(store, file, index.byte_ranges(pages.clone(), None)).await?;
    index.page(pages, &bytes).map_err(|error| damaged(store, error))
}

pub async fn read_page(store: &dyn Store, file: &ColdFile, index: &FileIndex, number: u32) -> Result<Page, ReadError> {
    read_pages(store, file, index, number..number + 1).await
}

async fn read_parts(
    store: &dyn Store,
    file: &ColdFile,
    ranges: Vec<Range<u64>>,
) -> Result<Vec<(Range<u64>, Bytes)>, StoreError> {
    let bytes = store.read_ranges(&file.meta.path, ranges.clone()).await?;
    Ok(ranges.into_iter().zip(bytes).collect())
}

/// What is loaded of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Part {
    Index,
    Page(u32),
    /// Rows of Objects whose ids have this hash.
    Objects(i64),
    /// Part of the file's list of ids.
    Ids(u32),
}

type Name = (u64, Part);

#[derive(Debug, Clone)]
enum Loaded {
    Index(Arc<FileIndex>),
    Page(Arc<Page>),
    Objects(Arc<[FoundObject]>),
    Ids(Bytes),
}

/// A row of `objects`.
#[derive(Debug)]
pub struct FoundObject {
    pub id: ObjectId,
    pub lsn: Lsn,
    /// `None`: the Object is gone.
    pub row: Option<Arc<MediaObject>>,
}

impl Loaded {
    fn bytes(&self) -> usize {
        match self {
            Self::Index(index) => index.memory_size(),
            Self::Page(page) => page.memory_size(),
            Self::Objects(objects) => 64 + 512 * objects.len(),
            Self::Ids(ids) => 64 + ids.len(),
        }
    }
}

#[derive(Debug, Clone)]
pub struct PageCache {
    store: Arc<dyn Store>,
    /// Every question of a file needs its index.
    indexes: Cache<Name, Loaded>,
    pages: Cache<Name, Loaded>,
}

impl PageCache {
    /// Bytes of memory at most, about: for what files hold where, and for what they hold.
    pub fn new(store: Arc<dyn Store>, index_bytes: u64, page_bytes: u64) -> Self {
        let weigh = |_: &Name, loaded: &Loaded| u32::try_from(loaded.bytes()).unwrap_or(u32::MAX);
        let cache = |bytes| Cache::builder().max_capacity(bytes).weigher(weigh).build();
        Self { store, indexes: cache(index_bytes), pages: cache(page_bytes) }
    }

    fn of(&self, part: Part) -> &Cache<Name, Loaded> {
        match part {
            Part::Index => &self.indexes,
            Part::Page(_) | Part::Objects(_) | Part::Ids(_) => &self.pages,
        }
    }

    async fn load(&self, file: &Arc<ColdFile>, part: Part, pages: &Pages) -> Result<Loaded, ReadError> {
        match part {
            Part::Index => Ok(Loaded::Index(Arc::new(read_index(&*self.store, file).await?))),
            Part::Page(number) => {
                Ok(Loaded::Page(Arc::new(read_page(&*self.store, file, &*pages.index(file)?, number).await?)))
            }
            Part::Objects(hash) => {
                let index = pages.index(file)?;
                let mut found = Vec::new();
                for (number, row) in self.rows_of(file, &index, hash).await? {
                    let page = match self.pages.get(&(file.id, Part::Page(number))) {
                        Some(Loaded::Page(page)) => page,
                        _ => {
                            let page = Arc::new(read_page(&*self.store, file, &index, number).await?);
                            self.pages.insert((file.id, Part::Page(number)), Loaded::Page(page.clone()));
                            page
                        }
                    };
                    let id = page.object_id(row).and_then(|id| id.parse().ok());
                    let id = id.ok_or_else(|| ReadError::Damaged {
                        location: self.location(&file.meta.path),
                        reason: "its list of ids names a row that is not there".into(),
                    })?;
                    let object = || page.object(row).map(Arc::new).map_err(|error| self.damaged(error));
                    let object = if page.is_deleted(row) { None } else { Some(object()?) };
                    found.push(FoundObject { id, lsn: page.lsn(row), row: object });
                }
                Ok(Loaded::Objects(found.into()))
            }
            // Nobody asks for it alone.
            Part::Ids(_) => Err(ReadError::NotLoaded),
        }
    }

    /// As [`Pages::index`], for those who can wait.
    pub async fn index_of(&self, file: &Arc<ColdFile>) -> Result<Arc<FileIndex>, ReadError> {
        self.answer(|pages| pages.index(file)).await
    }

    /// As [`Pages::page`], for those who can wait.
    pub async fn page_of(&self, file: &Arc<ColdFile>, number: u32) -> Result<Arc<Page>, ReadError> {
        self.answer(|pages| pages.index(file).and_then(|_| pages.page(file, number))).await
    }

    /// Page and row in it of the Objects whose ids have this hash, and perhaps of a few others.
    pub async fn rows_of(&self, file: &ColdFile, index: &FileIndex, hash: i64) -> Result<Vec<(u32, usize)>, ReadError> {
        let mut rows = Vec::new();
        for block in index.id_blocks(hash) {
            let name = (file.id, Part::Ids(block));
            let ids = match self.pages.get(&name) {
                Some(Loaded::Ids(ids)) => ids,
                _ => {
                    let bytes = self.store.read_ranges(&file.meta.path, vec![index.id_block_range(block)]).await?;
                    let ids = index.checked_id_block(block, bytes.into_iter().next().unwrap_or_default());
                    let ids = ids.map_err(|error| self.damaged(error))?;
                    self.pages.insert(name, Loaded::Ids(ids.clone()));
                    ids
                }
            };
            rows.extend(index.rows_with(&ids, hash));
        }
        Ok(rows)
    }

    /// Asks until everything that the answer needs is loaded.
    pub async fn answer<T, E: From<ReadError>>(&self, question: impl Fn(&Pages) -> Result<T, E>) -> Result<T, E> {
        let pages = Pages::new(self.clone());
        loop {
            let answer = question(&pages);
            if !self.load_missing(&pages).await? {
                return answer;
            }
        }
    }

    /// Rows of pages of one row group, which are not kept: long scans would throw out what short questions need.
    pub async fn read_through(
        &self,
        file: &ColdFile,
        index: &FileIndex,
        pages: Range<u32>,
        columns: Option<&[usize]>,
    ) -> Result<RecordBatch, ReadError> {
        let bytes = read_parts(&*self.store, file, index.byte_ranges(pages.clone(), columns)).await?;
        index.decode_pages(pages, columns, &bytes).map_err(|error| self.damaged(error))
    }

    /// The same in batches of so many rows.
    pub async fn read_batches(
        &self,
        file: &ColdFile,
        index: &FileIndex,
        pages: Range<u32>,
        columns: Option<&[usize]>,
        rows: usize,
    ) -> Result<Vec<RecordBatch>, ReadError> {
        let bytes = read_parts(&*self.store, file, index.byte_ranges(pages.clone(), columns)).await?;
        index.decode_batches(pages, columns, &bytes, rows).map_err(|error| self.damaged(error))
    }

    /// As an operator knows the file.
    pub fn damaged(&self, error: ColdError) -> ReadError {
        damaged(&*self.store, error)
    }

    /// How an operator would look for a file.
    pub fn location(&self, path: &str) -> String {
        self.store.location(path)
    }

    /// Loads what questions asked of `pages` have missed; false if that is nothing.
    pub async fn load_missing(&self, pages: &Pages) -> Result<bool, ReadError> {
        let missing = std::mem::take(&mut pages.own().missing);
        if missing.is_empty() {
            return Ok(false);
        }
        let load = |((_, part), file): (Name, Arc<ColdFile>)| async move {
            let loaded = self.load(&file, part, pages).await?;
            Ok::<_, ReadError>(((file.id, part), loaded))
        };
        let loads: Vec<_> = missing.into_iter().map(load).collect();
        let loaded: Vec<_> = futures::stream::iter(loads).buffer_unordered(AT_ONCE).try_collect().await?;
        for (name, loaded) in loaded {
            self.of(name.1).insert(name, loaded.clone());
            pages.own().kept.insert(name, loaded);
        }
        Ok(true)
    }
}

/// The pages that one question sees.
#[derive(Debug)]
pub struct Pages {
    cache: PageCache,
    own: Mutex<Own>,
}

#[derive(Debug, Default)]
struct Own {
    kept: HashMap<Name, Loaded>,
    /// In order, so that a simulation repeats what is read.
    missing: BTreeMap<Name, Arc<ColdFile>>,
}

impl Pages {
    pub fn new(cache: PageCache) -> Self {
        Self { cache, own: Mutex::default() }
    }

    fn own(&self) -> std::sync::MutexGuard<'_, Own> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something was asked for that is not loaded.
    pub fn has_missing(&self) -> bool {
        !self.own().missing.is_empty()
    }

    pub fn index(&self, file: &Arc<ColdFile>) -> Result<Arc<FileIndex>, ReadError> {
        match self.get(file, Part::Index)? {
            Loaded::Index(index) => Ok(index),
            _ => Err(ReadError::NotLoaded),
        }
    }

    /// Rows of a file of Objects whose ids have this hash.
    pub fn objects(&self, file: &Arc<ColdFile>, hash: i64) -> Result<Arc<[FoundObject]>, ReadError> {
        match self.get(file, Part::Objects(hash))? {
            Loaded::Objects(objects) => Ok(objects),
            _ => Err(ReadError::NotLoaded),
        }
    }

    pub fn page(&self, file: &Arc<ColdFile>, number: u32) -> Result<Arc<Page>, ReadError> {
        match self.get(file, Part::Page(number))? {
            Loaded::Page(page) => Ok(page),
            _ => Err(ReadError::NotLoaded),
        }
    }

    fn get(&self, file: &Arc<ColdFile>, part: Part) -> Result<Loaded, ReadError> {
        let name = (file.id, part);
        let mut own = self.own();
        if let Some(kept) = own.kept.get(&name) {
            return Ok(kept.clone());
        }
        if let Some(loaded) = self.cache.of(part).get(&name) {
            own.kept.insert(name, loaded.clone());
            return Ok(loaded);
        }
        own.missing.insert(name, file.clone());
        Err(ReadError::NotLoaded)
    }
}
