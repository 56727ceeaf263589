//! `sluice status`.

use super::Session;
use super::change::on_trial;
use crate::arguments::Status;
use crate::client::{Call, Cluster, Failure, Ready, SettingRows};
use crate::exit::Exit;
use crate::table::{shown, table};
use serde_json::Value;

pub(crate) async fn status(args: &Status, session: &Session<'_>) -> Result<Exit, Failure> {
    if args.settings {
        return settings(session).await;
    }
    let answer = session.client.call(Call::get("/v1/cluster")).await?;
    // A node that is not ready says so by its status; what it says counts.
    let ready = session.client.exchange(Call::get("/readyz")).await?;
    if session.terminal.json {
        let mut whole: Value = answer.json()?;
        if let Value::Object(members) = &mut whole {
            members.insert("ready".to_owned(), ready.json()?);
        }
        session.terminal.object(&whole);
        return Ok(Exit::Done);
    }
    let cluster: Cluster = answer.json()?;
    let ready: Ready = ready.json()?;
    session.terminal.out(&text(&cluster, &ready));
    Ok(Exit::Done)
}

fn text(cluster: &Cluster, ready: &Ready) -> String {
    let leader = match &cluster.leader {
        Some(leader) => format!("leader {} (term {})", shown(leader), cluster.term),
        None => "no leader".to_owned(),
    };
    let mut text = format!(
        "cluster {}, version {}, {leader}\n",
        shown(&cluster.name),
        cluster.version
    );
    if let Some(trial) = &cluster.trial {
        text.push_str(&format!(
            "version {} of {} is on trial since {}{}\n",
            trial.version,
            shown(&trial.author),
            shown(&trial.at),
            on_trial(trial)
        ));
    }
    if let Some(forming) = &cluster.forming {
        text.push_str(&format!("not formed: {}\n", shown(forming)));
    }
    if !cluster.nodes.is_empty() {
        text.push('\n');
        let version = |version: Option<u64>| version.map(|version| version.to_string()).unwrap_or_default();
        let rows = cluster.nodes.iter().map(|node| {
            let mark = if Some(&node.name) == cluster.leader.as_ref() {
                " *"
            } else {
                ""
            };
            let state = match node {
                node if !node.reachable => "unreachable".to_owned(),
                node if node.draining => "draining".to_owned(),
                node => match (&node.why_not_live, node.live) {
                    (Some(why), _) => why.clone(),
                    (None, live) if live.unwrap_or(0) < node.wanted.unwrap_or(cluster.version) => "behind".to_owned(),
                    _ if cluster
                        .trial
                        .as_ref()
                        .is_some_and(|trial| node.live == Some(trial.version)) =>
                    {
                        "live, on trial".to_owned()
                    }
                    _ => "live".to_owned(),
                },
            };
            let state = match node.shared_store {
                Some(false) if node.reachable => format!("{state}, counts limits alone"),
                _ => state,
            };
            [
                format!("{}{mark}", node.name),
                node.role.clone(),
                version(node.live),
                version(node.committed),
                state,
            ]
        });
        text.push_str(&table(["NODE", "ROLE", "LIVE", "COMMITTED", "STATE"], rows));
    }
    if !ready.ready {
        let why = ready.reason.as_deref().unwrap_or("it does not say why");
        text.push_str(&format!("\n{} is not ready: {}\n", shown(&ready.name), shown(why)));
    }
    for degraded in &ready.degraded {
        text.push_str(&format!(
            "\n{} is degraded since {}: {}: {}\n",
            shown(&ready.name),
            shown(&degraded.since),
            shown(&degraded.what),
            shown(&degraded.why)
        ));
    }
    text
}

async fn settings(session: &Session<'_>) -> Result<Exit, Failure> {
    let answer = session.client.call(Call::get("/v1/settings")).await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
        return Ok(Exit::Done);
    }
    let SettingRows { settings } = answer.json()?;
    let rows = settings
        .into_iter()
        .map(|row| [row.name, row.value, row.from.unwrap_or(row.origin)]);
    session.terminal.out(&table(["SETTING", "VALUE", "FROM"], rows));
    Ok(Exit::Done)
}
