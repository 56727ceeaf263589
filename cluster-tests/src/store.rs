//! A real redis-server, for what shares state.

use crate::process::{Process, Start};
use crate::program;
use crate::wire::Wire;
use crate::world::{World, hosts};
use std::net::SocketAddr;
use std::path::PathBuf;

/// A running redis-server that keeps nothing on disk.
#[derive(Debug)]
pub struct Store {
    address: SocketAddr,
    arguments: Vec<String>,
    log: PathBuf,
    process: Option<Process>,
}

/// Sentinels that watch a primary and its replica.
#[derive(Debug)]
pub struct Sentinel {
    address: SocketAddr,
    _process: Process,
}

/// The name under which the sentinel knows the primary.
pub const PRIMARY: &str = "limits";

impl Store {
    /// Starts one and waits until it answers.
    pub async fn start(world: &World) -> Self {
        Self::with(world, 6379, &[]).await
    }

    /// Starts one on this port of the world's store, with these arguments, and waits until it answers.
    pub async fn with(world: &World, port: u16, more: &[&str]) -> Self {
        let address = world.block().at(hosts::STORE, port);
        let directory = world.path(&format!("redis-{port}"));
        std::fs::create_dir_all(&directory).expect("a directory for the store");
        let mut arguments = vec![
            "--bind".to_owned(),
            address.ip().to_string(),
            "--port".to_owned(),
            address.port().to_string(),
        ];
        arguments.extend(["--save", "", "--appendonly", "no", "--dir"].map(str::to_owned));
        arguments.push(directory.display().to_string());
        arguments.extend(more.iter().map(|argument| (*argument).to_owned()));
        let mut store = Self {
            address,
            arguments,
            log: world.path(&format!("redis-{port}.log")),
            process: None,
        };
        store.restart().await;
        store
    }

    /// A replica of `primary`, on this port.
    pub async fn replica(world: &World, port: u16, primary: &Self) -> Self {
        let (ip, of) = (primary.address.ip().to_string(), primary.address.port().to_string());
        let replica = Self::with(
            world,
            port,
            // It connects from another address of the loopback than the one where it listens, and the primary would tell a
            // sentinel of that one.
            &[
                "--replicaof",
                &ip,
                &of,
                "--repl-diskless-sync-delay",
                "0",
                "--replica-announce-ip",
                &ip,
            ],
        )
        .await;
        crate::eventually("the replica to have all", || async {
            let told = replica
                .tell("INFO replication")
                .await
                .map_err(|error| error.to_string())?;
            match told.contains("master_link_status:up") {
                true => Ok(()),
                false => Err(told),
            }
        })
        .await;
        replica
    }

