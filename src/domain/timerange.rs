//! A range on a flow's own timeline: two timestamps with marks that say whether each belongs to it.
//!
//! Inside, a range is a half-open pair of integers in which every timestamp owns two places: `2n` is the instant itself and
//! `2n + 1` the gap after it. Marks are thus part of the numbers: two ranges meet when `a.start < b.end && b.start < a.end`,
//! and sorting by these keys puts `[1:0_` before `(1:0_` and `_2:0)` before `_2:0]`. An open side is the smallest or largest
//! integer. All empty ranges are one value, [`TimeRange::NEVER`], whose reversed keys meet, and add, nothing.
//! Parsing follows the official pattern but refuses forms that it lets through without a meaning.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

use super::timestamp::{ParseTimestampError, Timestamp};

const OPEN_START: i128 = i128::MIN;
const OPEN_END: i128 = i128::MAX;
const SMALLEST_KEY: i128 = Timestamp::MIN.nanoseconds() * 2;
const LARGEST_KEY: i128 = Timestamp::MAX.nanoseconds() * 2 + 1;

/// One set end of a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    pub at: Timestamp,
    /// Whether `at` itself belongs to the range.
    pub inclusive: bool,
}

impl Bound {
    #[must_use]
    pub const fn inclusive(at: Timestamp) -> Bound {
        Bound { at, inclusive: true }
    }

    #[must_use]
    pub const fn exclusive(at: Timestamp) -> Bound {
        Bound { at, inclusive: false }
    }

    /// The first key of a range that starts here.
    const fn start_key(self) -> i128 {
        self.at.nanoseconds() * 2 + !self.inclusive as i128
    }

    /// The first key after a range that ends here.
    const fn end_key(self) -> i128 {
        self.at.nanoseconds() * 2 + self.inclusive as i128
    }
}

/// A set of times without holes. Equal ranges have equal text, however they were written.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeRange {
    start: i128,
    end: i128,
}

impl TimeRange {
    /// `_`: the whole timeline.
    pub const ETERNITY: TimeRange = TimeRange { start: OPEN_START, end: OPEN_END };
    /// `()`: no time at all, and so in no place.
    pub const NEVER: TimeRange = TimeRange { start: OPEN_END, end: OPEN_START };

    /// `None` leaves that side open. What holds no time, such as an end before the start, is [`TimeRange::NEVER`].
    #[must_use]
    pub const fn new(start: Option<Bound>, end: Option<Bound>) -> TimeRange {
        let start = match start {
            Some(bound) => bound.start_key(),
            None => OPEN_START,
        };
        let end = match end {
            Some(bound) => bound.end_key(),
            None => OPEN_END,
        };
        TimeRange::from_valid_keys(start, end)
    }

    /// `[start_end)`, the usual form of a segment.
    #[must_use]
    pub const fn half_open(start: Timestamp, end: Timestamp) -> TimeRange {
        TimeRange::new(Some(Bound::inclusive(start)), Some(Bound::exclusive(end)))
    }

    /// `[at]`.
    #[must_use]
    pub const fn instant(at: Timestamp) -> TimeRange {
        TimeRange::new(Some(Bound::inclusive(at)), Some(Bound::inclusive(at)))
    }

    /// The range that holds the keys `start..end`, so that parts of ranges can be cut at each other's keys: what is left
    /// of `a` after `b` is `from_keys(b.end_key(), a.end_key())`.
    ///
    /// Never fails: a side beyond every timestamp is an open side, and keys in the wrong order are [`TimeRange::NEVER`].
    #[must_use]
    pub const fn from_keys(start: i128, end: i128) -> TimeRange {
        if start > LARGEST_KEY || end < SMALLEST_KEY {
            return TimeRange::NEVER;
        }
        TimeRange::from_valid_keys(
            if start < SMALLEST_KEY { OPEN_START } else { start },
            if end > LARGEST_KEY { OPEN_END } else { end },
        )
    }

    const fn from_valid_keys(start: i128, end: i128) -> TimeRange {
        if start < end { TimeRange { start, end } } else { TimeRange::NEVER }
    }

    /// First half of the sort key. `i128::MIN` when the start is open; `i128::MAX` for never, which thus sorts last.
    #[must_use]
    pub const fn start_key(&self) -> i128 {
        self.start
    }

    /// Second half of the sort key, and the first key after the range. `i128::MAX` when the end is open; `i128::MIN` for
    /// never.
    #[must_use]
    pub const fn end_key(&self) -> i128 {
        self.end
    }

