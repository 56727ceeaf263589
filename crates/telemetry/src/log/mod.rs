//! The form of log lines.
//!
//! A subscriber is a value: the demo's three nodes share a process and each has its own, set on
//! the threads of its runtimes by [`Log::on_thread`]; `main` alone calls [`Log::install`].
//!
//! Lines go to the standard error, and nobody waits for who reads there: a reader that is behind
//! costs lines, which are counted, never a worker's time. Beside the subscriber's there are lines
//! that are made at the rate of the traffic: they pass through [`Lines`].

mod json;
mod lines;
mod outlet;

pub use json::Object;
pub use lines::Lines;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use lines::Writer as LinesWriter;
use outlet::Outlet;
use thiserror::Error;
use tracing::{Dispatch, Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// One object a line, or one line for people.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// For people: time, level, target, text, fields.
    #[default]
    Text,
    /// For machines: one JSON object a line, fields beside `timestamp`, `level`, `target`,
    /// `message`, `node`.
    Json,
}

/// How a node logs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The form of a line.
    pub form: Form,
    /// What is written, such as `info` or `info,sluice_peer=debug`.
    pub filter: String,
    /// The node's name, written into each line where it is given.
    pub node: Option<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            form: Form::Text,
            filter: "info".to_owned(),
            node: None,
        }
    }
}

/// Why a log could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is no list of levels.
    #[error(
        "the log filter {filter:?} cannot be read: {why}; write a level (error, warn, info, debug, trace) or a list such as info,sluice_peer=debug"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What the parser found.
        why: String,
    },
    /// Another subscriber is the process's already.
    #[error("a log subscriber is installed already in this process; install one, in main, and set others by thread")]
    Installed,
}

/// A node's log: a subscriber, and lines beside it. Clones are the same one.
#[derive(Clone)]
pub struct Log {
    dispatch: Dispatch,
    outlet: Outlet,
    writer: Arc<LinesWriter>,
}

/// Lines that nobody read in time, and so were not written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Those of the subscriber.
    pub events: u64,
    /// Those of all [`Lines`].
    pub lines: u64,
}

impl Log {
    /// Makes a subscriber; it hears nothing until it is installed or set on a thread.
    ///
    /// # Errors
    /// [`LogError::Filter`] where the filter cannot be read.
    pub fn new(settings: &Settings) -> Result<Self, LogError> {
        Self::through(settings, Outlet::stderr())
    }

    /// The same, written to something else: for whoever wants to read it.
    ///
    /// # Errors
    /// [`LogError::Filter`] where the filter cannot be read.
    pub fn to(settings: &Settings, writer: impl io::Write + Send + 'static) -> Result<Self, LogError> {
        Self::through(settings, Outlet::other(writer))
    }

    fn through(settings: &Settings, outlet: Outlet) -> Result<Self, LogError> {
        let filter = EnvFilter::try_new(&settings.filter).map_err(|why| LogError::Filter {
            filter: settings.filter.clone(),
            why: why.to_string(),
        })?;
        let node = settings.node.clone();
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(outlet.clone());
        let dispatch = match settings.form {
            Form::Text => Dispatch::new(
                builder
                    .event_format(TextLine {
                        node,
                        line: Format::default().with_ansi(false),
                    })
                    .finish(),
            ),
            Form::Json => Dispatch::new(
                builder
                    .fmt_fields(JsonFields::new())
                    .event_format(JsonLine {
                        node,
                        line: Format::default()
                            .json()
                            .flatten_event(true)
                            .with_current_span(true)
                            .with_span_list(false),
                    })
                    .finish(),
            ),
        };
        Ok(Self {
            dispatch,
            outlet,
            writer: LinesWriter::new(),
        })
    }

    /// A room for lines that are made at the rate of the traffic, by one thread. They are written as they are, whatever
    /// the form and the filter.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn lines(&self) -> io::Result<Lines> {
        self.writer.room(&self.outlet)
    }

    /// What was not written because nobody read.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        Dropped {
            events: self.outlet.dropped(),
            lines: self.writer.dropped(),
        }
    }

    /// Waits until all lines are written, at most for `time`: for the end of the process.
    pub fn flush(&self, time: Duration) {
        self.writer.flush(time);
    }

    /// Makes this the subscriber of every thread that has none of its own. For `main`.
    ///
    /// # Errors
    /// [`LogError::Installed`] where that was done before.
    pub fn install(&self) -> Result<(), LogError> {
        tracing::dispatcher::set_global_default(self.dispatch.clone()).map_err(|_| LogError::Installed)
    }

    /// Makes this the subscriber of the calling thread until the thread ends: for
    /// `on_thread_start` of a node's runtimes.
    pub fn on_thread(&self) {
        // The guard would take the subscriber off again at the end of this call.
        std::mem::forget(tracing::dispatcher::set_default(&self.dispatch));
    }

    /// The subscriber itself, for `with_default` and for layers above it.
    #[must_use]
    pub fn dispatch(&self) -> &Dispatch {
        &self.dispatch
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log")
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

/// Writes the present time as the subscriber's lines have it (RFC 3339, UTC, microseconds).
pub fn push_time(out: &mut String) {
    // A String takes every write.
    let _ = SystemTime.format_time(&mut Writer::new(out));
}

struct TextLine {
    node: Option<String>,
    line: Format,
}

impl<S, N> FormatEvent<S, N> for TextLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        if let Some(node) = &self.node {
            write!(writer, "[{node}] ")?;
        }
        self.line.format_event(context, writer, event)
    }
}

struct JsonLine {
    node: Option<String>,
    line: Format<Json>,
}

impl<S, N> FormatEvent<S, N> for JsonLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let Some(node) = &self.node else {
            return self.line.format_event(context, writer, event);
        };
        let mut line = String::with_capacity(256);
        self.line.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            // Rust's escapes of a name's characters are JSON's too, a node's name being letters,
            // digits, dots and dashes.
            Some(rest) => write!(writer, "{{\"node\":{node:?},{rest}"),
            None => writer.write_str(&line),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(form: Form) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let settings = Settings {
            form,
            filter: "info".to_owned(),
            node: Some("n1".to_owned()),
        };
        let log = Log::to(&settings, writer).unwrap();
        tracing::dispatcher::with_default(log.dispatch(), || {
            tracing::info!(version = 7, "live");
            tracing::debug!("unheard");
        });
        let bytes = sink.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn text_names_the_node_first() {
        let text = lines(Form::Text);
        assert!(text.starts_with("[n1] "), "{text}");
        assert!(text.contains("live") && text.contains("version=7"));
        assert!(!text.contains("unheard"));
    }

    #[test]
    fn json_carries_the_node_beside_the_fields() {
        let text = lines(Form::Json);
        assert!(text.starts_with("{\"node\":\"n1\",\""), "{text}");
        assert!(text.contains("\"version\":7") && text.contains("\"message\":\"live\""));
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn a_filter_that_cannot_be_read_is_told() {
        let settings = Settings {
            filter: "info,=,=".to_owned(),
            ..Settings::default()
        };
        let error = Log::new(&settings).unwrap_err().to_string();
        assert!(error.contains("info,=,="), "{error}");
    }
}
