//! Rows on their way into files: in types that every reader knows, and cut where a partition ends.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::compute::{cast, partition};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::error::ExportError;
use super::job::Column;
use crate::query::output::type_name;

/// What Hive calls the partition of rows without a value.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";
/// All but what is plain in every file system and to every reader.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'+');
/// Bytes of a value in a folder's name; file systems take 255 for all of it.
const MOST_VALUE: usize = 180;

/// How an answer's columns are taken apart.
pub struct Shape {
    /// Of the files.
    pub schema: SchemaRef,
    /// Where in the answer its columns are.
    kept: Vec<usize>,
    /// Of the columns that name folders, with their names.
    folders: Vec<(String, usize)>,
}

impl Shape {
    pub fn new(answer: &SchemaRef, partition_by: &[String]) -> Result<Self, ExportError> {
        let mut folders = Vec::new();
        for name in partition_by {
            let found = answer.fields().iter().position(|field| field.name() == name);
            let missing = || ExportError::wrong("partition_by", format!("the rows have no column {name:?}"));
            folders.push((name.clone(), found.ok_or_else(missing)?));
        }
        let is_folder = |at: &usize| folders.iter().any(|(_, folder)| folder == at);
        let kept: Vec<usize> = (0..answer.fields().len()).filter(|at| !is_folder(at)).collect();
        let mut names: Vec<&str> = answer.fields().iter().map(|field| field.name().as_str()).collect();
        names.sort_unstable();
        if let Some([twice, _]) = names.array_windows().find(|[one, other]| one == other) {
            let reason = format!("two columns are called {twice:?}: give one of them another name with AS");
            return Err(ExportError::wrong("sql", reason));
        }
        if kept.is_empty() {
            return Err(ExportError::wrong("partition_by", "no column is left for the files: name fewer"));
        }
        // Descriptions are in the table `columns`; here their order would be another in each file.
        let field = |at: &usize| {
            let field = answer.field(*at);
            Field::new(field.name(), plain(field.data_type()), field.is_nullable())
        };
        let schema = Arc::new(Schema::new(kept.iter().map(field).collect::<Vec<_>>()));
        Ok(Self { schema, kept, folders })
    }

    pub fn columns(&self) -> Vec<Column> {
        let column = |field: &Arc<Field>| Column { name: field.name().clone(), kind: type_name(field.data_type()) };
        self.schema.fields().iter().map(column).collect()
    }

    /// The batch in stretches of one folder each.
    pub fn split(&self, batch: &RecordBatch) -> Result<Vec<(String, RecordBatch)>, ExportError> {
        let column = |at: &usize| -> Result<ArrayRef, ExportError> {
            let column = batch.column(*at);
            let wanted = plain(column.data_type());
            Ok(if *column.data_type() == wanted { column.clone() } else { cast(column, &wanted)? })
        };
        let columns = self.kept.iter().map(column).collect::<Result<Vec<_>, _>>()?;
        let rows = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let rows = RecordBatch::try_new_with_options(self.schema.clone(), columns, &rows)?;
        if self.folders.is_empty() {
            return Ok(vec![(String::new(), rows)]);
        }
        let values: Vec<ArrayRef> = self.folders.iter().map(|(_, at)| batch.column(*at).clone()).collect();
        let mut stretches = Vec::new();
        for range in partition(&values)?.ranges() {
            let mut folder = String::new();
            for ((name, _), column) in self.folders.iter().zip(&values) {
                folder.push_str(&format!("{}={}/", encoded(name)?, value(column, range.start)?));
            }
            stretches.push((folder, rows.slice(range.start, range.len())));
        }
        Ok(stretches)
    }
}

fn value(column: &ArrayRef, row: usize) -> Result<String, ExportError> {
    if column.is_null(row) { Ok(NULL.to_owned()) } else { encoded(&array_value_to_string(column, row)?) }
}

fn encoded(text: &str) -> Result<String, ExportError> {
    let text = utf8_percent_encode(text, ENCODED).to_string();
    if text.len() > MOST_VALUE {
        let reason = "a value is too long to be the name of a folder: partition by another column";
        return Err(ExportError::wrong("partition_by", reason));
    }
    // A folder's name begins with the column's, so that dots in it mean nothing.
    Ok(text)
}

/// Views of texts are young: readers of files want the texts themselves.
fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::Utf8View => DataType::Utf8,
        DataType::BinaryView => DataType::Binary,
        other => other.clone(),
    }
}
