//! What a closed breaker costs an attempt: nanoseconds of a processor to ask it and to tell it of a success or a failure;
//! and what a thousand of them cost their node's task each 100 ms. On Linux, which tells what a thread has used of one.
//!
//! `cargo run --release -p sluice-shared-state --example breaker_cost`

#![allow(clippy::print_stdout, reason = "figures are what it is for")]

use sluice_shared_state::breaker::{Admission, BreakerCell, Caller, Desk, Evidence, Failures, Verdict};
use sluice_shared_state::{BreakerKey, BreakerRule, Moment};
use std::hint::black_box;
use std::sync::{Arc, Barrier};
use std::task::Waker;
use std::thread;
use std::time::Duration;

const ROUNDS: u32 = 5_000_000;

fn main() {
    let rule = BreakerRule {
        failure_rate: Some(0.5),
        slow_rate: None,
        slow_after: None,
        consecutive: None,
        failures: Failures::default(),
        window: Duration::from_secs(10),
        min_requests: u32::MAX,
        open_for: Duration::from_secs(5),
        max_open_for: Duration::from_secs(50),
        probes: 1,
        observers: 2,
        probe_timeout: Duration::from_secs(1),
        version: 1,
    };
    for (what, verdict) in [("success", Verdict::Success), ("failure", Verdict::Failure)] {
        for threads in [1, 2] {
            let cell = Arc::new(BreakerCell::new(Arc::new(rule.clone())));
            cell_cost(what, verdict, threads, &cell);
        }
    }
    desk_cost(&Arc::new(rule));
}

fn desk_cost(rule: &Arc<BreakerRule>) {
    const BREAKERS: u64 = 1_000;
    const POLLS: u64 = 1_000;
    let mut desk = Desk::new(Caller::default());
    let _cells: Vec<_> = (0..BREAKERS)
        .map(|at| {
            let key = BreakerKey {
                upstream: at.to_string().into(),
                route: None,
            };
            desk.cell(Moment(0), &key, rule, Waker::noop())
        })
        .collect();
    let began = used();
    for poll in 0..POLLS {
        // Without a store it decides by itself: that is the dearer case.
        black_box(desk.poll(Moment(poll * 100_000_000), 0));
    }
    let micros = (used() - began).as_micros() as f64 / POLLS as f64;
    println!("{BREAKERS} idle breakers without a store: {micros:.0} µs a round");
}

/// What this thread has used of a processor.
fn used() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Duration::from_nanos(nanos.unwrap_or(0))
}

fn cell_cost(what: &str, verdict: Verdict, threads: usize, cell: &Arc<BreakerCell>) {
    let start = Arc::new(Barrier::new(threads));
    let work: Vec<_> = (0..threads)
        .map(|_| {
            let (cell, start) = (Arc::clone(cell), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let began = used();
                for round in 0..ROUNDS {
                    let now = Moment(u64::from(round));
                    if cell.admit(black_box(now)) == Admission::Pass {
                        let evidence = Evidence {
                            verdict: black_box(verdict),
                            slow: false,
                            admitted: now,
                            probe: None,
                            request_id: "",
                        };
                        cell.record(now, evidence);
                    }
                }
                used() - began
            })
        })
        .collect();
    let slowest = work
        .into_iter()
        .map(|thread| thread.join().unwrap_or_default())
        .max()
        .unwrap_or_default();
    let nanos = slowest.as_nanos() as f64 / f64::from(ROUNDS);
    println!("{what:8} {threads} thread(s): {nanos:.1} ns an attempt");
}