    /// `None` when the start is open, and for never.
    #[must_use]
    pub const fn start(&self) -> Option<Bound> {
        bound(self.start, false)
    }

    /// `None` when the end is open, and for never.
    #[must_use]
    pub const fn end(&self) -> Option<Bound> {
        bound(self.end, true)
    }

    #[must_use]
    pub const fn is_never(&self) -> bool {
        self.start >= self.end
    }

    #[must_use]
    pub const fn is_eternity(&self) -> bool {
        self.start == OPEN_START && self.end == OPEN_END
    }

    /// Both ends are set. Never has no ends.
    #[must_use]
    pub const fn is_bounded(&self) -> bool {
        self.start().is_some() && self.end().is_some()
    }

    /// Exactly one timestamp, as in `[5:0]`.
    #[must_use]
    pub const fn is_instant(&self) -> bool {
        // An odd start of the same length is the gap between two neighbouring nanoseconds, as in `(5:0_5:1)`.
        self.is_bounded() && self.end - self.start == 1 && self.start.rem_euclid(2) == 0
    }

    /// Whether a flow segment may cover this range: it must hold time and have both ends.
    pub const fn check_segment(&self) -> Result<(), SegmentTimeRangeError> {
        if self.is_never() {
            Err(SegmentTimeRangeError::Never)
        } else if self.is_bounded() {
            Ok(())
        } else {
            Err(SegmentTimeRangeError::Unbounded)
        }
    }

    /// Whether any time is in both. Never overlaps nothing.
    #[must_use]
    pub const fn overlaps(&self, other: &TimeRange) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// Whether all of `other` is in this range. Every range contains itself and never.
    #[must_use]
    pub const fn contains(&self, other: &TimeRange) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the time of a key ([`TimeRange::start_key`]) is in it.
    #[must_use]
    pub const fn holds_key(&self, key: i128) -> bool {
        self.start <= key && key < self.end
    }

    #[must_use]
    pub const fn contains_timestamp(&self, at: Timestamp) -> bool {
        let key = at.nanoseconds() * 2;
        self.start <= key && key < self.end
    }

    /// The times that are in both; where ends are equal, an exclusive mark wins.
    #[must_use]
    pub fn intersect(&self, other: &TimeRange) -> TimeRange {
        TimeRange::from_valid_keys(self.start.max(other.start), self.end.min(other.end))
    }

    /// The smallest range that contains both, gaps covered; where ends are equal, an inclusive mark wins.
    #[must_use]
    pub fn hull(&self, other: &TimeRange) -> TimeRange {
        TimeRange::from_valid_keys(self.start.min(other.start), self.end.max(other.end))
    }

    /// Whether the two together have no hole: they overlap, or one starts where the other ends and the instant between
    /// them is in one of them. Never is contiguous with nothing.
    #[must_use]
    pub const fn is_contiguous_with(&self, other: &TimeRange) -> bool {
        !self.is_never() && !other.is_never() && self.start <= other.end && other.start <= self.end
    }

    /// Whether this range has ended when `other` starts. False when either is never.
    #[must_use]
    pub const fn is_before(&self, other: &TimeRange) -> bool {
        !self.is_never() && !other.is_never() && self.end <= other.start
    }

    /// Whether this range has times before all of `other`. False when either is never.
    #[must_use]
    pub const fn starts_before(&self, other: &TimeRange) -> bool {
        !self.is_never() && !other.is_never() && self.start < other.start
    }

    /// Moves both ends and keeps the marks; open sides and never stay. `None` when an end leaves the range of timestamps.
    #[must_use]
    pub fn shift(&self, by: Timestamp) -> Option<TimeRange> {
        let moved = |bound: Option<Bound>| match bound {
            None => Some(None),
            Some(Bound { at, inclusive }) => at.checked_add(by).map(|at| Some(Bound { at, inclusive })),
        };
        if self.is_never() {
            return Some(TimeRange::NEVER);
        }
        Some(TimeRange::new(moved(self.start())?, moved(self.end())?))
    }

    /// End minus start, whatever the marks: 0 for an instant and for never, `None` when a side is open.
    #[must_use]
    pub const fn duration_nanoseconds(&self) -> Option<i128> {
        if self.is_never() {
            return Some(0);
        }
        match (self.start(), self.end()) {
            (Some(start), Some(end)) => Some(end.at.nanoseconds() - start.at.nanoseconds()),
            _ => None,
        }
    }
}

