//! Stretches of Flows' timelines of which older rows are deleted, whatever cold file still has them.

use imbl::OrdMap;

use super::change::{Lsn, SegmentKey};

/// Stretches never overlap: where a newer one covers an older one, it says all that the older one said.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tombstones(OrdMap<SegmentKey, Stretch>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    /// Start keys below it.
    to: i128,
    lsn: Lsn,
}

impl Tombstones {
    /// Hides rows older than `lsn` that start at `from` or later and before `to`. `lsn` is newer than all that are here.
    pub fn add(&mut self, from: SegmentKey, to: i128, lsn: Lsn) {
        if from.start >= to {
            return;
        }
        let mut from = from;
        let mut stretch = Stretch { to, lsn };
        for (key, old) in self.overlapping(from, to) {
            self.0.remove(&key);
            // Parts of one commit are one. Rows of that very commit are never in a cold file when it is decided, so that
            // the older LSN hides all that is to be hidden, and nothing that was put between the two.
            let joins = old.lsn.seq == lsn.seq;
            if joins {
                stretch.lsn = stretch.lsn.min(old.lsn);
            }
            if key.start < from.start {
                if joins {
                    from = key;
                } else {
                    self.0.insert(key, Stretch { to: from.start, ..old });
                }
            }
            if old.to > to {
                if joins {
                    stretch.to = old.to;
                } else {
                    self.0.insert(SegmentKey { start: to, ..from }, old);
                }
            }
        }
        self.0.insert(from, stretch);
    }

    /// One of those that were here before, as they were: they do not overlap.
    pub fn restore(&mut self, from: SegmentKey, to: i128, lsn: Lsn) {
        self.0.insert(from, Stretch { to, lsn });
    }

    fn overlapping(&self, from: SegmentKey, to: i128) -> Vec<(SegmentKey, Stretch)> {
        let flow_start = SegmentKey { start: i128::MIN, ..from };
        let before = self.0.range(flow_start..from).next_back().filter(|(_, old)| old.to > from.start);
        let inside = self.0.range(from..SegmentKey { start: to, ..from });
        before.into_iter().chain(inside).map(|(key, stretch)| (*key, *stretch)).collect()
    }

    /// Whether the row that was written at `lsn` is deleted.
    pub fn hide(&self, key: SegmentKey, lsn: Lsn) -> bool {
        self.hiding(key, lsn).is_some()
    }

    /// `from`, `to` and LSN of what hides the row that was written at `lsn`.
    pub fn hiding(&self, key: SegmentKey, lsn: Lsn) -> Option<(SegmentKey, i128, Lsn)> {
        let flow_start = SegmentKey { start: i128::MIN, ..key };
        let (from, stretch) = self.0.range(flow_start..=key).next_back()?;
        (stretch.to > key.start && stretch.lsn > lsn).then_some((*from, stretch.to, stretch.lsn))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// `from`, `to` and LSN of each, in order.
    pub fn iter(&self) -> impl Iterator<Item = (SegmentKey, i128, Lsn)> {
        self.0.iter().map(|(from, stretch)| (*from, stretch.to, stretch.lsn))
    }

    pub fn retain(&mut self, mut keep: impl FnMut(SegmentKey, i128, Lsn) -> bool) {
        let all = std::mem::take(&mut self.0);
        self.0 = all.into_iter().filter(|(from, stretch)| keep(*from, stretch.to, stretch.lsn)).collect();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::FlowId;

    fn key(start: i128) -> SegmentKey {
        SegmentKey { flow_id: FlowId::MIN, start }
    }

    proptest! {
        #[test]
        fn a_row_is_hidden_if_any_stretch_that_was_added_hides_it(
            stretches in proptest::collection::vec((0..20i128, 1..8i128, 0..2u64), 0..20),
        ) {
            let mut tombstones = Tombstones::default();
            let mut all = Vec::new();
            let mut lsn = Lsn { seq: 1, index: 0 };
            for (from, length, step) in stretches {
                lsn = if step == 0 { Lsn { index: lsn.index + 1, ..lsn } } else { Lsn { seq: lsn.seq + 1, index: 0 } };
                tombstones.add(key(from), from + length, lsn);
                all.push((from, from + length, lsn));
            }
            for start in -1..30 {
                for seq in 0..24 {
                    let row = Lsn { seq, index: u32::MAX };
                    let hidden = all.iter().any(|(from, to, lsn)| (*from..*to).contains(&start) && *lsn > row);
                    prop_assert_eq!(tombstones.hide(key(start), row), hidden, "{} {}", start, seq);
                }
            }
            prop_assert!(tombstones.iter().zip(tombstones.iter().skip(1)).all(|(one, next)| one.1 <= next.0.start));
        }
    }
}
