//! What other nodes ask of this one over the link.

use crate::core::{Core, Shared};
use crate::leader;
use crate::membership;
use crate::refusal::Refusal;
use crate::shared::Asked;
use crate::wire::{self, FromLeader, ToLeader};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use sluice_peer::{Identity, Serve, Service};
use std::sync::{Arc, Weak};

/// Answers calls for one node's control. Holds it weakly: the link outlives nothing.
pub(crate) struct Answering(pub(crate) Weak<Core>);

impl Serve for Answering {
    fn serve(&self, from: Arc<Identity>, service: Service, body: Bytes) -> BoxFuture<'static, Result<Vec<u8>, String>> {
        let core = self.0.upgrade();
        Box::pin(async move {
            let core = core.ok_or_else(|| "this node is being stopped".to_owned())?;
            match service {
                Service::RAFT => core.consensus.handle_call(from, body).await,
                Service::FORWARD => forward(&core, &from, wire::decode(&body)?).await,
                Service::PREPARE => reply(&crate::follow::rehearse(&core, wire::decode(&body)?).await),
                Service::FORM => reply(&membership::answer(&core, &from, wire::decode(&body)?).await),
                Service::MEMBERS => {
                    membership::obey(&core, &wire::decode(&body)?);
                    Ok(Vec::new())
                }
                Service::SHARED => shared(&core, &from, wire::decode(&body)?).await,
                Service(other) => Err(format!(
                    "service {other} is not known here: is this node's binary older?"
                )),
            }
        })
    }
}

async fn shared(core: &Shared, from: &Identity, asked: Asked) -> Result<Vec<u8>, String> {
    if membership::is_stranger(core, from.id) {
        return Err(format!("{} is no member of the cluster", from.name));
    }
    reply(&crate::shared::answer(core, asked).await)
}

async fn forward(core: &Shared, from: &Identity, what: ToLeader) -> Result<Vec<u8>, String> {
    match what {
        // Whoever is at the door may knock anywhere.
        ToLeader::Admit { .. } | ToLeader::Place { .. } => reply(&membership::pass_on(core, what).await),
        // Who was removed or replaced still knows the token, and no more the cluster.
        _ if membership::is_stranger(core, from.id) => reply(&FromLeader::Refused(Refusal::Conflict {
            why: format!(
                "{} (id {}) is no member of the cluster: it was removed or replaced; ask another node",
                from.name, from.id
            ),
        })),
        what => reply(&leader::serve(core, what).await),
    }
}

fn reply<T: serde::Serialize>(answer: &T) -> Result<Vec<u8>, String> {
    wire::encode(answer).map_err(|refusal| refusal.to_string())
}
