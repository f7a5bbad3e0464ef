//! Rows of several places in the order of their keys; of those with the same key the newest.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::compute::interleave_record_batch;
use arrow::error::ArrowError;
use futures::stream::{self, StreamExt};

use super::rows::{Chunk, Input};
use super::{BATCH_ROWS, Batches, Scan};
use crate::catalog::cold::Page;
use crate::catalog::pages::ReadError;

pub struct Merge {
    scan: Arc<Scan>,
    heads: Vec<Head>,
    /// Rows that follow each other, by batch.
    stretches: Vec<(RecordBatch, Range<usize>)>,
    waiting: usize,
}

/// Where a place's next row is.
struct Head {
    input: Input,
    at: Option<At>,
}

struct At {
    page: Arc<Page>,
    /// The wanted columns of the page.
    batch: RecordBatch,
    rows: Range<usize>,
    /// Of the next row.
    key: Vec<u8>,
}

impl At {
    fn row(&self, backward: bool) -> usize {
        if backward { self.rows.end.saturating_sub(1) } else { self.rows.start }
    }

    fn set_key(&mut self, backward: bool) {
        let row = self.row(backward);
        self.page.write_key(row, &mut self.key);
    }
}

impl Head {
    /// Loads the next rows, where those that are loaded have been taken.
    async fn fill(&mut self) -> Result<(), ReadError> {
        while self.at.as_ref().is_none_or(|at| at.rows.is_empty()) {
            let Some(chunk) = self.input.next().await? else {
                self.at = None;
                return Ok(());
            };
            let scan = self.input.scan();
            let page = match chunk {
                Chunk::Keyed(page) => page,
                Chunk::Rows(batch) => {
                    let page = Page::new(scan.request.table, batch, scan.request.table.name());
                    Arc::new(page.map_err(|error| scan.unfit(error))?)
                }
            };
            let batch = scan.project(page.batch())?;
            let mut at = At { rows: 0..page.len(), page, batch, key: Vec::new() };
            at.set_key(scan.backward());
            self.at = Some(at);
        }
        Ok(())
    }
}

impl Merge {
    pub fn new(scan: Arc<Scan>, inputs: Vec<Input>) -> Self {
        let heads = inputs.into_iter().map(|input| Head { input, at: None }).collect();
        Self { scan, heads, stretches: Vec::new(), waiting: 0 }
    }

    pub fn batches(self) -> Batches {
        let batches = stream::try_unfold(self, |mut merge| async move {
            let batch = merge.next().await?;
            Ok(batch.map(|batch| (batch, merge)))
        });
        batches.boxed()
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, ReadError> {
        let enough = self.scan.request.limit.map_or(BATCH_ROWS, |limit| limit.clamp(1, BATCH_ROWS));
        while self.waiting < enough {
            for head in &mut self.heads {
                head.fill().await?;
            }
            if !self.step() {
                break;
            }
        }
        self.flush().map_err(|error| self.scan.unfit(error))
    }

    /// Takes the rows that come next from one place, as many as come before those of all others; false at the end.
    fn step(&mut self) -> bool {
        let backward = self.scan.backward();
        let mut keys: Vec<(&[u8], usize)> = Vec::new();
        for (number, head) in self.heads.iter().enumerate() {
            keys.extend(head.at.as_ref().map(|at| (&at.key[..], number)));
        }
        keys.sort_unstable();
        if backward {
            keys.reverse();
        }
        let Some((first, number)) = keys.first().copied() else { return false };
        let same: Vec<usize> = keys.iter().take_while(|(key, _)| *key == first).map(|(_, number)| *number).collect();
        let rows = match (keys.get(1), self.heads.get(number).and_then(|head| head.at.as_ref())) {
            (_, None) => return false,
            (None, Some(at)) => at.rows.clone(),
            (Some(_), Some(at)) if same.len() > 1 => at.row(backward)..at.row(backward) + 1,
            (Some((limit, _)), Some(at)) if backward => at.page.lower_bound(limit).max(at.rows.start)..at.rows.end,
            (Some((limit, _)), Some(at)) => at.rows.start..at.page.lower_bound(limit).min(at.rows.end),
        };
        if same.len() == 1 {
            self.take(number, rows);
            return true;
        }
        let newest = same.iter().copied().max_by_key(|number| {
            let at = self.heads.get(*number).and_then(|head| head.at.as_ref());
            at.map(|at| at.page.lsn(at.row(backward)))
        });
        for number in same {
            self.take_one(number, Some(number) == newest);
        }
        true
    }

    fn take_one(&mut self, number: usize, shown: bool) {
        let backward = self.scan.backward();
        let Some(at) = self.heads.get_mut(number).and_then(|head| head.at.as_mut()) else { return };
        let row = at.row(backward);
        if shown && !at.page.is_deleted(row) {
            self.stretches.push((at.batch.clone(), row..row + 1));
            self.waiting += 1;
        }
        if backward {
            at.rows.end = row;
        } else {
            at.rows.start = row + 1;
        }
        if !at.rows.is_empty() {
            at.set_key(backward);
        }
    }

    fn take(&mut self, number: usize, rows: Range<usize>) {
        let backward = self.scan.backward();
        let Some(at) = self.heads.get_mut(number).and_then(|head| head.at.as_mut()) else { return };
        if backward {
            at.rows.end = rows.start;
        } else {
            at.rows.start = rows.end;
        }
        if !at.rows.is_empty() {
            at.set_key(backward);
        }
        let mut from = rows.start;
        for gone in rows.clone().filter(|row| at.page.is_deleted(*row)).chain([rows.end]) {
            if from < gone {
                self.stretches.push((at.batch.clone(), from..gone));
                self.waiting += gone - from;
            }
            from = gone + 1;
        }
    }

    /// What waits, as one batch.
    fn flush(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        let stretches = std::mem::take(&mut self.stretches);
        let waiting = std::mem::take(&mut self.waiting);
        let backward = self.scan.backward();
        match &stretches[..] {
            [] => return Ok(None),
            [(batch, rows)] if !backward => return Ok(Some(batch.slice(rows.start, rows.len()))),
            _ if self.scan.schema.fields().is_empty() => {
                let rows = RecordBatchOptions::new().with_row_count(Some(waiting));
                return RecordBatch::try_new_with_options(self.scan.schema.clone(), Vec::new(), &rows).map(Some);
            }
            _ => {}
        }
        let batches: Vec<&RecordBatch> = stretches.iter().map(|(batch, _)| batch).collect();
        let mut places = Vec::with_capacity(waiting);
        for (number, (_, rows)) in stretches.iter().enumerate() {
            if backward {
                places.extend(rows.clone().rev().map(|row| (number, row)));
            } else {
                places.extend(rows.clone().map(|row| (number, row)));
            }
        }
        interleave_record_batch(&batches, &places).map(Some)
    }
}
