//! The admin API, as its client sees it.

mod answers;
mod connection;
mod endpoint;
mod failure;
mod find;

pub(crate) use answers::{Cluster, Degraded, History, Made, Member, Ready, SettingRows, Tokens, Written};
pub(crate) use connection::{Call, Client};
pub(crate) use endpoint::{Endpoint, encode};
pub(crate) use failure::Failure;
pub(crate) use find::{Environment, find};
