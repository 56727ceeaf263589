//! `sluice drain` and `sluice undrain`.

use super::Session;
use crate::arguments::Named;
use crate::client::{Call, Failure, encode};
use crate::exit::Exit;
use serde_json::{Value, json};

pub(crate) async fn drain(args: &Named, session: &Session<'_>) -> Result<Exit, Failure> {
    act(
        args,
        session,
        "drain",
        "is draining: /readyz is 503, balancers leave it",
    )
    .await
}

pub(crate) async fn undrain(args: &Named, session: &Session<'_>) -> Result<Exit, Failure> {
    act(args, session, "undrain", "takes traffic again").await
}

async fn act(args: &Named, session: &Session<'_>, act: &str, done: &str) -> Result<Exit, Failure> {
    let target = match &args.name {
        Some(name) => format!("/v1/cluster/members/{}/{act}", encode(name)),
        None => format!("/v1/{act}"),
    };
    let answer = session.client.change(Call::post(target)).await?;
    if session.terminal.json {
        // An empty body is an answer too.
        session
            .terminal
            .object(&answer.json::<Value>().unwrap_or_else(|_| json!({})));
    }
    session
        .terminal
        .say(&format!("{} {done}", args.name.as_deref().unwrap_or("the node")));
    Ok(Exit::Done)
}
