//! Laws of time ranges: against a model that only asks whether sample points are members, and against answers recorded from
//! BBC's mediatimestamp (`tests/vectors/mediatimestamp.py` says how).

use proptest::option;
use proptest::prelude::*;

use super::timerange::{Bound, TimeRange};
use super::timestamp::Timestamp;

fn at(ns: i128) -> Timestamp {
    Timestamp::from_nanoseconds(ns).unwrap()
}

/// Any timestamp, with the ends of the allowed range and the surroundings of zero often among them.
fn any_timestamp() -> impl Strategy<Value = Timestamp> {
    let (min, max) = (Timestamp::MIN.nanoseconds(), Timestamp::MAX.nanoseconds());
    prop_oneof![
        4 => min..=max,
        4 => -3_000_000_000i128..=3_000_000_000,
        2 => -3i128..=3,
        1 => min..=min + 2,
        1 => max - 2..=max,
    ]
    .prop_map(at)
}

fn ends(times: impl Strategy<Value = Timestamp> + Clone) -> impl Strategy<Value = (Option<Bound>, Option<Bound>)> {
    let bound = (times, any::<bool>()).prop_map(|(at, inclusive)| Bound { at, inclusive });
    (option::weighted(0.85, bound.clone()), option::weighted(0.85, bound))
}

fn any_range() -> impl Strategy<Value = TimeRange> {
    ends(any_timestamp().boxed()).prop_map(|(start, end)| TimeRange::new(start, end))
}

/// The member points of a range whose ends lie within 4 ns of zero, in half nanoseconds. Half points show the gaps between
/// timestamps, and points beyond the ends show open sides, so two such ranges are equal if and only if their members are.
#[derive(Clone, Debug, PartialEq)]
struct Members(Vec<i128>);

impl Members {
    const POINTS: std::ops::RangeInclusive<i128> = -24..=24;

    fn of_ends(start: Option<Bound>, end: Option<Bound>) -> Members {
        let after_start = |point: i128| match start {
            None => true,
            Some(bound) if bound.inclusive => bound.at.nanoseconds() * 2 <= point,
            Some(bound) => bound.at.nanoseconds() * 2 < point,
        };
        let before_end = |point: i128| match end {
            None => true,
            Some(bound) if bound.inclusive => point <= bound.at.nanoseconds() * 2,
            Some(bound) => point < bound.at.nanoseconds() * 2,
        };
        Members(Members::POINTS.filter(|&point| after_start(point) && before_end(point)).collect())
    }

    fn of(range: TimeRange) -> Members {
        if range.is_never() { Members(Vec::new()) } else { Members::of_ends(range.start(), range.end()) }
    }

    fn has(&self, point: i128) -> bool {
        self.0.contains(&point)
    }

    fn both(&self, other: &Members) -> Members {
        Members(self.0.iter().copied().filter(|&point| other.has(point)).collect())
    }

    fn either(&self, other: &Members) -> Members {
        Members(Members::POINTS.filter(|&point| self.has(point) || other.has(point)).collect())
    }

    fn without_holes(&self) -> Members {
        match (self.0.first(), self.0.last()) {
            (Some(&first), Some(&last)) => Members((first..=last).collect()),
            _ => Members(Vec::new()),
        }
    }
}

fn modelled() -> impl Strategy<Value = (TimeRange, Members)> {
    ends((-4i128..=4).prop_map(at).boxed())
        .prop_map(|(start, end)| (TimeRange::new(start, end), Members::of_ends(start, end)))
}

