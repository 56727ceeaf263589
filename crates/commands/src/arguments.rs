//! The command line as it is written: every command with its help.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;

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
    /// Follow what happens in the cluster: versions, where they are live, leader, members, what is degraded
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
}

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
    pub(crate) limits: Limits,
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
pub(crate) struct Limits {
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
    pub(crate) limits: Limits,
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
    pub(crate) limits: Limits,
    /// Wait until it is live on all healthy nodes, or committed by a majority
    #[arg(long, value_name = "all|majority", default_value = "majority")]
    pub(crate) wait: Wait,
    #[command(flatten)]
    pub(crate) reach: Reach,
}

/// A route as people name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteName {
    pub(crate) gateway: String,
    pub(crate) id: String,
}

/// A weight for an arm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArmWeight {
    pub(crate) upstream: String,
    pub(crate) weight: u16,
}

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

impl Views {
    pub(crate) fn chosen(&self) -> View {
        match self {
            Self { upstreams: true, .. } => View::Upstreams,
            Self { nodes: true, .. } => View::Nodes,
            _ => View::Routes,
        }
    }
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

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < Duration::from_millis(100) {
        return Err("100ms is the least".to_owned());
    }
    Ok(interval)
}

fn scope(text: &str) -> Result<String, String> {
    match text.parse::<sluice_document::PartKey>() {
        Ok(key) => Ok(key.to_string()),
        Err(_) => {
            Err("write a part, such as gateways/web, upstreams/orders or gateways/web/routes/get-orders".to_owned())
        }
    }
}

fn trial(text: &str) -> Result<Duration, String> {
    let within = duration(text)?;
    match within < Duration::from_secs(1) {
        true => Err("a second is the least".to_owned()),
        false => Ok(within),
    }
}

impl std::fmt::Display for RouteName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.gateway, self.id)
    }
}

impl std::str::FromStr for RouteName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((gateway, id)) if !gateway.is_empty() && !id.is_empty() && !id.contains('/') => Ok(Self {
                gateway: gateway.to_owned(),
                id: id.to_owned(),
            }),
            _ => Err("write the gateway's name and the route's id, as web/checkout".to_owned()),
        }
    }
}

impl std::str::FromStr for ArmWeight {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = |(upstream, weight): (&str, &str)| {
            let weight = weight.parse().ok()?;
            let upstream = Some(upstream.to_owned()).filter(|upstream| !upstream.is_empty())?;
            Some(Self { upstream, weight })
        };
        let why = || "write an upstream and a whole number from 0 to 65535, as checkout=90".to_owned();
        text.split_once('=').and_then(read).ok_or_else(why)
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let why = || "write a whole number with ms, s, m or h, such as 300ms or 10s".to_owned();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(why)?;
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| why())?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(why()),
    };
    let ms = number.checked_mul(unit).filter(|ms| *ms <= 24 * 3_600_000);
    ms.map(Duration::from_millis)
        .ok_or_else(|| "a day is the most".to_owned())
}
