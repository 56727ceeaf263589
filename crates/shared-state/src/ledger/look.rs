//! One count as people see it: what is spent, what is left, what is out and at which nodes. Pure, and changes nothing.
//!
//! The books of the store in memory and those that a script keeps come to the same: each hands over what it has, and it
//! is added up here once.

use super::calendar::Window;
use super::share::real;
use super::wire::Garbled;
use super::{Script, sliding};
use crate::rule::{Algorithm, Rule};
use crate::time::StoreTime;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny as Unread};
use std::collections::BTreeMap;
use std::time::Duration;

/// One count, now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// Spent in the present window; of a bucket what it lacks, of a concurrency limit what is in use.
    pub used: u64,
    /// Neither spent nor out.
    pub left: u64,
    /// Until nothing is spent any more, if nothing happens.
    pub reset: Duration,
    /// Tokens out, by node, as [`From::hash`](super::From::hash) has its name.
    pub out: Vec<(u64, u64)>,
}

/// A sliding window: `[epoch, version, limit, spent, nodes]`.
#[derive(Deserialize)]
struct KeptSliding(u64, u64, u64, Vec<(u64, u64)>, Vec<SlidingNode>);

/// `[name, end, sure, pending, heard, seq, demand, reserve or -1, since, instant]`.
#[derive(Deserialize)]
struct SlidingNode(
    String,
    u64,
    Vec<(u64, u64)>,
    Vec<(u64, u64)>,
    Unread,
    Unread,
    Unread,
    i64,
    Unread,
    Unread,
);

/// A token bucket: `[epoch, version, rate, depth, level, at, instants, nodes]`.
#[derive(Deserialize)]
struct KeptBucket(u64, u64, f64, u64, f64, u64, Vec<(u64, u64)>, Vec<BucketNode>);

/// `[name, seq, demand, [rate, depth] told, [rate, depth] granted, level, until, back, over]`.
#[derive(Deserialize)]
struct BucketNode(
    String,
    Unread,
    Unread,
    (f64, f64),
    (f64, f64),
    Unread,
    u64,
    Unread,
    Unread,
);

/// A fixed window: `[version, limit, used by the dead, nodes]`.
#[derive(Deserialize)]
struct KeptWindow(u64, u64, Vec<(u64, u64)>, Vec<WindowNode>);

/// `[name, seq, demand, believed until, [start, used, out] …]`.
#[derive(Deserialize)]
struct WindowNode(String, Unread, Unread, Unread, Vec<(u64, u64, u64)>);

/// A concurrency limit: `[version, limit, short until, nodes]`.
#[derive(Deserialize)]
struct KeptPermits(u64, u64, Unread, Vec<PermitNode>);

/// `[name, seq, permits, in use, granted, until]`.
#[derive(Deserialize)]
struct PermitNode(String, Unread, u64, u64, u64, u64);

