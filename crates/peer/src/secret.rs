//! The cluster token.

use std::fmt;
use std::num::NonZeroU32;

use aws_lc_rs::{hmac, pbkdf2};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Bytes of a token below which [`Secret::is_short`] warns.
pub const SHORT_TOKEN: usize = 16;

// A member that is dialled by mistake, or a machine in the middle, gets one proof to guess against
// offline. A random token cannot be guessed; a token that somebody thought of costs this much more.
const ROUNDS: NonZeroU32 = NonZeroU32::new(50_000).expect("50,000 is not zero");
const SALT: &[u8] = b"sluice peer link: cluster token, format 1";

/// The cluster token, as a key: the text itself is not kept.
///
/// Comparing takes the same time whatever differs; nothing prints it; the memory is cleared when
/// it is dropped.
#[derive(Clone)]
pub struct Secret {
    key: Zeroizing<[u8; 32]>,
    short: bool,
}

/// A token that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the cluster token is empty: put the same random text of 32 characters or more into SLUICE_CLUSTER_TOKEN or cluster_token_file on every member"
)]
pub struct EmptyToken;

// === impl Secret ===

impl Secret {
    /// The secret of this token. White space around it (the line's end of a file) does not count.
    ///
    /// Takes some 20 ms on purpose: it makes guessing a poor token dear. Once per process.
    ///
    /// # Errors
    /// Where nothing but white space is left.
    pub fn new(token: &[u8]) -> Result<Self, EmptyToken> {
        let token = token.trim_ascii();
        if token.is_empty() {
            return Err(EmptyToken);
        }
        let mut key = Zeroizing::new([0; 32]);
        pbkdf2::derive(pbkdf2::PBKDF2_HMAC_SHA256, ROUNDS, SALT, token, key.as_mut());
        Ok(Self {
            key,
            short: token.len() < SHORT_TOKEN,
        })
    }

    /// Whether the token had fewer than [`SHORT_TOKEN`] bytes, which deserves a warning.
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.short
    }

    pub(crate) fn key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, self.key.as_ref())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.key.as_ref().ct_eq(other.key.as_ref()).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_secret_is_its_token_without_the_line_end_and_never_shows_it() {
        let secret = Secret::new(b"correct horse battery staple\n").unwrap();
        assert!(secret == Secret::new(b"correct horse battery staple").unwrap());
        assert!(secret != Secret::new(b"correct horse battery stapl").unwrap());
        assert_eq!(format!("{secret:?}"), "Secret(…)");
        assert!(!secret.is_short());
    }

    #[test]
    fn an_empty_token_is_refused_and_a_short_one_is_known() {
        assert_eq!(Secret::new(b" \n").unwrap_err(), EmptyToken);
        assert!(Secret::new(b"shop").unwrap().is_short());
    }
}
