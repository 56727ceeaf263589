//! openraft, joined to the store, the link and the state.

mod incoming;
mod log;
mod machine;
mod message;
mod network;
#[cfg(test)]
mod suite;
pub(crate) mod types;

pub(crate) use incoming::Incoming;
pub(crate) use log::LogStore;
pub(crate) use machine::Machine;
pub(crate) use message::{ReadRefusal, Request, Response};
pub(crate) use network::Network;
