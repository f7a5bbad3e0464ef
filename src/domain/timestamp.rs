//! A point on a flow's own timeline, exact to the nanosecond.
//!
//! What a timestamp means (TAI, seconds since the start of a recording) is the flow's business; here it is a signed number.
//! Text is `{seconds}:{nanoseconds}` with one sign for the whole value: `-1:500000000` is one and a half seconds before zero.
//! No clock, no rounding, no clamping: what does not fit is refused.

use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserialize, Deserializer, Visitor};
use serde::ser::{Serialize, Serializer};

const NANOSECONDS_PER_SECOND: i128 = 1_000_000_000;
/// Seconds are 48 bits wide, as in BBC's mediatimestamp: that is more than nanoseconds in 64 bits can hold.
const SECONDS_LIMIT: i128 = 1 << 48;

/// Exact signed nanoseconds; the whole seconds of the magnitude are at most 2^48 - 1.
///
/// Order, equality and hash are those of the number.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    ns: i128,
}

impl Timestamp {
    pub const ZERO: Timestamp = Timestamp { ns: 0 };
    /// `-281474976710655:999999999`
    pub const MIN: Timestamp = Timestamp { ns: -Timestamp::MAX.ns };
    /// `281474976710655:999999999`
    pub const MAX: Timestamp = Timestamp { ns: SECONDS_LIMIT * NANOSECONDS_PER_SECOND - 1 };

    /// `None` outside [`Timestamp::MIN`] to [`Timestamp::MAX`].
    #[must_use]
    pub const fn from_nanoseconds(ns: i128) -> Option<Timestamp> {
        if Timestamp::MIN.ns <= ns && ns <= Timestamp::MAX.ns { Some(Timestamp { ns }) } else { None }
    }

    /// 32 bits of seconds are always in range.
    #[must_use]
    pub const fn from_seconds(seconds: i32) -> Timestamp {
        Timestamp { ns: seconds as i128 * NANOSECONDS_PER_SECOND }
    }

    #[must_use]
    pub const fn nanoseconds(self) -> i128 {
        self.ns
    }

    /// Seconds rounded down and the 0..=999_999_999 nanoseconds after them: the form of the stored columns.
    ///
    /// Pairs sort as the values do. For negative times they are not the digits of the text: `-1:500000000` is
    /// `(-2, 500_000_000)`.
    #[must_use]
    pub const fn to_parts(self) -> (i64, i32) {
        // Both fit: the range of the type is 49 bits of seconds, and the remainder is below 10^9.
        #[expect(clippy::cast_possible_truncation, reason = "seconds have 48 bits, the rest is below a billion")]
        (self.ns.div_euclid(NANOSECONDS_PER_SECOND) as i64, self.ns.rem_euclid(NANOSECONDS_PER_SECOND) as i32)
    }

    /// The reverse of [`Timestamp::to_parts`]; `None` when the nanoseconds are not a part of a second or the sum is out of
    /// range.
    #[must_use]
    pub const fn from_parts(seconds: i64, nanoseconds: i32) -> Option<Timestamp> {
        if nanoseconds < 0 || nanoseconds as i128 >= NANOSECONDS_PER_SECOND {
            return None;
        }
        Timestamp::from_nanoseconds(seconds as i128 * NANOSECONDS_PER_SECOND + nanoseconds as i128)
    }

    /// `None` when the sum is out of range.
    #[must_use]
    pub const fn checked_add(self, other: Timestamp) -> Option<Timestamp> {
        // No overflow: both terms have less than 80 bits.
        Timestamp::from_nanoseconds(self.ns + other.ns)
    }

    /// `None` when the difference is out of range.
    #[must_use]
    pub const fn checked_sub(self, other: Timestamp) -> Option<Timestamp> {
        Timestamp::from_nanoseconds(self.ns - other.ns)
    }

    /// Always `Some`: the range is the same on both sides of zero.
    #[must_use]
    pub const fn checked_neg(self) -> Option<Timestamp> {
        Timestamp::from_nanoseconds(-self.ns)
    }

