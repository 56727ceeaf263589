//! What an operator says of a breaker, on its way into the log.

use super::overrides::{COLLECTION, LEVEL, Stored, record_key};
use super::view::BreakerOrdered;
use super::{breakers, gather};
use crate::change::{Actor, Pending, catch_up};
use crate::core::{Core, Shared};
use crate::leader::{self, envelope, propose};
use crate::refusal::Refusal;
use crate::rfc3339;
use crate::wire::{FromLeader, ToLeader};
use serde::{Deserialize, Serialize};
use sluice_consensus::{Applied, Body};
use sluice_shared_state::BreakerKey;
use std::time::Duration;

/// No override has less time.
pub const SHORTEST_OVERRIDE: Duration = Duration::from_secs(1);

/// None has more: what is to hold for good belongs into the document.
pub const LONGEST_OVERRIDE: Duration = Duration::from_secs(7 * 24 * 3600);

/// So many overrides at once.
const MOST: usize = 1000;

/// How long the leader may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is to become of a breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BreakerAct {
    /// No attempt passes, whatever the evidence is.
    Open {
        /// For so long, between [`SHORTEST_OVERRIDE`] and [`LONGEST_OVERRIDE`].
        lasting: Duration,
    },
    /// All attempts pass, whatever the evidence is.
    Close {
        /// As above.
        lasting: Duration,
    },
    /// The evidence decides again.
    Release,
}

/// An order about a breaker, as it reaches any node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BreakerOrder {
    /// The upstream.
    pub upstream: String,
    /// Gateway and id of the route whose own breaker is meant; `None`: the upstream's.
    pub route: Option<(String, String)>,
    /// What.
    pub act: BreakerAct,
    /// Who asks; why stands there.
    pub actor: Actor,
}

/// Carries an order out through the leader, and waits a moment for all nodes to hold it.
pub(crate) async fn order(core: &Shared, order: BreakerOrder) -> Result<BreakerOrdered, Refusal> {
    let key = order.key();
    if order.act != BreakerAct::Release {
        let (reports, _) = gather::breakers(core, None).await;
        breakers::known(&key, &reports)?;
    }
    // A leader of an older binary would not understand the order.
    let cluster = core.consensus.head().level;
    if cluster < LEVEL {
        return Err(Refusal::LevelTooLow { needed: LEVEL, cluster });
    }
    let request_id = (order.act != BreakerAct::Release).then(|| order.actor.request_id.clone());
    match leader::ask(core, ToLeader::Override(order), PATIENCE).await? {
        FromLeader::Done => {}
        other => {
            return Err(Refusal::Internal {
                why: format!("the leader answered something else than was asked: {other:?}"),
            });
        }
    }
    let (reports, silent) = gather::breakers(
        core,
        Some(gather::Awaited {
            key: key.clone(),
            request_id,
        }),
    )
    .await;
    let late = reports.iter().filter(|report| !report.agrees).map(|report| Pending {
        name: report.node.clone(),
        why: "it has not heard of it yet".to_owned(),
    });
    let away = silent.iter().map(|silent| Pending {
        name: silent.name.clone(),
        why: silent.why.clone(),
    });
    Ok(BreakerOrdered {
        live: reports
            .iter()
            .filter(|report| report.agrees)
            .map(|report| report.node.clone())
            .collect(),
        pending: late.chain(away).collect(),
        breaker: breakers::one(&core.node.name, &key, &reports, &core.enforced.overrides()),
    })
}

/// Writes it into the log. On the leader.
pub(crate) async fn lead(core: &Core, order: BreakerOrder) -> Result<(), Refusal> {
    let _turn = core.turn.lock().await;
    catch_up(core).await?;
    let records = core.consensus.records(COLLECTION);
    let key = order.key();
    let name = record_key(&key);
    tracing::info!(breaker = name, act = ?order.act, who = order.actor.who, request_id = order.actor.request_id, "a breaker is set by hand");
    let present = records.contains_key(&name);
    let value = match order.act {
        BreakerAct::Release if !present => {
            return Err(Refusal::NotFound {
                what: format!("override of the breaker of {name}: it decides by itself"),
            });
        }
        BreakerAct::Release => None,
        BreakerAct::Open { .. } | BreakerAct::Close { .. } if !present && records.len() >= MOST => {
            return Err(Refusal::Conflict {
                why: format!("{MOST} breakers are set by hand already: release some first"),
            });
        }
        BreakerAct::Open { lasting } | BreakerAct::Close { lasting } => {
            let stored = stored(key, &order, lasting);
            let value = serde_json::to_vec(&stored).map_err(|error| Refusal::Internal { why: error.to_string() })?;
            Some(value)
        }
    };
    let request_id = order.actor.request_id.clone();
    let body = Body::Record {
        collection: COLLECTION.to_owned(),
        key: name,
        value,
    };
    let mut envelope = envelope(0, order.actor, body);
    envelope.level = LEVEL;
    recorded(propose(core, envelope, &request_id).await?)
}

fn stored(key: BreakerKey, order: &BreakerOrder, lasting: Duration) -> Stored {
    let lasting = lasting.clamp(SHORTEST_OVERRIDE, LONGEST_OVERRIDE);
    let at_ms = rfc3339::now_ms();
    Stored {
        key,
        open: matches!(order.act, BreakerAct::Open { .. }),
        who: order.actor.who.clone(),
        from: order.actor.from.clone(),
        why: order.actor.why.clone().unwrap_or_default(),
        request_id: order.actor.request_id.clone(),
        at_ms,
        until_ms: at_ms.saturating_add(u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX)),
    }
}

/// What the log answers to a record.
pub(super) fn recorded(applied: Applied) -> Result<(), Refusal> {
    match applied {
        Applied::Record => Ok(()),
        Applied::LevelTooLow { cluster } => Err(Refusal::LevelTooLow { needed: LEVEL, cluster }),
        other => Err(Refusal::Internal {
            why: format!("the log answered something else than was asked: {other:?}"),
        }),
    }
}

// === impl BreakerOrder ===

impl BreakerOrder {
    /// Whose breaker is meant.
    pub(crate) fn key(&self) -> BreakerKey {
        BreakerKey {
            upstream: self.upstream.as_str().into(),
            route: self
                .route
                .as_ref()
                .map(|(gateway, id)| (gateway.as_str().into(), id.as_str().into())),
        }
    }
}
