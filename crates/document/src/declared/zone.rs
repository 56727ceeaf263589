//! Zones of time.

use jiff::Timestamp;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

/// A zone of time: `UTC`, an offset such as `+02:00`, or a name of the IANA database such as `Europe/Berlin`.
///
/// The database is that of the binary, and no file of the machine is read: nodes that differ would count different
/// days.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(Named);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Named {
    Utc,
    /// Seconds.
    Fixed(i32),
    Iana(TimeZone),
}

/// A text that names no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is no zone of time")]
pub struct UnknownZone;

/// The greatest offset from UTC, in minutes.
const FARTHEST: i32 = 14 * 60;

static DATABASE: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

// === impl Zone ===

impl Zone {
    /// The offset from UTC at `now`, in seconds, and from when on there is which other one. Both in seconds since the
    /// Unix epoch.
    #[must_use]
    pub fn offsets(&self, now: i64) -> (i32, Option<(u64, i32)>) {
        let zone = match &self.0 {
            Named::Utc => return (0, None),
            Named::Fixed(seconds) => return (*seconds, None),
            Named::Iana(zone) => zone,
        };
        let Ok(now) = Timestamp::from_second(now) else {
            return (0, None);
        };
        let present = zone.to_offset(now).seconds();
        // A change may be one of the name alone.
        let next = zone.following(now).find(|next| next.offset().seconds() != present);
        let then = next.and_then(|next| {
            Some((
                u64::try_from(next.timestamp().as_second()).ok()?,
                next.offset().seconds(),
            ))
        });
        (present, then)
    }

    /// All names of the database.
    pub(crate) fn names() -> impl Iterator<Item = String> {
        DATABASE.available().map(|name| name.to_string())
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, UnknownZone> {
        if text == "UTC" {
            return Ok(Self(Named::Utc));
        }
        if text.starts_with(['+', '-']) {
            return offset(text)
                .map(|seconds| Self(Named::Fixed(seconds)))
                .ok_or(UnknownZone);
        }
        let zone = DATABASE.get(text).map_err(|_| UnknownZone)?;
        Ok(Self(Named::Iana(zone)))
    }
}

/// `+02:00`, in seconds.
fn offset(text: &str) -> Option<i32> {
    let digits = |text: &str| match text.len() {
        2 if text.bytes().all(|byte| byte.is_ascii_digit()) => text.parse::<i32>().ok(),
        _ => None,
    };
    let (hours, minutes) = text.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    let all = hours * 60 + minutes;
    let sign = if text.starts_with('-') { -1 } else { 1 };
    (minutes < 60 && all <= FARTHEST).then_some(sign * all * 60)
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Named::Utc => f.write_str("UTC"),
            Named::Fixed(seconds) => {
                let sign = if *seconds < 0 { '-' } else { '+' };
                let minutes = seconds.abs() / 60;
                write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
            }
            Named::Iana(zone) => f.write_str(zone.iana_name().unwrap_or("UTC")),
        }
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_zone_is_read_and_written() {
        for text in [
            "UTC",
            "+02:00",
            "-03:30",
            "+14:00",
            "+00:00",
            "Europe/Berlin",
            "America/Argentina/Salta",
        ] {
            assert_eq!(text.parse::<Zone>().unwrap().to_string(), text);
        }
        assert_eq!("europe/berlin".parse::<Zone>().unwrap().to_string(), "Europe/Berlin");
        for text in [
            "",
            "utc+1",
            "+2:00",
            "+02:60",
            "+14:01",
            "+0200",
            "+02:00:00",
            "-",
            "+ä:00",
            "Mars/Base",
            "/etc/passwd",
        ] {
            assert!(text.parse::<Zone>().is_err(), "{text}");
        }
    }

    #[test]
    fn offsets_are_those_of_the_day_and_of_the_next_change() {
        let offsets = |zone: &str, now| zone.parse::<Zone>().unwrap().offsets(now);
        // 2026-07-01 and the end of summer time, 2026-10-25 at 01:00 UTC.
        assert_eq!(
            offsets("Europe/Berlin", 1_782_864_000),
            (7200, Some((1_792_890_000, 3600)))
        );
        assert_eq!(offsets("Asia/Kolkata", 1_782_864_000), (19_800, None));
        assert_eq!(offsets("-03:30", 1_782_864_000), (-12_600, None));
        assert_eq!(offsets("UTC", i64::MAX), (0, None));
    }
}
