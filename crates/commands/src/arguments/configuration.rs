//! The commands of the document and its versions.

use super::values::{ArmWeight, RouteName, duration, scope, trial};
use super::{CHANGING, Reach};
use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The document: a file, a folder of files (YAML, JSON, TOML by their endings), or - for stdin; may be repeated
    #[arg(short, long, value_name = "DOC", required = true)]
    pub(crate) file: Vec<PathBuf>,
    /// Show and check only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Delete what the document does not have
    #[arg(long)]
    pub(crate) prune: bool,
    /// Only if the configuration is at this version
    #[arg(long, value_name = "N")]
    pub(crate) if_version: Option<u64>,
    /// Only this part is compared, and what lies under it: gateways/web, upstreams/orders, gateways/web/routes/get-orders
    #[arg(long, value_name = "PART", value_parser = scope)]
    pub(crate) scope: Option<String>,
    #[command(flatten)]
    pub(crate) limits: TrialLimits,
    #[command(flatten)]
    pub(crate) change: Change,
    /// Wait until it is live on all healthy nodes, or committed by a majority
    #[arg(long, value_name = "all|majority", default_value = "all")]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// What all changes of the configuration may be told.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    /// How long to wait (300ms, 10s, 2m)
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) timeout: Duration,
    /// Go on though a healthy node cannot serve it
    #[arg(long)]
    pub(crate) force: bool,
}

/// Within which limits a change is live at first.
#[derive(Debug, Default, Args)]
pub(crate) struct TrialLimits {
    /// Undo it unless `sluice confirm` comes within this time (1s to 24h)
    #[arg(long, value_name = "DURATION", value_parser = trial)]
    pub(crate) confirm_within: Option<Duration>,
    /// Live on these nodes alone, with commas between, until `sluice promote`
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    pub(crate) on: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Wait {
    /// Live on all healthy nodes.
    All,
    /// Committed.
    Majority,
}

#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Files or folders, or - for stdin
    #[arg(value_name = "DOC", required = true)]
    pub(crate) documents: Vec<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Fmt {
    /// Files or folders, or - for stdin
    #[arg(value_name = "DOC", required = true)]
    pub(crate) documents: Vec<PathBuf>,
    /// Only say which are laid out otherwise
    #[arg(long, conflicts_with = "write")]
    pub(crate) check: bool,
    /// Rewrite the files in place
    #[arg(short, long)]
    pub(crate) write: bool,
    /// Throw away what has no place in the layout
    #[arg(long)]
    pub(crate) drop: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Files or folders, or - for stdin
    #[arg(value_name = "DOC", required_unless_present_any = ["version", "changed_by"])]
    pub(crate) documents: Vec<PathBuf>,
    /// Compare with this version instead of the present one
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u64>,
    /// Show what this version changed
    #[arg(long, value_name = "N", conflicts_with_all = ["version", "documents", "scope"], value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) changed_by: Option<u64>,
    /// Only this part is compared, and what lies under it
    #[arg(long, value_name = "PART", value_parser = scope)]
    pub(crate) scope: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Export {
    /// An older version [default: the present one]
    #[arg(long, value_name = "N")]
    pub(crate) version: Option<u64>,
    /// How it is written
    #[arg(long, value_name = "yaml|json|toml", default_value = "yaml")]
    pub(crate) format: Written,
    /// The text of the last whole document as it was applied, comments and all
    #[arg(long, conflicts_with_all = ["version", "format"])]
    pub(crate) original: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Written {
    /// YAML.
    Yaml,
    /// JSON.
    Json,
    /// TOML.
    Toml,
}

#[derive(Debug, Args)]
pub(crate) struct History {
    /// At most so many [default: 20, or with --since 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: Option<u32>,
    /// Only what was made, confirmed, promoted or undone within this time (30m, 1h)
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) since: Option<Duration>,
    /// Only versions older than this
    #[arg(long, value_name = "N")]
    pub(crate) before: Option<u64>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Rollback {
    /// The version to go back to [default: while a version is on trial, the one before it]
    #[arg(value_name = "VERSION")]
    pub(crate) version: Option<u64>,
    /// Show and check only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) limits: TrialLimits,
    #[command(flatten)]
    pub(crate) change: Change,
    /// Wait until it is live on all healthy nodes, or committed by a majority
    #[arg(long, value_name = "all|majority", default_value = "majority")]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// The version [default: the one that is on trial]
    #[arg(value_name = "VERSION")]
    pub(crate) version: Option<u64>,
    /// Why, for the history
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Promote {
    /// The version that is on trial
    #[arg(value_name = "VERSION")]
    pub(crate) version: u64,
    #[command(flatten)]
    pub(crate) change: Change,
    /// Wait until it is live on all healthy nodes, or committed by a majority
    #[arg(long, value_name = "all|majority", default_value = "all")]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Split {
    #[command(subcommand)]
    pub(crate) act: SplitAct,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SplitAct {
    /// Give arms of a route's split new weights
    ///
    /// Changes nothing else of the route, and only if nobody changed it meanwhile. Arms that are not named keep their
    /// weights; of the requests for which no `when` holds an arm gets its part of the sum. Who has a cookie of the split
    /// stays with the arm that it names until that has weight 0.
    #[command(after_help = CHANGING)]
    Set(SplitSet),
}

#[derive(Debug, Args)]
pub(crate) struct SplitSet {
    /// The route, by the name of its gateway and its id
    #[arg(value_name = "GATEWAY/ROUTE")]
    pub(crate) route: RouteName,
    /// An arm by its upstream, and its weight (0 to 65535)
    #[arg(value_name = "UPSTREAM=WEIGHT", required = true)]
    pub(crate) weights: Vec<ArmWeight>,
    /// Show and check only; change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) change: Change,
    #[command(flatten)]
    pub(crate) limits: TrialLimits,
    /// Wait until it is live on all healthy nodes, or committed by a majority
    #[arg(long, value_name = "all|majority", default_value = "majority")]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) reach: Reach,
}
