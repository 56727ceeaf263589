//! The registry of fields: what each map of a document may hold, how it is written, what stands where it is left out,
//! and what it will hold once it is built. The decoder, the JSON Schema and the reference are all made of it.

mod gateway;
mod limits;
mod message;
mod resilience;
mod root;
mod route;
mod shape;
mod upstream;

pub(crate) use gateway::GATEWAY;
pub(crate) use limits::{CONCURRENCY, RATE_LIMIT};
pub(crate) use message::{CHANGES, REDIRECT, REQUEST, RESPOND, RESPONSE, REWRITE};
pub(crate) use resilience::{ACTIVE, BREAKER, FALLBACK_UPSTREAM, HEALTH, PASSIVE, RETRY, RETRY_LEVEL};
pub(crate) use root::{ACCESS_LOG, CLUSTER, ROOT, STALE, TELEMETRY};
pub(crate) use route::{ARM, FIELD_MATCH, MATCH, ROUTE, SPLIT, STICKY};
pub(crate) use shape::{Definition, Group, List, Names, Preset, Shape};
pub(crate) use upstream::{BALANCE_PLANNED, H2C_LEVEL, POOL, TARGET, TIMEOUT, UPSTREAM};

/// One field of a map.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) state: State,
    /// Of a built field: a test asks for it.
    pub(crate) shape: Option<Shape>,
    pub(crate) preset: Preset,
    /// What it does, in Markdown: one line without an end stop.
    pub(crate) doc: &'static str,
}

/// Whether a field can be used.
#[derive(Debug, Clone, Copy)]
pub(crate) enum State {
    /// Built, and known to clusters of this feature level and above.
    Built {
        /// The lowest feature level whose nodes know the field.
        level: u32,
    },
    /// Planned; what it will do.
    Planned(&'static str),
}

/// All maps with known fields, in the order of the reference.
pub(crate) const DEFINITIONS: &[&[Definition]] = &[
    root::DEFINITIONS,
    upstream::DEFINITIONS,
    resilience::DEFINITIONS,
    gateway::DEFINITIONS,
    route::DEFINITIONS,
    message::DEFINITIONS,
    limits::DEFINITIONS,
];

const fn built(name: &'static str) -> Field {
    built_in(name, 1)
}

/// Known to clusters of feature level `level` and above alone.
const fn built_in(name: &'static str, level: u32) -> Field {
    Field {
        name,
        state: State::Built { level },
        shape: None,
        preset: Preset::Nothing,
        doc: "",
    }
}

const fn planned(name: &'static str, feature: &'static str) -> Field {
    Field {
        name,
        state: State::Planned(feature),
        shape: None,
        preset: Preset::Nothing,
        doc: "",
    }
}

/// The highest level that any field or value needs.
pub(crate) const fn highest_level() -> u32 {
    let (mut highest, mut file) = (H2C_LEVEL, 0);
    while file < DEFINITIONS.len() {
        let mut table = 0;
        while table < DEFINITIONS[file].len() {
            let fields = DEFINITIONS[file][table].fields;
            let mut field = 0;
            while field < fields.len() {
                if let State::Built { level } = fields[field].state
                    && level > highest
                {
                    highest = level;
                }
                field += 1;
            }
            table += 1;
        }
        file += 1;
    }
    highest
}

/// The name of `names` that was probably meant by `found`, if any is near.
pub fn nearest<'n>(found: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let found = found.to_lowercase();
    // A name is compared only where its length allows nearness: what stands in a document may be long.
    if found.len() > 100 {
        return None;
    }
    names
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&found, &name.to_lowercase()), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(found.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

// === impl Field ===

impl Field {
    /// It must be there.
    const fn required(self, shape: Shape, doc: &'static str) -> Self {
        self.with(shape, Preset::Required, doc)
    }

    /// Nothing stands where it is left out.
    const fn optional(self, shape: Shape, doc: &'static str) -> Self {
        self.with(shape, Preset::Nothing, doc)
    }

    /// This stands where it is left out.
    const fn default(self, shape: Shape, value: &'static str, doc: &'static str) -> Self {
        self.with(shape, Preset::Value(value), doc)
    }

    /// What the words say stands where it is left out.
    const fn otherwise(self, shape: Shape, told: &'static str, doc: &'static str) -> Self {
        self.with(shape, Preset::Told(told), doc)
    }

    const fn with(self, shape: Shape, preset: Preset, doc: &'static str) -> Self {
        Self {
            shape: Some(shape),
            preset,
            doc,
            ..self
        }
    }

    /// The level from which it can be used; none where it is planned.
    pub(crate) const fn level(&self) -> Option<u32> {
        match self.state {
            State::Built { level } => Some(level),
            State::Planned(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_near_enough_is_found_and_a_far_one_is_not() {
        let names = || UPSTREAM.iter().map(|field| field.name);
        assert_eq!(nearest("tagrets", names()), Some("targets"));
        assert_eq!(nearest("Host", names()), Some("host"));
        assert_eq!(nearest("consumer", names()), None);
    }

    #[test]
    fn every_built_field_says_how_it_is_written_and_what_it_does() {
        for definition in DEFINITIONS.iter().copied().flatten() {
            assert!(!definition.doc.is_empty(), "{}", definition.title);
            for field in definition.fields.iter().filter(|field| field.level().is_some()) {
                let name = format!("{} of {}", field.name, definition.title);
                assert!(field.shape.is_some(), "{name} says nothing of its value");
                assert!(!field.doc.is_empty() && !field.doc.contains('\n'), "{name}");
                assert!(!field.doc.ends_with('.'), "{name}");
            }
        }
    }
}
