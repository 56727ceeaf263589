//! `sluice top`: what all nodes of the cluster do now, in one table.
//!
//! ```text
//! scrape: each node's /readyz and /metrics ─▶ tally: differences, sums, shares ─▶ tables, or JSON
//! ```

mod scrape;
mod tables;
mod tally;

use super::Session;
use crate::arguments::Top;
use crate::client::Failure;
use crate::exit::Exit;
use scrape::Nodes;
use std::collections::BTreeMap;
use tally::{Report, report};

pub(crate) async fn top(args: &Top, session: &Session<'_>) -> Result<Exit, Failure> {
    tokio::select! {
        exit = rounds(args, session) => exit,
        // Asked to end: it has done what was wanted.
        _ = tokio::signal::ctrl_c() => Ok(Exit::Done),
    }
}

async fn rounds(args: &Top, session: &Session<'_>) -> Result<Exit, Failure> {
    let terminal = session.terminal;
    let once = args.once || terminal.json;
    let mut nodes = Nodes::find(&session.client).await?;
    let mut targets = Targets::default();
    let mut before = None;
    loop {
        let round = nodes.ask(&session.client).await;
        if args.since_start || before.is_some() {
            targets.learn(&nodes, session).await;
            let earlier = before.as_ref().filter(|_| !args.since_start);
            tell(&report(&nodes, &round, earlier, &targets.0), args, session);
            if once || terminal.is_closed() {
                return Ok(Exit::Done);
            }
        } else if !once {
            let interval = sluice_document::declared::Duration(args.interval);
            terminal.say(&format!("counting for {interval}"));
        }
        before = Some(round);
        tokio::time::sleep(args.interval).await;
        // Members come and go.
        nodes.look_again(&session.client).await;
    }
}

fn tell(report: &Report, args: &Top, session: &Session<'_>) {
    if session.terminal.json {
        session.terminal.object(report);
    } else {
        session
            .terminal
            .page(&tables::text(report, args.view.chosen(), args.limit as usize));
    }
}

/// Where each route leads, by gateway and path, as the document of one version says.
#[derive(Debug, Default)]
struct Targets(Routes, Option<u64>);

/// Names of upstreams by gateway and `http_route`.
type Routes = BTreeMap<(String, String), Vec<String>>;

// === impl Targets ===

impl Targets {
    /// Reads the document where it is another than the last one. Without it the table has one column less to say.
    async fn learn(&mut self, nodes: &Nodes, session: &Session<'_>) {
        if self.1 == Some(nodes.cluster.version) {
            return;
        }
        if let Ok(document) = scrape::document(&session.client).await {
            *self = Self(tally::routes_of(&document), Some(nodes.cluster.version));
        }
    }
}
