//! A plain reading of a published table, for tests: files of one version, less the rows that deletion vectors name.

use std::path::Path;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::record_batch::RecordBatch;
use deltalake::table::state::DeltaTableState;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::{deletion_vector, local_table};

/// Rows of a version, the newest if `None`, with the columns that their files have.
pub async fn rows(folder: &Path, version: Option<u64>) -> Vec<RecordBatch> {
    let state = DeltaTableState::try_new(&local_table(folder).unwrap(), version).await.unwrap();
    let mut all = Vec::new();
    for file in state.log_data() {
        let dead = file.deletion_vector_descriptor().map(|descriptor| {
            let vector = deletion_vector::file_of(&descriptor).map(|path| std::fs::read(folder.join(path)).unwrap());
            let dead = deletion_vector::decode(&descriptor, vector.as_deref());
            assert_eq!(u64::try_from(descriptor.cardinality).unwrap(), dead.len());
            dead
        });
        let data = std::fs::File::open(folder.join(file.path().as_ref())).unwrap();
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
    all
}

/// The version and the names of its columns.
pub async fn describe(folder: &Path) -> (u64, Vec<String>) {
    let state = DeltaTableState::try_new(&local_table(folder).unwrap(), None).await.unwrap();
    (state.version(), state.schema().fields().map(|field| field.name().clone()).collect())
}
