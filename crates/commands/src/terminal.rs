//! Where words go: what was asked for to stdout, all else for people to stderr.

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::cell::{Cell, RefCell};
use std::io::{self, IsTerminal as _, Write};
use std::time::Duration;

/// The two streams of a command, and how it speaks on them.
pub(crate) struct Terminal {
    /// One JSON object on stdout instead of tables.
    pub(crate) json: bool,
    /// Colours on stdout.
    pub(crate) color_out: bool,
    /// Colours on stderr.
    pub(crate) color_err: bool,
    /// Stdout is a screen.
    screen: bool,
    /// Somebody watches stderr.
    watched: bool,
    out: RefCell<Box<dyn Write>>,
    err: RefCell<Box<dyn Write>>,
    failed: RefCell<Option<io::Error>>,
    closed: Cell<bool>,
}

/// A sign of life while something is waited for; gone when dropped.
pub(crate) struct Waiting(Option<ProgressBar>);

impl Terminal {
    /// The streams of this process.
    pub(crate) fn of_process(json: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let (out, err) = (io::stdout().is_terminal(), io::stderr().is_terminal());
        Self {
            json,
            color_out: out && !plain,
            color_err: err && !plain,
            screen: out,
            watched: err && !json,
            out: RefCell::new(Box::new(io::stdout())),
            err: RefCell::new(Box::new(io::stderr())),
            failed: RefCell::new(None),
            closed: Cell::new(false),
        }
    }

    #[cfg(test)]
    pub(crate) fn to(json: bool, out: Box<dyn Write>, err: Box<dyn Write>) -> Self {
        Self {
            json,
            color_out: false,
            color_err: false,
            screen: false,
            watched: false,
            out: RefCell::new(out),
            err: RefCell::new(err),
            failed: RefCell::new(None),
            closed: Cell::new(false),
        }
    }

    /// What was asked for. A line's end is added where it lacks one.
    pub(crate) fn out(&self, text: &str) {
        let mut out = self.out.borrow_mut();
        let end = if text.is_empty() || text.ends_with('\n') {
            ""
        } else {
            "\n"
        };
        let written = out
            .write_all(text.as_bytes())
            .and_then(|()| out.write_all(end.as_bytes()))
            .and_then(|()| out.flush());
        match written {
            // Whoever reads has read enough; `sluice history | head` is no failure.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => self.closed.set(true),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error);
            }
            Ok(()) => {}
        }
    }

    /// What stands in the place of the page before: on a screen that is cleared, else below it.
    pub(crate) fn page(&self, text: &str) {
        if self.screen {
            self.out(&format!("\u{1b}[H\u{1b}[2J{text}"));
        } else {
            self.out(text);
        }
    }

    /// Whether nobody reads stdout any more, or it failed: there is no use in going on.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.get() || self.failed.borrow().is_some()
    }

    /// One object for programs.
    pub(crate) fn object(&self, value: &impl Serialize) {
        match serde_json::to_string(value) {
            Ok(text) => self.out(&text),
            Err(error) => {
                self.failed.borrow_mut().get_or_insert(error.into());
            }
        }
    }

    /// A word for people.
    pub(crate) fn say(&self, text: &str) {
        let mut err = self.err.borrow_mut();
        let end = if text.ends_with('\n') { "" } else { "\n" };
        // There is nowhere left to say that this failed.
        let _ = err
            .write_all(text.as_bytes())
            .and_then(|()| err.write_all(end.as_bytes()));
    }

    /// A sign of life on stderr, if somebody watches.
    pub(crate) fn waiting(&self, what: String) -> Waiting {
        if !self.watched {
            return Waiting(None);
        }
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}")
            .unwrap_or_else(|_| ProgressStyle::default_spinner());
        let bar = ProgressBar::new_spinner().with_style(style).with_message(what);
        bar.enable_steady_tick(Duration::from_millis(100));
        Waiting(Some(bar))
    }

    /// What went wrong on stdout, other than that nobody reads it.
    pub(crate) fn failure(&self) -> Option<io::Error> {
        self.failed.borrow_mut().take()
    }
}

impl Waiting {
    /// Says what is waited for now.
    pub(crate) fn now(&self, what: String) {
        if let Some(bar) = &self.0 {
            bar.set_message(what);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
