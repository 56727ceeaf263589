//! Kinds of values, as far as they are known before a request is there.

/// What a part of a condition gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Truth,
    Int,
    Uint,
    Double,
    Text,
    /// Of whatever items.
    List,
    /// A text, or none.
    Maybe,
    /// Not known, or told to be wrong already.
    Any,
}

// === impl Kind ===

impl Kind {
    /// With its article, for messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Truth => "a truth value",
            Self::Int | Self::Uint | Self::Double => "a number",
            Self::Text => "a text",
            Self::List => "a list",
            Self::Maybe => "a text that may be missing",
            Self::Any => "a value",
        }
    }

    /// Whether it is this one, or may be.
    pub(super) fn fits(self, wanted: Self) -> bool {
        self == wanted || self == Self::Any
    }

    pub(super) fn is_number(self) -> bool {
        matches!(self, Self::Int | Self::Uint | Self::Double | Self::Any)
    }

    /// Whether the two can be equal at all.
    pub(super) fn compares_with(self, other: Self) -> bool {
        self == other || self == Self::Any || other == Self::Any || (self.is_number() && other.is_number())
    }

    /// What is common to both.
    pub(super) fn or(self, other: Self) -> Self {
        if self == other { self } else { Self::Any }
    }
}