    /// Starts it again, empty, and waits until it answers.
    pub async fn restart(&mut self) {
        self.start_again();
        crate::eventually("redis to answer", || async {
            match self.say("PING").await {
                Ok(answer) if answer == "+PONG" || answer.starts_with("-NOAUTH") => Ok(()),
                Ok(answer) => Err(answer),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Starts it again, and does not wait.
    pub fn start_again(&mut self) {
        self.kill();
        let start = Start::new("redis", program::neighbour("redis-server"), &self.log).args(self.arguments.clone());
        self.process = Some(start.start().expect("redis-server starts"));
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `redis://ADDRESS`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Says one inline command and gives the first line of the answer.
    ///
    /// # Errors
    /// No answer.
    pub async fn say(&self, command: &str) -> std::io::Result<String> {
        let mut wire = Wire::connect(self.address).await?;
        wire.send(format!("{command}\r\n")).await?;
        while !wire.surplus().contains(&b'\n') && wire.more().await? > 0 {}
        let line = wire.surplus().split(|byte| *byte == b'\n').next().unwrap_or_default();
        Ok(String::from_utf8_lossy(line).trim_end().to_owned())
    }

    /// All that it answers to one inline command of one bulk string, such as `INFO commandstats`.
    ///
    /// # Errors
    /// No answer, or one of another kind.
    pub async fn tell(&self, command: &str) -> std::io::Result<String> {
        let mut wire = Wire::connect(self.address).await?;
        wire.send(format!("{command}\r\n")).await?;
        let odd = |what: &str| std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned());
        loop {
            if let Some(end) = wire.surplus().windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8_lossy(&wire.surplus()[..end]).into_owned();
                let length: usize = line
                    .strip_prefix('$')
                    .and_then(|length| length.parse().ok())
                    .ok_or_else(|| odd(&line))?;
                let whole = wire.take(end + 2 + length).await?;
                return Ok(String::from_utf8_lossy(&whole[end + 2..]).into_owned());
            }
            if wire.more().await? == 0 {
                return Err(odd("the connection ended"));
            }
        }
    }

    /// How often scripts were called so far, heartbeats among them.
    pub async fn script_calls(&self) -> u64 {
        let stats = self.tell("INFO commandstats").await.expect("redis tells its counts");
        ["cmdstat_evalsha:", "cmdstat_eval:"]
            .iter()
            .filter_map(|name| {
                let line = stats.lines().find(|line| line.starts_with(name))?;
                line.split("calls=").nth(1)?.split(',').next()?.parse::<u64>().ok()
            })
            .sum()
    }

    /// A figure of `INFO`, as `used_memory`.
    pub async fn figure(&self, section: &str, name: &str) -> f64 {
        let told = self
            .tell(&format!("INFO {section}"))
            .await
            .expect("redis tells its figures");
        told.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no {name} in {told}"))
    }

    /// SIGSTOP: it takes connections, and says nothing.
    pub fn freeze(&self) {
        self.running().signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.running().signal(libc::SIGCONT);
    }

    /// Ends it, where it runs.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    fn running(&self) -> &Process {
        self.process.as_ref().expect("redis runs")
    }
}

// === impl Sentinel ===

impl Sentinel {
    /// One sentinel that decides alone, over `primary`, after `down_after_ms` of silence.
    pub async fn start(world: &World, primary: &Store, down_after_ms: u32) -> Self {
        let address = world.block().at(hosts::STORE, 26379);
        let (ip, port) = (primary.address.ip(), primary.address.port());
        let directory = world.path("sentinel");
        std::fs::create_dir_all(&directory).expect("a directory for the sentinel");
        let configuration = world.file(
            "sentinel/sentinel.conf",
            format!(
                "bind {}\nport {}\ndir {}\nsentinel monitor {PRIMARY} {ip} {port} 1\n\
                 sentinel down-after-milliseconds {PRIMARY} {down_after_ms}\nsentinel failover-timeout {PRIMARY} 3000\n",
                address.ip(),
                address.port(),
                directory.display(),
            ),
        );
        let process = Start::new(
            "sentinel",
            program::neighbour("redis-server"),
            world.path("sentinel.log"),
        )
        .args([configuration.display().to_string(), "--sentinel".to_owned()])
        .start()
        .expect("a sentinel starts");
        let this = Self {
            address,
            _process: process,
        };
        crate::eventually("the sentinel to know a replica", || async {
            let mut wire = Wire::connect(address).await.map_err(|error| error.to_string())?;
            let ask = format!("SENTINEL REPLICAS {PRIMARY}\r\n");
            wire.send(ask).await.map_err(|error| error.to_string())?;
            wire.more().await.map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(wire.surplus()).into_owned();
            match said.starts_with("*1") {
                true => Ok(()),
                false => Err(said),
            }
        })
        .await;
        this
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_store_answers_and_ends() {
        let world = World::new();
        let mut store = Store::start(&world).await;
        assert_eq!(store.say("PING").await.expect("an answer"), "+PONG");
        assert_eq!(store.script_calls().await, 0);
        assert!(store.figure("memory", "used_memory").await > 1000.0);
        store.kill();
        assert!(store.say("PING").await.is_err());
    }
}
