//! The drivers of shared state: Redis, memory; leases fetched, evidence flushed, news received.
//!
//! Owns: the calls to the store and when they are given up, the breaker around the store itself, the node's table of
//! keys, what workers ask ([`Limiter`], [`Breakers`]), and what people ask of limits and breakers.
//!
//! Must never know: how a limit or a breaker decides (that is `shared-state`), the document, requests, routes.
//!
//! ```text
//!   worker: Limiter ──cell known──▶ decided, no wait
//!              └──key is new──▶ engine (one task) ──batch──▶ Redis, or memory
//!   worker: BreakerCell ◀──state── breakers (one task) ──evidence──▶ the same; news by push, polling beneath
//! ```

#![forbid(unsafe_code)]

mod backend;
mod breakers;
mod clock;
mod config;
mod limits;
mod memory;
mod redis;
mod store;
mod store_metrics;

pub use breakers::{BreakerView, Breakers, Forced, Transition};
pub use config::{Config, Driver, RedisSettings, RedisUrl, RedisUrlError};
pub use limits::{Ask, Decision, Held, Limiter, Limits, Outcome, Source, Standing, Verdict, Waiting};
pub use limits::{Here, KeyView, LimitSeen, RefusedKey, Stored, TokensOut, ViewError};
pub use memory::SharedMemory;
pub use store::{Members, SharedStore, StartError, StoreState};
