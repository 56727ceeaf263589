//! The commands of limits and breakers.

use super::values::{RouteName, lasting};
use super::{LOOKING, MEMBERS, ORDERING, Reach, ReachOnly};
use clap::{Args, Subcommand};
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Limits {
    #[command(subcommand)]
    pub(crate) act: Option<LimitsAct>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LimitsAct {
    /// List the limits, and what was decided by them
    ///
    /// Counts are of all nodes, since each started. BY says who knew: a lease of the node, the store, the node by itself
    /// (local), or nobody (open).
    #[command(after_help = LOOKING)]
    List(ReachOnly),
    /// Show how a limit stands for one value of its key
    ///
    /// What is used and left by the count of the cluster, the tokens that are out at the nodes, and what each node holds.
    #[command(after_help = LOOKING)]
    Show(LimitKey),
    /// List the keys that were refused most of late, on all nodes together
    ///
    /// Counts are halved each minute. Keys that are refused rarely may be missing, and a count may be too high by what
    /// stands behind it.
    #[command(after_help = LOOKING)]
    Top(LimitsTop),
    /// Forget what was spent by one value of a limit's key, on all nodes
    ///
    /// Nodes give back what they hold first, so that never more than the limit passes afterwards either. Of a limit of
    /// requests at one time (concurrency) nothing is forgotten: what is under way is under way.
    #[command(after_help = MEMBERS)]
    Reset(LimitKey),
}

#[derive(Debug, Args)]
pub(crate) struct LimitKey {
    /// The limit
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The value of its key, as `sluice limits top` shows it: an address, a user's name
    #[arg(long, value_name = "VALUE")]
    pub(crate) key: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct LimitsTop {
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Breakers {
    #[command(subcommand)]
    pub(crate) act: Option<BreakersAct>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BreakersAct {
    /// List the breakers: what each does, since when and why
    #[command(after_help = LOOKING)]
    List(ReachOnly),
    /// Let no request through to an upstream, on all nodes, whatever its answers were
    ///
    /// Until the time is over or `sluice breakers release` is said. It stands in the log of the cluster: it holds over
    /// restarts, changes of the leader, and while the store of limits and breakers is away.
    #[command(after_help = ORDERING)]
    Open(BreakerSet),
    /// Let all requests through to an upstream, on all nodes, whatever its answers were
    ///
    /// As `open`: until the time is over or `sluice breakers release` is said.
    #[command(after_help = ORDERING)]
    Close(BreakerSet),
    /// Let a breaker decide by itself again
    #[command(after_help = ORDERING)]
    Release(BreakerNamed),
}

#[derive(Debug, Args)]
pub(crate) struct BreakerSet {
    /// The upstream
    #[arg(value_name = "UPSTREAM")]
    pub(crate) upstream: String,
    /// The breaker of this route alone, which has one of its own
    #[arg(long, value_name = "GATEWAY/ROUTE")]
    pub(crate) route: Option<RouteName>,
    /// Why, for whoever finds it so
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) why: String,
    /// For how long, 1s to 168h
    #[arg(long = "for", value_name = "DURATION", default_value = "10m", value_parser = lasting)]
    pub(crate) lasting: Duration,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct BreakerNamed {
    /// The upstream
    #[arg(value_name = "UPSTREAM")]
    pub(crate) upstream: String,
    /// The breaker of this route alone, which has one of its own
    #[arg(long, value_name = "GATEWAY/ROUTE")]
    pub(crate) route: Option<RouteName>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