    /// Seconds for people and plots. Not exact; nothing may be stored or compared in this form.
    #[must_use]
    pub fn as_seconds_f64(self) -> f64 {
        self.ns as f64 / 1e9
    }
}

/// Why a text is no timestamp, and what one looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTimestampError {
    #[error("a timestamp is seconds:nanoseconds, for example 10:0 or -1:500000000")]
    Malformed,
    #[error("seconds and nanoseconds are written without leading zeros, for example 1:5 for 5 ns after 1 s")]
    LeadingZero,
    #[error("nanoseconds are at most 999999999, for example 1:999999999")]
    NanosecondsOutOfRange,
    #[error("seconds are at most 281474976710655 (48 bits) before or after zero")]
    SecondsOutOfRange,
}

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Takes exactly what the official pattern takes, within the range; `-0:0` is zero.
    fn from_str(text: &str) -> Result<Timestamp, ParseTimestampError> {
        let (negative, magnitude) = match text.strip_prefix('-') {
            Some(magnitude) => (true, magnitude),
            None => (false, text),
        };
        let (seconds, nanoseconds) = magnitude.split_once(':').ok_or(ParseTimestampError::Malformed)?;
        check_digits(seconds)?;
        check_digits(nanoseconds)?;
        // Only digits are left, so a number that does not parse is too large.
        let seconds: u64 = seconds.parse().map_err(|_| ParseTimestampError::SecondsOutOfRange)?;
        let nanoseconds = nanoseconds
            .parse()
            .ok()
            .filter(|&nanoseconds: &u32| i128::from(nanoseconds) < NANOSECONDS_PER_SECOND)
            .ok_or(ParseTimestampError::NanosecondsOutOfRange)?;
        let ns = i128::from(seconds) * NANOSECONDS_PER_SECOND + i128::from(nanoseconds);
        Timestamp::from_nanoseconds(if negative { -ns } else { ns }).ok_or(ParseTimestampError::SecondsOutOfRange)
    }
}

fn check_digits(text: &str) -> Result<(), ParseTimestampError> {
    match text.as_bytes() {
        [] => Err(ParseTimestampError::Malformed),
        bytes if !bytes.iter().all(u8::is_ascii_digit) => Err(ParseTimestampError::Malformed),
        [b'0', _, ..] => Err(ParseTimestampError::LeadingZero),
        _ => Ok(()),
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.ns < 0 { "-" } else { "" };
        let magnitude = self.ns.abs();
        let seconds = magnitude / NANOSECONDS_PER_SECOND;
        let nanoseconds = magnitude % NANOSECONDS_PER_SECOND;
        write!(f, "{sign}{seconds}:{nanoseconds}")
    }
}

