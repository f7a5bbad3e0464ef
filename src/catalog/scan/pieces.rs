//! What a scan falls into: pieces that are read one by one, or by several at the same time.

use std::ops::Range;
use std::sync::Arc;

use super::merge::Merge;
use super::rows::{ColdRows, HotRows, Input};
use super::{Batches, PIECE_PAGES, Scan};
use crate::catalog::change::object_key;
use crate::catalog::cold::{ColdFile, ColdTable, FileIndex};
use crate::catalog::pages::ReadError;

pub struct Pieces {
    pub pieces: Vec<Piece>,
    /// Of files, in all of them.
    pub pages: u32,
}

pub enum Piece {
    Hot,
    /// Rows that no other place has to say anything of.
    Alone(Part),
    /// Of rows with the same key the newest counts; or all are wanted in order.
    Merged {
        parts: Vec<Part>,
        hot: bool,
    },
}

/// Pages of a file.
#[derive(Clone)]
pub struct Part {
    pub file: Arc<ColdFile>,
    pub index: Arc<FileIndex>,
    pub pages: Vec<Range<u32>>,
}

impl Part {
    /// Those of its pages that are among these.
    fn among(&self, pages: &[Range<u32>]) -> Self {
        Self { pages: in_both(&self.pages, pages), ..self.clone() }
    }
}

impl Pieces {
    pub async fn of(scan: &Scan) -> Result<Self, ReadError> {
        let mut parts = Vec::new();
        for file in scan.state.files_of(scan.request.table) {
            if scan.request.table == ColdTable::FlowSegments
                && !scan.ranges.iter().any(|(from, to)| file.may_hold_between(&from.to_bytes(), &to.to_bytes()))
            {
                continue;
            }
            let index = scan.cache.index_of(file).await?;
            let pages = scan.pages(&index);
            parts.push(Part { file: file.clone(), index, pages });
        }
        let pages = parts.iter().flat_map(|part| &part.pages).map(|pages| pages.end - pages.start).sum();
        if scan.request.order.is_some() {
            return Ok(Self { pieces: vec![Piece::Merged { parts, hot: true }], pages });
        }
        let mut pieces = vec![Piece::Hot];
        if scan.request.table == ColdTable::Objects {
            pieces.extend(pieces_of_objects(scan, &parts));
        } else {
            pieces.extend(parts.iter().flat_map(pieces_of_pages));
        }
        Ok(Self { pieces, pages })
    }
}

impl Piece {
    pub fn batches(self, scan: &Arc<Scan>, short: bool) -> Batches {
        let input = |part: Part, looked_at| Input::Cold(ColdRows::new(scan.clone(), part, looked_at, short));
        match self {
            Self::Hot => Input::Hot(HotRows::new(scan.clone())).batches(),
            Self::Alone(part) => {
                let looked_at = scan.is_looked_at(&part.file);
                input(part, looked_at).batches()
            }
            Self::Merged { parts, hot } => {
                let hot = hot.then(|| Input::Hot(HotRows::new(scan.clone())));
                let cold = parts.into_iter().map(|part| input(part, true));
                Merge::new(scan.clone(), hot.into_iter().chain(cold).collect()).batches()
            }
        }
    }
}

/// Where pieces begin does not depend on which of their pages are wanted, so that parts of a scan that do not know the same do
/// not take each other's.
fn pieces_of_pages(part: &Part) -> impl Iterator<Item = Piece> {
    let starts = (0..part.index.pages()).step_by(PIECE_PAGES as usize);
    starts.map(|from| {
        let piece = from..from.saturating_add(PIECE_PAGES);
        Piece::Alone(part.among(std::slice::from_ref(&piece)))
    })
}

/// Pages that share no key with those of another file, or with a hot Object, are read as they are; what is left is merged.
/// Of where pieces begin, the same holds.
fn pieces_of_objects(scan: &Scan, parts: &[Part]) -> Vec<Piece> {
    let hot = hot_object_keys(scan);
    let pages = object_pages(parts, &hot);
    let mut pieces = Vec::new();
    let (mut alone, mut merged) = (Gathered::new(parts), Gathered::new(parts));
    let mut rest = pages.as_slice();
    while let Some(first) = rest.first() {
        let (together, others) = rest.split_at(connected(rest, parts.len()));
        rest = others;
        let is_alone = together.len() == 1 && !first.has_hot;
        let gathered = if is_alone { &mut alone } else { &mut merged };
        together.iter().for_each(|page| gathered.push(page));
        if gathered.count >= PIECE_PAGES as usize {
            let parts = gathered.take();
            if is_alone {
                pieces.extend(parts.into_iter().map(Piece::Alone));
            } else {
                pieces.push(Piece::Merged { parts, hot: false });
            }
        }
    }
    pieces.extend(alone.take().into_iter().map(Piece::Alone));
    pieces.push(Piece::Merged { parts: merged.take(), hot: false });
    pieces
}

