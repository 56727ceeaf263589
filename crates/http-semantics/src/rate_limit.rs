//! The fields `RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers-11): lists of structured fields
//! (RFC 9651), whose items are the names of limits.
//!
//! Written into a buffer of the caller's, without anything of `format!`: `RateLimit` is in every answer of a limited
//! route. `RateLimit-Policy` is the same in all of them, so that it is written when the configuration is compiled.

use http::HeaderName;
use std::time::Duration;

/// `RateLimit-Policy`: which limits there are.
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// `RateLimit`: how they stand.
pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// The greatest integer of a structured field (RFC 9651 §3.3.1); greater ones are written as this one.
pub const GREATEST: u64 = 999_999_999_999_999;

/// One limit, as `RateLimit-Policy` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it allows.
    pub quota: Quota,
}

/// What a limit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quota {
    /// So many requests in so many seconds.
    Requests {
        /// `q`.
        quota: u64,
        /// `w`, at least 1.
        seconds: u64,
    },
    /// So many requests at once.
    InFlight {
        /// `q`.
        quota: u64,
    },
}

/// How one limit stands, as `RateLimit` has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// Its name.
    pub name: &'a str,
    /// `r`: what is left.
    pub remaining: u64,
    /// `t`: seconds in which no more than that can be used; none where time gives nothing back.
    pub reset: Option<u64>,
    /// Nobody counts at present, and all are let through: told by the parameter [`UNCOUNTED`].
    pub uncounted: bool,
}

/// The parameter of an item of `RateLimit` whose limit is not counted at present, as what it is kept in is away. The
/// prefix is what the draft asks of parameters of one's own.
pub const UNCOUNTED: &str = "sluice-uncounted";

// === impl Quota ===

impl Quota {
    /// `limit` in `window`. The field knows whole seconds: a window under one is told as what it allows in a second,
    /// and a longer one that has a part of a second as the next whole number: never more than is given.
    #[must_use]
    pub fn requests(limit: u64, window: Duration) -> Self {
        let millis = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        match millis {
            ..1_000 => Self::Requests {
                quota: limit.saturating_mul(1_000) / millis,
                seconds: 1,
            },
            _ => Self::Requests {
                quota: limit,
                seconds: millis.div_ceil(1_000),
            },
        }
    }

    /// `q`.
    #[must_use]
    pub fn most(self) -> u64 {
        match self {
            Self::Requests { quota, .. } | Self::InFlight { quota } => quota,
        }
    }
}

// === impl Policy ===

impl Policy<'_> {
    /// Appends it to a list.
    pub fn push(&self, list: &mut Vec<u8>) {
        item(list, self.name);
        list.extend_from_slice(b";q=");
        integer(list, self.quota.most());
        match self.quota {
            Quota::Requests { seconds, .. } => {
                list.extend_from_slice(b";w=");
                integer(list, seconds.max(1));
            }
            Quota::InFlight { .. } => list.extend_from_slice(b";qu=\"concurrent-requests\""),
        }
    }
}

// === impl Standing ===

impl Standing<'_> {
    /// Appends it to a list.
    pub fn push(&self, list: &mut Vec<u8>) {
        item(list, self.name);
        list.extend_from_slice(b";r=");
        integer(list, self.remaining);
        if let Some(reset) = self.reset {
            list.extend_from_slice(b";t=");
            integer(list, reset);
        }
        if self.uncounted {
            list.push(b';');
            list.extend_from_slice(UNCOUNTED.as_bytes());
        }
    }
}

/// The next member of a list, a String (RFC 9651 §4.1.6). What no String can hold, which no name of a limit has, is left
/// out.
fn item(list: &mut Vec<u8>, name: &str) {
    if !list.is_empty() {
        list.extend_from_slice(b", ");
    }
    list.push(b'"');
    for byte in name.bytes().filter(|byte| matches!(byte, 0x20..=0x7e)) {
        if matches!(byte, b'"' | b'\\') {
            list.push(b'\\');
        }
        list.push(byte);
    }
    list.push(b'"');
}

