//! Where the windows of a count begin and end, by the store's clock. Integers alone, so that the scripts agree.

use crate::rule::{Calendar, Offsets};
use crate::time::StoreTime;

/// Microseconds in a second.
const SECOND: u64 = 1_000_000;

/// One window: from its start to before its end, in microseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// Its first microsecond, and its name.
    pub(crate) start: u64,
    /// The first one after it.
    pub(crate) end: u64,
}

// === impl Window ===

impl Window {
    /// The window that `now` is in.
    ///
    /// Where a zone turns its clock back, what comes twice is one window with the hour before; where it turns it forward,
    /// what is left out is none.
    #[must_use]
    pub(crate) fn at(calendar: &Calendar, now: StoreTime) -> Self {
        match calendar {
            Calendar::Every(length) => {
                let length = u64::try_from(length.as_micros()).unwrap_or(u64::MAX).max(1);
                let start = now.0 - now.0 % length;
                Self {
                    start,
                    end: start.saturating_add(length),
                }
            }
            Calendar::Minute => {
                let start = now.0 - now.0 % (60 * SECOND);
                Self {
                    start,
                    end: start + 60 * SECOND,
                }
            }
            Calendar::Hour(offsets) => Self::of_length(offsets, now, 3600),
            Calendar::Day(offsets) => Self::of_length(offsets, now, 86400),
            Calendar::Month(offsets) => {
                let local = local(offsets, seconds(now));
                let (year, month) = civil_month(local.div_euclid(86400));
                let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
                Self {
                    start: utc(offsets, first_day(year, month) * 86400),
                    end: utc(offsets, first_day(next_year, next_month) * 86400),
                }
            }
        }
    }

    /// The one after it.
    #[must_use]
    pub(crate) fn next(self, calendar: &Calendar) -> Self {
        Self::at(calendar, StoreTime(self.end))
    }

    fn of_length(offsets: &Offsets, now: StoreTime, length: i64) -> Self {
        let local = local(offsets, seconds(now));
        let begun = local - local.rem_euclid(length);
        Self {
            start: utc(offsets, begun),
            end: utc(offsets, begun + length),
        }
    }
}

// Of what has no place in an i64 there is no zone: 2^63 µs are 292,000 years.
fn seconds(now: StoreTime) -> i64 {
    i64::try_from(now.0 / SECOND).unwrap_or(i64::MAX / 2)
}

/// What a clock of the zone shows. Where it was turned back, the last of what it had shown before, until it shows more.
fn local(offsets: &Offsets, utc: i64) -> i64 {
    let before = utc + i64::from(offsets.now);
    match offsets
        .then
        .map(|(from, then)| (i64::try_from(from).unwrap_or(i64::MAX), then))
    {
        Some((from, then)) if utc >= from => (utc + i64::from(then)).max(from + i64::from(offsets.now) - 1),
        _ => before,
    }
}

/// When a clock of the zone first shows this, or would if it were not turned past it. In microseconds.
fn utc(offsets: &Offsets, local: i64) -> u64 {
    let before = local - i64::from(offsets.now);
    let seconds = match offsets
        .then
        .map(|(from, then)| (i64::try_from(from).unwrap_or(i64::MAX), then))
    {
        Some((from, then)) if before >= from => from.max(local - i64::from(then)),
        _ => before,
    };
    u64::try_from(seconds).unwrap_or(0) * SECOND
}

/// Year and month (1 to 12) of a day since 1970-01-01; of the proleptic Gregorian calendar.
fn civil_month(day: i64) -> (i64, i64) {
    // Days are counted from 0000-03-01, so that the day that comes every fourth year is a year's last one.
    let day = day + 719_468;
    let era = day.div_euclid(146_097);
    let of_era = day.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    (year + era * 400 + i64::from(month <= 2), month)
}

