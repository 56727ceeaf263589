//! What a request changes in the present parts. Pure.

use super::request::Target;
use crate::refusal::Refusal;
use sluice_consensus::{Entry, PartChange};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

/// The parts of the present version.
pub(crate) type Present = BTreeMap<Arc<str>, Entry>;

/// The parts of an earlier version.
pub(crate) type Earlier = BTreeMap<Arc<str>, Arc<str>>;

/// What to propose.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Plan {
    /// Sorted by key; none where all is as it shall be.
    pub(crate) changes: Vec<PartChange>,
    /// Kept beside the parts.
    pub(crate) original: Option<Arc<str>>,
}

/// Compares `present` with the `target`. `earlier` are the parts of the version that a rollback
/// names.
pub(crate) fn plan(present: &Present, target: &Target, earlier: Option<&Earlier>) -> Result<Plan, Refusal> {
    match target {
        Target::Whole { parts, scope, original } => Ok(Plan {
            changes: differ(present, parts.iter().map(pair), |key| in_scope(key, scope.as_deref())),
            original: original.as_deref().map(Arc::from),
        }),
        Target::Part {
            key,
            parts,
            if_part_version,
        } => {
            guard(present, key, *if_part_version)?;
            if let Some((gateway, _)) = key.split_once("/routes/")
                && !present.contains_key(gateway)
            {
                return Err(missing(gateway));
            }
            Ok(Plan {
                changes: differ(present, parts.iter().map(pair), |name| in_scope(name, Some(key))),
                original: None,
            })
        }
        Target::Delete { key, if_part_version } => {
            if !present.contains_key(key.as_str()) {
                return Err(missing(key));
            }
            guard(present, key, *if_part_version)?;
            Ok(Plan {
                changes: differ(present, std::iter::empty(), |name| in_scope(name, Some(key))),
                original: None,
            })
        }
        Target::Rollback { .. } => {
            let earlier = earlier.into_iter().flatten();
            Ok(Plan {
                changes: differ(present, earlier.map(|(key, value)| (&**key, &**value)), |_| true),
                original: None,
            })
        }
    }
}

/// The version of the last change of a part that is there, of a gateway or of its routes.
pub(crate) fn part_version(present: &Present, key: &str) -> Option<u64> {
    present.get(key)?;
    under(present, key).map(|(_, entry)| entry.version).max()
}

/// A part and what lies under it.
pub(crate) fn under<'a>(present: &'a Present, key: &'a str) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> {
    present
        .range::<str, _>((Bound::Included(key), Bound::Unbounded))
        .take_while(move |(name, _)| name.starts_with(key))
        .filter(move |(name, _)| in_scope(name, Some(key)))
}

fn guard(present: &Present, key: &str, expected: Option<u64>) -> Result<(), Refusal> {
    let head = part_version(present, key).unwrap_or(0);
    match expected {
        Some(expected) if expected != head => Err(Refusal::VersionConflict { expected, head }),
        _ => Ok(()),
    }
}

fn missing(key: &str) -> Refusal {
    Refusal::NotFound {
        what: format!("part {key}"),
    }
}

fn pair((key, value): &(String, String)) -> (&str, &str) {
    (key, value)
}