fn integer(list: &mut Vec<u8>, value: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = value.min(GREATEST);
    loop {
        at -= 1;
        // A remainder by 10 has one digit.
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    list.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;
    use sfv::{BareItem, List, ListEntry, Parser};

    fn written(push: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut list = Vec::new();
        push(&mut list);
        String::from_utf8(list).unwrap()
    }

    #[test]
    fn the_fields_are_those_of_the_draft() {
        let policies = written(|list| {
            for (name, limit, window) in [("orders", 1000, 1_000), ("daily", 100_000, 86_400_000)] {
                let quota = Quota::requests(limit, Duration::from_millis(window));
                Policy { name, quota }.push(list);
            }
            let quota = Quota::InFlight { quota: 8 };
            Policy { name: "exports", quota }.push(list);
        });
        assert_eq!(
            policies,
            r#""orders";q=1000;w=1, "daily";q=100000;w=86400, "exports";q=8;qu="concurrent-requests""#
        );
        let standing = |name, remaining, reset, uncounted| Standing {
            name,
            remaining,
            reset,
            uncounted,
        };
        let standings = written(|list| {
            standing("orders", 312, Some(1), false).push(list);
            standing("daily", 100_000, Some(30_312), true).push(list);
            standing("exports", 0, None, false).push(list);
        });
        assert_eq!(
            standings,
            r#""orders";r=312;t=1, "daily";r=100000;t=30312;sluice-uncounted, "exports";r=0"#
        );
    }

    #[test]
    fn a_window_that_is_no_whole_number_of_seconds_promises_no_more_than_it_gives() {
        let requests = |limit, millis| Quota::requests(limit, Duration::from_millis(millis));
        let told = |quota, seconds| Quota::Requests { quota, seconds };
        assert_eq!(requests(5, 100), told(50, 1));
        assert_eq!(requests(1, 300), told(3, 1));
        assert_eq!(requests(5, 1_000), told(5, 1));
        assert_eq!(requests(5, 1_001), told(5, 2));
        assert_eq!(requests(u64::MAX, 10).most(), u64::MAX / 10);
    }

    fn parsed(text: &str) -> Vec<(String, Vec<(String, BareItem)>)> {
        let list = Parser::new(text).parse::<List>().unwrap();
        list.into_iter()
            .map(|entry| match entry {
                ListEntry::Item(item) => (
                    item.bare_item.as_string().unwrap().as_str().to_owned(),
                    item.params
                        .into_iter()
                        .map(|(key, value)| (key.as_str().to_owned(), value))
                        .collect(),
                ),
                ListEntry::InnerList(_) => panic!("an inner list in {text}"),
            })
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_as_it_was_meant(
            limits in prop::collection::vec(("[ -~]{1,40}", any::<u64>(), 1u64..3_000_000, prop::option::of(any::<u64>()), any::<bool>()), 1..5)
        ) {
            let int = |value: u64| BareItem::Integer(sfv::Integer::try_from(value.min(GREATEST)).unwrap());
            let text = written(|list| {
                for (name, remaining, _, reset, uncounted) in &limits {
                    Standing { name, remaining: *remaining, reset: *reset, uncounted: *uncounted }.push(list);
                }
            });
            let expected: Vec<_> = limits.iter().map(|(name, remaining, _, reset, uncounted)| {
                let mut params = vec![("r".to_owned(), int(*remaining))];
                params.extend(reset.map(|reset| ("t".to_owned(), int(reset))));
                params.extend(uncounted.then(|| (UNCOUNTED.to_owned(), BareItem::Boolean(true))));
                (name.clone(), params)
            }).collect();
            prop_assert_eq!(parsed(&text), expected);

            let text = written(|list| {
                for (name, quota, seconds, ..) in &limits {
                    Policy { name, quota: Quota::Requests { quota: *quota, seconds: *seconds } }.push(list);
                }
            });
            let expected: Vec<_> = limits.iter().map(|(name, quota, seconds, ..)| {
                (name.clone(), vec![("q".to_owned(), int(*quota)), ("w".to_owned(), int(*seconds))])
            }).collect();
            prop_assert_eq!(parsed(&text), expected);
        }
    }
}