/// What a script answers that reads a count: `[µs now, epoch, [what is kept, if anything]]`.
///
/// # Errors
///
/// It is not what the script would say.
pub fn read(rule: &Rule, answer: &[u8]) -> Result<Looked, Garbled> {
    match Script::of(&rule.algorithm) {
        Script::Sliding => kept(answer, |now, epoch, kept: Option<KeptSliding>| {
            let kept = kept.filter(|kept| kept.0 == epoch);
            let Some(KeptSliding(_, version, limit, spent, nodes)) = kept else {
                return whole(rule);
            };
            let nodes = nodes.iter().map(|node| {
                let SlidingNode(name, end, sure, pending, _, _, _, reserve, _, _) = node;
                let held: u64 = sure.iter().chain(pending).map(|(_, tokens)| tokens).sum();
                (of(name), *end, held, u64::try_from(*reserve).ok())
            });
            self::sliding(now, rule, limit_of(rule, version, limit), &spent, nodes)
        }),
        Script::Bucket => kept(answer, |now, epoch, kept: Option<KeptBucket>| {
            let kept = kept.filter(|kept| kept.0 == epoch);
            let Some(KeptBucket(_, version, rate, depth, level, at, instants, nodes)) = kept else {
                return whole(rule);
            };
            let nodes = nodes.iter().map(|node| {
                let BucketNode(name, _, _, told, granted, _, until, ..) = node;
                (of(name), *until, told.0.max(granted.0), told.1.max(granted.1))
            });
            let numbers = bucket_numbers(rule, version, (rate, real(depth)));
            bucket(now, numbers, (level, at), &instants, nodes)
        }),
        Script::Window => kept(answer, |now, _, kept: Option<KeptWindow>| {
            let Some(KeptWindow(version, limit, gone, nodes)) = kept else {
                return whole(rule);
            };
            let accounts = nodes.iter().flat_map(|node| {
                let WindowNode(name, .., accounts) = node;
                accounts.iter().map(|&(start, used, out)| (of(name), start, used, out))
            });
            window(now, rule, limit_of(rule, version, limit), &gone, accounts)
        }),
        Script::Permits => kept(answer, |now, _, kept: Option<KeptPermits>| {
            let Some(KeptPermits(version, limit, _, nodes)) = kept else {
                return whole(rule);
            };
            let nodes = nodes.iter().map(|node| {
                let PermitNode(name, _, has, used, granted, until) = node;
                (of(name), *until, has + granted, *used)
            });
            permits(now, limit_of(rule, version, limit), nodes)
        }),
    }
}

fn kept<K: DeserializeOwned>(
    answer: &[u8],
    look: impl FnOnce(StoreTime, u64, Option<K>) -> Looked,
) -> Result<Looked, Garbled> {
    let (now, epoch, kept): (u64, u64, Vec<K>) = rmp_serde::from_slice(answer)?;
    Ok(look(StoreTime(now), epoch, kept.into_iter().next()))
}

/// A count of which nothing is kept.
pub(super) fn whole(rule: &Rule) -> Looked {
    Looked {
        left: rule.most(),
        ..Looked::default()
    }
}

/// The limit of whichever is newer: what is asked by, or what the store last granted by.
pub(super) fn limit_of(rule: &Rule, version: u64, limit: u64) -> u64 {
    match (version > rule.version, &rule.algorithm) {
        (true, _) => limit,
        (false, Algorithm::SlidingWindow { limit, .. } | Algorithm::Concurrency { limit, .. }) => u64::from(*limit),
        (false, Algorithm::FixedWindow { limit, .. }) => *limit,
        (false, Algorithm::TokenBucket { depth, .. }) => u64::from(*depth),
    }
}

/// Of nodes: who, until when what is out may be spent, how much that is, and what is set aside while the store learns.
pub(super) fn sliding(
    now: StoreTime,
    rule: &Rule,
    limit: u64,
    spent: &[(u64, u64)],
    nodes: impl Iterator<Item = (u64, u64, u64, Option<u64>)>,
) -> Looked {
    let slot = sliding::Numbers::of(rule).window.div_ceil(sliding::SLOTS).max(1);
    let present = now.0 / slot;
    let (mut out, mut spent) = (BTreeMap::new(), spent.to_vec());
    for (node, end, held, reserve) in nodes {
        match reserve {
            // What a node did not tell of counts as spent when its lease ends.
            None if end < now.0 => spent.push((end / slot, held)),
            reserve => *out.entry(node).or_default() += reserve.unwrap_or(held),
        }
    }
    let counted = spent
        .iter()
        .filter(|(of, tokens)| of + sliding::SLOTS >= present && *tokens > 0);
    let last = counted.clone().map(|(of, _)| (of + sliding::SLOTS + 1) * slot).max();
    let used = counted.map(|(_, tokens)| tokens).sum();
    looked(limit, used, last.unwrap_or(0).saturating_sub(now.0), out)
}

/// Its rate a second and its depth, by whichever version is newer.
pub(super) fn bucket_numbers(rule: &Rule, version: u64, kept: (f64, f64)) -> (f64, f64) {
    match (version > rule.version, &rule.algorithm) {
        (false, Algorithm::TokenBucket { limit, per, depth }) => {
            (f64::from(*limit) / per.as_secs_f64(), f64::from(*depth))
        }
        _ => kept,
    }
}

