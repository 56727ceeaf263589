//! Values that people write with a unit, and addresses.

use ipnet::IpNet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// A host name or IP with a port, as others are to reach it. Displayed as `host:port`, IPv6 in brackets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// A host name or an IP, without brackets.
    pub host: String,
    /// Never 0.
    pub port: u16,
}

/// `300ms`, `2s`, `1m`, `1h`, `30d`.
///
/// # Errors
/// What to write instead.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let why = || format!("{text:?} is not a duration: write a whole number with ms, s, m, h or d, such as 300ms or 5s");
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(why)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| why())?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(why()),
    };
    number
        .checked_mul(unit)
        .filter(|ms| *ms <= 365 * 86_400_000)
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is more than a year"))
}

/// A duration that is not zero.
///
/// # Errors
/// What to write instead.
pub(super) fn some_duration(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        Duration::ZERO => Err("it may not be 0: nothing would ever be in time".to_owned()),
        time => Ok(time),
    }
}

/// `512KiB`, `1MiB`, or a bare number of bytes.
///
/// # Errors
/// What to write instead.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let why = || format!("{text:?} is not a size: write a whole number with B, KiB, MiB or GiB, such as 8KiB");
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| why())?;
    let shift = match unit {
        "" | "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        _ => return Err(why()),
    };
    number.checked_mul(1 << shift).ok_or_else(why)
}

/// A whole number.
///
/// # Errors
/// What to write instead.
pub(super) fn count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is not a whole number"))
}

/// `true` or `false`.
///
/// # Errors
/// What to write instead.
pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(format!("{text:?} is neither true nor false")),
    }
}

/// `IP:PORT`.
///
/// # Errors
/// What to write instead.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| match text.rsplit_once(':') {
        Some(("", port)) => format!("{text:?} lacks the IP: write 0.0.0.0:{port} for every address of the machine"),
        Some(("localhost", port)) => format!("{text:?} is a name: write 127.0.0.1:{port}"),
        None if text.parse::<u16>().is_ok() => format!("{text:?} lacks the IP: write 0.0.0.0:{text}"),
        None if text.parse::<std::net::IpAddr>().is_ok() => format!("{text:?} lacks the port: write IP:PORT"),
        _ => format!("{text:?} is not an address: write IP:PORT, such as 127.0.0.1:9080 or [::1]:9080"),
    })
}

/// An IP, or a CIDR.
///
/// # Errors
/// What to write instead.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return Ok(ip.to_canonical().into());
    }
    let why = || format!("{text:?} is no address: write an IP or a CIDR, such as 10.0.0.9 or 10.0.0.0/24");
    let net: IpNet = text.parse().map_err(|_| why())?;
    match net == net.trunc() {
        true => Ok(net),
        false => Err(format!("{text:?} has bits behind its prefix: write {}", net.trunc())),
    }
}

/// `HOST:PORT`, where the host is a name or an IP.
///
/// # Errors
/// What to write instead.
pub(super) fn host_port(text: &str) -> Result<HostPort, String> {
    let why = || format!("{text:?} is not HOST:PORT, such as 10.0.0.1:7080 or n1.example.com:7080");
    if let Ok(address) = text.parse::<SocketAddr>() {
        if address.ip().is_unspecified() {
            return Err(format!(
                "nobody can reach {text:?}: write an address that other machines can connect to"
            ));
        }
        if address.port() == 0 {
            return Err(why());
        }
        return Ok(HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        });
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(why)?;
    let fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    if host.len() > 253 || !host.trim_end_matches('.').split('.').all(fits) {
        return Err(why());
    }
    match port.parse() {
        Ok(0) | Err(_) => Err(why()),
        Ok(port) => Ok(HostPort {
            host: host.to_owned(),
            port,
        }),
    }
}

/// The name of a cluster, node, zone or label: 1 to 63 letters, digits, `.`, `-`, `_`, a letter or digit first.
///
/// # Errors
/// What to write instead.
pub(super) fn name(text: &str) -> Result<String, String> {
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
    if first && text.len() <= 63 && text.bytes().all(rest) {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{text:?} is not a name: write 1 to 63 letters, digits, dots, dashes and underscores, beginning with a letter or digit"
        ))
    }
}

// === impl HostPort ===

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl From<SocketAddr> for HostPort {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: address.ip().to_string(),
            port: address.port(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn durations_and_sizes_are_read_with_their_units_alone() {
        assert_eq!(duration("300ms").unwrap(), Duration::from_millis(300));
        assert_eq!(duration("1h").unwrap(), Duration::from_secs(3600));
        assert_eq!(size("8KiB").unwrap(), 8192);
        assert_eq!(size("77").unwrap(), 77);
        for text in ["", "5", "s", "5 s", "1.5s", "-1s", "5sec", "99999999999d", "400d"] {
            assert!(duration(text).is_err(), "{text}");
        }
        for text in ["", "KiB", "8kb", "8 KiB", "-1", "99999999999GiB"] {
            assert!(size(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_address_says_what_it_lacks() {
        assert!(address("[::1]:9080").is_ok());
        assert!(address(":8080").unwrap_err().contains("0.0.0.0:8080"));
        assert!(address("8080").unwrap_err().contains("0.0.0.0:8080"));
        assert!(address("localhost:1").unwrap_err().contains("127.0.0.1:1"));
        assert!(address("10.0.0.1").unwrap_err().contains("port"));
    }

    #[test]
    fn a_network_is_an_ip_or_a_cidr_without_bits_behind_its_prefix() {
        for (text, net) in [
            ("10.0.0.9", "10.0.0.9/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::ffff:10.0.0.9", "10.0.0.9/32"),
            ("fd00::/8", "fd00::/8"),
        ] {
            assert_eq!(network(text).unwrap(), net.parse().unwrap());
        }
        assert!(network("10.0.0.9/8").unwrap_err().contains("10.0.0.0/8"));
        assert!(network("n1").unwrap_err().contains("CIDR"));
    }

    #[test]
    fn a_reachable_address_is_a_host_and_a_port() {
        for text in [
            "10.0.0.1:7080",
            "[fd00::1]:7080",
            "n1:7080",
            "n1.example.com.:7080",
            "sluice-0.sluice_peers:1",
        ] {
            assert_eq!(host_port(text).unwrap().to_string(), text);
        }
        for text in [
            "",
            "n1",
            "n1:",
            "n1:0",
            "10.0.0.1:0",
            ":7080",
            "0.0.0.0:7080",
            "[::]:7080",
            "http://n1:7080",
            "a b:1",
            "n1:70800",
            "fd00::1:7080",
        ] {
            assert!(host_port(text).is_err(), "{text}");
        }
    }
}
