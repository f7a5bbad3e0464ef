//! The events of a state as Arrow batches, as far back as the log reaches: for SQL.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use futures::stream::{self, StreamExt};

use super::Catalog;
use super::feed::LoggedEvent;
use super::pages::ReadError;
use super::rows::{self, EventRow, RowError, times};
use super::scan::Batches;
use super::state::State;
use super::tables::Table;
use crate::domain::EventPlace;

/// Events of a batch, about.
const BATCH_EVENTS: usize = 4_096;

/// The columns of `events`, with the place in the log and when it was committed before them.
pub fn events_schema() -> SchemaRef {
    let place = ["lsn_seq", "lsn_index"].map(|name| Arc::new(Field::new(name, DataType::Int64, false)));
    let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let committed = Arc::new(Field::new("committed", utc, false));
    let fields = place.into_iter().chain([committed]).chain(Table::Events.log_fields().iter().cloned());
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl Catalog {
    /// Events up to the state's last one, the oldest first.
    pub fn event_rows(&self, state: &State) -> Batches {
        let (catalog, last) = (self.clone(), state.seq());
        let start = async move {
            let first = catalog.first_lsn().await.map_err(|error| unreadable(&error))?;
            Ok((catalog, EventPlace { seq: first, index: u32::MAX }))
        };
        let batches = stream::once(start).map(move |begun: Result<_, ReadError>| match begun {
            Err(error) => stream::once(std::future::ready(Err(error))).boxed(),
            Ok(begun) => stream::try_unfold(begun, move |(catalog, place)| async move {
                if place.seq >= last {
                    return Ok(None);
                }
                // What a slow reader has not come to may be truncated meanwhile.
                let found = catalog.events().after(place, BATCH_EVENTS).await;
                let (mut events, reached) = found.map_err(|error| unreadable(&error))?;
                events.retain(|event| event.place.seq <= last);
                let batch = batch(&events).map_err(|error| unreadable(&error))?;
                // The log may end before what the state was told.
                let reached = if reached == place { EventPlace { seq: last, index: u32::MAX } } else { reached };
                Ok(Some((batch, (catalog, reached))))
            })
            .boxed(),
        });
        batches.flatten().boxed()
    }
}

fn batch(events: &[LoggedEvent]) -> Result<RecordBatch, RowError> {
    let rows: Vec<EventRow> = events.iter().map(|logged| EventRow::from(&*logged.event)).collect();
    let own = rows::to_batch(Table::Events.log_fields(), &rows, vec![0; rows.len()])?;
    let seq = events.iter().map(|event| i64::try_from(event.place.seq).unwrap_or(i64::MAX));
    let index = events.iter().map(|event| i64::from(event.place.index));
    let committed = events.iter().map(|event| times::micros(event.committed));
    let mut columns: Vec<ArrayRef> = vec![
        Arc::new(Int64Array::from_iter_values(seq)),
        Arc::new(Int64Array::from_iter_values(index)),
        Arc::new(TimestampMicrosecondArray::from_iter_values(committed).with_timezone("UTC")),
    ];
    columns.extend(own.columns().iter().take(own.num_columns() - 1).cloned());
    RecordBatch::try_new(events_schema(), columns).map_err(|error| RowError(error.to_string()))
}

fn unreadable(error: &dyn std::fmt::Display) -> ReadError {
    ReadError::Rows { table: "events", reason: error.to_string() }
}
