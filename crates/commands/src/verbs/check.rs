//! `sluice check`: needs no cluster.

use crate::arguments::Check;
use crate::documents;
use crate::exit::Exit;
use crate::terminal::Terminal;
use serde_json::json;

pub(crate) fn check(args: &Check, terminal: &Terminal) -> Exit {
    let declared = match documents::declared(terminal, &args.documents) {
        Ok(declared) => declared,
        Err(exit) => return exit,
    };
    let (document, warnings) = (&declared.parsed.document, &declared.parsed.warnings);
    if terminal.json {
        terminal.object(&json!({"valid": true, "errors": [], "warnings": warnings}));
    }
    let routes: usize = document.gateways.values().map(|gateway| gateway.routes.len()).sum();
    let count = |n: usize, what: &str| {
        if n == 1 {
            format!("1 {what}")
        } else {
            format!("{n} {what}s")
        }
    };
    terminal.say(&format!(
        "valid: {}, {}, {}",
        count(document.upstreams.len(), "upstream"),
        count(document.gateways.len(), "gateway"),
        count(routes, "route")
    ));
    Exit::Done
}
