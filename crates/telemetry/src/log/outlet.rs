//! Where lines go: the standard error, which may be a pipe that nobody empties.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The most that is written at once: a pipe that has room at all takes as much without waiting, and whole (`PIPE_BUF`
/// of pipe(7)).
pub(super) const PIECE: usize = 4096;

/// How long a line waits for a reader that is behind. One that was late once is not waited for again until it reads on:
/// who logs is a worker, or the leader of a cluster.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often somebody who may wait looks whether the reader goes on.
const AGAIN: Duration = Duration::from_secs(1);

/// Where the lines of one log go. Clones are the same.
#[derive(Clone)]
pub(super) struct Outlet(Arc<Shared>);

struct Shared {
    end: End,
    late: AtomicBool,
    /// A line was cut in its middle.
    torn: AtomicBool,
    dropped: AtomicU64,
}

enum End {
    Stderr,
    Other(Mutex<Box<dyn Write + Send>>),
}

// === impl Outlet ===

impl Outlet {
    pub(super) fn stderr() -> Self {
        Self::of(End::Stderr)
    }

    pub(super) fn other(writer: impl Write + Send + 'static) -> Self {
        Self::of(End::Other(Mutex::new(Box::new(writer))))
    }

    fn of(end: End) -> Self {
        Self(Arc::new(Shared {
            end,
            late: AtomicBool::new(false),
            torn: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        }))
    }

    /// Lines that nobody read in time.
    pub(super) fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Writes whole lines, and waits for the reader as long as it takes.
    pub(super) fn write_all(&self, lines: &str) {
        let mut rest = lines.as_bytes();
        while !rest.is_empty() {
            let (piece, after) = rest.split_at(piece_of(rest));
            while !self.try_write(piece) {
                self.wait(AGAIN);
            }
            rest = after;
        }
    }

    /// Writes one line, unless the reader is behind.
    fn write_line(&self, line: &[u8]) {
        for (n, piece) in line.chunks(PIECE).enumerate() {
            if self.try_write(piece) || (self.be_patient() && self.try_write(piece)) {
                self.0.late.store(false, Ordering::Relaxed);
                continue;
            }
            self.0.torn.fetch_or(n > 0, Ordering::Relaxed);
            self.0.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
    }

    fn be_patient(&self) -> bool {
        !self.0.late.swap(true, Ordering::Relaxed) && self.wait(PATIENCE)
    }

    /// Writes a piece, if that can be done at once.
    fn try_write(&self, piece: &[u8]) -> bool {
        match &self.0.end {
            End::Stderr => {
                // The lock of all that writes there: nobody else takes the room between the look and the writing.
                let mut stderr = io::stderr().lock();
                if !writable(Duration::ZERO) {
                    return false;
                }
                if self.0.torn.swap(false, Ordering::Relaxed) {
                    let _ = stderr.write_all(b"\n");
                }
                // An end that is gone takes nothing, ever: then lines have nowhere to go.
                let _ = stderr.write_all(piece);
            }
            End::Other(other) => {
                let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
                let _ = other.write_all(piece);
            }
        }
        true
    }

    fn wait(&self, time: Duration) -> bool {
        match &self.0.end {
            End::Stderr => writable(time),
            End::Other(_) => true,
        }
    }
}

/// Whether the standard error takes a piece without waiting, or does within `time`.
fn writable(time: Duration) -> bool {
    let stderr = io::stderr();
    let mut ask = [PollFd::new(&stderr, PollFlags::OUT)];
    let time = Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    };
    match poll(&mut ask, Some(&time)) {
        Ok(ready) => ready > 0,
        // Interrupted, or no memory: as if there were no room.
        Err(_) => false,
    }
}

/// Where the last whole line within a piece ends; a line that is longer is taken in parts.
fn piece_of(lines: &[u8]) -> usize {
    let most = lines.len().min(PIECE);
    let end = lines[..most].iter().rposition(|byte| *byte == b'\n');
    end.map_or(most, |end| end + 1)
}

/// One line of the subscriber, which gives each with a single call.
pub(super) struct Line(Outlet);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.write_line(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Outlet {
    type Writer = Line;

    fn make_writer(&self) -> Line {
        Line(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_with_a_line_where_one_fits() {
        assert_eq!(piece_of(b"ab\ncd\n"), 6);
        let long = format!("{}\n{}\n", "a".repeat(PIECE - 2), "b".repeat(PIECE));
        assert_eq!(piece_of(long.as_bytes()), PIECE - 1);
        assert_eq!(piece_of(&long.as_bytes()[PIECE - 1..]), PIECE);
    }
}
