//! Limits as people see them.

use super::{Outcome, Source};
use sluice_shared_state::Rule;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// One limit, as this node has seen it since it started.
#[derive(Debug, Clone)]
pub struct LimitSeen {
    /// The limit with its newest numbers.
    pub rule: Arc<Rule>,
    /// Whether the configuration in force has it.
    pub declared: bool,
    /// What was decided and who decided, with how often; what never happened is left out.
    pub decisions: Vec<(Outcome, Source, u64)>,
}

/// One count of a limit, now.
#[derive(Debug, Clone)]
pub struct KeyView {
    /// The limit.
    pub rule: Arc<Rule>,
    /// The value of its key, as asked for.
    pub value: Arc<str>,
    /// What the store says, for the whole cluster. Nothing where the store is away.
    pub stored: Option<Stored>,
    /// What this node holds; nothing where it does not know the key.
    pub here: Option<Here>,
    /// Whether and when requests were refused lately, by this node.
    pub refused: Option<RefusedKey>,
}

/// One count as the store has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stored {
    /// Spent in the present window (of a bucket: what it lacks; of concurrency: nothing, see `out`).
    pub used: u64,
    /// Neither spent nor out.
    pub left: u64,
    /// Until nothing is spent any more, if nothing happens.
    pub reset: Duration,
    /// Tokens out at nodes, by node; a node that left shows until its lease ends.
    pub out: Vec<TokensOut>,
}

/// Tokens that a node may spend without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokensOut {
    /// Its name, where it is a live member.
    pub node: Option<Arc<str>>,
    /// How many.
    pub tokens: u64,
}

/// One count as this node has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Here {
    /// Tokens that this node can still say are left.
    pub remaining: u64,
    /// To the next token where nothing is left, else to the end of the window.
    pub reset: Duration,
    /// Who would decide the next request.
    pub source: Source,
}

/// A key that was refused, by one node since it started. Rarely refused ones are forgotten for others.
#[derive(Debug, Clone)]
pub struct RefusedKey {
    /// The limit.
    pub rule: Arc<Rule>,
    /// The value of its key, cut to 128 bytes at a character's border.
    pub value: Arc<str>,
    /// How often, lately: halved each minute. At most `excess` too many.
    pub refused: u64,
    /// See there.
    pub excess: u64,
    /// When the last one was.
    pub last: SystemTime,
}

/// Why a view or a reset is not to be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ViewError {
    /// No limit of this name.
    #[error("no limit is called {0}")]
    Unknown(String),
    /// The store is away, or did not answer in time.
    #[error("the store of shared state does not answer: {0}")]
    Away(String),
}

/// The limits of a name, by scope.
pub(super) fn named<'a>(rules: impl Iterator<Item = &'a Arc<Rule>>, name: &str) -> Vec<Arc<Rule>> {
    let mut found: Vec<_> = rules.filter(|rule| &*rule.name == name).map(Arc::clone).collect();
    found.sort_by(|a, b| a.scope.cmp(&b.scope));
    found
}
