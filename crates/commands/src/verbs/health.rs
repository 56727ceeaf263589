//! `sluice health`.

use super::Session;
use crate::arguments::Health;
use crate::client::{Call, Failure, Ready};
use crate::exit::Exit;
use crate::table::shown;
use http::StatusCode;

pub(crate) async fn health(args: &Health, session: &Session<'_>) -> Result<Exit, Failure> {
    let target = if args.safe_to_stop {
        "/readyz?safe-to-stop"
    } else {
        "/readyz"
    };
    let answer = session.client.exchange(Call::get(target)).await?;
    if !matches!(answer.status, StatusCode::OK | StatusCode::SERVICE_UNAVAILABLE) {
        return Err(Failure::of_answer(
            session.client.endpoint(),
            answer.status,
            &answer.body,
        ));
    }
    let yes = answer.status == StatusCode::OK;
    let ready: Ready = answer.json()?;
    if session.terminal.json {
        session.terminal.object(&ready);
    }
    let name = shown(&ready.name);
    let why = ready.reason.as_deref().map(shown).unwrap_or_default();
    session.terminal.say(&match (yes, args.safe_to_stop) {
        (true, false) => format!("{name} is ready, version {}", ready.version),
        (true, true) => format!("{name} may be stopped: the rest keep a majority"),
        (false, false) => format!("{name} is not ready: {why}"),
        (false, true) => format!("{name} should not be stopped: {why}"),
    });
    for degraded in &ready.degraded {
        session.terminal.say(&format!(
            "degraded since {}: {}: {}",
            shown(&degraded.since),
            shown(&degraded.what),
            shown(&degraded.why)
        ));
    }
    Ok(if yes { Exit::Done } else { Exit::Refused })
}
