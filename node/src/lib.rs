//! What the binary is made of, as a library, so that tests reach it.
//!
//! Owns the settings of a node, and how the rooms are put together to one. Must never know how anything is done.

#![forbid(unsafe_code)]

pub mod aborts;
pub mod running;
pub mod settings;
