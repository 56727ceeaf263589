//! Queries as forms have them: `name=value` pairs between `&`.
//!
//! Pairs are read as the URL standard's form decoding does it: `+` is a space, escapes are decoded, an escape that is
//! none stands for itself. What an edit does not touch keeps its bytes.

use crate::percent::{self, Place};
use std::borrow::Cow;

/// The pairs of a query, decoded, in their order. Empty ones (`a&&b`) are left out; bytes that are no UTF-8 become
/// U+FFFD.
pub fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw_pairs(query).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// The value of the first pair with this (decoded) name.
pub fn first<'q>(query: &'q str, name: &str) -> Option<Cow<'q, str>> {
    raw_pairs(query)
        .find(|pair| is_named(pair, name))
        .map(|pair| decode(pair.split_once('=').map_or("", |(_, value)| value)))
}

/// Takes every pair of this name away.
pub fn remove(query: &mut String, name: &str) {
    if !raw_pairs(query).any(|pair| is_named(pair, name)) {
        return;
    }
    *query = joined(query.split('&').filter(|pair| pair.is_empty() || !is_named(pair, name)));
}

/// Gives the name one pair with this value: where the first stood, or at the end.
pub fn set(query: &mut String, name: &str, value: &str) {
    if !raw_pairs(query).any(|pair| is_named(pair, name)) {
        add(query, name, value);
        return;
    }
    let mut pair = String::new();
    push_pair(name, value, &mut pair);
    let mut placed = false;
    *query = joined(query.split('&').filter_map(|old| {
        if old.is_empty() || !is_named(old, name) {
            Some(old)
        } else if placed {
            None
        } else {
            placed = true;
            Some(pair.as_str())
        }
    }));
}

/// Appends a pair.
pub fn add(query: &mut String, name: &str, value: &str) {
    if !query.is_empty() && !query.ends_with('&') {
        query.push('&');
    }
    push_pair(name, value, query);
}

fn raw_pairs(query: &str) -> impl Iterator<Item = &str> {
    query.split('&').filter(|pair| !pair.is_empty())
}

fn is_named(pair: &str, name: &str) -> bool {
    let raw = pair.split_once('=').map_or(pair, |(name, _)| name);
    if raw.contains(['%', '+']) {
        decode(raw) == name
    } else {
        raw == name
    }
}

fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['%', '+']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    let bytes = percent::decode(&spaced);
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

fn push_pair(name: &str, value: &str, out: &mut String) {
    percent::encode(name, Place::QueryValue, out);
    out.push('=');
    percent::encode(value, Place::QueryValue, out);
}

fn joined<'a>(pairs: impl Iterator<Item = &'a str>) -> String {
    let mut out = String::new();
    for (index, pair) in pairs.enumerate() {
        if index > 0 {
            out.push('&');
        }
        out.push_str(pair);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn edited(query: &str, edit: impl FnOnce(&mut String)) -> String {
        let mut query = query.to_owned();
        edit(&mut query);
        query
    }

    #[test]
    fn pairs_are_decoded_as_a_form() {
        let all: Vec<_> = pairs("a=1&b=x+y%2B&&c&=d&e=f=g&%61=%zz").collect();
        let expected = [
            ("a", "1"),
            ("b", "x y+"),
            ("c", ""),
            ("", "d"),
            ("e", "f=g"),
            ("a", "%zz"),
        ];
        assert_eq!(all, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(first("x=%61&%78=b", "x").as_deref(), Some("a"));
        assert_eq!(first("xx=1", "x"), None);
    }

    #[test]
    fn an_edit_keeps_the_bytes_of_all_else() {
        assert_eq!(edited("a=%7e+x&b=1&c", |q| remove(q, "b")), "a=%7e+x&c");
        assert_eq!(edited("b=1", |q| remove(q, "b")), "");
        assert_eq!(edited("a&&b=1&", |q| remove(q, "b")), "a&&");
        assert_eq!(edited("a=1&b=2&%61=3", |q| set(q, "a", "x&y z")), "a=x%26y%20z&b=2");
        assert_eq!(edited("a=1", |q| set(q, "b", "+")), "a=1&b=%2B");
        assert_eq!(edited("", |q| add(q, "é", "50%")), "%C3%A9=50%25");
        assert_eq!(edited("a=1&", |q| add(q, "b", "")), "a=1&b=");
    }

    proptest! {
        #[test]
        fn what_is_set_is_read_back_alone(query in "[a-c=&%+0-9]{0,20}", name in "[a-c +%]{1,3}", value in any::<String>()) {
            let after = edited(&query, |q| set(q, &name, &value));
            let found: Vec<_> = pairs(&after).filter(|(found, _)| *found == name.as_str()).map(|(_, value)| value).collect();
            prop_assert_eq!(found, [value.as_str()]);
        }

        #[test]
        fn other_pairs_stay_in_their_order(query in "[a-c=&%+0-9]{0,20}", name in "[a-c]{1,2}") {
            let rest = |query: &str| -> Vec<String> {
                raw_pairs(query).filter(|pair| !is_named(pair, &name)).map(str::to_owned).collect()
            };
            let before = rest(&query);
            prop_assert_eq!(&rest(&edited(&query, |q| remove(q, &name))), &before);
            prop_assert_eq!(&rest(&edited(&query, |q| set(q, &name, "v"))), &before);
            prop_assert_eq!(&rest(&edited(&query, |q| add(q, &name, "v"))), &before);
            prop_assert!(first(&edited(&query, |q| remove(q, &name)), &name).is_none());
        }

        #[test]
        fn what_is_added_is_the_last_pair(query in "[a-c=&%+0-9]{0,20}", name in any::<String>(), value in any::<String>()) {
            let after = edited(&query, |q| add(q, &name, &value));
            prop_assert!(after.starts_with(&query));
            let last = pairs(&after).last();
            prop_assert_eq!(last, Some((Cow::from(name.as_str()), Cow::from(value.as_str()))));
        }
    }
}
