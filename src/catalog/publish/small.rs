//! Small tables, which are published whole: one new file takes the place of the one before.

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;
use roaring::RoaringBitmap;
use sha2::{Digest, Sha256};

use super::{CutFile, PublishError, parquet_stats};

/// The file of a small table's rows, and what is in it. Put it before the cut is published.
///
/// Its name follows from its rows, so that rows which did not change make no new version.
pub fn whole_table(table: &str, rows: &RecordBatch) -> Result<(CutFile, Bytes), PublishError> {
    let wrap = |source| PublishError::Parquet { table: table.to_owned(), source };
    let compression = Compression::ZSTD(ZstdLevel::default());
    let properties = WriterProperties::builder().set_compression(compression).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).map_err(wrap)?;
    writer.write(rows).map_err(wrap)?;
    let metadata = writer.close().map_err(wrap)?;
    let digest = Sha256::digest(&bytes);
    let name: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    let file = CutFile {
        path: format!("data/{name}.parquet"),
        bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX),
        rows: u64::try_from(rows.num_rows()).unwrap_or(u64::MAX),
        stats: parquet_stats(&rows.schema(), &metadata),
        dead: RoaringBitmap::new(),
    };
    Ok((file, bytes.into()))
}
