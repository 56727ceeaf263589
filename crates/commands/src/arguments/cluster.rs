//! The commands of the cluster and its nodes.

use super::values::interval;
use super::{LOOKING, MEMBERS, Reach};
use clap::{Args, Subcommand, ValueEnum};
use std::time::Duration;

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// Show the settings of the node that answers, each with where it came from
    #[arg(long)]
    pub(crate) settings: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Show it once and end
    #[arg(long)]
    pub(crate) once: bool,
    /// The time between two looks (500ms, 2s, 1m)
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Count since the start of each node, in place of the last interval
    #[arg(long)]
    pub(crate) since_start: bool,
    #[command(flatten)]
    pub(crate) view: Views,
    /// At most so many rows
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) limit: u32,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// Which table is shown.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(crate) struct Views {
    /// By route, with refusals and failing upstreams below [default]
    #[arg(long)]
    routes: bool,
    /// By upstream
    #[arg(long)]
    upstreams: bool,
    /// By node: readiness, connections, CPU, memory
    #[arg(long)]
    nodes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    Routes,
    Upstreams,
    Nodes,
}

#[derive(Debug, Args)]
pub(crate) struct Members {
    #[command(subcommand)]
    pub(crate) act: Option<MembersAct>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum MembersAct {
    /// List the members
    #[command(after_help = LOOKING)]
    List(ReachOnly),
    /// Make a learner a voter
    #[command(after_help = MEMBERS)]
    Promote(Member),
    /// Take a node out of the cluster for good
    #[command(after_help = MEMBERS)]
    Remove(Member),
    /// Let the empty node that now bears this name take the old one's place
    #[command(after_help = MEMBERS)]
    Replace(Member),
    /// Let another voter lead
    ///
    /// Before the leader's machine is worked on, say. The others go on meanwhile.
    #[command(after_help = MEMBERS)]
    Transfer(Transfer),
    /// Form the cluster without the first members that will never come
    ///
    /// Said on one node whose cluster waits for others: stands for the promises of those of `initial` that are not
    /// named. Refused if any of the set that can be reached belongs to a cluster already.
    #[command(after_help = MEMBERS)]
    Form(Form),
}

#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    #[command(subcommand)]
    pub(crate) act: UpgradeAct,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UpgradeAct {
    /// Show the cluster's feature level, what each node understands, and who holds it back
    #[command(after_help = LOOKING)]
    Status(ReachOnly),
    /// Raise the feature level to what every node understands
    ///
    /// From then on documents may use what came with that level, and nodes of older binaries are let in no more. There is
    /// no way back: say it when the last node was updated and runs well.
    #[command(after_help = MEMBERS)]
    Finalize(ReachOnly),
}

#[derive(Debug, Args)]
pub(crate) struct ReachOnly {
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Member {
    /// The node
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Transfer {
    /// The voter that shall lead [default: the one that is furthest]
    #[arg(value_name = "NAME")]
    pub(crate) to: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Form {
    /// The nodes that are there, with commas between
    #[arg(long, value_name = "NAME,...", required = true, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Named {
    /// The node [default: the one that answers]
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Health {
    /// Ask also whether the rest would keep a majority if this node stopped
    #[arg(long)]
    pub(crate) safe_to_stop: bool,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Args)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) act: TokenAct,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenAct {
    /// Make a token; it is printed once, alone on stdout, and cannot be shown again
    #[command(after_help = MEMBERS)]
    Create(TokenCreate),
    /// List the tokens, without their secrets
    #[command(after_help = LOOKING)]
    List(ReachOnly),
    /// End a token, on every node at once
    #[command(after_help = MEMBERS)]
    Revoke(TokenNamed),
}

#[derive(Debug, Args)]
pub(crate) struct TokenCreate {
    /// What it is called in the history
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// `admin` may do everything, `viewer` only look
    #[arg(long, value_name = "admin|viewer", default_value = "viewer")]
    pub(crate) role: Role,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Everything.
    Admin,
    /// Only look.
    Viewer,
}

#[derive(Debug, Args)]
pub(crate) struct TokenNamed {
    /// The token's name
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

impl Views {
    pub(crate) fn chosen(&self) -> View {
        match self {
            Self { upstreams: true, .. } => View::Upstreams,
            Self { nodes: true, .. } => View::Nodes,
            _ => View::Routes,
        }
    }
}