/// The bound behind a key. An odd key lies after its instant: that leaves the instant out of a start and in an end.
const fn bound(key: i128, odd_is_inclusive: bool) -> Option<Bound> {
    if key == OPEN_START || key == OPEN_END {
        return None;
    }
    let odd = key.rem_euclid(2) == 1;
    match Timestamp::from_nanoseconds(key.div_euclid(2)) {
        Some(at) => Some(Bound { at, inclusive: odd == odd_is_inclusive }),
        None => None,
    }
}

/// Why a text is no timerange, and what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimeRangeError {
    #[error("{0}; a timerange is for example [0:0_10:0), [5:0], [5:0_, _ (eternity) or () (never)")]
    Bound(ParseTimestampError),
    #[error("no timestamp in the timerange: write _ for eternity, () for never or, for example, [0:0_10:0)")]
    NoTimestamp,
    #[error("a timerange of one timestamp includes it: write [5:0], without ( or )")]
    ExclusiveInstant,
}

/// Why a timerange is not one that a flow segment can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentTimeRangeError {
    #[error("the timerange of a segment holds time: its end comes after its start, for example [0:0_10:0) or [5:0]")]
    Never,
    #[error("the timerange of a segment has a start and an end, for example [0:0_10:0)")]
    Unbounded,
}

impl FromStr for TimeRange {
    type Err = ParseTimeRangeError;

    /// Missing marks are inclusive and marks on an open side mean nothing; see [`ParseTimeRangeError`] for what is refused.
    fn from_str(text: &str) -> Result<TimeRange, ParseTimeRangeError> {
        if text == "()" {
            return Ok(TimeRange::NEVER);
        }
        let times = text.strip_prefix(['[', '(']).unwrap_or(text);
        let times = times.strip_suffix([']', ')']).unwrap_or(times);
        let start_inclusive = !text.starts_with('(');
        let end_inclusive = !text.ends_with(')');

        let Some((start, end)) = times.split_once('_') else {
            if times.is_empty() {
                return Err(ParseTimeRangeError::NoTimestamp);
            }
            let at = times.parse().map_err(ParseTimeRangeError::Bound)?;
            return if start_inclusive && end_inclusive {
                Ok(TimeRange::instant(at))
            } else {
                Err(ParseTimeRangeError::ExclusiveInstant)
            };
        };
        Ok(TimeRange::new(parse_side(start, start_inclusive)?, parse_side(end, end_inclusive)?))
    }
}

fn parse_side(text: &str, inclusive: bool) -> Result<Option<Bound>, ParseTimeRangeError> {
    if text.is_empty() {
        return Ok(None);
    }
    let at = text.parse().map_err(ParseTimeRangeError::Bound)?;
    Ok(Some(Bound { at, inclusive }))
}

impl fmt::Display for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return f.write_str("()");
        }
        let (start, end) = (self.start(), self.end());
        if let Some(Bound { at, inclusive }) = start {
            write!(f, "{}{at}", if inclusive { '[' } else { '(' })?;
            if self.is_instant() {
                return f.write_str("]");
            }
        }
        f.write_str("_")?;
        if let Some(Bound { at, inclusive }) = end {
            write!(f, "{at}{}", if inclusive { ']' } else { ')' })?;
        }
        Ok(())
    }
}

