//! `telemetry`: what the nodes tell of the traffic.

use serde::Serialize;

/// `telemetry`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Telemetry {
    /// `telemetry.access_log`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
}

/// `telemetry.access_log`.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct AccessLog {
    /// Which exchanges have a line. Default `errors`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Logged>,
}

/// `telemetry.access_log.on`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Logged {
    /// None.
    Off,
    /// Those that the gateway refused or failed, those that were broken off, and a service's own 5xx.
    Errors,
    /// Every one.
    All,
}
