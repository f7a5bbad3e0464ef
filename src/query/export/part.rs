//! One file of rows, counted and hashed while it is written.

use std::io::{self, BufWriter, Write};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::FileWriter;
use parquet::arrow::ArrowWriter;
use parquet::basic::{self, ZstdLevel};
use parquet::file::properties::WriterProperties;
use sha2::{Digest, Sha256};

use super::error::ExportError;
use super::job::File;
use super::request::{Compression, ExportFormat};
use super::target::Target;
use crate::domain::hex;
use crate::query::output::{Encoder, Format};

/// Rows that are encoded at a time. However rows come in, a file is made of such pieces, so that the same rows make the same
/// bytes.
const CHUNK: usize = 8_192;
/// Rows of a row group: what Parquet keeps in memory, encoded.
const ROW_GROUP: usize = 131_072;
const BUFFER: usize = 256 * 1_024;

/// A file that takes rows.
pub struct Part {
    name: String,
    schema: SchemaRef,
    encoder: Encoding,
    waiting: Vec<RecordBatch>,
    waiting_rows: usize,
    rows: u64,
}

enum Encoding {
    Parquet(Box<ArrowWriter<Hashed>>),
    Arrow(Box<FileWriter<Hashed>>),
    Text(Box<Encoder>, Hashed),
}

impl Part {
    pub fn begin(
        target: &dyn Target,
        name: String,
        format: ExportFormat,
        compression: Compression,
        schema: &SchemaRef,
    ) -> Result<Self, ExportError> {
        let file = Hashed::new(target.begin(&name)?);
        let schema = schema.clone();
        let encoder = match format {
            ExportFormat::Parquet | ExportFormat::DuckDb => {
                let compression = match compression {
                    Compression::Zstd => basic::Compression::ZSTD(ZstdLevel::default()),
                    Compression::None => basic::Compression::UNCOMPRESSED,
                };
                let properties = WriterProperties::builder()
                    .set_compression(compression)
                    .set_max_row_group_row_count(Some(ROW_GROUP))
                    .build();
                Encoding::Parquet(Box::new(ArrowWriter::try_new(file, schema.clone(), Some(properties))?))
            }
            ExportFormat::Arrow => Encoding::Arrow(Box::new(FileWriter::try_new(file, &schema)?)),
            ExportFormat::Csv | ExportFormat::Jsonl => {
                let format = if format == ExportFormat::Csv { Format::Csv } else { Format::JsonLines };
                let mut encoder = Encoder::of(schema.clone(), format, serde_json::Value::Null)?;
                let mut file = file;
                file.write_all(&encoder.head()?).map_err(|error| failed(&name, error))?;
                Encoding::Text(Box::new(encoder), file)
            }
        };
        Ok(Self { name, schema, encoder, waiting: Vec::new(), waiting_rows: 0, rows: 0 })
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    pub fn push(&mut self, batch: &RecordBatch) -> Result<(), ExportError> {
        let mut at = 0;
        while at < batch.num_rows() {
            let taken = (CHUNK - self.waiting_rows).min(batch.num_rows() - at);
            self.waiting.push(batch.slice(at, taken));
            self.waiting_rows += taken;
            self.rows += taken as u64;
            at += taken;
            if self.waiting_rows == CHUNK {
                self.encode()?;
            }
        }
        Ok(())
    }

    fn encode(&mut self) -> Result<(), ExportError> {
        if self.waiting_rows == 0 {
            return Ok(());
        }
        let batch = concat_batches(&self.schema, &self.waiting)?;
        self.waiting.clear();
        self.waiting_rows = 0;
        match &mut self.encoder {
            Encoding::Parquet(writer) => writer.write(&batch)?,
            Encoding::Arrow(writer) => writer.write(&batch)?,
            Encoding::Text(encoder, file) => {
                file.write_all(&encoder.batch(&batch)?).map_err(|error| failed(&self.name, error))?;
            }
        }
        Ok(())
    }

    pub fn finish(mut self, target: &dyn Target) -> Result<File, ExportError> {
        self.encode()?;
        let file = match self.encoder {
            Encoding::Parquet(writer) => writer.into_inner()?,
            Encoding::Arrow(mut writer) => {
                writer.finish()?;
                writer.into_inner()?
            }
            Encoding::Text(mut encoder, mut file) => {
                file.write_all(&encoder.tail()?).map_err(|error| failed(&self.name, error))?;
                file
            }
        };
        let (bytes, sha256) = file.finish().map_err(|error| failed(&self.name, error))?;
        target.finish(&self.name)?;
        Ok(File { name: self.name, rows: self.rows, bytes, sha256 })
    }
}

fn failed(name: &str, error: io::Error) -> ExportError {
    ExportError::io(name, error)
}

/// Counts and hashes what passes.
pub struct Hashed {
    inner: BufWriter<Box<dyn Write + Send>>,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    fn new(inner: Box<dyn Write + Send>) -> Self {
        Self { inner: BufWriter::with_capacity(BUFFER, inner), hash: Sha256::new(), bytes: 0 }
    }

    fn finish(mut self) -> io::Result<(u64, String)> {
        self.inner.flush()?;
        Ok((self.bytes, hex(&self.hash.finalize())))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hash.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
