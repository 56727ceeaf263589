//! What a script is given and what it answers: MessagePack arrays, because Redis's Lua reads and writes these by itself.
//!
//! ```text
//!   said    [from, epoch, local, live, without, [for each key: [epoch, local, numbers of the limit, call, from in
//!            this life]]]
//!   answer  [epoch, µs of learning, [for each key: [EPOCH] | [STALE] | [OWN, the algorithm's own]]]
//! ```
//!
//! All numbers stay below 2⁵³, which Lua keeps exactly; names of processes, which are greater, travel as text.

use super::{Call, From, Header, Reply, Request, Script, Served, bucket, permits, sliding, window};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The kind of [`Reply::Epoch`].
const EPOCH: u8 = 0;
/// The kind of [`Reply::Stale`].
const STALE: u8 = 1;
/// The kind of an algorithm's own.
const OWN: u8 = 2;

/// An answer is not what the script would say.
#[derive(Debug, thiserror::Error)]
pub enum Garbled {
    /// It is not of the form.
    #[error("the answer of a script cannot be read: {0}")]
    Form(#[from] rmp_serde::decode::Error),
    /// It has a kind of answer that there is not.
    #[error("a script answered with the kind {0}, which is not known")]
    Kind(u8),
    /// There are not as many answers as calls.
    #[error("a script gave {answers} answers to {calls} calls")]
    Count {
        /// What was answered.
        answers: usize,
        /// What was asked.
        calls: usize,
    },
}

/// Limit and call, as one algorithm's script gets them, of each key in turn.
#[derive(Serialize)]
#[serde(untagged)]
enum Said<'c> {
    Sliding(u64, bool, sliding::Numbers, &'c sliding::Call, String),
    Bucket(u64, bool, bucket::Numbers, &'c bucket::Call, String),
    Window(u64, bool, window::Numbers, &'c window::Call, String),
    Permits(u64, bool, permits::Numbers, &'c permits::Call, String),
}

/// One answer, as it travels.
#[derive(Deserialize)]
struct Answer<R> {
    kind: u8,
    #[serde(default = "nothing")]
    own: Option<R>,
}

/// What a script is told. Requests must all be of one algorithm, and the script that algorithm's.
#[must_use]
pub fn said(header: &Header, requests: &[Request]) -> Vec<u8> {
    let calls: Vec<_> = requests
        .iter()
        .map(|request| {
            let Request { rule, epoch, local, .. } = request;
            let from = name(header.from.of_life(request.life));
            match &request.call {
                Call::Sliding(call) => Said::Sliding(*epoch, *local, sliding::Numbers::of(rule), call, from),
                Call::Bucket(call) => Said::Bucket(*epoch, *local, bucket::Numbers::of(rule), call, from),
                Call::Window(call) => Said::Window(*epoch, *local, window::Numbers::of(rule), call, from),
                Call::Permits(call) => Said::Permits(*epoch, *local, permits::Numbers::of(rule), call, from),
            }
        })
        .collect();
    let local = header.local || requests.iter().any(|request| request.local);
    rmp_serde::to_vec(&(
        name(header.from),
        header.epoch,
        local,
        header.live,
        header.without,
        calls,
    ))
    .expect("numbers, text and lists of these can always be packed, and a Vec takes all bytes")
}

/// What a script answered to `calls` requests.
///
/// # Errors
///
/// It is not what the script would say.
pub fn served(script: Script, calls: usize, answer: &[u8]) -> Result<Served, Garbled> {
    match script {
        Script::Sliding => read(calls, answer, Reply::Sliding),
        Script::Bucket => read(calls, answer, Reply::Bucket),
        Script::Window => read(calls, answer, Reply::Window),
        Script::Permits => read(calls, answer, Reply::Permits),
    }
}

fn read<R: DeserializeOwned>(calls: usize, answer: &[u8], own: impl Fn(R) -> Reply) -> Result<Served, Garbled> {
    let (epoch, learning, answers): (u64, u64, Vec<Answer<R>>) = rmp_serde::from_slice(answer)?;
    if answers.len() != calls {
        return Err(Garbled::Count {
            answers: answers.len(),
            calls,
        });
    }
    let replies = answers
        .into_iter()
        .map(|answer| match (answer.kind, answer.own) {
            (EPOCH, _) => Ok(Reply::Epoch(epoch)),
            (STALE, _) => Ok(Reply::Stale),
            (OWN, Some(reply)) => Ok(own(reply)),
            (kind, _) => Err(Garbled::Kind(kind)),
        })
        .collect::<Result<_, _>>()?;
    Ok(Served {
        epoch,
        learning: Duration::from_micros(learning),
        replies,
    })
}

/// A process as scripts know it: its node, then what tells it from others of the node.
fn name(from: From) -> String {
    format!("{:016x}{:016x}", from.node, from.boot)
}

fn nothing<R>() -> Option<R> {
    None
}
