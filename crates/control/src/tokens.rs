//! Who may operate the cluster: bearer tokens, kept as hashes in the cluster's state.

use crate::rfc3339;
use crate::view::{TokenRole, TokenView};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, PoisonError};

/// The collection of records.
pub(crate) const COLLECTION: &str = "token";

/// The beginning of every token, so that scanners for leaked secrets know it.
const PREFIX: &str = "sluice_";

/// What the cluster keeps of a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) role: TokenRole,
    /// SHA-256 of the token: it is random and long, so nothing slower is needed.
    pub(crate) sha256: [u8; 32],
    pub(crate) created_ms: u64,
}

/// When each token was last used on this node, by name.
#[derive(Debug, Default)]
pub(crate) struct LastUsed(Mutex<HashMap<String, u64>>);

/// A fresh token and what is kept of it. The token is shown once and never again.
///
/// # Errors
/// Where the system has no randomness to give.
pub(crate) fn make(role: TokenRole) -> Result<(String, Stored), String> {
    let mut random = [0u8; 32];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the system gives no random bytes".to_owned())?;
    let mut token = String::with_capacity(PREFIX.len() + 64);
    token.push_str(PREFIX);
    for byte in random {
        token.push(char::from_digit(u32::from(byte >> 4), 16).unwrap_or('0'));
        token.push(char::from_digit(u32::from(byte & 15), 16).unwrap_or('0'));
    }
    let stored = Stored {
        role,
        sha256: hash(&token),
        created_ms: rfc3339::now_ms(),
    };
    Ok((token, stored))
}

/// Whose token it is. Hashes are compared, of which a guesser learns nothing by the time it takes.
pub(crate) fn find(records: &BTreeMap<String, Vec<u8>>, token: &str) -> Option<(String, TokenRole)> {
    let wanted = hash(token);
    records.iter().find_map(|(name, record)| {
        let stored = read(record)?;
        (stored.sha256 == wanted).then(|| (name.clone(), stored.role))
    })
}

/// All of them, by name, without secrets.
pub(crate) fn list(records: &BTreeMap<String, Vec<u8>>, used: &LastUsed) -> Vec<TokenView> {
    let used = used.0.lock().unwrap_or_else(PoisonError::into_inner);
    let view = |(name, record): (&String, &Vec<u8>)| {
        let stored = read(record)?;
        Some(TokenView {
            name: name.clone(),
            role: stored.role,
            created: rfc3339::from_ms(stored.created_ms),
            last_used: used.get(name).map(|ms| rfc3339::from_ms(*ms)),
        })
    };
    records.iter().filter_map(view).collect()
}

/// Whether `name` may name a token: it stands in URLs, tables and logs.
pub(crate) fn is_name(name: &str) -> bool {
    let fit = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    !name.is_empty() && name.len() <= 64 && name.chars().all(fit)
}

fn read(record: &[u8]) -> Option<Stored> {
    serde_json::from_slice(record).ok()
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

// === impl LastUsed ===

impl LastUsed {
    pub(crate) fn now(&self, name: &str) {
        let mut used = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        used.insert(name.to_owned(), rfc3339::now_ms());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_found_by_itself_alone_and_is_not_kept() {
        let (token, stored) = make(TokenRole::Viewer).unwrap();
        let record = serde_json::to_vec(&stored).unwrap();
        assert!(!String::from_utf8_lossy(&record).contains(&token));
        let records = BTreeMap::from([("ops".to_owned(), record)]);
        assert_eq!(find(&records, &token), Some(("ops".to_owned(), TokenRole::Viewer)));
        assert_eq!(find(&records, &token[..token.len() - 1]), None);
        assert_eq!(find(&records, ""), None);
    }

    #[test]
    fn two_tokens_differ() {
        assert_ne!(make(TokenRole::Admin).unwrap().0, make(TokenRole::Admin).unwrap().0);
    }

    #[test]
    fn names_fit_into_a_url() {
        assert!(is_name("ci-2026.deploy"));
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(!is_name(bad), "{bad}");
        }
    }
}
