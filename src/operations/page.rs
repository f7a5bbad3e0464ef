//! Keyset paging: a page ends at the sort key of its last item, so that no item is skipped or repeated while others
//! come and go, and the last page costs what the first does.

use std::cmp::Ordering;

use crate::domain::UtcTime;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageRequest<C> {
    /// The last item of the page before; `None` for the first page.
    pub after: Option<C>,
    /// Items at most; at least 1.
    pub limit: usize,
}

#[derive(Debug, Clone)]
pub struct Page<T, C> {
    pub items: Vec<T>,
    /// Where the next page goes on; `None` on the last page.
    pub next: Option<C>,
}

/// Place of a Flow or Source in a list: its sort key, then its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor<I> {
    pub key: SortKey,
    pub id: I,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortKey {
    Time(UtcTime),
    /// `None` for an item without the key, whatever kind of key that is: those come last.
    Text(Option<String>),
}

impl<T, C> Page<T, C> {
    /// Cuts a list that holds one item more than asked for, if there is a next page.
    pub fn cut(mut items: Vec<T>, limit: usize, cursor: impl Fn(&T) -> C) -> Self {
        let next = if items.len() > limit {
            items.truncate(limit);
            items.last().map(cursor)
        } else {
            None
        };
        Self { items, next }
    }
}

/// Filters and sorts `rows` and returns the page after `page.after`.
///
/// Costs a pass over all rows and a sort of one page's worth of them: Flows and Sources are resident and few.
pub(super) fn select<'a, T: Clone + 'a, I: Ord + Clone>(
    rows: impl Iterator<Item = &'a T>,
    cursor: impl Fn(&T) -> Cursor<I>,
    matches: impl Fn(&T) -> bool,
    reverse_order: bool,
    page: &PageRequest<Cursor<I>>,
) -> Page<T, Cursor<I>> {
    let order = |left: &Cursor<I>, right: &Cursor<I>| {
        let order = left.order(right);
        if reverse_order { order.reverse() } else { order }
    };
    let mut found: Vec<(Cursor<I>, &T)> = rows
        .map(|row| (cursor(row), row))
        .filter(|(place, _)| page.after.as_ref().is_none_or(|after| order(place, after).is_gt()))
        .filter(|(_, row)| matches(row))
        .collect();
    if found.len() > page.limit + 1 {
        found.select_nth_unstable_by(page.limit, |(left, _), (right, _)| order(left, right));
        found.truncate(page.limit + 1);
    }
    found.sort_by(|(left, _), (right, _)| order(left, right));
    let page = Page::cut(found, page.limit, |(place, _)| place.clone());
    Page { items: page.items.into_iter().map(|(_, row)| row.clone()).collect(), next: page.next }
}

impl<I: Ord> Cursor<I> {
    /// Times from newest to oldest, texts upwards with the missing ones last; then by id.
    fn order(&self, other: &Self) -> Ordering {
        let keys = match (&self.key, &other.key) {
            (SortKey::Time(left), SortKey::Time(right)) => right.cmp(left),
            (SortKey::Text(left), SortKey::Text(right)) => match (left, right) {
                (Some(left), Some(right)) => left.cmp(right),
                (left, right) => right.is_some().cmp(&left.is_some()),
            },
            // A list has one kind of key, so the text is one that is missing.
            (SortKey::Time(_), SortKey::Text(_)) => Ordering::Less,
            (SortKey::Text(_), SortKey::Time(_)) => Ordering::Greater,
        };
        keys.then_with(|| self.id.cmp(&other.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(reverse_order: bool, limit: usize) -> Vec<u8> {
        let rows: [(u8, Option<&str>); 4] = [(1, Some("b")), (2, None), (3, Some("a")), (4, None)];
        let mut seen = Vec::new();
        let mut after = None;
        loop {
            let place = |row: &(u8, Option<&str>)| Cursor { key: SortKey::Text(row.1.map(str::to_owned)), id: row.0 };
            let page = select(rows.iter(), place, |_| true, reverse_order, &PageRequest { after, limit });
            seen.extend(page.items.iter().map(|row| row.0));
            match page.next {
                Some(next) => after = Some(next),
                None => return seen,
            }
        }
    }

    #[test]
    fn items_without_the_sort_key_come_last_and_first_when_reversed_at_every_page_size() {
        for limit in 1..=5 {
            assert_eq!(labels(false, limit), [3, 1, 2, 4], "limit {limit}");
            assert_eq!(labels(true, limit), [4, 2, 1, 3], "limit {limit}");
        }
    }

    #[test]
    fn a_full_last_page_has_no_next() {
        let page = select(
            [1, 2].iter(),
            |id| Cursor { key: SortKey::Text(None), id: *id },
            |_| true,
            false,
            &PageRequest { after: None, limit: 2 },
        );
        assert!(page.next.is_none());
    }
}
