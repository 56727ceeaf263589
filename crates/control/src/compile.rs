//! Threads that compile, and nothing else: with a stack of their own size, niced, bounded in time
//! and memory, and never on the runtime that carries Raft.

use crate::wire::Objection;
use sluice_consensus::PartChange;
use sluice_document::{PartKey, decode_part};
use sluice_snapshot::{Change, CompileBudget, CompileError, NodeContext, Snapshot, compile_changes};
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a compile may take before it is refused.
pub(crate) const TIME: Duration = Duration::from_secs(10);

/// How much memory, as the compiler estimates it.
const MEMORY: usize = 512 * 1024 * 1024;

/// Deep expressions and patterns are taken apart on the stack.
const STACK: usize = 16 * 1024 * 1024;

/// Lower than everything that serves.
const NICE: i32 = 10;

/// A thread that compiles one after the other. It ends with its last handle.
#[derive(Debug, Clone)]
pub(crate) struct Compiler {
    jobs: mpsc::Sender<Job>,
}

/// What is to be compiled.
#[derive(Debug)]
pub(crate) struct Task {
    /// The changes since `from`.
    pub(crate) changes: Vec<PartChange>,
    pub(crate) from: Arc<Snapshot>,
    /// The version that it makes.
    pub(crate) version: u64,
    /// Of all its parts.
    pub(crate) digest: [u8; 16],
}

#[derive(Debug)]
struct Job {
    task: Task,
    done: oneshot::Sender<Result<Snapshot, Vec<Objection>>>,
}

// === impl Compiler ===

impl Compiler {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the system gives none.
    pub(crate) fn start(name: &str, node: NodeContext, log: tracing::Dispatch) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::channel::<Job>();
        thread::Builder::new()
            .name(name.to_owned())
            .stack_size(STACK)
            .spawn(move || {
                let _log = tracing::dispatcher::set_default(&log);
                be_nice();
                while let Ok(Job { task, done }) = waiting.recv() {
                    // Nobody waits any more where the asker gave up.
                    let _ = done.send(compile(task, &node));
                }
            })?;
        Ok(Self { jobs })
    }

    /// Compiles.
    ///
    /// # Errors
    /// Every reason why this node could not serve it.
    pub(crate) async fn compile(&self, task: Task) -> Result<Snapshot, Vec<Objection>> {
        let (done, result) = oneshot::channel();
        let sent = self.jobs.send(Job { task, done });
        match (sent, result.await) {
            (Ok(()), Ok(result)) => result,
            _ => Err(vec![whole("the compiling thread has ended".to_owned())]),
        }
    }
}

fn compile(task: Task, node: &NodeContext) -> Result<Snapshot, Vec<Objection>> {
    let Task {
        changes,
        from,
        version,
        digest,
    } = task;
    #[cfg(feature = "fault-points")]
    crate::fault_points::at_compile(changes.iter().filter(|c| c.value.is_some()).map(|c| &*c.key));
    let budget = CompileBudget {
        time: TIME,
        max_bytes: MEMORY,
    };
    // What is borrowed across is dropped after a panic, whatever state it is in.
    let compiled = catch_unwind(AssertUnwindSafe(|| {
        let changes = parts(changes)?;
        compile_changes(changes, &from, version, digest, node, &budget).map_err(objections)
    }));
    match compiled {
        Ok(compiled) => compiled,
        Err(panic) => Err(vec![whole(format!("compiling it panicked: {}", message(&*panic)))]),
    }
}

fn parts(changes: Vec<PartChange>) -> Result<Vec<Change>, Vec<Objection>> {
    let mut parts = Vec::with_capacity(changes.len());
    let mut objections = Vec::new();
    for PartChange { key, value } in changes {
        let parsed: Result<PartKey, _> = key.parse();
        let change = match (parsed, value) {
            (Ok(key), None) => Ok(Change::Delete(key)),
            (Ok(key), Some(value)) => decode_part(&key, &value)
                .map(|part| Change::Put(key, part))
                .map_err(|error| error.to_string()),
            (Err(_), _) => Err("this node knows no part of this kind: is its binary older?".to_owned()),
        };
        match change {
            Ok(change) => parts.push(change),
            Err(why) => objections.push(Objection {
                part: key.to_string(),
                why,
            }),
        }
    }
    if objections.is_empty() {
        Ok(parts)
    } else {
        Err(objections)
    }
}

fn objections(error: CompileError) -> Vec<Objection> {
    match error {
        CompileError::Invalid(faults) | CompileError::Unserveable(faults) => faults
            .into_iter()
            .map(|fault| Objection {
                part: fault.part.to_string(),
                why: fault.why,
            })
            .collect(),
        CompileError::OverBudget { .. } => vec![whole(error.to_string())],
    }
}

fn whole(why: String) -> Objection {
    Objection {
        part: String::new(),
        why,
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// Gives this thread less of a busy machine than those that serve.
fn be_nice() {
    // A thread's own niceness is a matter of Linux; elsewhere compiling competes as an equal.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "the compiling thread could not be niced");
    }
}
