//! Wall time for people: RFC 3339 in UTC, with milliseconds.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 by this machine's clock; 0 where that stands before it.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `2026-11-25T09:30:00.000Z`.
pub(crate) fn from_ms(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = civil(days);
    let (hour, minute) = (of_day / 3_600_000, of_day / 60_000 % 60);
    let (second, milli) = (of_day / 1000 % 60, of_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// The same of a time of this machine's clock.
pub(crate) fn of(at: SystemTime) -> String {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    from_ms(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The Gregorian date of a day counted from 1970-01-01. Years are counted from March, so that the
/// day that comes and goes stands at a year's end.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::from_ms;

    #[test]
    fn known_moments_are_written_as_everyone_writes_them() {
        assert_eq!(from_ms(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(from_ms(951_782_399_999), "2000-02-28T23:59:59.999Z");
        assert_eq!(from_ms(951_868_799_000), "2000-02-29T23:59:59.000Z");
        assert_eq!(from_ms(1_764_063_000_123), "2025-11-25T09:30:00.123Z");
        assert_eq!(from_ms(4_107_542_400_000), "2100-03-01T00:00:00.000Z");
    }
}
