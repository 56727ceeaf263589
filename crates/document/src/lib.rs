//! What the operator declares: the gateway document.
//!
//! Owns the declared types, their parsing from YAML, JSON and TOML with the place of every error, the checks that need
//! nothing but the document, its normal form, its parts and the difference of two documents.
//! Must never know how anything is compiled or served, the time, or the network.

pub mod declared;
