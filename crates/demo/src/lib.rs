//! Three nodes and their sample services in one process, so that a newcomer sees a cluster within seconds.
//!
//! Owns: which ports the demo takes, its sample services and document, what it prints, the note by which the commands
//! find a running demo ([`running`]). Must never know how a node is made: it gets that as a [`StartNode`], and talks to
//! the nodes as anyone would, through their admin API. Signals are not its business either: it ends when its `stop`
//! does.
//!
//! ```text
//!   services up ─▶ nodes up ─▶ all ready ─▶ version 0? PUT the sample ─▶ print ─▶ stop ─▶ nodes drained ─▶ folder gone
//! ```

#![forbid(unsafe_code)]

mod admin;
mod folder;
mod guide;
mod node;
mod ports;
mod run;
pub mod running;
mod sample;
mod services;

pub use node::{BoxFuture, NodeSpec, RunningNode, StartNode};
pub use ports::{NODES, Ports};
pub use run::{DemoError, Options, run};
pub use sample::document;
pub use services::{Service, Services};
