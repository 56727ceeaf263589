//! Requests at a rate, and what was admitted of them.

use crate::cluster::{ask, passes};
use sluice_shared_state::Rule;
use sluice_shared_store::Limiter;
use std::rc::Rc;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::task::{JoinSet, LocalSet};

/// One request.
#[derive(Clone, Copy)]
pub(crate) struct Offered {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) admitted: bool,
}

/// Offers each limiter, on a thread of its own, `rates[i]` requests a second by one key.
pub(crate) async fn offer(limiters: Vec<Limiter>, rule: &Arc<Rule>, rates: &[u32], time: Duration) -> Vec<Offered> {
    let threads: Vec<_> = limiters
        .into_iter()
        .zip(rates.to_vec())
        .map(|(limiter, rate)| {
            let rule = Arc::clone(rule);
            thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                LocalSet::new().block_on(&runtime, at_rate(Rc::new(limiter), rule, rate, time))
            })
        })
        .collect();
    let join = || threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    // The engines go on meanwhile.
    tokio::task::block_in_place(join)
}

async fn at_rate(limiter: Rc<Limiter>, rule: Arc<Rule>, rate: u32, time: Duration) -> Vec<Offered> {
    let (began, mut sent, mut open) = (Instant::now(), 0, JoinSet::new());
    let mut beat = tokio::time::interval(Duration::from_millis(1));
    while began.elapsed() < time {
        beat.tick().await;
        let due = (began.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        for _ in sent..due {
            let (limiter, rule) = (Rc::clone(&limiter), Arc::clone(&rule));
            open.spawn_local(async move {
                let began = Instant::now();
                let admitted = passes(&limiter, &[ask(&rule, "all")]).await;
                let ended = Instant::now();
                Offered { began, ended, admitted }
            });
        }
        sent = due;
    }
    open.join_all().await
}

/// The most requests that were certainly admitted within one window: those that began and ended in it. How late the
/// machine was to note a time makes it smaller, never greater.
pub(crate) fn most_in_a_window(offered: &[Offered], window: Duration) -> usize {
    let mut admitted: Vec<_> = offered.iter().filter(|offered| offered.admitted).collect();
    admitted.sort_by_key(|offered| offered.began);
    let most = (0..admitted.len()).map(|first| {
        let end = admitted[first].began + window;
        let from = admitted[first..].iter();
        from.take_while(|one| one.began < end)
            .filter(|one| one.ended < end)
            .count()
    });
    most.max().unwrap_or(0)
}

/// What one limiter that sees all would have admitted.
pub(crate) fn ideal(offered: &[Offered], limit: usize, window: Duration) -> usize {
    let mut began: Vec<_> = offered.iter().map(|offered| offered.began).collect();
    began.sort();
    let mut admitted: Vec<Instant> = Vec::new();
    for at in began {
        let oldest = admitted.len().checked_sub(limit).map(|place| admitted[place]);
        if oldest.is_none_or(|oldest| at >= oldest + window) {
            admitted.push(at);
        }
    }
    admitted.len()
}

pub(crate) fn admitted(offered: &[Offered]) -> usize {
    offered.iter().filter(|offered| offered.admitted).count()
}
