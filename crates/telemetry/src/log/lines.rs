//! Lines that are made faster than anybody reads them.
//!
//! ```text
//!   worker ─▶ its room (bounded) ─┐
//!   worker ─▶ its room ───────────┴─▶ one thread ─▶ standard error
//! ```
//!
//! Who makes a line puts it into a room of its own and goes on; a room that is full drops the line and counts it. The
//! thread sleeps until a room has something, waits a moment for more to come, and writes all of it.

use super::outlet::Outlet;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// What may wait in one room, in bytes: some 2000 lines, a moment's at the highest rates.
const ROOM: usize = 1024 * 1024;

/// How long the thread waits for more once something came: at most 200 wake-ups a second.
const GATHER: Duration = Duration::from_millis(5);

/// Puts lines into one room. For one thread at a time, so that nobody waits for another.
#[derive(Debug)]
pub struct Lines {
    room: Arc<Room>,
    writer: Arc<Writer>,
}

#[derive(Debug, Default)]
struct Room {
    text: Mutex<String>,
    dropped: AtomicU64,
}

/// The thread, and the rooms that it empties.
#[derive(Debug)]
pub(super) struct Writer(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    rooms: Mutex<Vec<Arc<Room>>>,
    thread: OnceLock<Thread>,
    /// Nobody is left who could put anything.
    ended: AtomicBool,
    /// What was taken from the rooms is not written yet.
    writing: AtomicBool,
}

// === impl Lines ===

impl Lines {
    /// Puts a line, without its end. `false` where the room was full.
    pub fn put(&self, line: &str) -> bool {
        let mut text = lock(&self.room.text);
        if text.len() + line.len() >= ROOM {
            drop(text);
            self.room.dropped.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let first = text.is_empty();
        text.push_str(line);
        text.push('\n');
        drop(text);
        if first {
            self.writer.0.wake();
        }
        true
    }
}

// === impl Writer ===

impl Writer {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self(Arc::default()))
    }

    /// Another room; the first starts the thread.
    pub(super) fn room(self: &Arc<Self>, outlet: &Outlet) -> io::Result<Lines> {
        let shared = &self.0;
        let mut rooms = lock(&shared.rooms);
        if shared.thread.get().is_none() {
            let (of_thread, outlet) = (Arc::clone(shared), outlet.clone());
            let thread = thread::Builder::new()
                .name("log".to_owned())
                .spawn(move || of_thread.write(&outlet))?;
            let _ = shared.thread.set(thread.thread().clone());
        }
        let room = Arc::<Room>::default();
        rooms.push(Arc::clone(&room));
        Ok(Lines {
            room,
            writer: Arc::clone(self),
        })
    }

    pub(super) fn dropped(&self) -> u64 {
        let rooms = lock(&self.0.rooms);
        rooms.iter().map(|room| room.dropped.load(Ordering::Relaxed)).sum()
    }

    /// Waits until all that was put is written, at most for `time`.
    pub(super) fn flush(&self, time: Duration) {
        let end = Instant::now() + time;
        while !self.0.is_empty() && Instant::now() < end {
            self.0.wake();
            thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.wake();
    }
}

// === impl Shared ===

impl Shared {
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn is_empty(&self) -> bool {
        let waits = |room: &Arc<Room>| !lock(&room.text).is_empty();
        let waiting = lock(&self.rooms).iter().any(waits);
        !waiting && !self.writing.load(Ordering::SeqCst)
    }

    fn write(&self, outlet: &Outlet) {
        let mut text = String::new();
        loop {
            // Before the look into the rooms: what was put until then is still written.
            let ended = self.ended.load(Ordering::Acquire);
            let rooms: Vec<Arc<Room>> = lock(&self.rooms).clone();
            let mut some = false;
            for room in rooms {
                self.writing.store(true, Ordering::SeqCst);
                std::mem::swap(&mut text, &mut lock(&room.text));
                some |= !text.is_empty();
                outlet.write_all(&text);
                text.clear();
                self.writing.store(false, Ordering::SeqCst);
            }
            if ended {
                return;
            }
            if !some {
                thread::park();
            }
            thread::sleep(GATHER);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A text that a panic left is still a text.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write;
    use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

    /// Takes what is written while somebody receives it.
    struct Slow(SyncSender<Vec<u8>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn read(from: &Receiver<Vec<u8>>) -> String {
        let bytes: Vec<u8> = from.iter().flatten().collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn lines_of_several_makers_come_whole_and_in_each_ones_order() {
        let (sender, receiver) = sync_channel(0);
        let (writer, outlet) = (Writer::new(), Outlet::other(Slow(sender)));
        let makers: Vec<_> = (0..3)
            .map(|maker| {
                let lines = writer.room(&outlet).unwrap();
                thread::spawn(move || (0..1000).for_each(|n| assert!(lines.put(&format!("{maker} {n}")))))
            })
            .collect();
        drop((writer, outlet));
        let text = read(&receiver);
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        for maker in 0..3 {
            let of_maker: Vec<usize> = text
                .lines()
                .filter_map(|line| line.strip_prefix(&format!("{maker} "))?.parse().ok())
                .collect();
            assert_eq!(of_maker, (0..1000).collect::<Vec<_>>());
        }
        assert_eq!(text.lines().count(), 3000);
    }

    #[test]
    fn a_reader_that_stands_still_costs_lines_and_holds_nobody_up() {
        let (sender, receiver) = sync_channel(0);
        let (writer, outlet) = (Writer::new(), Outlet::other(Slow(sender)));
        let lines = writer.room(&outlet).unwrap();
        let line = "x".repeat(1000);
        // Nobody receives yet: a put that waited would wait for ever.
        let taken = (0..10_000).filter(|_| lines.put(&line)).count();
        assert!(taken < 10_000);
        assert_eq!(writer.dropped(), (10_000 - taken) as u64);
        drop((writer, outlet, lines));
        assert_eq!(read(&receiver).lines().count(), taken);
    }

    #[test]
    fn a_flush_waits_for_what_was_put() {
        let (sender, receiver) = sync_channel(1000);
        let (writer, outlet) = (Writer::new(), Outlet::other(Slow(sender)));
        let lines = writer.room(&outlet).unwrap();
        lines.put("last words");
        writer.flush(Duration::from_secs(60));
        assert_eq!(receiver.try_recv().unwrap(), b"last words\n");
    }
}