/// The first day of a month, since 1970-01-01.
fn first_day(year: i64, month: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(calendar: &Calendar, second: u64) -> (u64, u64) {
        let window = Window::at(calendar, StoreTime(second * SECOND));
        (window.start / SECOND, window.end / SECOND)
    }

    /// Berlin, from before to after its clock was turned forward on 2026-03-29, at 01:00 UTC.
    const SPRING: Offsets = Offsets {
        now: 3600,
        then: Some((1_774_746_000, 7200)),
    };
    /// The same, turned back on 2026-10-25.
    const AUTUMN: Offsets = Offsets {
        now: 7200,
        then: Some((1_792_890_000, 3600)),
    };

    #[test]
    fn a_month_has_its_own_length() {
        let utc = Calendar::Month(Offsets::default());
        // 2028-02-29T12:00:00Z; February of 2028 has 29 days.
        assert_eq!(at(&utc, 1_835_438_400), (1_832_976_000, 1_832_976_000 + 29 * 86400));
        // 2026-12-31T23:59:59Z
        assert_eq!(at(&utc, 1_798_761_599), (1_796_083_200, 1_798_761_600));
    }

    #[test]
    fn a_day_begins_at_midnight_of_its_zone() {
        let berlin = Calendar::Day(Offsets { now: 7200, then: None });
        // 2026-07-01T00:30:00+02:00
        assert_eq!(at(&berlin, 1_782_858_600), (1_782_856_800, 1_782_943_200));
    }

    #[test]
    fn the_day_on_which_clocks_are_turned_forward_has_23_hours() {
        let (start, end) = at(&Calendar::Day(SPRING), 1_774_746_000 + 3600);
        assert_eq!((start, end - start), (1_774_738_800, 23 * 3600));
    }

    #[test]
    fn the_day_on_which_clocks_are_turned_back_has_25_hours() {
        let (start, end) = at(&Calendar::Day(AUTUMN), 1_792_890_000 - 3600);
        assert_eq!((start, end - start), (1_792_879_200, 25 * 3600));
        assert_eq!(at(&Calendar::Day(AUTUMN), 1_792_890_000 + 3600), (start, end));
    }

    #[test]
    fn the_hour_that_comes_twice_is_one_window() {
        let first = at(&Calendar::Hour(AUTUMN), 1_792_890_000 - 10);
        assert_eq!(first.1 - first.0, 7200);
        assert_eq!(at(&Calendar::Hour(AUTUMN), 1_792_890_000 + 10), first);
    }

    proptest! {
        /// Every moment is in its window, and windows follow one another without gap or overlap.
        #[test]
        fn windows_cover_all_time_once(
            which in 0u8..5,
            second in 86_400_000u64..4_000_000_000,
            micros in 0u64..SECOND,
            zone in -12i32..=14,
            turned in prop_oneof![Just(None), (-2i64..40, -2i32..=2).prop_map(Some)],
        ) {
            let offsets = Offsets {
                now: zone * 3600,
                then: turned.map(|(days, by)| (
                    second.saturating_add_signed(days * 86400 + 1800) / 3600 * 3600,
                    (zone + by) * 3600,
                )),
            };
            let calendar = match which {
                0 => Calendar::Every(Duration::from_millis(micros % 100_000 + 10)),
                1 => Calendar::Minute,
                2 => Calendar::Hour(offsets),
                3 => Calendar::Day(offsets),
                _ => Calendar::Month(offsets),
            };
            let mut now = second * SECOND + micros;
            for _ in 0..60 {
                let window = Window::at(&calendar, StoreTime(now));
                prop_assert!(window.start <= now && now < window.end, "{window:?} at {now}");
                prop_assert_eq!(Window::at(&calendar, StoreTime(window.start)), window);
                prop_assert_eq!(Window::at(&calendar, StoreTime(window.end - 1)), window);
                let next = window.next(&calendar);
                prop_assert_eq!(next.start, window.end);
                now = next.start;
            }
        }
    }
}
