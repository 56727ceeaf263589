//! Values of arguments, as they are written.

use std::time::Duration;

/// A route as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteName {
    pub(crate) gateway: String,
    pub(crate) id: String,
}

/// A weight for an arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArmWeight {
    pub(crate) upstream: String,
    pub(crate) weight: u16,
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(100) {
        return Err("100ms is the least".to_owned());
    }
    Ok(interval)
}

pub(super) fn scope(text: &str) -> Result<String, String> {
    match text.parse::<sluice_document::PartKey>() {
        Ok(key) => Ok(key.to_string()),
        Err(_) => {
            Err("write a part, such as gateways/web, upstreams/orders or gateways/web/routes/get-orders".to_owned())
        }
    }
}

pub(super) fn trial(text: &str) -> Result<Duration, String> {
    let within = duration(text)?;
    match within < Duration::from_secs(1) {
        true => Err("a second is the least".to_owned()),
        false => Ok(within),
    }
}

/// How long a breaker stays as it is set.
pub(super) fn lasting(text: &str) -> Result<Duration, String> {
    let lasting = within(text, 7 * 24)?.ok_or_else(|| "a week (168h) is the most".to_owned())?;
    match lasting < Duration::from_secs(1) {
        true => Err("a second is the least".to_owned()),
        false => Ok(lasting),
    }
}

impl std::fmt::Display for RouteName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.gateway, self.id)
    }
}

impl std::str::FromStr for RouteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((gateway, id)) if !gateway.is_empty() && !id.is_empty() && !id.contains('/') => Ok(Self {
                gateway: gateway.to_owned(),
                id: id.to_owned(),
            }),
            _ => Err("write the gateway's name and the route's id, as web/checkout".to_owned()),
        }
    }
}

impl std::str::FromStr for ArmWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |(upstream, weight): (&str, &str)| {
            let weight = weight.parse().ok()?;
            let upstream = Some(upstream.to_owned()).filter(|upstream| !upstream.is_empty())?;
            Some(Self { upstream, weight })
        };
        let why = || "write an upstream and a whole number from 0 to 65535, as checkout=90".to_owned();
        text.split_once('=').and_then(read).ok_or_else(why)
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    within(text, 24)?.ok_or_else(|| "a day is the most".to_owned())
}

/// A duration; nothing where it is longer than so many hours.
fn within(text: &str, hours: u64) -> Result<Option<Duration>, String> {
    let why = || "write a whole number with ms, s, m or h, such as 300ms or 10s".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(why)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| why())?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(why()),
    };
    let ms = number.checked_mul(unit).filter(|ms| *ms <= hours * 3_600_000);
    Ok(ms.map(Duration::from_millis))
}
