//! A worker's thread: a runtime, and another one should the first die.

use super::accept::{Sockets, accept};
use super::{Worker, said};
use crate::crew::{Crew, Handed, Orders, Stage};
use crate::fault_points::FaultPoints;
use crate::front;
use crate::meters::Cells;
use sluice_shared_store::SharedStore;
use sluice_snapshot::Published;
use sluice_telemetry::log::{Lines, Log};
use sluice_upstream::{Health, Meters, Resolver};
use std::cell::RefCell;
use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::runtime::{Builder, LocalOptions, LocalRuntime, RuntimeMetrics};
use tokio::sync::{mpsc, watch};

/// How long a worker that died waits before it starts again: one that dies at once must not spin.
const PAUSE: Duration = Duration::from_millis(100);

/// All that a worker is made of, and made of again.
pub(crate) struct Begin {
    pub(crate) index: usize,
    pub(crate) crew: Arc<Crew>,
    pub(crate) cells: Arc<Cells>,
    pub(crate) published: Published,
    pub(crate) shared: SharedStore,
    pub(crate) upstreams: Meters,
    pub(crate) resolver: Resolver,
    pub(crate) health: Health,
    pub(crate) log: Log,
    pub(crate) orders: watch::Receiver<Orders>,
}

/// Says that the first runtime stands, with its measures, or why it does not.
pub(crate) type Ready = SyncSender<io::Result<RuntimeMetrics>>;

/// Starts a worker's thread.
///
/// # Errors
///
/// When the system gives no thread.
pub(crate) fn begin(
    begin: Begin,
    sockets: Vec<TcpListener>,
    inbox: mpsc::UnboundedReceiver<Handed>,
    lines: Lines,
    ready: Ready,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("worker-{}", begin.index))
        .spawn(move || {
            begin.log.on_thread();
            let lines = Rc::new(lines);
            let sockets: Sockets = Rc::new(RefCell::new(sockets.into_iter().map(Some).collect()));
            let runtime = match runtime() {
                Ok(runtime) => runtime,
                Err(error) => {
                    let _ = ready.send(Err(error));
                    return;
                }
            };
            let _ = ready.send(Ok(runtime.metrics()));
            // Who waits for all workers waits for the last of these.
            drop(ready);
            live(begin, &sockets, inbox, &lines, runtime);
        })
}

fn runtime() -> io::Result<LocalRuntime> {
    Builder::new_current_thread()
        .enable_all()
        .build_local(LocalOptions::default())
}

fn live(
    begin: Begin,
    sockets: &Sockets,
    mut inbox: mpsc::UnboundedReceiver<Handed>,
    lines: &Rc<Lines>,
    first: LocalRuntime,
) {
    again_and_again(begin.index, &begin.cells, &begin.orders, first, |runtime| {
        runtime.block_on(run(&begin, sockets, &mut inbox, Rc::clone(lines)));
    });
}

/// Lets `life` run until the orders are to end, each time with another runtime: what was left on
/// the one before, such as open connections, ends with it.
fn again_and_again(
    worker: usize,
    cells: &Cells,
    orders: &watch::Receiver<Orders>,
    first: LocalRuntime,
    mut life: impl FnMut(&LocalRuntime),
) {
    let mut next = Some(first);
    while orders.borrow().stage < Stage::Ended {
        let Some(runtime) = next.take().or_else(|| runtime().ok()) else {
            thread::sleep(PAUSE);
            continue;
        };
        let lived = catch_unwind(AssertUnwindSafe(|| {
            life(&runtime);
            drop(runtime);
        }));
        if let Err(panic) = lived {
            cells.deaths.add(1);
            let said = said(&*panic);
            tracing::error!(worker, said, "a worker died; it is started again");
            thread::sleep(PAUSE);
        }
    }
}

async fn run(begin: &Begin, sockets: &Sockets, inbox: &mut mpsc::UnboundedReceiver<Handed>, lines: Rc<Lines>) {
    let worker = Worker::new(begin, lines, FaultPoints::from_environment());
    for place in 0..begin.crew.settings.listeners.len() {
        tokio::task::spawn_local(accept(Rc::clone(&worker), Rc::clone(sockets), place));
    }
    let mut orders = begin.orders.clone();
    let mut published = begin.published.changed();
    loop {
        tokio::select! {
            biased;
            changed = orders.changed() => {
                worker.obey();
                if changed.is_err() || worker.orders().stage == Stage::Ended {
                    return;
                }
            }
            // Whoever has no requests takes what is new all the same: it is live when all have.
            Ok(()) = published.changed() => {
                worker.held();
            }
            Some(handed) = inbox.recv() => front::serve_handed(&worker, handed),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_worker_that_dies_is_started_again_and_counted() {
        let (sender, orders) = watch::channel(Orders::default());
        let cells = Cells::new(1);
        let mut lives = 0;
        again_and_again(0, &cells, &orders, runtime().unwrap(), |runtime| {
            lives += 1;
            runtime.block_on(async {
                assert!(lives > 2, "not yet");
                sender.send_modify(|orders| orders.stage = Stage::Ended);
            });
        });
        assert_eq!((lives, cells.deaths.get()), (3, 2));
    }
}
