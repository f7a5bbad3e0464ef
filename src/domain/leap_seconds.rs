//! TAI and UTC: how far apart they are, and when that changed.
//!
//! Facts: IERS Bulletin C; none was inserted since 2017, and none is announced.

use super::UtcTime;

/// From this second of UTC (since 1970) on, TAI is so many seconds ahead.
const OFFSETS: [(i64, i64); 28] = [
    (63_072_000, 10),
    (78_796_800, 11),
    (94_694_400, 12),
    (126_230_400, 13),
    (157_766_400, 14),
    (189_302_400, 15),
    (220_924_800, 16),
    (252_460_800, 17),
    (283_996_800, 18),
    (315_532_800, 19),
    (362_793_600, 20),
    (394_329_600, 21),
    (425_865_600, 22),
    (489_024_000, 23),
    (567_993_600, 24),
    (631_152_000, 25),
    (662_688_000, 26),
    (709_948_800, 27),
    (741_484_800, 28),
    (773_020_800, 29),
    (820_454_400, 30),
    (867_715_200, 31),
    (915_148_800, 32),
    (1_136_073_600, 33),
    (1_230_768_000, 34),
    (1_341_100_800, 35),
    (1_435_708_800, 36),
    (1_483_228_800, 37),
];

/// First second after the last one that has a place: that of the year 10000.
const END_OF_UTC: i64 = 253_402_300_800;

/// Whole seconds of UTC since 1970 for seconds of TAI since 1970 (TAI). A leap second itself, which UTC's count does not have,
/// is shown as the second after it. `None` before 1972, where the two did not differ by whole seconds, and after the year 9999.
pub fn utc_of_tai(seconds: i64) -> Option<i64> {
    let offset = OFFSETS.iter().rev().find(|(from, offset)| seconds >= from + offset - i64::from(*from > OFFSETS[0].0));
    let (from, offset) = offset?;
    let utc = (seconds - offset).max(*from);
    (utc < END_OF_UTC).then_some(utc)
}

/// Seconds of TAI since 1970 for a moment of UTC, rounded down. `None` before 1972.
pub fn tai_of_utc(time: UtcTime) -> Option<i64> {
    let utc = time.timestamp();
    let (_, offset) = OFFSETS.iter().rev().find(|(from, _)| utc >= *from)?;
    Some(utc + offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    #[test]
    fn tai_is_37_seconds_ahead_since_2017() {
        assert_eq!(tai_of_utc(utc("2017-01-01T00:00:00Z")), Some(1_483_228_837));
        assert_eq!(utc_of_tai(1_483_228_837), Some(1_483_228_800));
        let recent = utc("2026-11-24T15:00:00Z");
        assert_eq!(tai_of_utc(recent), Some(recent.timestamp() + 37));
        assert_eq!(tai_of_utc(utc("1971-12-31T23:59:59Z")), None);
    }

    #[test]
    fn a_leap_second_is_shown_as_the_second_after_it() {
        // 2016-12-31T23:59:59, :60, 2017-01-01T00:00:00.
        assert_eq!(utc_of_tai(1_483_228_835), Some(1_483_228_799));
        assert_eq!(utc_of_tai(1_483_228_836), Some(1_483_228_800));
        assert_eq!(utc_of_tai(1_483_228_837), Some(1_483_228_800));
        assert_eq!(utc_of_tai(1_483_228_838), Some(1_483_228_801));
    }

    #[test]
    fn every_offset_leads_there_and_back() {
        for (from, offset) in OFFSETS {
            for second in [from, from + 1, from + 86_400] {
                let time = UtcTime::from_timestamp(second, 999_999_000).unwrap();
                assert_eq!(tai_of_utc(time).and_then(utc_of_tai), Some(second), "{from} {offset}");
            }
        }
    }

    #[test]
    fn what_is_no_year_from_1972_to_9999_has_no_utc() {
        assert_eq!(utc_of_tai(63_072_009), None);
        assert_eq!(utc_of_tai(63_072_010), Some(63_072_000));
        assert_eq!(utc_of_tai(-1), None);
        assert_eq!(utc_of_tai(END_OF_UTC + 36), Some(END_OF_UTC - 1));
        assert_eq!(utc_of_tai(END_OF_UTC + 37), None);
        assert_eq!(utc_of_tai(i64::MAX), None);
    }
}
