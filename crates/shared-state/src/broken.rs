//! The protocol broken on purpose, in tests alone: each check of the simulation is shown to catch what it is there for.

/// Ways to break it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// A report that is repeated counts again.
    HeardTwice,
    /// A grant whose reply came after the call was given up is spent.
    LateReplyAccepted,
    /// The age of a spend is told with the node's clock running fast.
    AgeTooGreat,
    /// Alone, a node takes all that it spent in its last window for its own.
    LevelCountsAll,
    /// A store that is emptied while it learns stays in its epoch.
    EpochKept,
    /// What a node overdrew is forgotten.
    OverdraftForgotten,
    /// A second call while the first is under way.
    TwoInFlight,
}

#[cfg(test)]
thread_local! {
    static NOW: std::cell::Cell<Option<Broken>> = const { std::cell::Cell::new(None) };
}

/// Whether it is broken so.
#[cfg(test)]
pub(crate) fn broken(how: Broken) -> bool {
    NOW.get() == Some(how)
}

/// Breaks it on this thread, while `run` runs.
#[cfg(test)]
pub(crate) fn while_broken<T>(how: Broken, run: impl FnOnce() -> T) -> T {
    NOW.set(Some(how));
    let result = run();
    NOW.set(None);
    result
}

/// Never.
#[cfg(not(test))]
pub(crate) const fn broken(_: Broken) -> bool {
    false
}
