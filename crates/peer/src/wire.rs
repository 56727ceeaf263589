//! One authenticated connection: its frames read and written until it ends.
//!
//! What frames mean is the business of a [`Side`]; this is the shell that has the socket and the
//! clock. Nothing in here waits for a side's work: a frame is taken in and the next is read, so a
//! slow service never keeps a heartbeat waiting.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, sleep_until, timeout};

use crate::assembly::Violation;
use crate::frame::Frame;
use crate::outbox::Outbox;

/// Bytes that are put together before they are written; what comes after waits for so many.
const BATCH: usize = 64 * 1024;

/// How long the orderly close of a connection may take.
const CLOSE: Duration = Duration::from_millis(200);

/// What an end of a connection makes of the frames that arrive, and what it has to send.
pub(crate) trait Side: Send + 'static {
    /// A frame has arrived. An error ends the connection.
    fn on_frame(&mut self, frame: Frame, now: Instant) -> Result<(), Violation>;
    /// What is to be sent.
    fn out(&mut self) -> &mut Outbox;
    /// The call's message has gone out whole.
    fn sent(&mut self, call: u64);
    /// The connection is over; called once.
    fn over(&mut self, end: &Arc<End>);
}

/// How a connection ended.
#[derive(Debug)]
pub(crate) struct End {
    /// In words.
    pub(crate) why: String,
    /// Whether it was our own link's shutdown.
    pub(crate) shutdown: bool,
    /// When.
    pub(crate) at: Instant,
}

/// When something last moved; read and written without a lock.
#[derive(Debug)]
pub(crate) struct Moved {
    epoch: Instant,
    micros: AtomicU64,
}

/// A connection, shared by the task that carries it and those who use it.
#[derive(Debug)]
pub(crate) struct Wire<S> {
    side: Mutex<S>,
    wake: Notify,
    /// Whether the last frames taken from the side have not all left for the system yet.
    unflushed: AtomicBool,
    end: watch::Sender<Option<Arc<End>>>,
}

/// How often to ping, and how long a silence is death.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pulse {
    /// `None` on the side that is pinged.
    pub(crate) ping: Option<Duration>,
    pub(crate) silence: Duration,
}

// === impl End ===

impl End {
    pub(crate) fn lost(why: impl Into<String>) -> Self {
        Self {
            why: why.into(),
            shutdown: false,
            at: Instant::now(),
        }
    }

    pub(crate) fn shutdown() -> Self {
        Self {
            why: "the link was shut down".to_owned(),
            shutdown: true,
            at: Instant::now(),
        }
    }
}

// === impl Moved ===