/// `level` is what was in the free part, and when. Of nodes: who, until when its part is its own, its rate, its depth.
pub(super) fn bucket(
    now: StoreTime,
    (rate, depth): (f64, f64),
    (level, at): (f64, u64),
    instants: &[(u64, u64)],
    nodes: impl Iterator<Item = (u64, u64, f64, f64)>,
) -> Looked {
    let (mut free_rate, mut free_depth, mut out) = (rate, depth, BTreeMap::<u64, u64>::new());
    for (node, _, of_rate, of_depth) in nodes.filter(|(_, until, ..)| *until > now.0) {
        free_rate -= of_rate;
        free_depth -= of_depth;
        *out.entry(node).or_default() += whole_of(of_depth);
    }
    // Given to requests that wait: spent, though the bucket lacks it only when that wait is over.
    let instant: u64 = instants
        .iter()
        .filter(|(until, _)| *until > now.0)
        .map(|(_, tokens)| tokens)
        .sum();
    free_depth -= real(instant);
    let since = real(now.0.saturating_sub(at)) / 1e6;
    let level = (level + free_rate.max(0.0) * since).min(free_depth.max(0.0)).max(0.0);
    let lacks = (free_depth - level).max(0.0) + real(instant);
    let reset = if rate > 0.0 { lacks / rate } else { 0.0 };
    out.retain(|_, tokens| *tokens > 0);
    Looked {
        used: whole_of(lacks.ceil()),
        left: whole_of(level),
        reset: Duration::try_from_secs_f64(reset).unwrap_or_default(),
        out: out.into_iter().collect(),
    }
}

/// Of accounts: whose, of which window, what is used in it, what is out.
pub(super) fn window(
    now: StoreTime,
    rule: &Rule,
    limit: u64,
    gone: &[(u64, u64)],
    accounts: impl Iterator<Item = (u64, u64, u64, u64)>,
) -> Looked {
    let Algorithm::FixedWindow { calendar, .. } = &rule.algorithm else {
        return whole(rule);
    };
    let present = Window::at(calendar, now);
    let of_now = |start: u64| start == present.start;
    let mut used: u64 = gone
        .iter()
        .filter(|(start, _)| of_now(*start))
        .map(|(_, used)| used)
        .sum();
    let mut out = BTreeMap::new();
    for (node, _, of_node, held) in accounts.filter(|(_, start, ..)| of_now(*start)) {
        used += of_node;
        *out.entry(node).or_default() += held;
    }
    let reset = if used > 0 { present.end.saturating_sub(now.0) } else { 0 };
    looked(limit, used, reset, out)
}

/// Of nodes: who, until when, what it has, what of that is in use.
pub(super) fn permits(now: StoreTime, limit: u64, nodes: impl Iterator<Item = (u64, u64, u64, u64)>) -> Looked {
    let (mut used, mut out) = (0, BTreeMap::new());
    for (node, _, has, in_use) in nodes.filter(|(_, until, ..)| *until > now.0) {
        used += in_use;
        *out.entry(node).or_default() += has.saturating_sub(in_use);
    }
    looked(limit, used, 0, out)
}

fn looked(limit: u64, used: u64, reset_us: u64, mut out: BTreeMap<u64, u64>) -> Looked {
    out.retain(|_, tokens| *tokens > 0);
    let held: u64 = out.values().sum();
    Looked {
        used,
        left: limit.saturating_sub(used.saturating_add(held)),
        reset: Duration::from_micros(reset_us),
        out: out.into_iter().collect(),
    }
}

/// The node of a process, of its name; 0 of one that is none.
fn of(name: &str) -> u64 {
    name.get(..16)
        .and_then(|node| u64::from_str_radix(node, 16).ok())
        .unwrap_or(0)
}

fn whole_of(number: f64) -> u64 {
    // Cut to what fits.
    number.max(0.0).floor() as u64
}
