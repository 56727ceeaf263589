//! A script of Redis: its text, and the hash by which it is called.

use std::sync::OnceLock;

/// A script. One static for each.
#[derive(Debug)]
pub(crate) struct Script {
    /// For people.
    pub(crate) name: &'static str,
    /// What is in front of all scripts, then what is this one's; one text when it is sent.
    parts: &'static [&'static str],
    whole: OnceLock<Whole>,
}

#[derive(Debug)]
struct Whole {
    text: String,
    hash: String,
}

// === impl Script ===

impl Script {
    /// Made of these texts, one after the other.
    pub(crate) const fn new(name: &'static str, parts: &'static [&'static str]) -> Self {
        Self {
            name,
            parts,
            whole: OnceLock::new(),
        }
    }

    /// Its SHA-1, in hexadecimal.
    pub(crate) fn hash(&self) -> &str {
        &self.whole().hash
    }

    /// Its whole text.
    pub(crate) fn text(&self) -> &str {
        &self.whole().text
    }

    fn whole(&self) -> &Whole {
        self.whole.get_or_init(|| {
            let text = self.parts.join("\n");
            let hash = ::redis::Script::new(&text).get_hash().to_owned();
            Whole { text, hash }
        })
    }
}
