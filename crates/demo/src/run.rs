//! The demo's life.

use crate::admin::Admin;
use crate::folder::Folder;
use crate::guide::Guide;
use crate::node::{NodeSpec, RunningNode, StartNode};
use crate::ports::{NODES, Ports};
use crate::running::{self, Running};
use crate::sample;
use crate::services::Services;
use futures_util::FutureExt as _;
use futures_util::future::{join_all, select_all};
use std::future::Future;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Three nodes of one machine meet within a second; this is for machines that are very busy.
const READY_TIME: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(50);
const CLUSTER: &str = "demo";

/// What the operator asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Keep the nodes' disks here; without it they are temporary.
    pub data: Option<PathBuf>,
    /// The ports.
    pub ports: Ports,
    /// How the binary is called in a shell, for the lines to try.
    pub program: String,
    /// Where the note for the commands is left; `None` leaves none.
    pub notes: Option<PathBuf>,
    /// Threads for traffic of each node.
    pub workers: usize,
    /// Keep shared state there, as `redis.url` says it; without it the nodes keep it in this process.
    pub redis: Option<String>,
}

/// Why the demo ended other than by being asked to. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// Its folder cannot be used.
    #[error("cannot use the folder {folder}: {why}; choose another with --data")]
    Folder {
        /// Which.
        folder: String,
        /// What the system says.
        why: std::io::Error,
    },
    /// A port is taken.
    #[error(
        "{address} (for {what}) is not free: {why}; end what uses it (another demo?), or move all ports with --port-offset 1000"
    )]
    Port {
        /// For what.
        what: String,
        /// Which.
        address: SocketAddr,
        /// What the system says.
        why: std::io::Error,
    },
    /// A node did not start.
    #[error("node {name} did not start: {why}")]
    Start {
        /// Which.
        name: String,
        /// What it said.
        why: String,
    },
    /// A node ended by itself.
    #[error("node {name} ended: {why}")]
    Ended {
        /// Which.
        name: String,
        /// What it said.
        why: String,
    },
    /// The nodes did not become ready.
    #[error("{nodes} not ready within {} s; the log above says why", READY_TIME.as_secs())]
    NotReady {
        /// Which.
        nodes: String,
    },
    /// The admin API did not do as it should.
    #[error("{0}")]
    Admin(String),
    /// Nothing random, or nowhere to print.
    #[error("{0}")]
    System(String),
}

struct Member {
    name: String,
    node: Box<dyn RunningNode>,
}

/// Runs the demo until `stop` is done or something fails. Prints to `out` what is where and what to try. Whatever
/// happens, the nodes are stopped, the services ended, and a temporary folder is gone when this returns.
///
/// # Errors
/// [`DemoError`].
pub async fn run(
    options: Options,
    starter: &dyn StartNode,
    stop: impl Future<Output = ()> + Send,
    out: &mut (dyn Write + Send),
) -> Result<(), DemoError> {
    let folder = Folder::open(options.data.as_deref()).map_err(|why| DemoError::Folder {
        folder: options
            .data
            .as_deref()
            .map_or("for temporary files".into(), |path| path.display().to_string()),
        why,
    })?;
    let services = Services::start(options.ports)
        .await
        .map_err(|(service, address, why)| DemoError::Port {
            what: format!("the sample service {}", service.name()),
            address,
            why,
        })?;
    let mut members = Vec::new();
    let mut stop = std::pin::pin!(stop.fuse());
    let outcome = tokio::select! {
        () = &mut stop => Ok(()),
        outcome = live(&options, starter, &folder, &mut members, out) => outcome,
    };
    join_all(members.into_iter().map(|member| member.node.stop())).await;
    services.stop().await;
    outcome
}

