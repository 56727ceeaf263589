//! How messages are changed, so that a protocol is broken on purpose.

use super::scene::Broken;
use sluice_shared_state::ledger::{Call, Reply, Request};

pub(super) fn call(how: Option<Broken>, request: &mut Request) {
    match (how, &mut request.call) {
        (Some(Broken::HeldUntold), Call::Window(call)) => call.told.iter_mut().for_each(|told| told.2 = 0),
        (Some(Broken::HeldUntold), Call::Permits(call)) => call.has = call.used,
        (Some(Broken::HeldUntold), Call::Bucket(call)) => call.part = (0.0, 0),
        (Some(Broken::UsedUntold), Call::Window(call)) => call.told.iter_mut().for_each(|told| told.1 /= 2),
        (Some(Broken::UsedUntold), Call::Permits(call)) => call.has = 0,
        (Some(Broken::UsedUntold), Call::Bucket(call)) => {
            (call.spent, call.over) = (0.0, (0.0, 0.0));
        }
        _ => {}
    }
}

pub(super) fn reply(how: Option<Broken>, reply: &mut Reply) {
    match (how, reply) {
        (Some(Broken::LongLease), Reply::Window(reply)) => {
            reply.life *= 10;
            reply.present.closes += reply.present.closes / 2;
        }
        (Some(Broken::LongLease), Reply::Bucket(reply)) => reply.life *= 100,
        (Some(Broken::LongLease), Reply::Permits(reply)) => reply.life *= 100,
        (Some(Broken::Doubled), Reply::Window(reply)) => reply.present.granted *= 2,
        (Some(Broken::Doubled), Reply::Bucket(reply)) => {
            reply.part = (reply.part.0 * 2.0, reply.part.1 * 2);
            reply.level *= 2.0;
        }
        (Some(Broken::Doubled), Reply::Permits(reply)) => reply.granted *= 2,
        _ => {}
    }
}
