//! `sluice members`.

use super::Session;
use crate::arguments::MembersAct;
use crate::client::{Call, Cluster, Failure, encode};
use crate::exit::Exit;
use crate::table::table;
use serde_json::{Value, json};

pub(crate) async fn members(act: Option<&MembersAct>, session: &Session<'_>) -> Result<Exit, Failure> {
    let (call, done) = match act {
        None | Some(MembersAct::List(_)) => {
            let answer = session.client.call(Call::get("/v1/cluster")).await?;
            return list(session, &answer.json()?);
        }
        Some(MembersAct::Promote(member)) => (of(&member.name, "promote"), format!("{} is a voter", member.name)),
        Some(MembersAct::Remove(member)) => (
            of(&member.name, "remove"),
            format!("{} is no member any more", member.name),
        ),
        Some(MembersAct::Replace(member)) => (
            of(&member.name, "replace"),
            format!("{} is replaced by the node that now bears its name", member.name),
        ),
        Some(MembersAct::Transfer(transfer)) => {
            let body = json!({"to": transfer.to}).to_string();
            let call = Call::post("/v1/cluster/transfer").body("application/json", body);
            let to = transfer.to.as_deref().unwrap_or("another voter");
            (call, format!("the lead was handed to {to}"))
        }
        Some(MembersAct::Form(form)) => {
            let body = json!({"only": form.only}).to_string();
            let call = Call::post("/v1/cluster/members/form").body("application/json", body);
            (call, format!("the cluster is formed by {}", form.only.join(", ")))
        }
    };
    let waiting = session.terminal.waiting("waiting for the cluster to agree".to_owned());
    let answer = session.client.change(call).await?;
    drop(waiting);
    let cluster = answer.json()?;
    session.terminal.say(&done);
    list(session, &cluster)
}

fn of(name: &str, act: &str) -> Call {
    Call::post(format!("/v1/cluster/members/{}/{act}", encode(name)))
}

fn list(session: &Session<'_>, whole: &Value) -> Result<Exit, Failure> {
    if session.terminal.json {
        session.terminal.object(whole);
        return Ok(Exit::Done);
    }
    let cluster: Cluster = serde_json::from_value(whole.clone()).map_err(|error| Failure::Strange {
        endpoint: session.client.endpoint().clone(),
        why: error.to_string(),
    })?;
    let leader = cluster.leader.clone();
    let rows = cluster.nodes.into_iter().map(|node| {
        let role = if Some(&node.name) == leader.as_ref() {
            format!("{} (leader)", node.role)
        } else {
            node.role
        };
        let reachable = if node.reachable { "yes" } else { "no" };
        let field = Option::unwrap_or_default;
        [
            node.name,
            role,
            reachable.to_owned(),
            field(node.peer),
            field(node.admin),
            field(node.zone),
            field(node.binary),
            field(node.id),
        ]
    });
    session.terminal.out(&table(
        ["NODE", "ROLE", "REACHABLE", "PEER", "ADMIN", "ZONE", "BINARY", "ID"],
        rows,
    ));
    if let Some(id) = cluster.id {
        session.terminal.say(&format!("cluster {} ({id})", cluster.name));
    }
    Ok(Exit::Done)
}
