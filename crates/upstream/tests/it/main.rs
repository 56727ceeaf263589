//! Requests to scripted targets over real sockets, and their answers.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod early;
mod exchange;
mod front;
mod health;
mod http2;
mod keeping;
mod pool;
mod retries;
mod support;
mod switched;
mod targets;
mod time_outs;
