//! A node without a cluster, for measuring: `bench_node LISTEN UPSTREAM[,UPSTREAM…] [ROUTES] [WORKERS]`.
//!
//! Serves one gateway for every host: the last route takes everything, those before it are there
//! to be searched. Runs until it is killed.

use sluice_dataplane::{Dataplane, Edge, Listener, Settings};
use sluice_document::{Format, decode_part, parse, split};
use sluice_shared_store::{Config, SharedStore};
use sluice_snapshot::{Change, CompileBudget, NodeContext, Published, Snapshot, compile_changes};
use sluice_telemetry::Metrics;
use sluice_telemetry::log::{Log, Settings as LogSettings};
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let usage = "usage: bench_node LISTEN UPSTREAM[,UPSTREAM…] [ROUTES] [WORKERS]";
    let listen = arguments.next().ok_or(usage)?.parse()?;
    let targets = arguments.next().ok_or(usage)?;
    let routes: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;
    let workers: usize = arguments.next().map_or(Ok(1), |text| text.parse())?;

    let log = Log::new(&LogSettings::default())?;
    let published = Published::new(workers, snapshot(&targets, routes)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let settings = Settings {
        listeners: vec![Listener {
            name: "public".into(),
            address: listen,
        }],
        workers,
        node: "bench".into(),
        edge: Edge {
            max_connections: 100_000,
            ..Edge::default()
        },
        proxy_protocol: Arc::default(),
    };
    let metrics = Metrics::new();
    let shared = {
        let _on = runtime.enter();
        SharedStore::start(Config::alone("bench", metrics.clone()))?
    };
    let handle = runtime.handle().clone();
    let dataplane = Dataplane::bind(settings)?.start(&published, &shared, &metrics, &log, handle)?;
    dataplane.join();
    Ok(())
}

fn snapshot(targets: &str, routes: usize) -> Result<Snapshot, Box<dyn Error>> {
    let mut document = String::from("upstreams:\n  a:\n    targets: [");
    for target in targets.split(',') {
        write!(document, "\"{target}\",")?;
    }
    document.push_str("]\ngateways:\n  web:\n    hosts: [\"*\"]\n    routes:\n");
    for number in 1..routes {
        writeln!(
            document,
            "      - {{ path: \"/api/{}/r{number}/{{id}}\", upstream: a }}",
            number % 100
        )?;
    }
    document.push_str("      - { path: /**, upstream: a }\n");
    let parsed = parse(&document, Format::Yaml, None).map_err(|errors| format!("{errors:?}"))?;
    let changes = split(&parsed.document)
        .iter()
        .map(|(key, text)| Ok(Change::Put(key.clone(), decode_part(key, text)?)))
        .collect::<Result<_, Box<dyn Error>>>()?;
    let context = NodeContext {
        listeners: vec!["public".to_owned()],
    };
    Ok(compile_changes(
        changes,
        &Snapshot::empty(),
        1,
        [0; 16],
        &context,
        &CompileBudget::default(),
    )?)
}
