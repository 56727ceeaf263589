//! A real HAProxy in front of three nodes, by the configuration that `deploy/haproxy` ships.

use crate::call::Call;
use crate::cluster::Cluster;
use crate::process::{Process, Start};
use crate::program;
use crate::world::{World, hosts};
use std::net::SocketAddr;

/// A running HAProxy.
#[derive(Debug)]
pub struct Balancer {
    address: SocketAddr,
    statistics: SocketAddr,
    _process: Process,
}

impl Balancer {
    /// Puts one in front of a cluster of three and waits until it sees all of them up.
    pub async fn start(world: &World, cluster: &Cluster) -> Self {
        let nodes = cluster.nodes().iter().map(|node| (node.http(), node.settings().admin));
        let balancer = Self::start_on(world, &nodes.collect::<Vec<_>>());
        for node in cluster.nodes() {
            balancer.sees(node.name(), "UP").await;
        }
        balancer
    }

    /// Puts one in front of three pairs of traffic and admin addresses, and does not wait.
    pub fn start_on(world: &World, nodes: &[(SocketAddr, SocketAddr)]) -> Self {
        assert_eq!(nodes.len(), 3, "deploy/haproxy/haproxy.cfg is made for three nodes");
        let address = world.block().at(hosts::BALANCER, 8000);
        let statistics = world.block().at(hosts::BALANCER, 8404);
        let config = program::repository().join("deploy/haproxy/haproxy.cfg");
        let mut start = Start::new("haproxy", program::neighbour("haproxy"), world.path("haproxy.log"))
            .args(["-db", "-f"])
            .args([config])
            .env("SLUICE_FRONT", address.to_string())
            .env("SLUICE_STATISTICS", statistics.to_string());
        for (place, (traffic, admin)) in nodes.iter().enumerate() {
            start = start.env(&format!("SLUICE_N{}", place + 1), traffic.to_string());
            start = start.env(&format!("SLUICE_N{}_ADMIN", place + 1), admin.to_string());
        }
        Self {
            address,
            statistics,
            _process: start.start().expect("haproxy starts"),
        }
    }

    /// Where clients call.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until HAProxy tells this state of a node: `UP`, `DOWN`.
    pub async fn sees(&self, node: &str, state: &str) {
        crate::eventually(&format!("haproxy to see {node} {state}"), || async {
            let told = self.state(node).await?;
            if told.starts_with(state) { Ok(()) } else { Err(told) }
        })
        .await;
    }

    async fn state(&self, node: &str) -> Result<String, String> {
        let answer = Call::get(self.statistics, "/;csv")
            .send()
            .await
            .map_err(|error| error.to_string())?;
        let text = answer.text();
        let line = text
            .lines()
            .find(|line| line.split(',').nth(1) == Some(node))
            .ok_or("not in the table")?;
        Ok(line.split(',').nth(17).unwrap_or("").to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Backend;

    /// A service that says its name to traffic and answers the checks like an admin port.
    async fn pretended(world: &World, host: u8, name: &str) -> (Backend, Backend) {
        let traffic = Backend::fixed(world.block().at(host, 8080), name).await;
        let admin = Backend::fixed(world.block().at(host, 9080), "{}").await;
        (traffic, admin)
    }

    #[tokio::test]
    async fn traffic_goes_to_the_nodes_whose_check_passes() {
        let world = World::new();
        let mut pretenders = Vec::new();
        for n in 1..=3 {
            pretenders.push(pretended(&world, n, &format!("n{n}")).await);
        }
        let addresses: Vec<_> = pretenders
            .iter()
            .map(|(http, admin)| (http.address(), admin.address()))
            .collect();
        let balancer = Balancer::start_on(&world, &addresses);
        for n in ["n1", "n2", "n3"] {
            balancer.sees(n, "UP").await;
        }
        pretenders.remove(0);
        balancer.sees("n1", "DOWN").await;
        for _ in 0..6 {
            let said = Call::get(balancer.address(), "/").answer().await.expect(200).text();
            assert!(said == "n2" || said == "n3");
        }
    }
}
