//! A plain reading of a published table, for tests: files of one version, less the rows that deletion vectors name.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use deltalake::logstore::LogStoreRef;
use deltalake::table::state::DeltaTableState;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{deletion_vector, transaction};

/// Rows of a version, the newest if `None`, with the columns that their files have.
pub async fn rows(table: &LogStoreRef, version: Option<u64>) -> Vec<RecordBatch> {
    rows_if_there(table, version).await.unwrap()
}

/// Likewise; `None` if a file that the version is made of is gone.
pub async fn rows_if_there(table: &LogStoreRef, version: Option<u64>) -> Option<Vec<RecordBatch>> {
    let state = DeltaTableState::try_new(table, version).await.unwrap();
    let mut all = Vec::new();
    for file in state.log_data() {
        let mut dead = None;
        if let Some(descriptor) = file.deletion_vector_descriptor() {
            let vector = match deletion_vector::file_of(&descriptor) {
                Some(path) => Some(read(table, &path).await?),
                None => None,
            };
            let rows = deletion_vector::decode(&descriptor, vector.as_deref());
            assert_eq!(u64::try_from(descriptor.cardinality).unwrap(), rows.len());
            dead = Some(rows);
        }
        let data = read(table, &file.path()).await?;
        let mut first = 0_u32;
        for batch in ParquetRecordBatchReaderBuilder::try_new(data).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            let next = first + u32::try_from(batch.num_rows()).unwrap();
            let live: BooleanArray =
                (first..next).map(|row| Some(!dead.as_ref().is_some_and(|dead| dead.contains(row)))).collect();
            all.push(filter_record_batch(&batch, &live).unwrap());
            first = next;
        }
    }
    Some(all)
}

async fn read(table: &LogStoreRef, path: &str) -> Option<Bytes> {
    match table.object_store(None).get(&Path::from(path)).await {
        Ok(found) => Some(found.bytes().await.unwrap()),
        Err(object_store::Error::NotFound { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Files that the newest version is made of, from the table's folder on.
pub async fn files(table: &LogStoreRef) -> Vec<String> {
    let state = DeltaTableState::try_new(table, None).await.unwrap();
    let mut files = Vec::new();
    for file in state.log_data() {
        files.extend(file.deletion_vector_descriptor().as_ref().and_then(deletion_vector::file_of));
        files.push(file.path().into_owned());
    }
    files
}

/// The log entry that a version shows.
pub async fn seq(table: &LogStoreRef, version: u64) -> u64 {
    let state = DeltaTableState::try_new(table, Some(version)).await.unwrap();
    transaction(&state, table).await.unwrap().unwrap()
}

/// The version and the names of its columns; `None` when there is no table.
pub async fn describe(table: &LogStoreRef) -> Option<(u64, Vec<String>)> {
    if !table.is_delta_table_location().await.unwrap() {
        return None;
    }
    let state = DeltaTableState::try_new(table, None).await.unwrap();
    Some((state.version(), state.schema().fields().map(|field| field.name().clone()).collect()))
}
