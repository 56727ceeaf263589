//! The lines to other nodes: one per address, with a connection per lane, dialled when needed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::Lane;
use crate::backoff::Backoff;
use crate::dialled::Dialled;
use crate::error::CallError;
use crate::shake::{Party, dial};
use crate::shared::{Phase, Shared};
use crate::wire::{End, Moved, Pulse};

/// All lines, by address as it was given.
#[derive(Debug, Default)]
pub(crate) struct Lines(Mutex<HashMap<String, Arc<Line>>>);

/// An address that was called.
#[derive(Debug)]
pub(crate) struct Line {
    address: String,
    used: Moved,
    control: Mutex<State>,
    bulk: Mutex<State>,
}

#[derive(Debug)]
enum State {
    Down {
        backoff: Backoff,
        error: Option<CallError>,
    },
    Dialling {
        result: Outcome,
        backoff: Backoff,
        error: Option<CallError>,
    },
    Up {
        connection: Arc<Dialled>,
        backoff: Backoff,
    },
}

/// What will come of a dial.
type Outcome = watch::Receiver<Option<Result<Arc<Dialled>, CallError>>>;

/// After so many failures in a row a call no longer waits for the next dial: a peer whose system
/// accepts and whose process is frozen would cost each call all of its patience.
const HOPELESS: u32 = 3;

/// How an address stands.
#[derive(Debug)]
pub(crate) enum Reach {
    /// Connected.
    Up(Arc<Dialled>),
    /// Being dialled: [`Dial::outcome`] waits for it.
    Dialling(Dial),
    /// It did not answer, and it is too early to dial again.
    Down(CallError),
}

/// A dial under way.
#[derive(Debug)]
pub(crate) struct Dial {
    address: String,
    result: Outcome,
}

// === impl Lines ===

impl Lines {
    /// The line to this address, in use from now on.
    pub(crate) fn to(&self, address: &str) -> Arc<Line> {
        let mut lines = self.lock();
        let line = match lines.get(address) {
            Some(line) => Arc::clone(line),
            None => {
                let line = Arc::new(Line::new(address));
                lines.insert(address.to_owned(), Arc::clone(&line));
                line
            }
        };
        line.used.touch();
        line
    }

    /// Every connection that stands.
    pub(crate) fn connections(&self) -> Vec<Arc<Dialled>> {
        self.lock().values().flat_map(|line| line.connections()).collect()
    }

