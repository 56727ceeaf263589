//! What a node keeps of its upstreams beside the workers: checks of targets, its breakers, and what these ask.

use crate::crew::{Orders, Stage};
use sluice_shared_store::Breakers;
use sluice_snapshot::Published;
use sluice_upstream::Health;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::watch;

/// Hands each configuration that is published on to `health`, in their order, and has a cell made for each of its breakers,
/// until the data plane is over.
///
/// The workers take a snapshot each in its own time; of them one could bring back what was before. And a breaker is
/// forgotten when nobody holds its cell: one whose numbers change must not be while no request comes.
pub(crate) async fn keep(
    health: Health,
    breakers: Breakers,
    published: Published,
    mut orders: watch::Receiver<Orders>,
) {
    let mut changed = published.changed();
    loop {
        changed.borrow_and_update();
        let snapshot = published.current();
        health.reconcile(snapshot.upstreams());
        for guard in snapshot.breakers() {
            let _ = guard.cell(&breakers);
        }
        drop(snapshot);
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { break },
            () = over(&mut orders) => break,
        }
    }
    // Checks end with the configuration that asked for them.
    health.reconcile(&[]);
}

/// Finds out how an upstream is, where a breaker that other nodes suspect asks this one, until the data plane is over.
pub(crate) async fn opine(health: Health, breakers: Breakers, mut orders: watch::Receiver<Orders>) {
    let mut checks = breakers.checks();
    loop {
        let asked = tokio::select! {
            asked = checks.recv() => asked,
            () = over(&mut orders) => return,
        };
        match asked {
            Ok(key) => {
                if let Some(well) = health.opinion(&key.upstream).await {
                    breakers.opinion(&key, well);
                }
            }
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return,
        }
    }
}

async fn over(orders: &mut watch::Receiver<Orders>) {
    // An error says that whoever gives orders is gone.
    let _ = orders.wait_for(|orders| orders.stage == Stage::Ended).await;
}
