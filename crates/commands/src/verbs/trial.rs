//! `sluice confirm` and `sluice promote`.

use super::Session;
use super::change::{again_and_again, query, report};
use crate::arguments::{Confirm, Promote, Wait};
use crate::client::{Call, Cluster, Failure, Trial, Written, encode};
use crate::exit::Exit;
use http::HeaderName;
use std::time::Duration;

const MESSAGE: HeaderName = HeaderName::from_static("sluice-message");
/// A leader that was just lost is replaced within this.
const TIME: Duration = Duration::from_secs(15);

pub(crate) async fn confirm(args: &Confirm, session: &Session<'_>) -> Result<Exit, Failure> {
    // With its number the call may be repeated: a lost answer leaves no doubt.
    let version = match args.version {
        Some(version) => Some(version),
        None => trial(session).await?.map(|trial| trial.version),
    };
    let mut target = "/v1/config/confirm".to_owned();
    if let Some(version) = version {
        target.push_str(&format!("?version={version}"));
    }
    let call = with_message(Call::post(target), args.message.as_deref());
    let written = again_and_again(session, call, TIME, "waiting for the leader")
        .await?
        .json()?;
    Ok(told(session, &written, "is confirmed", Wait::Majority))
}

pub(crate) async fn promote(args: &Promote, session: &Session<'_>) -> Result<Exit, Failure> {
    let target = format!(
        "/v1/config/promote/{}{}",
        args.version,
        query(&args.change, args.wait, false)
    );
    let call = with_message(Call::post(target), args.change.message.as_deref()).may_take(args.change.timeout);
    let waiting = "waiting until it is live on all nodes";
    let answer = again_and_again(session, call, args.change.timeout, waiting).await?;
    Ok(told(session, &answer.json()?, "is promoted", args.wait))
}

/// The trial that is open; says so where none is.
pub(super) async fn open(session: &Session<'_>) -> Result<Trial, Failure> {
    trial(session).await?.ok_or_else(|| {
        Failure::Usage(
            "no version is on trial: name the version to go back to, as `sluice history` lists them".to_owned(),
        )
    })
}

async fn trial(session: &Session<'_>) -> Result<Option<Trial>, Failure> {
    let call = |target: &str| session.client.call(Call::get(target));
    let answer = match call("/v1/cluster?read=linearizable").await {
        Err(failure) if matches!(failure.code(), "no_leader" | "no_majority") => call("/v1/cluster").await?,
        answer => answer?,
    };
    Ok(answer.json::<Cluster>()?.trial)
}

fn with_message(call: Call, message: Option<&str>) -> Call {
    match message {
        Some(message) => call.header(MESSAGE, &encode(message)),
        None => call,
    }
}

fn told(session: &Session<'_>, written: &Written, what: &str, wait: Wait) -> Exit {
    if session.terminal.json {
        session.terminal.object(written);
    }
    session.terminal.say(&format!("version {} {what}", written.version));
    // The text of a change that changed nothing would be about another thing.
    report(session, written, wait, 0)
}
