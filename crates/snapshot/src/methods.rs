//! Sets of methods: what a route takes, and what a 405 allows.

use http::Method;
use smallvec::SmallVec;
use std::fmt;

/// In the order in which `Allow` names them.
const KNOWN: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT",
];
const GET: u16 = 1;
const HEAD: u16 = 1 << 1;

/// The methods that a route names; none: it takes all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Methods {
    known: u16,
    /// Sorted.
    other: Box<[Box<str>]>,
}

/// The methods of all routes that would have taken a request but for its method: the value of `Allow`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allow<'s> {
    known: u16,
    other: SmallVec<[&'s str; 2]>,
}

/// How a route stands to a method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stand {
    /// It names the method.
    Named,
    /// It takes all methods.
    All,
    /// It names GET, and this is HEAD.
    Implied,
    /// Not at all.
    No,
}

fn known(method: &str) -> Option<u16> {
    KNOWN.iter().position(|known| *known == method).map(|at| 1 << at)
}

// === impl Methods ===

impl Methods {
    /// Of names as the document has them, upper case.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut mask, mut other) = (0, Vec::new());
        for name in names {
            match known(name) {
                Some(bit) => mask |= bit,
                None => other.push(name.into()),
            }
        }
        other.sort_unstable();
        other.dedup();
        Self {
            known: mask,
            other: other.into(),
        }
    }

    /// Whether no method is named: then all are taken.
    #[must_use]
    pub fn takes_all(&self) -> bool {
        self.known == 0 && self.other.is_empty()
    }

    pub(crate) fn stand(&self, method: &Method) -> Stand {
        if self.takes_all() {
            return Stand::All;
        }
        let named = match known(method.as_str()) {
            Some(bit) => self.known & bit != 0,
            None => self.other.iter().any(|other| **other == *method.as_str()),
        };
        match named {
            true => Stand::Named,
            false if *method == Method::HEAD && self.known & GET != 0 => Stand::Implied,
            false => Stand::No,
        }
    }

    /// Whether one method is named by both, or both take all.
    pub(crate) fn overlap(&self, other: &Self) -> bool {
        (self.takes_all() && other.takes_all())
            || self.known & other.known != 0
            || self.other.iter().any(|name| other.other.contains(name))
    }
}

// === impl Allow ===

impl<'s> Allow<'s> {
    pub(crate) fn add(&mut self, methods: &'s Methods) {
        self.known |= methods.known;
        if methods.known & GET != 0 {
            self.known |= HEAD;
        }
        for name in &methods.other {
            if !self.other.contains(&&**name) {
                self.other.push(name);
            }
        }
    }

    /// Whether no route was passed over for its methods alone.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known == 0 && self.other.is_empty()
    }

    /// The names; a route with GET adds HEAD.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let known = KNOWN.iter().enumerate().filter(|(at, _)| self.known & (1 << at) != 0);
        known.map(|(_, name)| *name).chain(self.other.iter().copied())
    }
}

impl fmt::Display for Allow<'_> {
    /// As the field's value: `GET, HEAD, POST`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, name) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            f.write_str(name)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn get_takes_head_but_only_by_implication() {
        let get = Methods::new(["GET"]);
        assert_eq!(get.stand(&Method::GET), Stand::Named);
        assert_eq!(get.stand(&Method::HEAD), Stand::Implied);
        assert_eq!(get.stand(&Method::POST), Stand::No);
        assert_eq!(Methods::new(["HEAD"]).stand(&Method::GET), Stand::No);
        assert_eq!(Methods::default().stand(&Method::POST), Stand::All);
    }

    #[test]
    fn a_method_of_ones_own_is_a_method() {
        let purge = Methods::new(["PURGE", "GET", "PURGE"]);
        let method = Method::from_bytes(b"PURGE").unwrap();
        assert_eq!(purge.stand(&method), Stand::Named);
        assert_eq!(Methods::new(["GET"]).stand(&method), Stand::No);
        assert!(purge.overlap(&Methods::new(["PURGE"])));
        assert!(!purge.overlap(&Methods::new(["POST"])));
        assert!(!purge.overlap(&Methods::default()));
    }

    #[test]
    fn allow_names_each_method_once_in_one_order() {
        let (a, b) = (Methods::new(["POST", "GET"]), Methods::new(["PURGE", "POST"]));
        let mut allow = Allow::default();
        assert!(allow.is_empty());
        allow.add(&b);
        allow.add(&a);
        allow.add(&b);
        assert_eq!(allow.to_string(), "GET, HEAD, POST, PURGE");
    }
}