/// Never returns but with an error.
async fn live(
    options: &Options,
    starter: &dyn StartNode,
    folder: &Folder,
    members: &mut Vec<Member>,
    out: &mut (dyn Write + Send),
) -> Result<(), DemoError> {
    let token = random_text(24).map_err(DemoError::System)?;
    free_ports(options.ports).await?;
    for spec in specs(options, folder, &token)? {
        let name = spec.name.clone();
        match starter.start(spec).await {
            Ok(node) => members.push(Member { name, node }),
            Err(why) => return Err(DemoError::Start { name, why }),
        }
    }
    tokio::select! {
        ended = any_ended(members) => return Err(ended),
        ready = ready(options.ports, &token) => ready?,
    }
    let admin = Admin {
        address: options.ports.admin(1),
        token: &token,
    };
    let version = admin.version().await.map_err(DemoError::Admin)?;
    let document = sample::document(options.ports);
    let file = folder.path().join("shop.yaml");
    if version == 0 {
        std::fs::write(&file, &document).map_err(|why| DemoError::Folder {
            folder: folder.path().display().to_string(),
            why,
        })?;
        admin.put(document.clone()).await.map_err(DemoError::Admin)?;
    }
    let _note = note(options, &token);
    let guide = Guide {
        program: &options.program,
        ports: options.ports,
        data: folder.path(),
        kept: folder.is_kept(),
        file: &file,
        applied: (version == 0).then_some(document.as_str()),
        version,
    };
    // Whoever closed our output has read enough.
    let _ = out.write_all(guide.text().as_bytes()).and_then(|()| out.flush());
    Err(any_ended(members).await)
}

/// The note is a convenience: without it the commands are told by --admin.
fn note(options: &Options, token: &str) -> Option<running::Note> {
    let running = Running {
        pid: std::process::id(),
        admin: (1..=NODES)
            .map(|n| format!("http://{}", options.ports.admin(n)))
            .collect(),
        token: token.to_owned(),
    };
    running::announce(options.notes.as_deref()?, &running).ok()
}

/// Says which port is taken before anything is started, by its purpose.
async fn free_ports(ports: Ports) -> Result<(), DemoError> {
    for n in 1..=NODES {
        for (what, address) in [
            ("traffic", ports.http(n)),
            ("admin API", ports.admin(n)),
            ("link", ports.peer(n)),
        ] {
            if let Err(why) = tokio::net::TcpListener::bind(address).await {
                return Err(DemoError::Port {
                    what: format!("the {what} of n{n}"),
                    address,
                    why,
                });
            }
        }
    }
    Ok(())
}

fn specs(options: &Options, folder: &Folder, admin_token: &str) -> Result<Vec<NodeSpec>, DemoError> {
    let cluster_token = random_text(24).map_err(DemoError::System)?;
    let name = |n| format!("n{n}");
    let initial: Vec<_> = (1..=NODES).map(|n| (name(n), options.ports.peer(n))).collect();
    let specs = (1..=NODES).map(|n| NodeSpec {
        name: name(n),
        cluster: CLUSTER.to_owned(),
        data: folder.path().join(name(n)),
        http: options.ports.http(n),
        admin: options.ports.admin(n),
        peer: options.ports.peer(n),
        initial: initial.clone(),
        cluster_token: cluster_token.clone(),
        admin_token: admin_token.to_owned(),
        workers: options.workers,
        redis: options.redis.clone(),
    });
    Ok(specs.collect())
}

async fn any_ended(members: &mut [Member]) -> DemoError {
    let waits = members.iter_mut().map(|member| {
        let Member { name, node } = member;
        async move {
            let why = node.wait().await;
            DemoError::Ended {
                name: name.clone(),
                why,
            }
        }
        .boxed()
    });
    let (ended, _, _) = select_all(waits).await;
    ended
}

async fn ready(ports: Ports, token: &str) -> Result<(), DemoError> {
    let deadline = tokio::time::Instant::now() + READY_TIME;
    let mut waiting: Vec<u16> = (1..=NODES).collect();
    loop {
        let mut still = Vec::new();
        for n in waiting {
            let admin = Admin {
                address: ports.admin(n),
                token,
            };
            if !admin.is_ready().await {
                still.push(n);
            }
        }
        if still.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            let names: Vec<_> = still.iter().map(|n| format!("n{n}")).collect();
            return Err(DemoError::NotReady {
                nodes: names.join(", "),
            });
        }
        waiting = still;
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// Hexadecimal digits of so many random bytes, fit for a secret.
pub(crate) fn random_text(bytes: usize) -> Result<String, String> {
    let mut random = vec![0; bytes];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "the system gives no random bytes".to_owned())?;
    let digits = random.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    Ok(digits
        .filter_map(|digit| char::from_digit(u32::from(digit), 16))
        .collect())
}