proptest! {
    #[test]
    fn a_printed_timestamp_reads_back_as_itself(a in any_timestamp()) {
        prop_assert_eq!(a.to_string().parse(), Ok(a));
        let (seconds, nanoseconds) = a.to_parts();
        prop_assert_eq!(Timestamp::from_parts(seconds, nanoseconds), Some(a));
    }

    #[test]
    fn stored_parts_sort_as_the_timestamps_do(a in any_timestamp(), b in any_timestamp()) {
        prop_assert_eq!(a.cmp(&b), a.to_parts().cmp(&b.to_parts()));
        prop_assert_eq!(a.cmp(&b), a.nanoseconds().cmp(&b.nanoseconds()));
    }

    #[test]
    fn a_printed_range_reads_back_as_itself(a in any_range()) {
        prop_assert_eq!(a.to_string().parse(), Ok(a));
    }

    #[test]
    fn text_that_is_accepted_prints_as_text_of_the_same_range(text in r"[\[(]?-?[0-2]?:?[0-2]?_?-?[0-2]?:?[0-2]?[\])]?") {
        if let Ok(range) = text.parse::<TimeRange>() {
            prop_assert_eq!(range.to_string().parse(), Ok(range));
        }
    }

    #[test]
    fn no_text_makes_the_parsers_panic(text in any::<String>()) {
        let _ = text.parse::<TimeRange>();
        let _ = text.parse::<Timestamp>();
    }

    #[test]
    fn keys_and_ends_each_describe_the_whole_range(a in any_range()) {
        prop_assert_eq!(TimeRange::from_keys(a.start_key(), a.end_key()), a);
        if !a.is_never() {
            prop_assert_eq!(TimeRange::new(a.start(), a.end()), a);
        }
    }

    #[test]
    fn keys_sort_by_start_then_end(a in any_timestamp(), b in any_timestamp()) {
        let starts = |at| [Bound::inclusive(at), Bound::exclusive(at)].map(|bound| TimeRange::new(Some(bound), None).start_key());
        let ends = |at| [Bound::exclusive(at), Bound::inclusive(at)].map(|bound| TimeRange::new(None, Some(bound)).end_key());
        prop_assert!(starts(a).is_sorted() && ends(a).is_sorted());
        if a < b {
            prop_assert!(starts(a)[1] < starts(b)[0] && ends(a)[1] < ends(b)[0]);
        }
    }

    #[test]
    fn overlap_is_symmetric_and_the_same_as_a_shared_time(a in any_range(), b in any_range()) {
        prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
        prop_assert_eq!(a.overlaps(&b), !a.intersect(&b).is_never());
        prop_assert_eq!(a.intersect(&b), b.intersect(&a));
    }

    #[test]
    fn containing_is_the_same_as_intersecting_to_the_contained(a in any_range(), b in any_range()) {
        prop_assert_eq!(a.contains(&b), a.intersect(&b) == b);
        prop_assert_eq!(a.contains(&b), a.hull(&b) == a);
        prop_assert!(a.contains(&a) && a.contains(&TimeRange::NEVER) && TimeRange::ETERNITY.contains(&a));
    }

    #[test]
    fn a_hull_contains_both_and_does_not_care_for_order(a in any_range(), b in any_range(), c in any_range()) {
        prop_assert!(a.hull(&b).contains(&a) && a.hull(&b).contains(&b));
        prop_assert_eq!(a.hull(&b), b.hull(&a));
        prop_assert_eq!(a.hull(&b).hull(&c), a.hull(&b.hull(&c)));
    }

    #[test]
    fn two_ranges_overlap_or_one_is_before_the_other(a in any_range(), b in any_range()) {
        let ways = [a.overlaps(&b), a.is_before(&b), b.is_before(&a)];
        let expected = usize::from(!a.is_never() && !b.is_never());
        prop_assert_eq!(ways.iter().filter(|&&way| way).count(), expected);
    }

    #[test]
    fn a_shift_and_its_reverse_cancel_and_keep_the_duration(a in any_range(), by in any_timestamp()) {
        let fits = |bound: Option<Bound>| bound.is_none_or(|bound| bound.at.checked_add(by).is_some());
        let shifted = a.shift(by);
        prop_assert_eq!(shifted.is_some(), fits(a.start()) && fits(a.end()));
        if let Some(shifted) = shifted {
            prop_assert_eq!(shifted.duration_nanoseconds(), a.duration_nanoseconds());
            prop_assert_eq!(shifted.shift(by.checked_neg().unwrap()), Some(a));
        }
    }

    #[test]
    fn a_range_has_the_members_that_its_ends_say((range, members) in modelled()) {
        prop_assert_eq!(Members::of(range), members.clone());
        prop_assert_eq!(range.is_never(), members.0.is_empty());
        prop_assert_eq!(range.is_eternity(), members.0.len() == Members::POINTS.count());
        prop_assert_eq!(range.is_instant(), members.0.len() == 1 && members.0[0] % 2 == 0);
        for ns in -5..=5 {
            prop_assert_eq!(range.contains_timestamp(at(ns)), members.has(ns * 2));
        }
    }

    #[test]
    fn operations_do_to_ranges_what_they_do_to_members((a, of_a) in modelled(), (b, of_b) in modelled()) {
        let (both, either) = (of_a.both(&of_b), of_a.either(&of_b));
        let neither_is_empty = !of_a.0.is_empty() && !of_b.0.is_empty();
        prop_assert_eq!(a == b, of_a == of_b);
        prop_assert_eq!(a.overlaps(&b), !both.0.is_empty());
        prop_assert_eq!(a.contains(&b), both == of_b);
        prop_assert_eq!(a.is_contiguous_with(&b), neither_is_empty && either == either.without_holes());
        prop_assert_eq!(a.is_before(&b), neither_is_empty && of_a.0.last() < of_b.0.first());
        prop_assert_eq!(a.starts_before(&b), neither_is_empty && of_a.0[0] < of_b.0[0]);
        prop_assert_eq!(Members::of(a.intersect(&b)), both);
        prop_assert_eq!(Members::of(a.hull(&b)), either.without_holes());
    }

    #[test]
    fn a_shift_moves_every_member((a, of_a) in modelled(), by in -4i128..=4) {
        let shifted = Members::of(a.shift(at(by)).unwrap());
        // Points that come in from beyond the samples are only known for a side that is open.
        for point in Members::POINTS.filter(|point| Members::POINTS.contains(&(point - by * 2))) {
            prop_assert_eq!(shifted.has(point), of_a.has(point - by * 2), "{}", point);
        }
    }
}

