//! Asking every node, each at its own admin address.

use crate::client::{Call, Client, Cluster, Endpoint, Failure, Member, Ready};
use crate::figures::Figures;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A node that takes longer is as good as gone for whoever watches.
const TIME: Duration = Duration::from_secs(5);
/// Metrics of some ten thousand routes, each with several methods and statuses; a document is smaller.
const PAGE: usize = 64 << 20;

/// The cluster's nodes and where each is asked.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) cluster: Cluster,
    /// The last admin address that each was known by: a node that is not heard any more may still answer.
    addresses: BTreeMap<String, String>,
}

/// What the nodes answered, by name.
pub(super) type Round = BTreeMap<String, Result<Seen, String>>;

/// What one node answered.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) at: Instant,
    pub(super) ready: Ready,
    pub(super) figures: Figures,
}

/// The document of the node that answers.
pub(super) async fn document(client: &Client) -> Result<Value, Failure> {
    client.call(Call::get("/v1/config").at_most(PAGE)).await?.json()
}

// === impl Nodes ===

impl Nodes {
    /// Asks who there is.
    ///
    /// # Errors
    /// Nobody said so.
    pub(super) async fn find(client: &Client) -> Result<Self, Failure> {
        let cluster = client.call(Call::get("/v1/cluster")).await?.json()?;
        let mut nodes = Self {
            cluster,
            addresses: BTreeMap::new(),
        };
        nodes.keep_addresses();
        Ok(nodes)
    }

    /// Asks again; where nobody answers now, the members are those of before.
    pub(super) async fn look_again(&mut self, client: &Client) {
        let asked = client.call(Call::get("/v1/cluster").within(TIME)).await;
        if let Ok(cluster) = asked.and_then(|answer| answer.json()) {
            self.cluster = cluster;
            self.keep_addresses();
        }
    }

    fn keep_addresses(&mut self) {
        let members = &self.cluster.nodes;
        self.addresses
            .retain(|name, _| members.iter().any(|member| member.name == *name));
        for member in members {
            if let Some(admin) = &member.admin {
                self.addresses.insert(member.name.clone(), admin.clone());
            }
        }
    }

    /// Asks all nodes at once. `client` is for the node that it speaks to anyway; the others need no token for what is
    /// asked here, and are shown none.
    pub(super) async fn ask(&self, client: &Client) -> Round {
        let mut round = Round::new();
        let mut asking = JoinSet::new();
        for Member { name, .. } in &self.cluster.nodes {
            let own = self.cluster.answered_by.as_ref() == Some(name);
            let at = match self.addresses.get(name) {
                _ if own => Ok(client.clone()),
                Some(address) => of_address(address),
                None => Err("no other node hears it, so its admin address is not known".to_owned()),
            };
            match at {
                Ok(at) => {
                    let name = name.clone();
                    asking.spawn(async move {
                        let seen = ask(&at, &name).await;
                        (name, seen)
                    });
                }
                Err(why) => {
                    round.insert(name.clone(), Err(why));
                }
            }
        }
        while let Some(asked) = asking.join_next().await {
            // A task that panicked has no name to tell; its node is missing and is told as such.
            if let Ok((name, seen)) = asked {
                round.insert(name, seen);
            }
        }
        round
    }
}

fn of_address(address: &str) -> Result<Client, String> {
    let endpoint: Endpoint = format!("http://{address}").parse()?;
    Ok(Client::new(endpoint, None))
}

async fn ask(client: &Client, name: &str) -> Result<Seen, String> {
    // 503 is an answer too: it says why.
    let ready = client.exchange(Call::get("/readyz").within(TIME)).await;
    let ready: Ready = ready.and_then(|answer| answer.json()).map_err(short)?;
    if ready.name != name {
        return Err(format!(
            "{} is at {}, where this node is said to be: its advertise.admin is wrong",
            ready.name,
            client.endpoint()
        ));
    }
    let page = client
        .call(Call::get("/metrics").within(TIME).at_most(PAGE))
        .await
        .map_err(short)?;
    Ok(Seen {
        at: Instant::now(),
        ready,
        figures: Figures::read(&page.text()),
    })
}

/// In the few words that a table has room for.
fn short(failure: Failure) -> String {
    match failure {
        Failure::Unreachable { endpoint, why } => format!("no connection to {endpoint}: {why}"),
        other => other.to_string(),
    }
}
