//! Durations, sizes and addresses, as people write them.

use super::Decoder;
use crate::declared::{Backoff, Duration, Share, Size};
use crate::diagnostic::Finding;
use crate::tree::{Kind, Node, Number, Value};

/// The longest duration that is taken: 10 years of 365 days.
const LONGEST_MS: u64 = 10 * 365 * 86_400_000;
/// The largest size that is taken: 2^50 bytes.
const LARGEST: u64 = 1 << 50;
const DURATION: &str = "a duration like 300ms, 2s, 1m, 1h or 30d";
/// A whole, as [`Share`] counts.
const WHOLE: u64 = 1_000_000;
const BACKOFF: &str = "a range of durations like 25ms..250ms";
const SIZE: &str = "a size like 512KiB or 1MiB";

impl<'t> Decoder<'t> {
    /// A duration of whole milliseconds, greater than zero.
    pub(crate) fn duration(&mut self, node: &'t Node) -> Option<Duration> {
        let ms = match &node.kind {
            Kind::Text(text) => match milliseconds(text) {
                Ok(ms) => ms,
                Err(why) => {
                    self.bad(node, why, DURATION);
                    return None;
                }
            },
            Kind::Number(number) => {
                let message = format!(
                    "a duration needs its unit, such as {}s or {}ms",
                    number.spelling, number.spelling
                );
                self.bad(node, message, DURATION);
                return None;
            }
            _ => {
                self.wrong(node, DURATION);
                return None;
            }
        };
        if ms == 0 || ms > LONGEST_MS {
            self.bad(
                node,
                "a duration must be longer than nothing and at most 3650d",
                DURATION,
            );
            return None;
        }
        Some(Duration(std::time::Duration::from_millis(ms)))
    }

    /// A share above nothing, at most a whole; with `none`, nothing as well.
    pub(crate) fn share(&mut self, node: &'t Node, none: bool) -> Option<Share> {
        let expected = match none {
            true => "a share from 0% to 100%, like 20% or 0.2",
            false => "a share above 0%, at most 100%, like 20% or 0.2",
        };
        let millionths = match &node.kind {
            Kind::Text(text) => match text.strip_suffix('%') {
                Some(percent) => decimal(percent.trim_end(), 4),
                None => decimal(text, 6),
            },
            Kind::Number(number) => decimal(&number.spelling, 6),
            _ => {
                self.wrong(node, expected);
                return None;
            }
        };
        match millionths {
            None => self.bad(node, "this is no share (at most four decimals of a percent)", expected),
            Some(share) if share > WHOLE => {
                let finding = Finding::error("out_of_range", "a share is at most 100%, which is 1");
                self.report(finding.at(node.at).found(node.describe()).expected(expected));
            }
            Some(0) if !none => {
                let finding = Finding::error("out_of_range", "the share must be above 0%");
                self.report(finding.at(node.at).found(node.describe()).expected(expected));
            }
            Some(share) => return u32::try_from(share).ok().map(Share),
        }
        None
    }

    /// Two durations, the second not shorter than the first.
    pub(crate) fn backoff(&mut self, node: &'t Node) -> Option<Backoff> {
        let text = self.text(node, BACKOFF)?;
        let read = |text: &str| match milliseconds(text.trim()) {
            Ok(ms) if (1..=LONGEST_MS).contains(&ms) => Ok(Duration(std::time::Duration::from_millis(ms))),
            Ok(_) => Err("a pause must be longer than nothing and at most 3650d".to_owned()),
            Err(why) => Err(why),
        };
        let range = match text.split_once("..") {
            None => Err("this is one duration, or none; write the first and the greatest pause".to_owned()),
            Some((first, most)) => read(first).and_then(|first| Ok((first, read(most)?))),
        };
        match range {
            Ok((first, most)) if first <= most => return Some(Backoff { first, most }),
            Ok(_) => self.bad(node, "the first pause is longer than the greatest one", BACKOFF),
            Err(why) => self.bad(node, why, BACKOFF),
        }
        None
    }

    /// A number of bytes.
    pub(crate) fn size(&mut self, node: &'t Node) -> Option<Size> {
        let read = match &node.kind {
            Kind::Text(text) => bytes(text),
            Kind::Number(Number {
                value: Value::Integer(value),
                ..
            }) => u64::try_from(*value).map_err(|_| "a size cannot be below zero".to_owned()),
            _ => {
                self.wrong(node, SIZE);
                return None;
            }
        };
        match read {
            Ok(size) if size > LARGEST => {
                self.bad(node, "a size is at most 1048576GiB", SIZE);
                None
            }
            Ok(size) => Some(Size(size)),
            Err(why) => {
                self.bad(node, why, SIZE);
                None
            }
        }
    }

