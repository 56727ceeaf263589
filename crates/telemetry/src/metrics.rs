//! The registry of one node.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;

use crate::process::Process;

/// The metrics of one node: whoever counts registers once, whoever scrapes encodes.
///
/// A clone is the same registry. The lock inside is taken by [`register`](Self::register) and
/// [`encode`](Self::encode) alone, never by the counting itself.
#[derive(Clone)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Metrics {
    /// A registry that knows the facts of the process and nothing else yet.
    #[must_use]
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Process));
        Self(Arc::new(Mutex::new(registry)))
    }

    /// Lets `f` add its metrics.
    ///
    /// A name registered twice is written twice, which scrapers refuse: register once per node,
    /// not once per worker. [`Name::stem`](crate::names::Name::stem) is the name to register by.
    pub fn register(&self, f: impl FnOnce(&mut Registry)) {
        f(&mut self.lock());
    }

    /// All metrics as text: OpenMetrics 1.0 if `openmetrics`, else Prometheus 0.0.4.
    ///
    /// Takes milliseconds when many routes were used; call it off the workers.
    #[must_use]
    pub fn encode(&self, openmetrics: bool) -> String {
        let registry = self.lock();
        let mut out = String::with_capacity(16 * 1024);
        let written = if openmetrics {
            text::encode(&mut out, &registry)
        } else {
            prometheus_text::encode(&mut out, &registry)
        };
        if written.is_err() {
            // A String takes every write: only a collector can have failed, and then the rest of
            // the page is worth more than none.
            tracing::error!("a metrics collector failed; the page of metrics ends early");
        }
        out
    }

    /// The content type of [`encode`](Self::encode)'s text.
    #[must_use]
    pub const fn content_type(openmetrics: bool) -> &'static str {
        if openmetrics {
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        } else {
            prometheus_text::CONTENT_TYPE
        }
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        // A registration that panicked leaves a list of metrics that is still a list.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prometheus_client::metrics::counter::Counter;

    use super::*;
    use crate::names;

    #[test]
    fn a_counter_ends_in_total_in_both_formats() {
        let metrics = Metrics::new();
        let counter = Counter::<u64>::default();
        metrics.register(|registry| {
            let name = &names::PANICS;
            registry.register(name.stem(), name.help, counter.clone());
        });
        counter.inc();
        for openmetrics in [false, true] {
            let text = metrics.encode(openmetrics);
            assert!(text.contains("\nsluice_panics_total 1\n"), "{text}");
        }
        assert!(metrics.encode(true).ends_with("# EOF\n"));
        assert!(!metrics.encode(false).contains("# EOF"));
    }

    #[test]
    fn the_process_is_described() {
        let text = Metrics::new().encode(false);
        for name in names::PROCESS {
            assert!(text.contains(name.name), "{} in {text}", name.name);
        }
    }
}
