//! The command line: a client of the admin API for people and for scripts.
//!
//! Owns: every command with its flags and help, the client of the admin API, exit codes, tables, progress. Documents are
//! parsed and compared here, so that an operator sees what would change before anything is sent.
//!
//! Must never know: how a node works. A cluster is spoken to over HTTP alone, as anyone would; what only the binary can
//! do (run a node, run the demo, open a node's disk) it is asked for as a [`Host`].
//!
//! ```text
//!   arguments ─▶ verb ─▶ documents (parse, diff) ─▶ client ─HTTP─▶ admin API
//!                 └─▶ Host: node, demo, rescue            answers ─▶ terminal: table or JSON, exit code
//! ```

#![forbid(unsafe_code)]

mod arguments;
mod client;
mod documents;
mod exit;
mod figures;
mod run;
mod table;
mod terminal;
mod verbs;

pub use arguments::Rescue;
pub use exit::Exit;
pub use run::{Host, command, markdown, run};

#[cfg(test)]
mod tests;
