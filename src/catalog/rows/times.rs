//! Timeline times and wall-clock times as columns.

use super::RowError;
use crate::domain::{Bound, TimeRange, Timestamp, UtcTime};

/// Seconds, nanoseconds, inclusive; all null where the end is open.
pub type BoundColumns = (Option<i64>, Option<i32>, Option<bool>);

pub fn bound_columns(bound: Option<Bound>) -> BoundColumns {
    match bound {
        None => (None, None, None),
        Some(Bound { at, inclusive }) => {
            let (seconds, nanoseconds) = at.to_parts();
            (Some(seconds), Some(nanoseconds), Some(inclusive))
        }
    }
}

pub fn bound(columns: BoundColumns) -> Result<Option<Bound>, RowError> {
    match columns {
        (None, None, None) => Ok(None),
        (Some(seconds), Some(nanoseconds), Some(inclusive)) => {
            Ok(Some(Bound { at: timestamp(seconds, nanoseconds)?, inclusive }))
        }
        _ => Err(RowError("one end of a timerange is half there".into())),
    }
}

pub fn timestamp(seconds: i64, nanoseconds: i32) -> Result<Timestamp, RowError> {
    Timestamp::from_parts(seconds, nanoseconds)
        .ok_or_else(|| RowError(format!("{seconds} s and {nanoseconds} ns are no time that TAMS allows")))
}

/// A range that must have both ends.
pub fn bounded(start: BoundColumns, end: BoundColumns) -> Result<TimeRange, RowError> {
    let range = TimeRange::new(bound(start)?, bound(end)?);
    if range.is_bounded() { Ok(range) } else { Err(RowError(format!("timerange {range} is empty or open"))) }
}

pub fn micros(time: UtcTime) -> i64 {
    time.timestamp_micros()
}

pub fn utc(micros: i64) -> Result<UtcTime, RowError> {
    UtcTime::from_timestamp_micros(micros).ok_or_else(|| RowError(format!("{micros} us is no wall-clock time")))
}
