//! The door to connections with targets: the only place of this crate that names hyper and h2.
//!
//! What is one version's alone stands in a room of its own: [`http1`], [`http2`].

mod ask;
mod fault;
pub(crate) mod http1;
pub(crate) mod http2;
mod incoming;

pub(crate) use ask::ask;
pub(crate) use fault::Fault;
pub use incoming::Incoming;

use crate::body::Body;
use http::Request;

/// Why there is no head.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) fault: Fault,
    /// The request, where nothing of it was even looked at.
    pub(crate) returned: Option<Request<Body>>,
}
