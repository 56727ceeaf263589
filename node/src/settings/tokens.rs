//! Secrets, from the environment or from a file of their own.

use super::fault::{Fault, Origin};
use super::sources::Given;
use std::fmt;
use std::io::Read;
use std::path::Path;
use zeroize::Zeroizing;

/// Bytes below which a token is called short.
const SHORT: usize = 16;
const LONGEST: u64 = 4096;

/// A secret. Nothing prints it; its memory is cleared when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(Zeroizing<String>);

impl Token {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Token {
    fn from(secret: &str) -> Self {
        Self(Zeroizing::new(secret.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The token out of the two settings that may hold it: the higher source wins, as everywhere.
pub(super) fn token(
    direct: Option<(&'static str, &Given)>,
    file: Option<(&'static str, &Given)>,
    faults: &mut Vec<Fault>,
    warnings: &mut Vec<String>,
) -> Option<Token> {
    let rank = |given: &Given| match given.origin {
        Origin::Flag(_) => 3,
        Origin::Variable(_) => 2,
        Origin::File { .. } => 1,
        Origin::Default => 0,
    };
    let (key, given, text) = match (direct, file) {
        (Some((direct_key, direct)), Some((file_key, file))) if rank(direct) == rank(file) => {
            faults.push(Fault::Clash(format!(
                "{} and {} are both set: leave one of {direct_key} and {file_key} out",
                direct.origin, file.origin
            )));
            return None;
        }
        (Some((key, direct)), file) if file.is_none_or(|(_, file)| rank(file) < rank(direct)) => {
            (key, direct, direct.items.first().cloned().unwrap_or_default())
        }
        (_, Some((key, file))) => match read(Path::new(file.items.first().map_or("", String::as_str)), warnings) {
            Ok(text) => (key, file, text),
            Err(why) => {
                faults.push(Fault::Invalid {
                    key,
                    origin: file.origin.clone(),
                    why,
                });
                return None;
            }
        },
        _ => return None,
    };
    let text = Zeroizing::new(text);
    let secret = text.trim_end_matches(['\r', '\n']);
    let bad = if secret.is_empty() {
        Some("the token is empty: put 32 or more random characters there, such as those of `openssl rand -hex 32`")
    } else if !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        Some("a token is made of visible ASCII characters without spaces")
    } else {
        None
    };
    if let Some(why) = bad {
        faults.push(Fault::Invalid {
            key,
            origin: given.origin.clone(),
            why: why.to_owned(),
        });
        return None;
    }
    if secret.len() < SHORT {
        warnings.push(format!(
            "{key} ({}): the token has fewer than {SHORT} characters and can be guessed; use 32 random ones",
            given.origin
        ));
    }
    Some(Token::from(secret))
}

fn read(path: &Path, warnings: &mut Vec<String>) -> Result<String, String> {
    let fail = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = std::fs::File::open(path).map_err(fail)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = file.metadata().map_err(fail)?.permissions().mode();
        if mode & 0o077 != 0 {
            warnings.push(format!(
                "{} can be read by other users (mode {:03o}): `chmod 600 {}`",
                path.display(),
                mode & 0o777,
                path.display()
            ));
        }
    }
    let mut text = String::new();
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(fail)?;
    if text.len() as u64 > LONGEST {
        return Err(format!(
            "{} has more than {LONGEST} bytes: is it the right file?",
            path.display()
        ));
    }
    Ok(text)
}
