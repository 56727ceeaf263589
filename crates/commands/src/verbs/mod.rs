//! What each command does.

mod apply;
mod breakers;
mod change;
mod check;
mod differ;
mod drain;
mod events;
mod export;
mod fmt;
mod health;
mod history;
mod limits;
mod members;
mod present;
mod rollback;
mod split;
mod status;
mod token;
mod top;
mod trial;
mod upgrade;

pub(crate) use apply::apply;
pub(crate) use breakers::breakers;
pub(crate) use check::check;
pub(crate) use differ::differ;
pub(crate) use drain::{drain, undrain};
pub(crate) use events::events;
pub(crate) use export::export;
pub(crate) use fmt::fmt;
pub(crate) use health::health;
pub(crate) use history::history;
pub(crate) use limits::limits;
pub(crate) use members::members;
pub(crate) use rollback::rollback;
pub(crate) use split::split;
pub(crate) use status::status;
pub(crate) use token::token;
pub(crate) use top::top;
pub(crate) use trial::{confirm, promote};
pub(crate) use upgrade::upgrade;

use crate::client::Client;
use crate::terminal::Terminal;

/// What a command works with.
pub(crate) struct Session<'a> {
    pub(crate) terminal: &'a Terminal,
    pub(crate) client: Client,
}
