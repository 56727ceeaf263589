//! `gateways.NAME`: a front for one kind of client.

use super::{Concurrency, RateLimit, Route};
use serde::Serialize;

/// A front for one kind of client, with its hosts and routes.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Gateway {
    /// Names, `*.example.com`, or `*`; lower case, without a port. Never empty.
    pub hosts: Vec<String>,
    /// Names of the node's listeners. Empty: `public`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listen: Vec<String>,
    /// What every answer carries beside the service's own fields.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Expose>,
    /// Addresses (IP or CIDR) whose forwarding fields are believed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub trusted_proxies: Vec<ipnet::IpNet>,
    /// Limits of all its routes together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate_limits: Vec<RateLimit>,
    /// Limits of what is under way on all its routes together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub concurrency: Vec<Concurrency>,
    /// In no order that matters. Each has its `id` (given or derived) once the document is parsed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
}

/// A field of `expose`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expose {
    /// `Sluice-Version`.
    Version,
    /// `Sluice-Node`.
    Node,
}