impl Moved {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            micros: AtomicU64::new(0),
        }
    }

    pub(crate) fn touch(&self) {
        let micros = u64::try_from(self.epoch.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_max(micros, Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> Instant {
        self.epoch + Duration::from_micros(self.micros.load(Ordering::Relaxed))
    }
}

// === impl Wire ===

impl<S: Side> Wire<S> {
    pub(crate) fn new(side: S) -> Self {
        Self {
            side: Mutex::new(side),
            wake: Notify::new(),
            unflushed: AtomicBool::new(false),
            end: watch::Sender::new(None),
        }
    }

    /// Uses the side; whatever it then has to send is sent.
    pub(crate) fn with<R>(&self, f: impl FnOnce(&mut S) -> R) -> R {
        let result = f(&mut self.lock());
        self.wake.notify_one();
        result
    }

    /// Looks at the side.
    pub(crate) fn look<R>(&self, f: impl FnOnce(&S) -> R) -> R {
        f(&self.lock())
    }

    /// Whether all that was taken from the side has left for the system.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.unflushed.load(Ordering::Acquire)
    }

    /// Ends the connection. The first reason stays.
    pub(crate) fn end(&self, end: End) {
        let mut side = self.lock();
        if self.end.borrow().is_none() {
            let end = Arc::new(end);
            side.over(&end);
            self.end.send_replace(Some(end));
        }
    }

    /// How the connection ended, if it has.
    pub(crate) fn ended(&self) -> Option<Arc<End>> {
        self.end.borrow().clone()
    }

    /// Carries the connection until it ends, or the link is `over`; then closes it.
    pub(crate) async fn carry_until<IO>(&self, over: impl Future<Output = ()>, io: IO, pulse: Pulse)
    where
        IO: AsyncRead + AsyncWrite + Send,
    {
        let carry = self.carry(io, pulse);
        tokio::pin!(carry);
        tokio::select! {
            () = &mut carry => return,
            () = over => self.end(End::shutdown()),
        }
        carry.await;
    }

    async fn carry<IO>(&self, io: IO, pulse: Pulse)
    where
        IO: AsyncRead + AsyncWrite + Send,
    {
        let (mut reader, mut writer) = tokio::io::split(io);
        let mut over = self.end.subscribe();
        let end = tokio::select! {
            end = self.read(&mut reader, pulse.silence) => Some(end),
            end = self.write(&mut writer, pulse.ping) => Some(end),
            _ = over.wait_for(Option::is_some) => None,
        };
        if let Some(end) = end {
            self.end(end);
        }
        // Whether the other side still hears of it changes nothing here.
        let _ = timeout(CLOSE, writer.shutdown()).await;
    }

    async fn read(&self, reader: &mut (impl AsyncRead + Unpin), silence: Duration) -> End {
        let mut arrived = BytesMut::new();
        let deadline = sleep(silence);
        tokio::pin!(deadline);
        loop {
            arrived.reserve(BATCH);
            // Reading comes first: after this process itself stood still, what has arrived
            // meanwhile counts before the clock does.
            let read = tokio::select! {
                biased;
                read = reader.read_buf(&mut arrived) => read,
                () = &mut deadline => return End::lost(format!("nothing was heard of it for {silence:?}")),
            };
            match read {
                Ok(0) => return End::lost("it closed the connection"),
                Ok(_) => deadline.as_mut().reset(tokio::time::Instant::now() + silence),
                Err(e) => return End::lost(format!("reading failed: {e}")),
            }
            if let Err(violation) = self.take_in(&mut arrived) {
                return End::lost(format!("the protocol was broken: {violation}"));
            }
        }
    }

    fn take_in(&self, arrived: &mut BytesMut) -> Result<(), Violation> {
        let now = Instant::now();
        let mut side = self.lock();
        while let Some(frame) = Frame::decode(arrived)? {
            side.on_frame(frame, now)?;
        }
        drop(side);
        self.wake.notify_one();
        Ok(())
    }

    async fn write(&self, writer: &mut (impl AsyncWrite + Unpin), ping: Option<Duration>) -> End {
        let mut batch = BytesMut::with_capacity(BATCH * 2);
        let mut next_ping = ping.map(|every| tokio::time::Instant::now() + every);
        loop {
            if let (Some(every), Some(due)) = (ping, next_ping)
                && tokio::time::Instant::now() >= due
            {
                self.lock().out().ping(0);
                next_ping = Some(tokio::time::Instant::now() + every);
            }
            self.fill(&mut batch);
            let written = if batch.is_empty() {
                writer.flush().await
            } else {
                writer.write_all(&batch).await
            };
            if let Err(e) = written {
                return End::lost(format!("writing failed: {e}"));
            }
            if !batch.is_empty() {
                batch.clear();
                continue;
            }
            self.unflushed.store(false, Ordering::Release);
            match next_ping {
                Some(due) => tokio::select! {
                    () = self.wake.notified() => {}
                    () = sleep_until(due) => {}
                },
                None => self.wake.notified().await,
            }
        }
    }

    fn fill(&self, batch: &mut BytesMut) {
        let mut side = self.lock();
        while batch.len() < BATCH {
            let Some(next) = side.out().next() else { return };
            self.unflushed.store(true, Ordering::Release);
            next.frame.encode(batch);
            if let Some(call) = next.finished {
                side.sent(call);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, S> {
        // A panic while the lock was held ended that connection's task; its state is only dropped.
        self.side.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
