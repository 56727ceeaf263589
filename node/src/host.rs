//! What only the binary can do: run a node, run the demo, open the disk of a node that does not run.

use crate::open_files::allow_as_many_as_may_be;
use clap::{ArgMatches, Command};
use sluice_commands::{Exit, Host, Rescue};
use sluice_consensus::Store;
use sluice_demo::{BoxFuture, NodeSpec, RunningNode, StartNode};
use sluice_node::running::Running;
use sluice_node::settings::{self, Loaded, Settings, Sources};
use sluice_shared_store::SharedMemory;
use sluice_telemetry::log::{Form, Log, LogError, Settings as LogSettings};
use std::io::{IsTerminal, Write};
use std::num::NonZeroUsize;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

/// What is written to the log, as `info` or `info,sluice_peer=debug`.
const FILTER: &str = "SLUICE_LOG";

/// `text` or `json`; without it text on a terminal and JSON elsewhere.
const FORM: &str = "SLUICE_LOG_FORM";

/// Threads for Raft, the link and the admin API: traffic has its own.
const THREADS: usize = 2;

/// How long tasks that are left may take when a runtime ends.
const LAST: Duration = Duration::from_secs(1);

/// The process as the commands see it.
pub(crate) struct Binary;

/// Starts nodes of the demo, each on a runtime of its own, all with one memory for what they share.
#[derive(Default)]
struct Starter {
    memory: SharedMemory,
}

/// A node of the demo.
struct Member {
    running: Option<Running>,
    runtime: Option<Runtime>,
}

impl Host for Binary {
    fn node_command(&self, command: Command) -> Command {
        settings::command(command)
    }

    fn run_node(&self, matches: &ArgMatches) -> Exit {
        let loaded = settings::process_sources(matches).and_then(|sources| Settings::load(&sources));
        let Loaded {
            settings,
            rows,
            warnings,
        } = match loaded {
            Ok(loaded) => loaded,
            Err(faults) => return wrong(&faults),
        };
        let log = match log(&settings.name) {
            Ok(log) => log,
            Err(error) => return wrong(&error),
        };
        if let Err(error) = log.install() {
            return wrong(&error);
        }
        panics_into_the_log();
        allow_as_many_as_may_be();
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        match runtime(&log) {
            Ok(runtime) => {
                let exit = runtime.block_on(one_node(settings, &rows, &log));
                runtime.shutdown_timeout(LAST);
                exit
            }
            Err(error) => failed(&error),
        }
    }

    fn run_demo(&self, options: sluice_demo::Options) -> Exit {
        let log = match Log::new(&LogSettings {
            filter: filter("warn,openraft=off"),
            ..LogSettings::default()
        }) {
            Ok(log) => log,
            Err(error) => return wrong(&error),
        };
        if let Err(error) = log.install() {
            return wrong(&error);
        }
        allow_as_many_as_may_be();
        let runtime = match runtime(&log) {
            Ok(runtime) => runtime,
            Err(error) => return failed(&error),
        };
        let stop = async {
            stopped().await;
        };
        let outcome = runtime
            .block_on(async { sluice_demo::run(options, &Starter::default(), stop, &mut std::io::stdout()).await });
        runtime.shutdown_timeout(LAST);
        match outcome {
            Ok(()) => Exit::Done,
            Err(error) => failed(&error),
        }
    }

    fn rescue(&self, rescue: &Rescue) -> Exit {
        match rescued(rescue) {
            Ok(said) => {
                // Whoever closed our output has read enough.
                let _ = writeln!(std::io::stdout(), "{said}");
                Exit::Done
            }
            Err(error) => failed(&error),
        }
    }
}

/// Runs a node until it is told to stop.
async fn one_node(settings: Settings, rows: &[settings::Row], log: &Log) -> Exit {
    let name = settings.name.clone();
    let running = match Running::start(settings, rows, log, None).await {
        Ok(running) => running,
        Err(error) => return failed(&error),
    };
    let addresses = running.addresses();
    let traffic: Vec<String> = addresses
        .traffic
        .iter()
        .map(|(name, at)| format!("{name}={at}"))
        .collect();
    tracing::info!(
        name,
        traffic = traffic.join(","),
        admin = %addresses.admin,
        peer = %addresses.peer,
        version = env!("CARGO_PKG_VERSION"),
        "this node has started"
    );
    stopped().await;
    tokio::select! {
        () = running.stop() => Exit::Done,
        // Whoever asks twice does not want to wait.
        () = stopped() => {
            tracing::warn!("stopped at once, at the second signal");
            Exit::Refused
        }
    }
}

/// SIGTERM, SIGINT, or SIGHUP, which a terminal sends that is closed.
async fn stopped() {
    let listen = || -> std::io::Result<_> {
        Ok((
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ))
    };
    match listen() {
        Ok((mut terminate, mut interrupt, mut hangup)) => {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
                _ = hangup.recv() => {}
            }
        }
        Err(error) => {
            tracing::error!(?error, "signals cannot be heard: this process has to be killed");
            std::future::pending().await
        }
    }
}

fn runtime(log: &Log) -> std::io::Result<Runtime> {
    let log = log.clone();
    Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("control")
        .enable_all()
        .on_thread_start(move || log.on_thread())
        .build()
}

