//! `split`: one route, several upstreams.

use serde::Serialize;

/// To which upstream a request goes: the first arm whose `when` holds, else one by weight.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Split {
    /// Never empty, each upstream once, and at least one with a weight above 0.
    pub to: Vec<Arm>,
    /// Keeps a client with the arm that it got by weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sticky: Option<Sticky>,
}

/// One way out of a split.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Arm {
    /// The name of an upstream.
    pub upstream: String,
    /// 0 to 65535, among the weights of all arms. Default 1, or 0 with a `when`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u16>,
    /// A condition in CEL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// `sticky`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sticky {
    /// The name of the cookie that holds the arm.
    pub cookie: String,
}

// === impl Arm ===

impl Arm {
    /// Its part of the requests for which no `when` holds.
    #[must_use]
    pub fn share(&self) -> u16 {
        self.weight.unwrap_or(u16::from(self.when.is_none()))
    }
}
