//! The one thread that writes: all that waits goes into one transaction, and is then answered in
//! the order in which it came.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use sluice_telemetry::prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;

use super::disk::{Disk, WriteError};
use crate::error::DiskError;
use crate::raft::types::{LogEntry, LogId, Membership, Vote};
use crate::state::{Effect, State};

/// Something to write.
#[derive(Debug)]
pub(crate) enum Op {
    Vote(Vote),
    Append(Vec<LogEntry>),
    /// Entries after `last` go.
    Truncate {
        last: Option<u64>,
    },
    /// Entries up to `upto` go; `last` is then the last of the log.
    Purge {
        upto: LogId,
        last: u64,
    },
    Apply {
        effects: Vec<Effect>,
        applied: LogId,
        membership: Option<Membership>,
    },
    /// The whole state becomes this one.
    Replace {
        state: State,
        applied: Option<LogId>,
        membership: Membership,
    },
    Meta {
        key: &'static str,
        value: Option<Vec<u8>>,
    },
}

/// What is done when it is on disk, or never will be. Runs on the storage thread: it must be quick.
pub(crate) type Done = Box<dyn FnOnce(Result<(), DiskError>) + Send>;

enum Message {
    Write(Box<Op>, Done),
    Stop,
}

/// The way to the storage thread. Clones lead to the same.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: Sender<Message>,
    fault: Arc<Mutex<Option<DiskError>>>,
}

/// How much is taken into one transaction.
const GROUP: usize = 256;

// === impl Writer ===

impl Writer {
    /// Starts the thread on this database.
    pub(crate) fn start(disk: Disk, fsync: Histogram) -> std::io::Result<(Self, JoinHandle<()>)> {
        let (queue, jobs) = mpsc::channel();
        let fault = Arc::default();
        let writer = Self {
            queue,
            fault: Arc::clone(&fault),
        };
        let thread = std::thread::Builder::new()
            .name("sluice-storage".to_owned())
            .spawn(move || run(disk, &jobs, &fault, &fsync))?;
        Ok((writer, thread))
    }

    /// Queues a write; `done` is told.
    pub(crate) fn submit(&self, op: Op, done: Done) {
        if let Err(mpsc::SendError(Message::Write(_, done))) = self.queue.send(Message::Write(Box::new(op), done)) {
            done(Err(self.fault().unwrap_or_else(stopped)));
        }
    }

    /// Writes; returns when it is on disk.
    pub(crate) async fn write(&self, op: Op) -> Result<(), DiskError> {
        let (tell, told) = oneshot::channel();
        self.submit(
            op,
            Box::new(|result| {
                let _ = tell.send(result);
            }),
        );
        told.await.unwrap_or_else(|_| Err(self.fault().unwrap_or_else(stopped)))
    }

    /// Writes; blocks until it is on disk.
    pub(crate) fn write_blocking(&self, op: Op) -> Result<(), DiskError> {
        let (tell, told) = mpsc::sync_channel(1);
        self.submit(
            op,
            Box::new(move |result| {
                let _ = tell.send(result);
            }),
        );
        told.recv()
            .unwrap_or_else(|_| Err(self.fault().unwrap_or_else(stopped)))
    }

    /// Ends the thread after what was queued before.
    pub(crate) fn stop(&self) {
        let _ = self.queue.send(Message::Stop);
    }

    /// The write that failed, after which nothing is written any more.
    pub(crate) fn fault(&self) -> Option<DiskError> {
        self.fault.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer")
            .field("fault", &self.fault())
            .finish_non_exhaustive()
    }
}

fn stopped() -> DiskError {
    DiskError {
        why: "the data directory is closed".to_owned(),
    }
}

fn run(mut disk: Disk, jobs: &Receiver<Message>, fault: &Mutex<Option<DiskError>>, fsync: &Histogram) {
    let mut failed: Option<DiskError> = None;
    let mut stopping = false;
    while !stopping {
        let Ok(first) = jobs.recv() else { return };
        let mut group = Vec::new();
        let waiting = std::iter::once(first).chain(std::iter::from_fn(|| jobs.try_recv().ok()));
        for message in waiting.take(GROUP) {
            match message {
                Message::Write(op, done) => group.push((op, done)),
                Message::Stop => {
                    stopping = true;
                    break;
                }
            }
        }
        if failed.is_none() && !group.is_empty() {
            let began = Instant::now();
            failed = write(&mut disk, group.iter().map(|(op, _)| &**op)).err();
            fsync.observe(began.elapsed().as_secs_f64());
            if let Some(failure) = &failed {
                tracing::error!(
                    error = %failure,
                    "a write to the data directory failed: this node takes no part in Raft until it is started again"
                );
                *fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure.clone());
            }
        }
        for (_, done) in group {
            done(failed.clone().map_or(Ok(()), Err));
        }
    }
}

/// A panic inside the database is a failed write like any other.
fn write<'a>(disk: &mut Disk, ops: impl Iterator<Item = &'a Op>) -> Result<(), DiskError> {
    let work = AssertUnwindSafe(|| {
        disk.write(|tables| {
            for op in ops {
                tables.carry_out(op)?;
            }
            Ok::<(), WriteError>(())
        })
    });
    match catch_unwind(work) {
        Ok(written) => written.map_err(|e| DiskError { why: e.to_string() }),
        Err(_) => Err(DiskError {
            why: "the database gave up; the log says more".to_owned(),
        }),
    }
}