/// Whether `key` is the scope or lies under it.
fn in_scope(key: &str, scope: Option<&str>) -> bool {
    scope.is_none_or(|scope| {
        key.strip_prefix(scope)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Puts of what is new or other, deletes of what is not wanted, sorted by key.
fn differ<'a>(
    present: &Present,
    wanted: impl Iterator<Item = (&'a str, &'a str)>,
    concerned: impl Fn(&str) -> bool,
) -> Vec<PartChange> {
    let wanted: BTreeMap<&str, &str> = wanted.filter(|(key, _)| concerned(key)).collect();
    let mut changes: Vec<PartChange> = wanted
        .iter()
        .filter(|(key, value)| present.get(**key).is_none_or(|entry| *entry.value != ***value))
        .map(|(key, value)| PartChange {
            key: Arc::from(*key),
            value: Some(Arc::from(*value)),
        })
        .collect();
    let gone = present
        .keys()
        .filter(|key| concerned(key) && !wanted.contains_key(&***key))
        .map(|key| PartChange {
            key: Arc::clone(key),
            value: None,
        });
    changes.extend(gone);
    changes.sort_by(|a, b| a.key.cmp(&b.key));
    changes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn present(parts: &[(&str, &str, u64)]) -> Present {
        let entry = |value: &str, version| Entry {
            value: value.into(),
            version,
        };
        parts
            .iter()
            .map(|(key, value, version)| (Arc::from(*key), entry(value, *version)))
            .collect()
    }

    fn texts(plan: &Plan) -> Vec<(String, Option<String>)> {
        plan.changes
            .iter()
            .map(|c| (c.key.to_string(), c.value.as_deref().map(str::to_owned)))
            .collect()
    }

    fn owned(parts: &[(&str, &str)]) -> Vec<(String, String)> {
        parts
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn web() -> Present {
        present(&[
            ("gateways/web", "g", 1),
            ("gateways/web/routes/a", "1", 2),
            ("gateways/web/routes/b", "2", 5),
            ("gateways/web2", "g2", 3),
            ("upstreams/u", "u", 4),
        ])
    }

    #[test]
    fn a_whole_deletes_what_it_does_not_have() {
        let target = Target::Whole {
            parts: owned(&[("gateways/web", "g"), ("upstreams/u", "x")]),
            scope: None,
            original: None,
        };
        let changes = texts(&plan(&web(), &target, None).unwrap());
        assert_eq!(
            changes,
            [
                ("gateways/web/routes/a".to_owned(), None),
                ("gateways/web/routes/b".to_owned(), None),
                ("gateways/web2".to_owned(), None),
                ("upstreams/u".to_owned(), Some("x".to_owned())),
            ]
        );
    }

    #[test]
    fn a_scope_ends_at_a_slash() {
        let target = Target::Whole {
            parts: vec![],
            scope: Some("gateways/web".to_owned()),
            original: None,
        };
        let changes = texts(&plan(&web(), &target, None).unwrap());
        assert_eq!(
            changes.iter().map(|c| &*c.0).collect::<Vec<_>>(),
            ["gateways/web", "gateways/web/routes/a", "gateways/web/routes/b"]
        );
    }

    #[test]
    fn a_gateway_is_put_and_deleted_with_its_routes() {
        let parts = owned(&[("gateways/web", "g"), ("gateways/web/routes/b", "9")]);
        let target = Target::Part {
            key: "gateways/web".to_owned(),
            parts,
            if_part_version: Some(5),
        };
        let changes = texts(&plan(&web(), &target, None).unwrap());
        assert_eq!(
            changes,
            [
                ("gateways/web/routes/a".to_owned(), None),
                ("gateways/web/routes/b".to_owned(), Some("9".to_owned()))
            ]
        );
        let target = Target::Delete {
            key: "gateways/web".to_owned(),
            if_part_version: None,
        };
        assert_eq!(plan(&web(), &target, None).unwrap().changes.len(), 3);
    }

    #[test]
    fn a_route_needs_its_gateway() {
        let target = Target::Part {
            key: "gateways/no/routes/a".to_owned(),
            parts: owned(&[("gateways/no/routes/a", "1")]),
            if_part_version: None,
        };
        assert!(matches!(plan(&web(), &target, None), Err(Refusal::NotFound { .. })));
    }

    #[test]
    fn a_part_changed_meanwhile_is_a_conflict() {
        let target = |expected| Target::Delete {
            key: "gateways/web".to_owned(),
            if_part_version: Some(expected),
        };
        assert!(matches!(
            plan(&web(), &target(1), None),
            Err(Refusal::VersionConflict { expected: 1, head: 5 })
        ));
        let create = Target::Part {
            key: "upstreams/u".to_owned(),
            parts: owned(&[("upstreams/u", "x")]),
            if_part_version: Some(0),
        };
        assert!(matches!(
            plan(&web(), &create, None),
            Err(Refusal::VersionConflict { expected: 0, head: 4 })
        ));
    }

    proptest! {
        #[test]
        fn what_is_planned_makes_the_present_what_is_wanted(
            now in prop::collection::btree_map("[a-c]/[a-c]", "[xyz]", 0..9),
            wanted in prop::collection::btree_map("[a-c]/[a-c]", "[xyz]", 0..9),
        ) {
            let mut parts: Present = now.iter().map(|(k, v)| (Arc::from(k.as_str()), Entry { value: v.as_str().into(), version: 1 })).collect();
            let target = Target::Whole { parts: wanted.clone().into_iter().collect(), scope: None, original: None };
            let found = plan(&parts, &target, None).unwrap();
            for change in &found.changes {
                match &change.value {
                    Some(value) => { parts.insert(Arc::clone(&change.key), Entry { value: Arc::clone(value), version: 2 }); }
                    None => { parts.remove(&change.key); }
                }
            }
            let after: BTreeMap<String, String> = parts.iter().map(|(k, e)| (k.to_string(), e.value.to_string())).collect();
            prop_assert_eq!(&after, &wanted);
            prop_assert!(plan(&parts, &target, None).unwrap().changes.is_empty(), "a second time nothing is left to do");
        }
    }
}
