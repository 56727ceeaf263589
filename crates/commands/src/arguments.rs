//! The command line as it is written: every command with its help.

mod cluster;
mod configuration;
mod shared;
mod values;

pub(crate) use cluster::*;
pub(crate) use configuration::*;
pub(crate) use shared::*;
pub(crate) use values::RouteName;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

const LOOKING: &str = "Exit codes: 0 done; 1 refused; 2 wrong usage; 3 the admin API cannot be reached.";
const CHANGING: &str = "\
Exit codes: 0 committed and live everywhere (with --wait majority: committed); 1 refused or invalid, nothing changed; \
2 wrong usage; 3 no node, no leader or no majority could be reached; 4 another version or a pending change is in the \
way; 5 committed but not live everywhere in time, or nobody knows whether it was done.";
const TRYING: &str = "\
Exit codes: 0 done; 1 refused, because nothing waits for it or it was undone already; 2 wrong usage; 3 no node, no leader \
or no majority could be reached; 5 nobody knows whether it was done.";
const FOLLOWING: &str = "\
Exit codes: 1 refused; 2 wrong usage; 3 the admin API cannot be reached, or is gone and does not come back within 10 s.";
const MEMBERS: &str = "\
Exit codes: 0 done; 1 refused; 2 wrong usage; 3 no node, no leader or no majority could be reached; 5 nobody knows \
whether it was done.";

const ORDERING: &str = "\
Exit codes: 0 done on all nodes; 1 refused; 2 wrong usage; 3 no node, no leader or no majority could be reached; 5 written \
down but not done on all nodes yet, or nobody knows whether it was.";

/// An API gateway that is a cluster: every node is this one binary.
///
/// Start with `sluice demo`: a whole cluster on this machine, with services to try it on.
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    max_term_width = 100,
    after_help = "\
Commands that speak to a cluster find it by --admin URL or --data DIR, then SLUICE_ADMIN, then a demo that runs, then \
http://127.0.0.1:9080. They show the token in SLUICE_ADMIN_TOKEN; with --data none is needed.

