//! The database of the state that was asked last: many queries of one state share one.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::TryStreamExt;

use super::{Duck, DuckError, DuckSettings, DuckTable, Shows, duck_tables};
use crate::catalog::{Catalog, State, events_schema};
use crate::query::error::QueryError;
use crate::query::views::{self, VIEWS};

pub struct Databases {
    settings: DuckSettings,
    newest: Mutex<Option<Kept>>,
    /// One at a time is made: whoever asks the same state meanwhile shares it.
    making: tokio::sync::Mutex<()>,
}

#[derive(Clone)]
struct Kept {
    state: Arc<State>,
    events: bool,
    duck: Arc<Duck>,
}

impl Databases {
    pub fn new(settings: DuckSettings) -> Self {
        Self { settings, newest: Mutex::default(), making: tokio::sync::Mutex::default() }
    }

    /// A database that shows a state; with its events, which are read from the log, only if they are wanted.
    pub async fn of(
        &self,
        catalog: &Catalog,
        state: &Arc<State>,
        backends: &RecordBatch,
        events: bool,
    ) -> Result<Arc<Duck>, QueryError> {
        if let Some(duck) = self.kept(state, events) {
            return Ok(duck);
        }
        let _making = self.making.lock().await;
        if let Some(duck) = self.kept(state, events) {
            return Ok(duck);
        }
        let duck = Self::open(&self.settings, catalog, state, backends, events).await?;
        let kept = Kept { state: state.clone(), events, duck: duck.clone() };
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(duck)
    }

    /// A database for one question, with one thread: rows come in the same order each time.
    pub async fn alone(
        &self,
        catalog: &Catalog,
        state: &Arc<State>,
        backends: &RecordBatch,
        events: bool,
    ) -> Result<Arc<Duck>, QueryError> {
        let settings = DuckSettings { threads: 1, ..self.settings.clone() };
        Self::open(&settings, catalog, state, backends, events).await
    }

    async fn open(
        settings: &DuckSettings,
        catalog: &Catalog,
        state: &Arc<State>,
        backends: &RecordBatch,
        events: bool,
    ) -> Result<Arc<Duck>, QueryError> {
        let mut tables = duck_tables(catalog, state).await?;
        let resident = |name: &str, hot: RecordBatch| DuckTable {
            name: name.to_owned(),
            files: Vec::new(),
            hot,
            shows: Shows::NotDeleted(Vec::new()),
        };
        tables.push(resident("storage_backends", backends.clone()));
        tables.push(resident("columns", views::columns().clone()));
        let rows = if events { event_rows(catalog, state).await? } else { RecordBatch::new_empty(events_schema()) };
        tables.push(resident("events", rows));
        let settings = settings.clone();
        let opened = tokio::task::spawn_blocking(move || Duck::open(&settings, &tables, VIEWS)).await;
        Ok(Arc::new(opened.map_err(|error| QueryError::Internal(error.to_string()))??))
    }

    fn kept(&self, state: &Arc<State>, events: bool) -> Option<Arc<Duck>> {
        let kept = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        (kept.state.seq() == state.seq() && (kept.events || !events)).then_some(kept.duck)
    }
}

async fn event_rows(catalog: &Catalog, state: &State) -> Result<RecordBatch, QueryError> {
    let batches: Vec<RecordBatch> = catalog.event_rows(state).try_collect().await.map_err(DuckError::Read)?;
    arrow::compute::concat_batches(&events_schema(), &batches).map_err(|error| QueryError::Internal(error.to_string()))
}
