//! `sluice upgrade`.

use super::Session;
use crate::arguments::UpgradeAct;
use crate::client::{Call, Cluster, Failure};
use crate::exit::Exit;
use crate::table::table;
use serde_json::Value;

pub(crate) async fn upgrade(act: &UpgradeAct, session: &Session<'_>) -> Result<Exit, Failure> {
    let answer = match act {
        UpgradeAct::Status(_) => session.client.call(Call::get("/v1/cluster")).await?,
        UpgradeAct::Finalize(_) => {
            let call = Call::post("/v1/cluster/upgrade/finalize");
            session.client.change(call).await?
        }
    };
    let whole: Value = answer.json()?;
    if session.terminal.json {
        session.terminal.object(&whole);
        return Ok(Exit::Done);
    }
    let cluster: Cluster = answer.json()?;
    let rows = cluster.nodes.iter().map(|node| {
        [
            node.name.clone(),
            node.binary.clone().unwrap_or_default(),
            node.level
                .map_or_else(|| "not heard".to_owned(), |level| level.to_string()),
        ]
    });
    session.terminal.out(&table(["NODE", "BINARY", "UNDERSTANDS"], rows));
    session.terminal.say(&verdict(&cluster));
    Ok(Exit::Done)
}

/// Where the cluster stands, and what would raise it.
fn verdict(cluster: &Cluster) -> String {
    let at = format!("the cluster is at feature level {}", cluster.level);
    let names = |these: &dyn Fn(Option<u32>) -> bool| -> String {
        let these = cluster.nodes.iter().filter(|node| these(node.level));
        these.map(|node| node.name.as_str()).collect::<Vec<_>>().join(", ")
    };
    let silent = names(&|level| level.is_none());
    if !silent.is_empty() {
        return format!("{at}; what {silent} would understand is not known");
    }
    let known = || cluster.nodes.iter().filter_map(|node| node.level);
    let (Some(common), Some(highest)) = (known().min(), known().max()) else {
        return at;
    };
    if common > cluster.level {
        format!("{at}, and every node understands {common}: `sluice upgrade finalize` raises it")
    } else if highest > cluster.level {
        let older = names(&|level| level == Some(common));
        format!("{at}; {older} has to be updated before it can be raised to {highest}")
    } else {
        format!("{at}, the highest that its nodes understand")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn said(level: u32, nodes: &[(&str, Option<u32>)]) -> String {
        let nodes: Vec<Value> = nodes
            .iter()
            .map(|(name, level)| json!({"name": name, "level": level}))
            .collect();
        verdict(&serde_json::from_value(json!({"name": "shop", "level": level, "nodes": nodes})).unwrap())
    }

    #[test]
    fn who_holds_a_cluster_back_is_named() {
        insta::assert_snapshot!(said(1, &[("n1", Some(2)), ("n2", Some(1))]), @"the cluster is at feature level 1; n2 has to be updated before it can be raised to 2");
        insta::assert_snapshot!(said(1, &[("n1", Some(2)), ("n2", None)]), @"the cluster is at feature level 1; what n2 would understand is not known");
    }

    #[test]
    fn what_can_be_raised_is_told() {
        insta::assert_snapshot!(said(1, &[("n1", Some(2)), ("n2", Some(3))]), @"the cluster is at feature level 1, and every node understands 2: `sluice upgrade finalize` raises it");
        insta::assert_snapshot!(said(2, &[("n1", Some(2))]), @"the cluster is at feature level 2, the highest that its nodes understand");
    }
}
