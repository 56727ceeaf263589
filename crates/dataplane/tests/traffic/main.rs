//! A data plane between real clients and real services, over real sockets.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod access_log;
mod backend;
mod breakers;
mod client;
mod edge;
mod exchange;
mod failing;
mod fields;
mod forwarding;
mod hostile;
mod http2;
mod life;
mod limits;
mod metrics;
mod node;
mod own_answers;
mod places;
mod split;
mod streams;
mod tunnels;
mod upgrade;
mod websocket;