#[derive(serde::Deserialize)]
struct Recorded<'a> {
    /// text, verdict, canonical text, nanoseconds
    #[serde(borrow)]
    timestamps: Vec<(&'a str, &'a str, &'a str, &'a str)>,
    /// a, b, order, a + b, a - b
    sums: Vec<(Timestamp, Timestamp, i8, &'a str, &'a str)>,
    /// text, verdict, canonical text
    timeranges: Vec<(&'a str, &'a str, &'a str)>,
    pairs: Vec<RecordedPair<'a>>,
    /// range, by, moved range, length of the range in nanoseconds
    shifts: Vec<(TimeRange, Timestamp, &'a str, &'a str)>,
}

#[derive(serde::Deserialize)]
struct RecordedPair<'a>(
    TimeRange,
    TimeRange,
    /* intersection */ &'a str,
    /* hull */ &'a str,
    /* overlaps, contains, is contiguous with, is before, starts before */ u8,
    u8,
    u8,
    u8,
    u8,
);

fn recorded() -> Recorded<'static> {
    serde_json::from_str(include_str!("../../tests/vectors/timeranges.json")).unwrap()
}

/// The file writes what has no value as an empty text.
fn text_or_empty(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

#[test]
fn timestamps_read_print_and_add_as_the_bbc_library_does_where_tams_allows_them() {
    let recorded = recorded();
    for (text, verdict, canonical, ns) in recorded.timestamps {
        let ours = text.parse::<Timestamp>().ok();
        assert_eq!(ours.is_some(), verdict == "same", "{text:?} {verdict}");
        assert_eq!(text_or_empty(ours), canonical, "{text:?}");
        assert_eq!(text_or_empty(ours.map(Timestamp::nanoseconds)), ns, "{text:?}");
    }
    for (a, b, order, sum, difference) in recorded.sums {
        assert_eq!(a.cmp(&b) as i8, order, "{a} {b}");
        assert_eq!(text_or_empty(a.checked_add(b)), sum, "{a} + {b}");
        assert_eq!(text_or_empty(a.checked_sub(b)), difference, "{a} - {b}");
    }
}

#[test]
fn timeranges_read_and_print_as_the_bbc_library_does_where_they_mean_something() {
    for (text, verdict, canonical) in recorded().timeranges {
        let ours = text.parse::<TimeRange>().ok();
        assert_eq!(ours.is_some(), verdict == "same", "{text:?} {verdict}");
        assert_eq!(text_or_empty(ours), canonical, "{text:?}");
    }
}

#[test]
fn pairs_of_timeranges_relate_as_in_the_bbc_library() {
    for RecordedPair(a, b, intersection, hull, overlaps, contains, contiguous, before, starts_before) in
        recorded().pairs
    {
        assert_eq!(a.intersect(&b).to_string(), intersection, "{a} {b}");
        assert_eq!(a.hull(&b).to_string(), hull, "{a} {b}");
        assert_eq!(a.overlaps(&b), overlaps == 1, "{a} {b}");
        assert_eq!(a.contains(&b), contains == 1, "{a} {b}");
        assert_eq!(a.is_contiguous_with(&b), contiguous == 1, "{a} {b}");
        assert_eq!(a.is_before(&b), before == 1, "{a} {b}");
        assert_eq!(a.starts_before(&b), starts_before == 1, "{a} {b}");
    }
}

#[test]
fn shifts_and_lengths_are_those_of_the_bbc_library_unless_it_would_clamp() {
    for (range, by, shifted, length) in recorded().shifts {
        assert_eq!(text_or_empty(range.shift(by)), shifted, "{range} by {by}");
        assert_eq!(text_or_empty(range.duration_nanoseconds()), length, "{range}");
    }
}
