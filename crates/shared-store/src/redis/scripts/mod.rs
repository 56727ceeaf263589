//! The scripts: of limits one for each algorithm, each after what all of them begin with; of breakers, of people's looks,
//! and of the guard.

use super::Script;
use sluice_shared_state::ledger;

const EPOCH: &str = include_str!("epoch.lua");
const SHARE: &str = include_str!("share.lua");

static SLIDING: Script = Script::new("sliding", &[EPOCH, include_str!("sliding.lua")]);
static BUCKET: Script = Script::new("bucket", &[EPOCH, SHARE, include_str!("bucket.lua")]);
static WINDOW: Script = Script::new("window", &[EPOCH, SHARE, include_str!("window.lua")]);
static PERMITS: Script = Script::new("permits", &[EPOCH, SHARE, include_str!("permits.lua")]);
/// Reads a count for people.
pub(crate) static LOOK: Script = Script::new("look", &[include_str!("look.lua")]);
/// Forgets a count.
pub(crate) static FORGET: Script = Script::new("forget", &[include_str!("forget.lua")]);
/// Serves calls of breakers. It has an epoch of its own, which a node that was by itself does not raise.
pub(crate) static BREAKER: Script = Script::new("breaker", &[include_str!("breaker.lua")]);

/// Sees whether a store answers, and does what calls need.
pub(crate) static CHECK: Script = Script::new("check", &[include_str!("check.lua")]);

/// Every script: what a connection makes known before anybody calls.
pub(crate) static ALL: [&Script; 8] = [&SLIDING, &BUCKET, &WINDOW, &PERMITS, &LOOK, &FORGET, &BREAKER, &CHECK];

/// The script that serves an algorithm's calls.
pub(crate) fn script(of: ledger::Script) -> &'static Script {
    match of {
        ledger::Script::Sliding => &SLIDING,
        ledger::Script::Bucket => &BUCKET,
        ledger::Script::Window => &WINDOW,
        ledger::Script::Permits => &PERMITS,
    }
}
