//! Faults at random moments, told by a seed so that a run can be had again.

use crate::cluster::Cluster;
use fastrand::Rng;
use std::time::Duration;

/// A source of faults.
#[derive(Debug)]
pub struct Nemesis {
    seed: u64,
    random: Rng,
}

impl Nemesis {
    /// By `CLUSTER_TESTS_SEED`, or by chance; the seed is printed with the test's output.
    pub fn new() -> Self {
        let given = std::env::var("CLUSTER_TESTS_SEED")
            .ok()
            .and_then(|seed| seed.parse().ok());
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        eprintln!("CLUSTER_TESTS_SEED={seed}");
        Self {
            seed,
            random: Rng::with_seed(seed),
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Its randomness.
    pub fn random(&mut self) -> &mut Rng {
        &mut self.random
    }

    /// Waits for a moment within `span` that nobody can foresee.
    pub async fn moment(&mut self, span: Duration) {
        let part = self.random.f64();
        crate::wait::pass(span.mul_f64(part)).await;
    }

    /// `kill -9` of the leader at a moment within `span`; gives its number.
    pub async fn kill_the_leader(&mut self, cluster: &mut Cluster, span: Duration) -> usize {
        let leader = cluster.leader().await;
        self.moment(span).await;
        cluster.node_mut(leader).kill();
        leader
    }

    /// One of the cluster's nodes.
    pub fn anyone(&mut self, cluster: &Cluster) -> usize {
        self.random.usize(1..=cluster.nodes().len())
    }
}

impl Default for Nemesis {
    fn default() -> Self {
        Self::new()
    }
}