/// A page, and which keys may be in it.
struct ObjectPage<'a> {
    /// Of its file.
    number: usize,
    page: u32,
    first: &'a [u8],
    last: &'a [u8],
    /// Whether a hot Object may have a row in it.
    has_hot: bool,
}

/// All pages of all files, by their first keys.
fn object_pages<'a>(parts: &'a [Part], hot: &[Vec<u8>]) -> Vec<ObjectPage<'a>> {
    let mut pages = Vec::new();
    for (number, Part { file, index, .. }) in parts.iter().enumerate() {
        for page in 0..index.pages() {
            let first = index.first_key(page);
            // Two pages may share a key at their border.
            let last = if page + 1 < index.pages() { index.first_key(page + 1) } else { &file.meta.last_key };
            let next_hot = hot.partition_point(|key| key.as_slice() < first);
            let has_hot = hot.get(next_hot).is_some_and(|key| key.as_slice() <= last);
            pages.push(ObjectPage { number, page, first, last, has_hot });
        }
    }
    pages.sort_by_key(|page| (page.first, page.number, page.page));
    pages
}

/// Keys under which cold files may have rows of hot Objects, in order.
fn hot_object_keys(scan: &Scan) -> Vec<Vec<u8>> {
    let objects = scan.state.objects.iter();
    let mut keys: Vec<_> = objects
        .flat_map(|(id, hot)| {
            let places = std::iter::once(hot.place).chain(hot.gone_from.iter().map(|(place, _)| *place));
            places.map(move |place| object_key(place, id.as_str()))
        })
        .collect();
    keys.sort_unstable();
    keys
}

/// How many of the pages, from the first on, hang together by keys that pages of several files may have.
fn connected(pages: &[ObjectPage<'_>], files: usize) -> usize {
    // How far those of each file reach that were found to do so.
    let mut reach: Vec<Option<&[u8]>> = vec![None; files];
    let mut count = 0;
    while let Some(next) = pages.get(count) {
        // Pages of one file have no key in common but, perhaps, that at their border, which others may have, too.
        let shares = |page: &ObjectPage<'_>| {
            let others = reach.iter().enumerate().filter(|(number, _)| *number != page.number);
            others.filter_map(|(_, reach)| *reach).any(|reach| reach >= page.first)
        };
        let mut ahead = pages.get(count..).unwrap_or_default().iter().take_while(|page| page.first == next.first);
        if count > 0 && !ahead.any(shares) {
            break;
        }
        if let Some(reach) = reach.get_mut(next.number) {
            *reach = Some(reach.map_or(next.last, |reach| reach.max(next.last)));
        }
        count += 1;
    }
    count
}

/// Pages on their way into a piece, by file.
struct Gathered<'a> {
    parts: &'a [Part],
    pages: Vec<Vec<u32>>,
    count: usize,
}

impl<'a> Gathered<'a> {
    fn new(parts: &'a [Part]) -> Self {
        Self { parts, pages: vec![Vec::new(); parts.len()], count: 0 }
    }

    fn push(&mut self, page: &ObjectPage<'_>) {
        if let Some(pages) = self.pages.get_mut(page.number) {
            pages.push(page.page);
            self.count += 1;
        }
    }

    /// What is wanted of them, leaving none.
    fn take(&mut self) -> Vec<Part> {
        self.count = 0;
        let files = self.parts.iter().zip(&mut self.pages).filter(|(_, pages)| !pages.is_empty());
        files.map(|(part, pages)| part.among(&joined(pages.drain(..).map(|page| page..page + 1)))).collect()
    }
}

/// Ranges of pages in order, those that touch as one.
pub fn joined(ranges: impl Iterator<Item = Range<u32>>) -> Vec<Range<u32>> {
    let mut joined: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

/// What is in ranges of one list and of the other. Both are in order, and their ranges do not overlap.
pub fn in_both(one: &[Range<u32>], other: &[Range<u32>]) -> Vec<Range<u32>> {
    let (mut ones, mut others) = (one.iter().peekable(), other.iter().peekable());
    let mut both = Vec::new();
    while let (Some(one), Some(other)) = (ones.peek(), others.peek()) {
        let common = one.start.max(other.start)..one.end.min(other.end);
        let _ = if one.end < other.end { ones.next() } else { others.next() };
        if !common.is_empty() {
            both.push(common);
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_two_lists_have_in_common_what_is_in_both() {
        let in_list = |list: &[Range<u32>], page| list.iter().any(|range| range.contains(&page));
        let lists = [vec![], vec![0..4, 5..9], vec![1..2, 3..6, 8..9], vec![0..1, 2..4, 4..8]];
        for one in &lists {
            for other in &lists {
                let both = in_both(one, other);
                for page in 0..10 {
                    assert_eq!(in_list(&both, page), in_list(one, page) && in_list(other, page), "{one:?} {other:?}");
                }
                assert!(both.iter().all(|range| !range.is_empty()) && both.is_sorted_by_key(|range| range.start));
            }
        }
    }
}
