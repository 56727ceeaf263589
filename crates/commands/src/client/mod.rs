//! The admin API, as its client sees it.

mod answers;
mod connection;
mod endpoint;
mod events;
mod failure;
mod find;
mod shared;

pub(crate) use answers::{Cluster, Degraded, History, Made, Member, Past, Ready, SettingRows, Tokens, Trial, Written};
pub(crate) use connection::{Answer, Call, Client};
pub(crate) use endpoint::{Endpoint, encode};
pub(crate) use events::{Event, Events};
pub(crate) use failure::Failure;
pub(crate) use find::{Environment, find};
pub(crate) use shared::{
    Breaker, Breakers, Counts, Limit, LimitOfKey, Limits, Ordered, Refusals, Reset, Rule, Silent, Standing,
};
