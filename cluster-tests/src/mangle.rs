//! Documents spoilt on purpose: each mutation makes a good document one that must be refused.

use fastrand::Rng;

/// A spoilt document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mangled {
    /// What it was made of and how, for people.
    pub what: String,
    /// Its text.
    pub text: String,
}

type Mutation = (&'static str, fn(&str, &mut Rng) -> Option<String>);

/// Every way to spoil a YAML document. None where the document has no place for it.
const MUTATIONS: &[Mutation] = &[
    ("a key misspelt", misspell),
    ("a key that nobody knows", unknown_key),
    ("a key said twice", twice),
    ("a tab for indentation", tab),
    ("a bracket left open", unclosed),
    ("an upstream that is not there", |text, r| {
        append(text, r, "upstream: ", "-that-is-nowhere")
    }),
    ("a duration without a unit", |text, r| value(text, r, "connect: ", "5")),
    ("a size of a strange unit", |text, r| {
        value(text, r, "max_body: ", "3parsecs")
    }),
    ("hosts that are a number", |text, r| value(text, r, "hosts: ", "5")),
    ("routes that are a text", |text, r| {
        line(text, r, "routes:", "routes: everything")
    }),
    ("a path without its slash", |text, r| {
        value(text, r, "path: ", "nowhere")
    }),
    ("a regular expression that does not close", |text, r| {
        value(text, r, "path: ", "'regex:^/(a'")
    }),
    ("a parameter that does not close", |text, r| {
        // What a health check asks for is a path, and no pattern of paths.
        (!text.contains("active: "))
            .then(|| value(text, r, "path: ", "'/a/{id'"))
            .flatten()
    }),
    ("a method that is none", |text, r| {
        value(text, r, "methods: ", "['GE T']")
    }),
    ("a status that is none", |text, r| value(text, r, "status: ", "1000")),
    ("a target of another kind", |text, r| {
        value(text, r, "targets: ", "['ftp://127.0.0.1:21']")
    }),
    ("a port beyond all ports", |text, r| {
        value(text, r, "targets: ", "['http://127.0.0.1:70000']")
    }),
    ("no targets at all", |text, r| value(text, r, "targets: ", "[]")),
    ("a balancing that is none", |text, r| {
        value(text, r, "balance: ", "by_feeling")
    }),
    ("an address that is none", |text, r| {
        value(text, r, "trusted_proxies: ", "['300.1.2.3']")
    }),
    ("a field of the framing set", |text, r| {
        value(text, r, "set: ", "{ content-length: '1' }")
    }),
    ("a template that does not close", |text, r| {
        value(text, r, "to: ", "'/${params.id'")
    }),
    ("a parameter that no path has", |text, r| {
        value(text, r, "to: ", "'/${params.not_in_any_path}'")
    }),
    ("a feature of later", |text, r| {
        after(text, r, "targets: ", "tls: { verify: false }")
    }),
    ("a listener list that is a number", |text, r| {
        after(text, r, "hosts: ", "listen: 8080")
    }),
    ("a format of the future", |text, _| Some(format!("format: 999\n{text}"))),
    ("another document behind it", |text, _| {
        Some(format!("{text}---\n{text}"))
    }),
    ("a byte that no text has", control),
    ("an alias of nothing", |text, r| value(text, r, "hosts: ", "*nothing")),
];

/// `count` spoilt documents, made of these examples (name and YAML text) by a seed. Every mutation is used; each example
/// is too.
pub fn mangle(examples: &[(String, String)], count: usize, seed: u64) -> Vec<Mangled> {
    let mut random = Rng::with_seed(seed);
    let mut made: Vec<Mangled> = Vec::with_capacity(count);
    let mut turn = 0;
    while made.len() < count {
        let (name, text) = &examples[turn % examples.len()];
        // In each round an example meets the next mutation, however many there are of either.
        let (what, mutation) = MUTATIONS[(turn / examples.len() + turn % examples.len()) % MUTATIONS.len()];
        turn += 1;
        assert!(turn < count * 100, "the examples do not give {count} spoilt documents");
        if let Some(text) = mutation(text, &mut random) {
            let mangled = Mangled {
                what: format!("{name} with {what}"),
                text,
            };
            if !made.iter().any(|other| other.text == mangled.text) {
                made.push(mangled);
            }
        }
    }
    made
}

/// Keys that stand in no map of free names, so that a misspelling is unknown wherever it falls.
const KEYS: &[&str] = &[
    "upstreams:",
    "gateways:",
    "hosts:",
    "routes:",
    "targets:",
    "path:",
    "respond:",
    "rewrite:",
];

fn misspell(text: &str, random: &mut Rng) -> Option<String> {
    let key = KEYS[random.usize(..KEYS.len())];
    let (at, _) = pick(text, random, key)?;
    let mut spoilt = text.to_owned();
    let letter = at + 1 + random.usize(..key.len() - 2);
    spoilt.replace_range(letter..=letter, "q");
    (spoilt != text).then_some(spoilt)
}

fn unknown_key(text: &str, random: &mut Rng) -> Option<String> {
    let key = ["targets: ", "hosts: "][random.usize(..2)];
    after(text, random, key, "colour: blue")
}

fn twice(text: &str, random: &mut Rng) -> Option<String> {
    let whole: Vec<&str> = text
        .lines()
        .filter(|line| is_plain(line) && line.trim_start().contains(": "))
        .collect();
    let chosen = *whole.get(random.usize(..whole.len().max(1)))?;
    let at = text.find(chosen)?;
    let mut spoilt = text.to_owned();
    spoilt.insert_str(at, &format!("{chosen}\n"));
    Some(spoilt)
}

/// A line that holds one whole entry of a mapping, and no beginning of a list.
fn is_plain(line: &str) -> bool {
    let trimmed = line.trim_start();
    let balanced = ["{}", "[]"].iter().all(|pair| {
        let mut signs = pair.chars().map(|sign| trimmed.matches(sign).count());
        signs.next() == signs.next()
    });
    !trimmed.is_empty() && !trimmed.starts_with(['-', '#', '|', '>']) && balanced && trimmed.len() < line.len()
}

fn tab(text: &str, random: &mut Rng) -> Option<String> {
    let indented: Vec<usize> = text.match_indices("\n  ").map(|(at, _)| at + 1).collect();
    let at = *indented.get(random.usize(..indented.len().max(1)))?;
    // Within a comment or a block of text a tab is only a tab.
    let line = text[at..].lines().next()?;
    if !line.contains(':') || line.trim_start().starts_with('#') {
        return None;
    }
    let mut spoilt = text.to_owned();
    spoilt.replace_range(at..at + 2, "\t");
    Some(spoilt)
}

fn unclosed(text: &str, random: &mut Rng) -> Option<String> {
    let brackets = text.match_indices([']', '}']).map(|(at, _)| at);
    let mut places: Vec<usize> = brackets.filter(|at| is_structure(text, *at)).collect();
    random.shuffle(&mut places);
    let at = *places.first()?;
    let mut spoilt = text.to_owned();
    spoilt.remove(at);
    Some(spoilt)
}

fn control(text: &str, random: &mut Rng) -> Option<String> {
    let (at, _) = pick(text, random, ": ")?;
    let mut spoilt = text.to_owned();
    spoilt.insert(at + 2, '\u{1}');
    Some(spoilt)
}

/// One place where `key` begins, outside of comments, and the end of its line.
fn pick(text: &str, random: &mut Rng, key: &str) -> Option<(usize, usize)> {
    let places: Vec<usize> = text
        .match_indices(key)
        .map(|(at, _)| at)
        .filter(|at| {
            let own = key.starts_with(':') || text[..*at].ends_with([' ', '\n', '{']) || *at == 0;
            own && is_structure(text, *at)
        })
        .collect();
    let at = *places.get(random.usize(..places.len().max(1)))?;
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    Some((at, end))
}

/// Whether the place lies outside of quotes and comments of its line.
fn is_structure(text: &str, at: usize) -> bool {
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let mut quote = None;
    for sign in text[line..at].chars() {
        match (quote, sign) {
            (Some(open), _) if sign == open => quote = None,
            (None, '\'' | '"') => quote = Some(sign),
            (None, '#') => return false,
            _ => {}
        }
    }
    quote.is_none()
}

/// Puts another value behind `key`.
fn value(text: &str, random: &mut Rng, key: &str, new: &str) -> Option<String> {
    let (at, end) = pick(text, random, key)?;
    let from = at + key.len();
    let length = value_length(&text[from..end]);
    let mut spoilt = text.to_owned();
    spoilt.replace_range(from..from + length, new);
    Some(spoilt)
}

/// Adds to the value behind `key`.
fn append(text: &str, random: &mut Rng, key: &str, more: &str) -> Option<String> {
    let (at, end) = pick(text, random, key)?;
    let from = at + key.len();
    let length = value_length(&text[from..end]);
    let mut spoilt = text.to_owned();
    spoilt.insert_str(from + length, more);
    Some(spoilt)
}

/// Puts another entry in front of the one with `key`, in the same mapping.
fn after(text: &str, random: &mut Rng, key: &str, entry: &str) -> Option<String> {
    let (at, _) = pick(text, random, key)?;
    let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let before = &text[line..at];
    let mut spoilt = text.to_owned();
    if before.trim().is_empty() {
        spoilt.insert_str(at, &format!("{entry}\n{before}"));
    } else {
        spoilt.insert_str(at, &format!("{entry}, "));
    }
    Some(spoilt)
}

/// Replaces the whole line from `key` on.
fn line(text: &str, random: &mut Rng, key: &str, new: &str) -> Option<String> {
    let (at, end) = pick(text, random, key)?;
    // What follows a block's key stays below it, which a scalar in its place cannot have.
    let mut spoilt = text.to_owned();
    spoilt.replace_range(at..end, new);
    Some(spoilt)
}

/// How long the value at the beginning of `text` is: a bracketed one whole, a quoted one with its quotes, another up
/// to the next separator.
fn value_length(text: &str) -> usize {
    let mut depth = 0_i32;
    let mut quote = None;
    for (at, sign) in text.char_indices() {
        match (quote, sign) {
            (Some(open), _) if sign == open => {
                quote = None;
                if depth == 0 {
                    return at + 1;
                }
            }
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(sign),
            (None, '[' | '{') => depth += 1,
            (None, ']' | '}') if depth == 0 => return text[..at].trim_end().len(),
            (None, ']' | '}') => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            (None, ',') if depth == 0 => return at,
            (None, '#') if depth == 0 => return text[..at].trim_end().len(),
            _ => {}
        }
    }
    text.trim_end().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = "upstreams:\n  a:\n    targets: ['http://127.0.0.1:1']\n    balance: round_robin\n    timeout: { connect: 1s }\ngateways:\n  web:\n    hosts: ['*']\n    routes:\n      - path: /a/{id}\n        methods: [GET]\n        upstream: a\n      - { path: /b, redirect: { to: '/c', status: 308 } }\n";

    #[test]
    fn a_seed_gives_the_same_spoilt_documents_and_none_is_the_example() {
        let examples = [("one.yaml".to_owned(), EXAMPLE.to_owned())];
        let made = mangle(&examples, 60, 7);
        assert_eq!(made, mangle(&examples, 60, 7));
        assert!(made.iter().all(|mangled| mangled.text != EXAMPLE));
    }

    #[test]
    fn a_value_is_replaced_whole() {
        let mut random = Rng::with_seed(1);
        let spoilt = value(EXAMPLE, &mut random, "status: ", "1000").expect("there is a status");
        assert!(spoilt.contains("{ to: '/c', status: 1000 } }"));
        let spoilt = value(EXAMPLE, &mut random, "targets: ", "[]").expect("there are targets");
        assert!(spoilt.contains("targets: []\n"));
    }
}