/// The text form: a test that fails shows what a client would see.
impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Timestamp;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a timestamp as text, for example \"10:0\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ts(text: &str) -> Timestamp {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn the_sign_covers_the_whole_value() {
        for (text, ns) in [
            ("0:0", 0),
            ("1:5", 1_000_000_005),
            ("-1:500000000", -1_500_000_000),
            ("-0:5", -5),
            ("1694429247:40000000", 1_694_429_247_040_000_000),
            ("281474976710655:999999999", Timestamp::MAX.nanoseconds()),
            ("-281474976710655:999999999", Timestamp::MIN.nanoseconds()),
        ] {
            assert_eq!(ts(text).nanoseconds(), ns, "{text}");
            assert_eq!(ts(text).to_string(), text);
        }
    }

    #[test]
    fn minus_zero_is_zero() {
        assert_eq!(ts("-0:0"), Timestamp::ZERO);
        assert_eq!(ts("-0:0").to_string(), "0:0");
    }

    #[test]
    fn only_the_official_spelling_is_a_timestamp() {
        use ParseTimestampError::*;
        for (text, error) in [
            ("", Malformed),
            ("1", Malformed),
            (":", Malformed),
            ("1:", Malformed),
            (":1", Malformed),
            ("-:1", Malformed),
            ("--1:0", Malformed),
            ("1:-0", Malformed),
            ("+1:0", Malformed),
            ("1:+0", Malformed),
            ("1.5", Malformed),
            (" 1:0", Malformed),
            ("1:0\n", Malformed),
            ("1:0:0", Malformed),
            ("1_0:0", Malformed),
            ("\u{661}:0", Malformed),
            ("01:0", LeadingZero),
            ("00:0", LeadingZero),
            ("1:01", LeadingZero),
            ("1:1000000000", NanosecondsOutOfRange),
            ("1:99999999999999999999", NanosecondsOutOfRange),
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn seconds_beyond_48_bits_have_their_own_error() {
        for text in [
            "281474976710656:0",
            "-281474976710656:0",
            "18446744073709551616:0",
            "-99999999999999999999999999999999999999999999:0",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(ParseTimestampError::SecondsOutOfRange), "{text}");
        }
    }

    #[test]
    fn times_and_their_stored_parts_sort_numerically() {
        let ascending = [
            Timestamp::MIN,
            ts("-2:0"),
            ts("-1:500000000"),
            ts("-1:0"),
            ts("-0:5"),
            ts("0:0"),
            ts("0:5"),
            ts("10:0"),
            Timestamp::MAX,
        ];
        for pair in ascending.windows(2) {
            assert!(pair[0] < pair[1], "{pair:?}");
            assert!(pair[0].to_parts() < pair[1].to_parts(), "{pair:?}");
        }
    }

    #[test]
    fn parts_round_seconds_down_and_refuse_what_is_no_part_of_a_second() {
        assert_eq!(ts("-1:500000000").to_parts(), (-2, 500_000_000));
        assert_eq!(ts("-0:5").to_parts(), (-1, 999_999_995));
        for at in [Timestamp::MIN, Timestamp::MAX, ts("-0:5"), ts("3:7")] {
            let (seconds, nanoseconds) = at.to_parts();
            assert_eq!(Timestamp::from_parts(seconds, nanoseconds), Some(at));
        }
        for (seconds, nanoseconds) in
            [(0, -1), (0, 1_000_000_000), (1 << 48, 0), (-(1 << 48), 0), (i64::MAX, 999_999_999), (i64::MIN, 0)]
        {
            assert_eq!(Timestamp::from_parts(seconds, nanoseconds), None);
        }
    }

    #[test]
    fn arithmetic_refuses_to_leave_the_range() {
        let tick = ts("0:1");
        assert_eq!(ts("1:0").checked_sub(ts("2:500000000")), Some(ts("-1:500000000")));
        assert_eq!(Timestamp::MAX.checked_add(tick), None);
        assert_eq!(Timestamp::MIN.checked_sub(tick), None);
        assert_eq!(Timestamp::MIN.checked_neg(), Some(Timestamp::MAX));
        assert_eq!(Timestamp::from_nanoseconds(i128::MAX), None);
        assert_eq!(Timestamp::from_nanoseconds(i128::MIN), None);
        assert_eq!(Timestamp::from_seconds(i32::MIN), ts("-2147483648:0"));
    }

    #[test]
    fn json_holds_the_text_and_says_what_is_wrong_with_it() {
        assert_eq!(serde_json::to_string(&ts("-1:5")).unwrap(), "\"-1:5\"");
        assert_eq!(serde_json::from_str::<Timestamp>("\"-1:5\"").unwrap(), ts("-1:5"));
        // The escape forces serde_json to hand over a copied string.
        assert_eq!(serde_json::from_str::<Timestamp>(r#""\u0031:5""#).unwrap(), ts("1:5"));
        let error = serde_json::from_str::<Timestamp>("\"01:0\"").unwrap_err();
        assert!(error.to_string().starts_with(&ParseTimestampError::LeadingZero.to_string()));
        assert!(serde_json::from_str::<Timestamp>("1.5").is_err());
    }
}