    /// An IP address or a CIDR; bits beyond the prefix are cleared, a bare address is the network of itself, and IPv4 in
    /// IPv6's clothes is IPv4.
    pub(crate) fn address(&mut self, node: &'t Node) -> Option<ipnet::IpNet> {
        const EXPECTED: &str = "an address like 10.0.0.1 or a network like 10.0.0.0/8";
        let text = self.text(node, EXPECTED)?;
        let net = text
            .parse::<std::net::IpAddr>()
            .map(ipnet::IpNet::from)
            .or_else(|_| text.parse::<ipnet::IpNet>());
        match net {
            Ok(net) => Some(canonical(net.trunc())),
            Err(_) => {
                self.bad(node, "this is no IP address and no network", EXPECTED);
                None
            }
        }
    }
}

/// IPv4 written as IPv6 (`::ffff:10.0.0.0/104`) is IPv4: that is how the addresses of requests are seen.
fn canonical(net: ipnet::IpNet) -> ipnet::IpNet {
    let ipnet::IpNet::V6(six) = net else { return net };
    let four = six.addr().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    four.and_then(|(address, length)| ipnet::Ipv4Net::new(address, length).ok())
        .map_or(net, ipnet::IpNet::V4)
}

fn milliseconds(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 5] = [
        ("ms", 1),
        ("s", 1_000),
        ("m", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit.trim()) else {
        return Err(match (number.is_empty(), unit.is_empty()) {
            (false, true) => format!("a duration needs its unit, such as {number}s or {number}ms"),
            _ => "this is no duration (units are ms, s, m, h, d)".to_owned(),
        });
    };
    let thousandths = decimal(number, 3).ok_or("this is no duration (at most three decimals)")?;
    let product = thousandths.checked_mul(*factor).ok_or("the duration is too long")?;
    if product % 1_000 != 0 {
        return Err("a duration is a whole number of milliseconds".to_owned());
    }
    Ok(product / 1_000)
}

fn bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    const DECIMAL: [(&str, &str); 6] = [
        ("k", "KiB"),
        ("kb", "KiB"),
        ("m", "MiB"),
        ("mb", "MiB"),
        ("g", "GiB"),
        ("gb", "GiB"),
    ];
    let digits = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let Some((_, factor)) = UNITS.iter().find(|(name, _)| *name == unit) else {
        let lower = unit.to_ascii_lowercase();
        let meant = DECIMAL.iter().find(|(name, _)| *name == lower).map(|(_, meant)| *meant);
        let meant = meant.or_else(|| {
            UNITS
                .iter()
                .map(|(name, _)| *name)
                .find(|name| name.eq_ignore_ascii_case(unit))
        });
        return Err(match meant {
            Some(meant) => format!("sizes are written in B, KiB, MiB, GiB; did you mean {number}{meant}?"),
            None => "this is no size (units are B, KiB, MiB, GiB)".to_owned(),
        });
    };
    let thousandths = decimal(number, 3).ok_or("this is no size (at most three decimals)")?;
    let product = thousandths.checked_mul(*factor).ok_or("the size is too large")?;
    if product % 1_000 != 0 {
        return Err("a size is a whole number of bytes".to_owned());
    }
    Ok(product / 1_000)
}

/// `12.34` with `places` decimals kept: 12 340 for three. Without rounding: more decimals are refused.
fn decimal(text: &str, places: u32) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let missing = places.checked_sub(u32::try_from(fraction.len()).ok()?)?;
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let part: u64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    whole
        .checked_mul(10u64.pow(places))?
        .checked_add(part * 10u64.pow(missing))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn durations_are_read_in_each_unit() {
        let read = |text| milliseconds(text).unwrap();
        assert_eq!(
            [read("300ms"), read("2s"), read("1.5s"), read("1m"), read("1h")],
            [300, 2000, 1500, 60_000, 3_600_000]
        );
        assert_eq!(read("30d"), 30 * 86_400_000);
        for bad in [
            "",
            "5",
            "s",
            "-1s",
            "1.0001s",
            "1 year",
            "1m30s",
            "99999999999999999999s",
        ] {
            assert!(milliseconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_are_binary_and_say_so_to_those_who_write_decimal_ones() {
        assert_eq!(bytes("512KiB"), Ok(512 << 10));
        assert_eq!(bytes("1.5MiB"), Ok(3 << 19));
        assert!(bytes("10MB").unwrap_err().contains("10MiB"));
        assert!(bytes("0.1B").is_err());
    }

    #[test]
    fn decimals_are_never_rounded() {
        assert_eq!(decimal("20", 3), Some(20_000));
        assert_eq!(decimal(".5", 3), Some(500));
        assert_eq!(decimal("0.1234", 3), None);
        assert_eq!(decimal(".", 3), None);
    }
}
