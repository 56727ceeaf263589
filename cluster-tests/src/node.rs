//! One `sluice node` process: its settings, its life, its ports.

use crate::admin::Admin;
use crate::process::{Process, Start};
use crate::program;
use crate::world::{World, hosts};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

/// The secret that members of test clusters show each other.
pub const CLUSTER_TOKEN: &str = "a-cluster-token-of-the-scenario-tests";
/// The token of the operator in test clusters.
pub const ADMIN_TOKEN: &str = "an-admin-token-of-the-scenario-tests";

/// A node that may run, be stopped, killed, wiped and started again.
#[derive(Debug)]
pub struct Node {
    settings: Settings,
    process: Option<Process>,
    log: PathBuf,
}

/// The settings of a node, as flags and environment.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its name, `n1`.
    pub name: String,
    /// Its data directory.
    pub data: PathBuf,
    /// Where it takes traffic.
    pub http: SocketAddr,
    /// Where it takes the operator's calls.
    pub admin: SocketAddr,
    /// Where it listens for its peers.
    pub peer: SocketAddr,
    /// Where its peers reach it: `peer`, or the relay in front of it.
    pub advertised: SocketAddr,
    /// The first voters, `NAME=ADDRESS`; empty: a cluster of one, or [`Settings::join`].
    pub initial: Vec<String>,
    /// Members to enter by.
    pub join: Vec<String>,
    /// The cluster's name.
    pub cluster: String,
    /// The secret of the link; `None` leaves it out.
    pub cluster_token: Option<String>,
    /// More flags, which stand last.
    pub flags: Vec<String>,
    /// More environment.
    pub environment: Vec<(String, String)>,
    /// How many files and sockets it may have open, where that is not left as it is.
    pub open_files: Option<u32>,
    /// Its log is a pipe that nobody reads.
    pub unread_log: bool,
}

impl Settings {
    /// Those of node `n` (1, 2, …) of a world: `n1` at the block's first address, and so on.
    pub fn of(world: &World, n: u8) -> Self {
        let host = hosts::NODES + n;
        let peer = world.block().at(host, 7080);
        Self {
            name: format!("n{n}"),
            data: world.path(&format!("n{n}")),
            http: world.block().at(host, 8080),
            admin: world.block().at(host, 9080),
            peer,
            advertised: peer,
            initial: Vec::new(),
            join: Vec::new(),
            cluster: "test".into(),
            cluster_token: Some(CLUSTER_TOKEN.into()),
            flags: ["--workers", "1", "--edge-drain-delay", "1s"].map(String::from).into(),
            environment: Vec::new(),
            open_files: None,
            unread_log: false,
        }
    }

    /// `NAME=ADDRESS`, as `initial` lists it.
    pub fn entry(&self) -> String {
        format!("{}={}", self.name, self.advertised)
    }

    /// The flags of `sluice node`.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut flags = vec!["node".to_owned()];
        let mut flag = |name: &str, value: String| flags.extend([format!("--{name}"), value]);
        flag("name", self.name.clone());
        flag("cluster", self.cluster.clone());
        flag("data", self.data.display().to_string());
        flag("listen-http", self.http.to_string());
        flag("listen-admin", self.admin.to_string());
        flag("listen-peer", self.peer.to_string());
        if self.advertised != self.peer {
            flag("advertise-peer", self.advertised.to_string());
        }
        if !self.initial.is_empty() {
            flag("initial", self.initial.join(","));
        }
        if !self.join.is_empty() {
            flag("join", self.join.join(","));
        }
        flags.extend(self.flags.iter().cloned());
        flags.into_iter().map(Into::into).collect()
    }
}

impl Node {
    /// A node that does not run yet. Its words go to `NAME.log` in the world's directory.
    pub fn new(world: &World, settings: Settings) -> Self {
        let log = world.path(&format!("{}.log", settings.name));
        Self {
            settings,
            process: None,
            log,
        }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Its settings, to be changed before the next start.
    pub fn settings_mut(&mut self) -> &mut Settings {
        &mut self.settings
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.settings.name
    }

    /// Where it takes traffic.
    pub fn http(&self) -> SocketAddr {
        self.settings.http
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.settings.data
    }

    /// The operator's client of this node.
    pub fn admin(&self) -> Admin {
        Admin::new(self.settings.admin, ADMIN_TOKEN)
    }

    /// Starts it, and does not wait.
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name());
        let mut start = match self.settings.open_files {
            Some(most) => Start::new(self.name(), program::neighbour("prlimit"), &self.log)
                .args([format!("--nofile={most}:{most}"), "--".to_owned()])
                .args([program::sluice()]),
            None => Start::new(self.name(), program::sluice(), &self.log),
        };
        if self.settings.unread_log {
            start = start.unread();
        }
        start = start
            .args(self.settings.arguments())
            .env("SLUICE_ADMIN_TOKEN", ADMIN_TOKEN);
        if let Some(token) = &self.settings.cluster_token {
            start = start.env("SLUICE_CLUSTER_TOKEN", token);
        }
        for (name, value) in &self.settings.environment {
            start = start.env(name, value);
        }
        self.process = Some(start.start().expect("the sluice binary starts"));
    }

    /// `kill -9`, and the wait for its end.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// SIGTERM, and the wait for the end that it brings.
    pub async fn stop(&mut self) -> ExitStatus {
        let mut process = self
            .process
            .take()
            .unwrap_or_else(|| panic!("{} does not run", self.settings.name));
        process.signal(libc::SIGTERM);
        process.end(Duration::from_secs(60)).await
    }

    /// Waits for an end that nobody asked for.
    pub async fn end(&mut self) -> ExitStatus {
        let mut process = self
            .process
            .take()
            .unwrap_or_else(|| panic!("{} does not run", self.settings.name));
        process.end(Duration::from_secs(60)).await
    }

    /// The exit status, once it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.process.as_mut().and_then(Process::ended)
    }

    /// SIGSTOP: alive for the kernel, silent for all others.
    pub fn freeze(&self) {
        self.running().signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.running().signal(libc::SIGCONT);
    }

    /// Deletes its data directory; it must not run.
    pub fn wipe(&self) {
        assert!(self.process.is_none(), "{} still runs", self.name());
        match std::fs::remove_dir_all(&self.settings.data) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }

    /// Whether it was started and not ended by the test.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.running().id()
    }

    /// The process.
    pub fn running(&self) -> &Process {
        self.process
            .as_ref()
            .unwrap_or_else(|| panic!("{} does not run", self.settings.name))
    }

    /// All that it wrote, over all its starts.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until /readyz says 200.
    pub async fn ready(&self) {
        let admin = self.admin();
        crate::eventually(&format!("{} to be ready", self.name()), || async {
            match admin.readyz().await {
                Ok(answer) if answer.status == 200 => Ok(()),
                Ok(answer) => Err(answer.text()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Waits until a line of its log holds `words`.
    pub async fn says(&self, words: &str) {
        crate::eventually(&format!("{} to say {words:?}", self.name()), || async {
            if self.log().contains(words) {
                Ok(())
            } else {
                Err("it did not")
            }
        })
        .await;
    }
}
