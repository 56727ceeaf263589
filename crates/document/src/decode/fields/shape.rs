//! How the value of a field is written: what the JSON Schema and the reference are made of.

use super::Field;

/// What may stand as a value. Never narrower than the decoder and the checks: what they take is of this shape.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A text, in these words. Empty ones as well.
    Text(&'static str),
    /// A text of at least one character, in these words.
    Filled(&'static str),
    /// A text that matches a regular expression of ECMA-262, in these words.
    Pattern(&'static str, &'static str),
    /// A text, or a number or truth value that is taken as it is spelt, in these words.
    Spelt(&'static str),
    /// `true` or `false`.
    Truth,
    /// A whole number from here to there.
    Integer(i64, i64),
    /// One of a few numbers.
    Numbers(&'static [i64]),
    /// One of a few words.
    Words(&'static [&'static str]),
    /// As `300ms`.
    Duration,
    /// As `1MiB`.
    Size,
    /// As `20%`, or `0.2`.
    Share,
    /// An IP address or a network.
    Address,
    /// Any JSON.
    Json,
    /// A list with bounds.
    List(&'static List),
    /// A map with free names.
    Map(Names, &'static Shape),
    /// One of several shapes, no two of which take the same value.
    Either(&'static [Shape]),
    /// The [`Definition`] of this title.
    Defined(&'static str),
}

/// A list's items, and how many there may be.
#[derive(Debug)]
pub(crate) struct List {
    pub(crate) of: Shape,
    pub(crate) least: usize,
    /// None: as many as fit into a document.
    pub(crate) most: Option<usize>,
    /// Whether an item may stand twice.
    pub(crate) repeats: bool,
}

/// What the names of a map are.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Names {
    /// Of upstreams and gateways.
    Parts,
    /// Of header fields.
    Headers,
    /// Of parameters: any, but not none.
    Parameters,
}

/// What stands where a field is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Preset {
    /// It cannot be left out.
    Required,
    /// Nothing.
    Nothing,
    /// This value, as it would be written in JSON or, for a word, a duration or a size, without quotes.
    Value(&'static str),
    /// What these words say.
    Told(&'static str),
}

/// A map with known fields.
#[derive(Debug)]
pub(crate) struct Definition {
    /// Its heading in the reference and its name in the schema.
    pub(crate) title: &'static str,
    /// Where it stands, as `upstreams.NAME`.
    pub(crate) at: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) fields: &'static [Field],
    pub(crate) groups: &'static [Group],
    /// What may be written in place of the map.
    pub(crate) short: Option<Shape>,
}

/// Fields that exclude each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Group {
    /// One of them must be there.
    One(&'static [&'static str]),
    /// One of them may be there.
    AtMostOne(&'static [&'static str]),
    /// One of them must be there, or alone the field that is named first.
    OneOrAlone(&'static str, &'static [&'static str]),
}
