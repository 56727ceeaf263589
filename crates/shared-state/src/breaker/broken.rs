//! Ways in which tests break the protocol, to see that the checks of the simulation find it. Outside tests nothing is.

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), allow(dead_code, reason = "nothing is broken outside tests"))]
pub(super) enum Broken {
    /// Each life of a node is a node.
    BootsAsNodes,
    /// One node's evidence is enough.
    OneSees,
    /// Evidence is taken whatever decision it belongs to.
    AnyEpoch,
    /// Evidence that was heard is taken again.
    TwiceHeard,
    /// A probe that does not end is waited for.
    ProbeForEver,
    /// What an old copy of the store says is taken as it is.
    OldCopy,
    /// A lease is used as long as nobody says otherwise.
    HeldForEver,
    /// A lease begins anew with each reply that tells of it.
    BegunAgain,
    /// A node acts on whatever it hears last.
    AnyOrder,
    /// Nobody asks unless there is something to say.
    NeverPolls,
    /// What a node decides by itself goes on when the store is back.
    LocalWins,
}

#[cfg(test)]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Broken>> = const { std::cell::Cell::new(None) };
}

/// Whether this is broken.
#[cfg(test)]
pub(super) fn broken(what: Broken) -> bool {
    BROKEN.with(|broken| broken.get()) == Some(what)
}

/// Whether this is broken.
#[cfg(not(test))]
pub(super) const fn broken(_: Broken) -> bool {
    false
}

/// Breaks it while `body` runs.
#[cfg(test)]
pub(super) fn with_broken<T>(what: Option<Broken>, body: impl FnOnce() -> T) -> T {
    struct Mended;
    impl Drop for Mended {
        fn drop(&mut self) {
            BROKEN.with(|broken| broken.set(None));
        }
    }
    let _mended = Mended;
    BROKEN.with(|broken| broken.set(what));
    body()
}