    /// Closes and forgets lines that nobody has used for `unused`.
    pub(crate) fn sweep(&self, unused: Duration) {
        let now = Instant::now();
        self.lock().retain(|_, line| {
            let busy = line.connections().iter().any(|c| !c.wire.look(|side| side.is_idle()));
            let keep = busy || line.is_dialling() || line.used.last() + unused > now;
            if !keep {
                for connection in line.connections() {
                    connection.wire.end(End::lost("it was not used any more"));
                }
            }
            keep
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Line>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Line ===

impl Line {
    fn new(address: &str) -> Self {
        let down = || {
            Mutex::new(State::Down {
                backoff: Backoff::default(),
                error: None,
            })
        };
        Self {
            address: address.to_owned(),
            used: Moved::new(),
            control: down(),
            bulk: down(),
        }
    }

    /// How the address stands on this lane; begins to dial it where it is neither connected nor to
    /// be left alone. With `force` it is not left alone.
    pub(crate) fn reach(self: &Arc<Self>, shared: &Arc<Shared>, lane: Lane, force: bool) -> Reach {
        let now = Instant::now();
        let mut state = self.state(lane);
        if let State::Up { connection, backoff } = &mut *state {
            let Some(end) = connection.wire.ended() else {
                return Reach::Up(Arc::clone(connection));
            };
            let lived = end.at.saturating_duration_since(connection.since);
            backoff.ended(lived, end.at, &shared.timings, fastrand::f64());
            let error = CallError::Unreachable {
                address: self.address.clone(),
                why: end.why.clone(),
            };
            *state = State::Down {
                backoff: *backoff,
                error: Some(error),
            };
        }
        let (backoff, error) = match &*state {
            // Its task is gone without a result only where it panicked: the next one may do better.
            State::Dialling { result, backoff, error } if result.has_changed().is_ok() => {
                return self.dialling(result, backoff, error.as_ref(), force);
            }
            State::Down {
                backoff,
                error: Some(error),
            } if !force && backoff.remaining(now).is_some() => {
                return Reach::Down(error.clone());
            }
            State::Dialling { backoff, error, .. } | State::Down { backoff, error } => (*backoff, error.clone()),
            // Handled above.
            State::Up { backoff, .. } => (*backoff, None),
        };
        let (told, result) = watch::channel(None);
        let (line, dialling) = (Arc::clone(self), Arc::clone(shared));
        let work = async move {
            let outcome = line.dial(&dialling, lane, backoff).await;
            told.send_replace(Some(outcome));
        };
        if shared.spawn(work).is_none() {
            return Reach::Down(CallError::ShutDown);
        }
        let reach = self.dialling(&result, &backoff, error.as_ref(), force);
        *state = State::Dialling { result, backoff, error };
        reach
    }

    async fn dial(
        self: &Arc<Self>,
        shared: &Arc<Shared>,
        lane: Lane,
        mut backoff: Backoff,
    ) -> Result<Arc<Dialled>, CallError> {
        let identity = shared.identity();
        let party = Party {
            tls: &shared.tls,
            secret: shared.secret.as_ref(),
            identity: &identity,
            timings: &shared.timings,
        };
        let mut phase = shared.phase();
        let dialled = tokio::select! {
            dialled = dial(&party, &self.address, lane) => dialled,
            _ = phase.wait_for(|phase| *phase != Phase::Running) => Err(CallError::ShutDown),
        };
        let greeted = match dialled {
            Ok(greeted) => greeted,
            Err(error) => {
                backoff.failed(error.is_mismatch(), Instant::now(), &shared.timings, fastrand::f64());
                tracing::debug!(address = self.address, %lane, %error, "a peer was dialled in vain");
                *self.state(lane) = State::Down {
                    backoff,
                    error: Some(error.clone()),
                };
                return Err(error);
            }
        };
        tracing::debug!(address = self.address, %lane, peer = greeted.theirs.name, id = %greeted.theirs.id, "connected to a peer");
        let connection = Arc::new(Dialled::new(&self.address, lane, greeted.theirs, shared));
        let (carried, mut phase) = (Arc::clone(&connection), shared.phase());
        let pulse = Pulse {
            ping: Some(shared.timings.ping),
            silence: shared.timings.silence,
        };
        let (stream, address) = (greeted.stream, self.address.clone());
        let carrying = async move {
            let leaving = async move {
                // An error is the link's end as well.
                let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
            };
            carried.wire.carry_until(leaving, stream, pulse).await;
            let why = carried.wire.ended().map(|end| end.why.clone()).unwrap_or_default();
            tracing::debug!(address, %lane, why, "a connection to a peer ended");
        };
        if shared.spawn(carrying).is_none() {
            connection.wire.end(End::shutdown());
        }
        *self.state(lane) = State::Up {
            connection: Arc::clone(&connection),
            backoff,
        };
        shared.dialled(&connection, identity.cluster_id, lane);
        Ok(connection)
    }

    fn dialling(&self, result: &Outcome, backoff: &Backoff, error: Option<&CallError>, force: bool) -> Reach {
        match error {
            Some(error) if !force && backoff.failures() >= HOPELESS => Reach::Down(error.clone()),
            _ => Reach::Dialling(Dial {
                address: self.address.clone(),
                result: result.clone(),
            }),
        }
    }

    fn connections(&self) -> Vec<Arc<Dialled>> {
        [Lane::Control, Lane::Bulk]
            .into_iter()
            .filter_map(|lane| match &*self.state(lane) {
                State::Up { connection, .. } => Some(Arc::clone(connection)),
                _ => None,
            })
            .collect()
    }

    fn is_dialling(&self) -> bool {
        [Lane::Control, Lane::Bulk]
            .into_iter()
            .any(|lane| matches!(&*self.state(lane), State::Dialling { .. }))
    }

    fn state(&self, lane: Lane) -> MutexGuard<'_, State> {
        let state = match lane {
            Lane::Control => &self.control,
            Lane::Bulk => &self.bulk,
        };
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Dial ===

impl Dial {
    /// What came of it. Giving up on waiting does not end the dial: others wait for it too.
    pub(crate) async fn outcome(mut self) -> Result<Arc<Dialled>, CallError> {
        match self.result.wait_for(Option::is_some).await {
            Ok(result) => match &*result {
                Some(result) => result.clone(),
                None => Err(CallError::ShutDown),
            },
            Err(_) => Err(CallError::Unreachable {
                address: self.address,
                why: "the dial was given up".to_owned(),
            }),
        }
    }
}