fn log(node: &str) -> Result<Log, LogError> {
    let form = match std::env::var(FORM).as_deref() {
        Ok("json") => Form::Json,
        Ok("text") => Form::Text,
        _ if std::io::stderr().is_terminal() => Form::Text,
        _ => Form::Json,
    };
    Log::new(&LogSettings {
        form,
        // h2 warns of what any client may send, a line for each frame.
        filter: filter("info,openraft=error,h2=error"),
        node: Some(node.to_owned()),
    })
}

fn filter(usual: &str) -> String {
    std::env::var(FILTER)
        .ok()
        .filter(|filter| !filter.is_empty())
        .unwrap_or_else(|| usual.to_owned())
}

/// A panic is written like everything else, and the thread goes on as far as its task allows.
fn panics_into_the_log() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let text = panic.payload_as_str().unwrap_or("without a message");
        tracing::error!(place, text, "a panic");
    }));
}

fn rescued(rescue: &Rescue) -> Result<String, sluice_consensus::StoreError> {
    let store = Store::open_offline(&rescue.data)?;
    let versions = store.versions();
    if rescue.unpin {
        store.set_pin(None)?;
    } else if let Some(version) = rescue.pin {
        store.set_pin(Some(version))?;
    }
    let pinned = store.pin();
    if rescue.json {
        return Ok(serde_json::json!({ "versions": versions, "pinned": pinned }).to_string());
    }
    let held = match (versions.first(), versions.last()) {
        (Some(first), Some(last)) => format!("The folder holds the versions {first} to {last}."),
        _ => "The folder holds no version.".to_owned(),
    };
    Ok(match pinned {
        Some(version) => format!(
            "{held}\nThe node will start by version {version}, until the cluster makes a newer one than it has now."
        ),
        None => format!("{held}\nNothing is pinned: the node will start by the version that is live in the cluster."),
    })
}

fn wrong(error: &dyn std::fmt::Display) -> Exit {
    say(error);
    Exit::Usage
}

fn failed(error: &dyn std::fmt::Display) -> Exit {
    say(error);
    Exit::Refused
}

fn say(error: &dyn std::fmt::Display) {
    // Nobody is left to be told where this fails.
    let _ = writeln!(std::io::stderr(), "error: {error}");
}

// === impl Starter ===

impl StartNode for Starter {
    fn start(&self, spec: NodeSpec) -> BoxFuture<'_, Result<Box<dyn RunningNode>, String>> {
        Box::pin(async move {
            let loaded = Settings::load(&sources(&spec)).map_err(|faults| faults.to_string())?;
            let log = Log::new(&LogSettings {
                filter: filter("warn,openraft=off"),
                node: Some(spec.name.clone()),
                ..LogSettings::default()
            });
            let log = log.map_err(|error| error.to_string())?;
            let runtime = runtime(&log).map_err(|error| error.to_string())?;
            let memory = Some(self.memory.clone());
            let started =
                runtime.spawn(async move { Running::start(loaded.settings, &loaded.rows, &log, memory).await });
            let running = match started.await {
                Ok(Ok(running)) => running,
                Ok(Err(error)) => {
                    runtime.shutdown_background();
                    return Err(error.to_string());
                }
                Err(error) => {
                    runtime.shutdown_background();
                    return Err(error.to_string());
                }
            };
            let member = Member {
                running: Some(running),
                runtime: Some(runtime),
            };
            Ok(Box::new(member) as Box<dyn RunningNode>)
        })
    }
}

/// A spec as the flags that an operator would give.
fn sources(spec: &NodeSpec) -> Sources {
    let initial: Vec<String> = spec.initial.iter().map(|(name, at)| format!("{name}={at}")).collect();
    let flags = [
        ("cluster", spec.cluster.clone()),
        ("name", spec.name.clone()),
        ("data", spec.data.display().to_string()),
        ("workers", spec.workers.to_string()),
        ("initial", initial.join(",")),
        ("listen.http", spec.http.to_string()),
        ("listen.admin", spec.admin.to_string()),
        ("listen.peer", spec.peer.to_string()),
        ("edge.drain_delay", "0s".to_owned()),
        ("edge.drain_timeout", "5s".to_owned()),
    ];
    let redis = spec.redis.iter().map(|url| ("redis.url", url.clone()));
    let secrets = [
        ("SLUICE_CLUSTER_TOKEN", spec.cluster_token.clone()),
        ("SLUICE_ADMIN_TOKEN", spec.admin_token.clone()),
    ];
    Sources {
        flags: flags
            .into_iter()
            .chain(redis)
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        environment: secrets.map(|(key, value)| (key.to_owned(), value)).to_vec(),
        file: None,
        host_name: None,
        cores: NonZeroUsize::MIN,
    }
}

// === impl Member ===

impl RunningNode for Member {
    fn stop(mut self: Box<Self>) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            if let (Some(running), Some(runtime)) = (self.running.take(), self.runtime.take()) {
                let _ = runtime.spawn(running.stop()).await;
                runtime.shutdown_background();
            }
        })
    }

    fn wait(&mut self) -> BoxFuture<'_, String> {
        // A node that runs ends only when it is told to.
        Box::pin(std::future::pending())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
