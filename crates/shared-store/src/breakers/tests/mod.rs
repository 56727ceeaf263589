//! Breakers of several nodes in one process, over memory and over a real Redis.

#![allow(clippy::unwrap_used)]

mod script;
mod together;
