//! `telemetry`.

use super::{Decoder, fields};
use crate::declared::{AccessLog, Logged, Telemetry};
use crate::tree::Node;

/// `telemetry`.
pub(crate) fn telemetry<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Telemetry> {
    let f = d.fields(node, fields::TELEMETRY, "a map with access_log")?;
    Some(Telemetry {
        access_log: d.optional(&f, "access_log", access_log),
    })
}

fn access_log<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<AccessLog> {
    let f = d.fields(node, fields::ACCESS_LOG, "a map with on")?;
    Some(AccessLog {
        on: d.optional(&f, "on", logged),
    })
}

fn logged<'t>(d: &mut Decoder<'t>, node: &'t Node) -> Option<Logged> {
    let words = [("off", Logged::Off), ("errors", Logged::Errors), ("all", Logged::All)];
    d.word(node, &words, &[])
}
