//! What the binary is made of, as a library, so that tests reach it.
//!
//! Owns the settings of a node. Must never know how anything is done: the rooms do, `main` puts them together.

#![forbid(unsafe_code)]

pub mod settings;
