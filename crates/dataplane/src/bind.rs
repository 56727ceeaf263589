//! Taking the ports.

use crate::settings::Settings;
use sluice_transport::ListenError;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

/// Why the data plane could not take its ports.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// One address could not be listened on.
    #[error("listener {listener:?}: {source}")]
    Listen {
        /// Its name in the settings.
        listener: Arc<str>,
        /// What is wrong with it, and what to do.
        #[source]
        source: ListenError,
    },
    /// There is nothing to listen on.
    #[error("no listener is configured; set listen.http to at least one address, such as 0.0.0.0:8080")]
    NoListener,
}

/// A data plane with its ports taken, not yet serving. Connections that come meanwhile wait in the
/// system's queues.
#[derive(Debug)]
pub struct Bound {
    pub(crate) settings: Settings,
    pub(crate) listeners: Vec<OneListener>,
}

/// One address, with a socket for each worker.
#[derive(Debug)]
pub(crate) struct OneListener {
    pub(crate) name: Arc<str>,
    pub(crate) address: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

// === impl Bound ===

impl Bound {
    pub(crate) fn new(mut settings: Settings) -> Result<Self, BindError> {
        if settings.listeners.is_empty() {
            return Err(BindError::NoListener);
        }
        settings.workers = settings.workers.max(1);
        let take = |listener: &crate::settings::Listener| {
            let told = |source| BindError::Listen {
                listener: Arc::clone(&listener.name),
                source,
            };
            let sockets = sluice_transport::listen(listener.address, settings.workers).map_err(told)?;
            let address = sockets
                .first()
                .and_then(|socket| socket.local_addr().ok())
                .unwrap_or(listener.address);
            Ok(OneListener {
                name: Arc::clone(&listener.name),
                address,
                sockets,
            })
        };
        let listeners = settings.listeners.iter().map(take).collect::<Result<_, _>>()?;
        Ok(Self { settings, listeners })
    }

    /// Where it listens: name and address in the order of the settings, with the ports that the
    /// system chose where 0 was asked for.
    pub fn addresses(&self) -> impl Iterator<Item = (&Arc<str>, SocketAddr)> {
        self.listeners.iter().map(|listener| (&listener.name, listener.address))
    }
}