Exit codes: 0 done; 1 refused, invalid, or `diff` differs; 2 wrong usage; 3 nobody could be reached, no leader, no \
majority; 4 version conflict or pending change; 5 committed but not live everywhere, or outcome unknown."
)]
pub(crate) struct Line {
    #[command(flatten)]
    pub(crate) reach: Reach,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// How a cluster is found and how is answered.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Reach {
    /// Admin API of any node [env: SLUICE_ADMIN] [default: a running demo, or http://127.0.0.1:9080]
    #[arg(long, value_name = "URL", conflicts_with = "data")]
    pub(crate) admin: Option<String>,
    /// Data folder of a node of this machine: go through its Unix socket, as the process's owner, without a token
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// A whole cluster on this machine, to try things on
    ///
    /// Starts three nodes and sample services in one process, applies a sample document, and prints where all is and
    /// what to try. While it runs, the other commands find it by themselves. Ctrl-C ends it.
    #[command(after_help = "Exit codes: 0 ended as asked; 1 a port is taken, or a node failed; 2 wrong usage.")]
    Demo(Demo),
    /// One node
    ///
    /// Runs until SIGTERM or SIGINT. docs/settings.md describes every setting.
    #[command(after_help = "\
Exit codes: 0 ended as asked, drained; 1 it could not go on, or was told twice to end; 2 wrong settings or usage.")]
    Node,
    /// Make the configuration equal to a document
    ///
    /// Checks the document here, shows how it differs from the cluster's, lets every healthy node check it too, commits
    /// it, and waits until it is live. What exists only in the cluster is deleted with --prune alone. Nothing can come
    /// between: the change is made for the version that was compared, and refused at any other.
    #[command(after_help = CHANGING)]
    Apply(Apply),
    /// Check a document without a cluster
    ///
    /// Tells everything that is wrong at once, with the line. Warnings do not fail. Several files, or a folder of them, are
    /// read as one document.
    #[command(after_help = "Exit codes: 0 valid, perhaps with warnings; 1 invalid; 2 wrong usage.")]
    Check(Check),
    /// Lay a document out anew
    ///
    /// Two spaces deep, short lists in one line, quotes where they are needed. What it says and in which order stays as it
    /// is, and comments of YAML stay with what they stand at. Prints it, or with -w rewrites the file. What has no place in
    /// the layout (anchors of YAML, comments of TOML) is not thrown away unasked.
    #[command(
        after_help = "Exit codes: 0 done, or with --check: it is laid out so; 1 it is not, or cannot be; 2 wrong usage."
    )]
    Fmt(Fmt),
    /// Show how a document differs from the cluster's
    ///
    /// `-` is what the cluster has, `+` what the document has. With --version the cluster's side is that version, and
    /// without a document the other side is the present one. With --changed-by the sides are the version before that one
    /// and that one.
    #[command(
        after_help = "Exit codes: 0 equal; 1 different, or the document is invalid; 2 wrong usage; 3 the admin API cannot be reached."
    )]
    Diff(Diff),
    /// Print the cluster's document
    #[command(after_help = LOOKING)]
    Export(Export),
    /// List the versions of the configuration, newest first
    #[command(after_help = LOOKING)]
    History(History),
    /// Keep a version that is undone unless it is confirmed
    ///
    /// After `apply --confirm-within`. Where it comes too late the version was undone, and this says so.
    #[command(after_help = TRYING)]
    Confirm(Confirm),
    /// Make a version live on all nodes that is live on some alone
    ///
    /// After `apply --on`. The other nodes are asked first whether they can serve it.
    #[command(after_help = CHANGING)]
    Promote(Promote),
    /// Go back to an older version
    ///
    /// Makes a new version with the content of the old one, checked and committed like any change. Tokens and members
    /// are not touched. While a version is on trial, going back to the one before it ends the trial.
    #[command(after_help = CHANGING)]
    Rollback(Rollback),
    /// Follow what happens in the cluster: versions, where they are live, leader, members, breakers, what is degraded
    ///
    /// First comes what is now. Ends with Ctrl-C. With --json each event is one object in one line.
    #[command(after_help = FOLLOWING)]
    Events(ReachOnly),
    /// Change how a route splits its requests
    #[command(after_help = CHANGING)]
    Split(Split),
    /// Print the JSON Schema of documents
    ///
    /// For editors: they complete fields and mark what is wrong. docs/reference.md has the same for people.
    #[command(after_help = "Exit codes: 0 done; 2 wrong usage.")]
    Schema,
    /// Show the cluster: leader, members, versions, what is degraded
    #[command(after_help = LOOKING)]
    Status(Status),
    /// Show what all nodes do now: routes, upstreams, refusals, load
    ///
    /// Reads the metrics of every node twice and shows what came between: requests a second, the share of 4xx and 5xx,
    /// durations, refusals by code, upstreams that fail; what has most errors stands first. On a terminal it goes on until
    /// Ctrl-C. A node that cannot be reached is named. Durations are estimates from buckets. --json implies --once and has
    /// all tables at once, --limit or not.
    #[command(after_help = LOOKING)]
    Top(Top),
    /// Show the limits of the cluster, and who is refused by them
    #[command(after_help = LOOKING)]
    Limits(Limits),
    /// Show the breakers of the cluster, and set them by hand
    #[command(after_help = LOOKING)]
    Breakers(Breakers),
    /// List members and change who they are
    #[command(after_help = MEMBERS)]
    Members(Members),
    /// Raise what the cluster understands, after its nodes were updated
    #[command(after_help = MEMBERS)]
    Upgrade(Upgrade),
    /// Take a node out of traffic
    ///
    /// The node's /readyz turns to 503, so that balancers leave it; what it has is finished. It goes on as a member.
    #[command(after_help = MEMBERS)]
    Drain(Named),
    /// Bring a drained node back into traffic
    #[command(after_help = MEMBERS)]
    Undrain(Named),
    /// Ask one node whether it is ready
    ///
    /// Fit for container health checks: needs no token and says nothing but the reason.
    #[command(after_help = "Exit codes: 0 yes; 1 no; 2 wrong usage; 3 the admin API cannot be reached.")]
    Health(Health),
    /// Make, list and revoke tokens of the admin API
    #[command(after_help = MEMBERS)]
    Token(Token),
    /// Offline: have a node start by an older version
    ///
    /// For a node that a version keeps from running. Works on the data folder of a node that does not run and needs no
    /// other node. Without --pin or --unpin it lists the versions that the folder holds.
    #[command(after_help = "\
Exit codes: 0 done; 1 the folder cannot be used (the node runs, or it holds no such version); 2 wrong usage.")]
    Rescue(Rescue),
}

/// `sluice demo`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Demo {
    /// Keep the nodes' disks in this folder and go on with them next time [default: temporary]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Add this to every port
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=i64::from(sluice_demo::Ports::MOST)))]
    pub(crate) port_offset: u16,
    /// Threads for traffic of each node
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,
    /// Let the nodes count limits in this Redis [default: in memory, which the nodes share]
    #[arg(long, value_name = "URL")]
    pub(crate) redis: Option<String>,
}

/// `sluice rescue`: what a node's folder is to be made to do.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Rescue {
    /// The data folder of the node, which must not run
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Start by this version until the cluster makes a newer one
    #[arg(long, value_name = "VERSION", conflicts_with = "unpin")]
    pub pin: Option<u64>,
    /// Take the pin away again
    #[arg(long)]
    pub unpin: bool,
    /// Print one JSON object on stdout
    #[arg(long)]
    pub json: bool,
}

impl Reach {
    /// What was said here, over what was said before.
    pub(crate) fn or(&self, before: &Self) -> Self {
        // A place said nearer to the command's end replaces one said before as a whole.
        let own = self.admin.is_some() || self.data.is_some();
        let place = if own { self } else { before };
        Self {
            admin: place.admin.clone(),
            data: place.data.clone(),
            json: self.json || before.json,
        }
    }

    pub(crate) fn is_said(&self) -> bool {
        self.admin.is_some() || self.data.is_some()
    }
}
