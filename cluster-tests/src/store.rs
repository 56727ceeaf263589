//! A real redis-server, for what shares state.

use crate::process::{Process, Start};
use crate::program;
use crate::wire::Wire;
use crate::world::{World, hosts};
use std::net::SocketAddr;

/// A running redis-server that keeps nothing on disk.
#[derive(Debug)]
pub struct Store {
    address: SocketAddr,
    process: Process,
}

impl Store {
    /// Starts one and waits until it answers.
    pub async fn start(world: &World) -> Self {
        let address = world.block().at(hosts::STORE, 6379);
        let process = Start::new("redis", program::neighbour("redis-server"), world.path("redis.log"))
            .args([
                "--bind",
                &address.ip().to_string(),
                "--port",
                &address.port().to_string(),
            ])
            .args([
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
                &world.directory().display().to_string(),
            ])
            .start()
            .expect("redis-server starts");
        let store = Self { address, process };
        crate::eventually("redis to answer", || async {
            store.say("PING").await.map_err(|error| error.to_string())
        })
        .await;
        store
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

    /// SIGSTOP: it takes connections, and says nothing.
    pub fn freeze(&self) {
        self.process.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.process.signal(libc::SIGCONT);
    }

    /// Ends it.
    pub fn kill(&mut self) {
        self.process.kill();
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
        store.kill();
        assert!(store.say("PING").await.is_err());
    }
}