/// The text form: a test that fails shows what a client would see.
impl fmt::Debug for TimeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for TimeRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimeRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TimeRange, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = TimeRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timerange as text, for example \"[0:0_10:0)\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<TimeRange, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tr(text: &str) -> TimeRange {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn ts(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn accepted_text_is_printed_in_its_canonical_form() {
        for (text, canonical) in [
            ("_", "_"),
            ("[_]", "_"),
            ("(_)", "_"),
            ("[_)", "_"),
            ("(_", "_"),
            ("_]", "_"),
            ("()", "()"),
            ("[5:0]", "[5:0]"),
            ("5:0", "[5:0]"),
            ("[5:0", "[5:0]"),
            ("5:0]", "[5:0]"),
            ("[5:0_5:0]", "[5:0]"),
            ("[5:0_5:0)", "()"),
            ("(5:0_5:0]", "()"),
            ("(5:0_5:0)", "()"),
            ("[2:0_1:0)", "()"),
            ("[2:0_1:0]", "()"),
            ("1:0_2:0", "[1:0_2:0]"),
            ("1:0_2:0)", "[1:0_2:0)"),
            ("[1:0_2:0)", "[1:0_2:0)"),
            ("(1:0_2:0]", "(1:0_2:0]"),
            ("(5:0_5:1)", "(5:0_5:1)"),
            ("[_10:0)", "_10:0)"),
            ("(_10:0]", "_10:0]"),
            ("[5:0_", "[5:0_"),
            ("[5:0_)", "[5:0_"),
            ("(5:0_", "(5:0_"),
            ("[-2:0_-1:500000000)", "[-2:0_-1:500000000)"),
            ("[-0:0_0:5)", "[0:0_0:5)"),
        ] {
            assert_eq!(tr(text).to_string(), canonical, "{text}");
            assert_eq!(tr(canonical), tr(text));
        }
    }

    #[test]
    fn text_without_a_meaning_is_refused() {
        use ParseTimeRangeError::*;
        use ParseTimestampError::*;
        for (text, error) in [
            ("", NoTimestamp),
            ("[", NoTimestamp),
            ("]", NoTimestamp),
            ("(", NoTimestamp),
            (")", NoTimestamp),
            ("[]", NoTimestamp),
            ("(]", NoTimestamp),
            ("[)", NoTimestamp),
            ("(5:0)", ExclusiveInstant),
            ("[5:0)", ExclusiveInstant),
            ("(5:0]", ExclusiveInstant),
            ("5:0)", ExclusiveInstant),
            ("01:0", Bound(LeadingZero)),
            ("[0:0_1:01)", Bound(LeadingZero)),
            ("1.5", Bound(Malformed)),
            ("1", Bound(Malformed)),
            ("+1:0", Bound(Malformed)),
            (" 1:0", Bound(Malformed)),
            ("_ ", Bound(Malformed)),
            ("1:0-2:0", Bound(Malformed)),
            ("1:0__2:0", Bound(Malformed)),
            ("1:0_2:0_3:0", Bound(Malformed)),
            ("[[1:0_2:0)", Bound(Malformed)),
            ("]1:0_2:0[", Bound(Malformed)),
            ("[1:0)_(2:0]", Bound(Malformed)),
            ("1:1000000000", Bound(NanosecondsOutOfRange)),
            ("_281474976710656:0)", Bound(SecondsOutOfRange)),
        ] {
            assert_eq!(text.parse::<TimeRange>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_segment_has_both_ends_and_holds_time() {
        for text in ["5:0", "[5:0]", "[5:0_5:0]", "1:0_2:0", "(0:0_0:1)", "-1:500000000"] {
            assert_eq!(tr(text).check_segment(), Ok(()), "{text}");
        }
        for text in ["()", "[5:0_5:0)", "[2:0_1:0)"] {
            assert_eq!(tr(text).check_segment(), Err(SegmentTimeRangeError::Never), "{text}");
        }
        for text in ["_", "[_10:0)", "[5:0_", "(_)"] {
            assert_eq!(tr(text).check_segment(), Err(SegmentTimeRangeError::Unbounded), "{text}");
        }
    }

    #[test]
    fn an_instant_shared_by_two_ranges_overlaps_only_if_both_include_it() {
        for (a, b, overlap) in [
            ("[0:0_1:0)", "[1:0_2:0)", false),
            ("[0:0_1:0]", "[1:0_2:0)", true),
            ("[1:0_2:0)", "[2:0]", false),
            ("(1:0_2:0)", "[0:0_1:0]", false),
            ("[2:0]", "[1:0_2:0)", false),
            ("[1:0]", "[1:0_2:0)", true),
            ("_0:0)", "[0:0_1:0)", false),
            ("_0:0]", "[0:0_1:0)", true),
            ("_", "()", false),
            ("()", "()", false),
            ("_", "_", true),
        ] {
            assert_eq!(tr(a).overlaps(&tr(b)), overlap, "{a} {b}");
            assert_eq!(tr(b).overlaps(&tr(a)), overlap, "{b} {a}");
        }
    }

    #[test]
    fn containing_needs_the_marks_to_agree() {
        assert!(tr("[1:0_2:0)").contains(&tr("[1:0_2:0)")));
        assert!(!tr("[1:0_2:0)").contains(&tr("[1:0_2:0]")));
        assert!(!tr("(1:0_2:0)").contains(&tr("[1:0_2:0)")));
        assert!(tr("_").contains(&tr("(1:0_")));
        assert!(tr("()").contains(&tr("()")));
        assert!(!tr("()").contains(&tr("[1:0]")));
        assert!(tr("[1:0_2:0)").contains_timestamp(ts("1:0")));
        assert!(!tr("[1:0_2:0)").contains_timestamp(ts("2:0")));
        assert!(!tr("()").contains_timestamp(ts("0:0")));
    }

    #[test]
    fn an_inclusive_mark_wins_in_a_hull_and_an_exclusive_one_in_an_intersection() {
        assert_eq!(tr("[0:0_1:0)").hull(&tr("[5:0_6:0)")), tr("[0:0_6:0)"));
        assert_eq!(tr("[0:0_2:0)").hull(&tr("[2:0]")), tr("[0:0_2:0]"));
        assert_eq!(tr("()").hull(&tr("[2:0]")), tr("[2:0]"));
        assert_eq!(tr("[0:0_2:0)").intersect(&tr("(0:0_2:0]")), tr("(0:0_2:0)"));
        assert_eq!(tr("_").intersect(&tr("()")), TimeRange::NEVER);
    }

    #[test]
    fn ranges_that_leave_out_the_instant_between_them_are_not_contiguous() {
        assert!(tr("[0:0_1:0)").is_contiguous_with(&tr("[1:0_2:0)")));
        assert!(tr("(1:0_2:0)").is_contiguous_with(&tr("[0:0_1:0]")));
        assert!(!tr("[0:0_1:0)").is_contiguous_with(&tr("(1:0_2:0)")));
        assert!(!tr("_").is_contiguous_with(&tr("()")));
    }

    #[test]
    fn the_end_mark_belongs_to_the_sort_key() {
        let ascending = ["_5:0)", "_", "[1:0]", "[1:0_2:0)", "[1:0_2:0]", "[1:0_", "(1:0_2:0)", "()"];
        let keys = ascending.map(|text| (tr(text).start_key(), tr(text).end_key()));
        assert!(keys.is_sorted(), "{keys:?}");
        assert!(tr("[1:0_2:0)").is_before(&tr("[2:0]")));
        assert!(!tr("[1:0_2:0]").is_before(&tr("[2:0]")));
        assert!(tr("[1:0_").starts_before(&tr("(1:0_")));
    }

    #[test]
    fn a_shift_keeps_marks_and_never_leaves_the_range_silently() {
        let by = ts("-1:500000000");
        assert_eq!(tr("(1:0_2:0]").shift(by), Some(tr("(-0:500000000_0:500000000]")));
        for text in ["_", "()"] {
            assert_eq!(tr(text).shift(Timestamp::MAX), Some(tr(text)));
        }
        assert_eq!(tr("[1:0_").shift(Timestamp::MAX), None);
        assert_eq!(tr("_-1:0)").shift(Timestamp::MIN), None);
    }

    #[test]
    fn never_and_open_sides_have_no_bounds() {
        assert_eq!(tr("()").start(), None);
        assert_eq!(tr("[1:0_2:0)").start(), Some(Bound::inclusive(ts("1:0"))));
        assert_eq!(tr("[-1:0_-0:5)").end(), Some(Bound::exclusive(ts("-0:5"))));
        assert_eq!(tr("()").duration_nanoseconds(), Some(0));
        assert_eq!(tr("[5:0_").duration_nanoseconds(), None);
        assert_eq!(tr("(1:0_2:5]").duration_nanoseconds(), Some(1_000_000_005));
        assert!(tr("[5:0]").is_instant() && !tr("(5:0_5:1)").is_instant() && !tr("()").is_instant());
        assert!(tr("_").is_eternity() && !tr("_").is_bounded() && !tr("()").is_bounded());
    }

    #[test]
    fn keys_beyond_every_timestamp_are_open_sides() {
        assert_eq!(TimeRange::from_keys(SMALLEST_KEY - 1, LARGEST_KEY + 1), TimeRange::ETERNITY);
        assert_eq!(TimeRange::from_keys(LARGEST_KEY + 1, i128::MAX), TimeRange::NEVER);
        assert_eq!(TimeRange::from_keys(i128::MIN, SMALLEST_KEY - 1), TimeRange::NEVER);
        assert_eq!(TimeRange::from_keys(4, 4), TimeRange::NEVER);
        let whole = TimeRange::new(Some(Bound::inclusive(Timestamp::MIN)), Some(Bound::inclusive(Timestamp::MAX)));
        assert_eq!(TimeRange::from_keys(whole.start_key(), whole.end_key()), whole);
        assert!(whole.is_bounded());
    }

    #[test]
    fn json_holds_the_canonical_text_and_says_what_is_wrong_with_it() {
        assert_eq!(serde_json::to_string(&tr("1:0_2:0")).unwrap(), "\"[1:0_2:0]\"");
        assert_eq!(serde_json::from_str::<TimeRange>("\"[_10:0)\"").unwrap(), tr("_10:0)"));
        let error = serde_json::from_str::<TimeRange>("\"(5:0)\"").unwrap_err();
        assert!(error.to_string().contains("write [5:0]"), "{error}");
        assert!(serde_json::from_str::<TimeRange>("null").is_err());
    }
}
