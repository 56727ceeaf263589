//! What the evidence of all nodes together says.

use super::broken::{Broken, broken};
use super::ledger::{Node, SUSPECT};
use super::state::{Counts, Criterion};
use super::wire::{Numbers, Opinion, floor};

/// What the evidence says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing.
    Nothing,
    /// Some see what would open it, but too few. Their names, each once.
    Suspect(Vec<String>),
    /// Enough see it: by what, and what each had counted.
    Open(Criterion, Vec<(String, Counts)>),
}

/// What the evidence of all nodes together says. One node is one, however often it was started.
pub(super) fn judge(nodes: &[Node], rule: &Numbers, live: u32, now: u64) -> Verdict {
    let mut by_name: Vec<(String, Counts, bool)> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let counts = node.window.sum();
        let opined = node.opinion == Opinion::Failing && now < node.opined + SUSPECT;
        match by_name.iter_mut().find(|known| known.0 == node.from.name) {
            Some(known) if !broken(Broken::BootsAsNodes) => {
                known.1 = known.1.and(counts);
                known.2 |= opined;
            }
            _ => by_name.push((node.from.name.clone(), counts, opined)),
        }
    }
    let all = by_name.iter().fold(Counts::default(), |all, node| all.and(node.1));
    let needed = rule.observers.min(live).max(1);
    let mut suspects = Vec::new();
    for by in [Criterion::FailureRate, Criterion::SlowRate, Criterion::Consecutive] {
        let enough = match by {
            Criterion::Consecutive => rule.consecutive > 0,
            _ => all.calls >= rule.min_requests,
        };
        if !enough {
            continue;
        }
        let passes = |counts: &Counts, floor: u32, run: u32| match by {
            Criterion::FailureRate => {
                rule.failure_rate > 0 && counts.calls >= floor && share(counts.failed, counts.calls, rule.failure_rate)
            }
            Criterion::SlowRate => {
                rule.slow_rate > 0 && counts.calls >= floor && share(counts.slow, counts.calls, rule.slow_rate)
            }
            _ => counts.run >= run,
        };
        let (own_floor, own_run) = (rule.floor(live), floor(rule.consecutive, live));
        let seen: Vec<&(String, Counts, bool)> = by_name
            .iter()
            .filter(|(_, counts, _)| passes(counts, own_floor, own_run))
            .collect();
        if seen.is_empty() {
            continue;
        }
        let seconded = by_name
            .iter()
            .filter(|(_, counts, opined)| *opined && !passes(counts, own_floor, own_run))
            .count();
        let observers = u32::try_from(seen.len() + seconded).unwrap_or(u32::MAX);
        let whole = passes(&all, 1, rule.consecutive);
        if whole && (observers >= needed || broken(Broken::OneSees)) {
            let counts = by_name.into_iter().map(|(name, counts, _)| (name, counts)).collect();
            return Verdict::Open(by, counts);
        }
        if by != Criterion::Consecutive || whole {
            for (name, ..) in seen {
                if !suspects.contains(name) {
                    suspects.push(name.clone());
                }
            }
        }
    }
    if suspects.is_empty() {
        Verdict::Nothing
    } else {
        Verdict::Suspect(suspects)
    }
}

/// Whether a part is at least so many millionths of the whole.
fn share(part: u32, whole: u32, millionths: u32) -> bool {
    u64::from(part) * 1_000_000 >= u64::from(millionths) * u64::from(whole)
}
