//! What a decision costs a worker: nanoseconds for one hot key, on one thread and on two; what it costs where the key is
//! one of many; where the limit is spent; where a request has two limits.
//!
//! `cargo run --release -p sluice-shared-store --example decide`. The store is in memory; the worker's path is the same
//! with any. Each figure is processor time of the deciding threads, the median of some rounds with the least and the
//! greatest.
#![allow(clippy::print_stdout, reason = "its figures are for the terminal")]

use sluice_shared_state::{Algorithm, Mode, OnFailure, Rule, RuleId, Scope};
use sluice_shared_store::{Ask, Config, Decision, Limiter, SharedStore, StartError, Verdict};
use sluice_telemetry::Metrics;
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Rounds of a figure, and decisions in each.
const ROUNDS: usize = 11;
const DECISIONS: u32 = 50_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let store = store(&runtime)?;
    let second = Duration::from_secs(1);
    let (plenty, spent) = (
        sliding("plenty", u32::MAX / 4, second),
        sliding("spent", 1, 3600 * second),
    );
    let other = sliding("other", u32::MAX / 4, second);
    let one: Vec<String> = vec!["203.0.113.7".to_owned()];
    let many: Vec<String> = (0..100).map(|n| format!("203.0.{}.{}", n / 256, n % 256)).collect();

    figure("one hot key, one thread", &store, 1, &[&plenty], &one);
    figure("one hot key, two threads", &store, 2, &[&plenty], &one);
    figure("one of 100 keys, one thread", &store, 1, &[&plenty], &many);
    figure("two limits, one thread", &store, 1, &[&plenty, &other], &one);
    figure("spent, one thread", &store, 1, &[&spent], &one);
    figure("spent, two threads", &store, 2, &[&spent], &one);
    Ok(())
}

fn store(runtime: &Runtime) -> Result<SharedStore, StartError> {
    let _on = runtime.enter();
    SharedStore::start(Config::alone("n1", Metrics::new()))
}

fn sliding(name: &str, limit: u32, window: Duration) -> Arc<Rule> {
    let rule = Rule {
        name: name.into(),
        scope: Scope::Gateway("web".into()),
        algorithm: Algorithm::SlidingWindow { limit, window },
        mode: Mode::Exact,
        on_failure: OnFailure::Local,
        version: 1,
        id: RuleId(0),
    };
    Arc::new(rule.seal())
}

/// Measures and prints one line.
fn figure(what: &str, store: &SharedStore, threads: usize, rules: &[&Arc<Rule>], values: &[String]) {
    let start = Barrier::new(threads);
    let mut all: Vec<(f64, u32)> = std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads)
            .map(|_| {
                let (limiter, start) = (store.limiter(), &start);
                scope.spawn(move || rounds(&limiter, rules, values, start))
            })
            .collect();
        handles
            .into_iter()
            .flat_map(|handle| handle.join().unwrap_or_default())
            .collect()
    });
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let waited: u32 = all.iter().map(|(_, waited)| waited).sum();
    let (least, middle, greatest) = (all[0].0, all[all.len() / 2].0, all[all.len() - 1].0);
    println!(
        "{what}: {middle:.0} ns ({least:.0} to {greatest:.0}); {waited} of {} decisions waited",
        all.len() * DECISIONS as usize
    );
}

fn rounds(limiter: &Limiter, rules: &[&Arc<Rule>], values: &[String], start: &Barrier) -> Vec<(f64, u32)> {
    let runtime = Builder::new_current_thread().enable_time().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let _on = runtime.enter();
    // Until all is known.
    for value in values.iter().cycle().take(values.len().max(1000)) {
        runtime.block_on(async { drop(decide(limiter, rules, value).await) });
    }
    start.wait();
    (0..ROUNDS)
        .map(|_| {
            let (began, mut waited, mut values) = (on_processor(), 0, values.iter().cycle());
            for _ in 0..DECISIONS {
                let Some(value) = values.next() else { break };
                let asks = asks(rules, value);
                match black_box(limiter.decide(&asks[..rules.len()])) {
                    Decision::Ready(_) => {}
                    Decision::Wait(waiting) => {
                        waited += 1;
                        drop(runtime.block_on(waiting));
                    }
                }
            }
            ((on_processor() - began) as f64 / f64::from(DECISIONS), waited)
        })
        .collect()
}

/// Nanoseconds that this thread had a processor.
fn on_processor() -> u64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split(' ').next().and_then(|nanos| nanos.parse().ok()).unwrap_or(0)
}

async fn decide(limiter: &Limiter, rules: &[&Arc<Rule>], value: &str) -> Verdict {
    match limiter.decide(&asks(rules, value)[..rules.len()]) {
        Decision::Ready(verdict) => verdict,
        Decision::Wait(waiting) => waiting.await,
    }
}

/// Of one rule or of two.
fn asks<'a>(rules: &[&'a Arc<Rule>], value: &'a str) -> [Ask<'a>; 2] {
    let ask = |rule| Ask {
        rule,
        value,
        cost: 1,
        patience: Duration::ZERO,
        dry_run: false,
    };
    [ask(rules[0]), ask(rules[rules.len() - 1])]
}
