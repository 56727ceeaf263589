//! `sluice export`.

use super::Session;
use crate::arguments::{Export, Written};
use crate::client::{Call, Failure};
use crate::exit::Exit;
use http::header;
use serde_json::json;
use sluice_document::Format;

pub(crate) async fn export(args: &Export, session: &Session<'_>) -> Result<Exit, Failure> {
    if args.original {
        let answer = session.client.call(Call::get("/v1/config/original")).await?;
        let text = answer.text();
        match session.terminal.json {
            true => session.terminal.object(&json!({"original": text})),
            false => session.terminal.out(&text),
        }
        return Ok(Exit::Done);
    }
    let format = match args.format {
        _ if session.terminal.json => Format::Json,
        Written::Yaml => Format::Yaml,
        Written::Json => Format::Json,
        Written::Toml => Format::Toml,
    };
    let target = match args.version {
        Some(version) => format!("/v1/config?version={version}"),
        None => "/v1/config".to_owned(),
    };
    // As the node prints it: a newer one may know fields that this command does not.
    let answer = session
        .client
        .call(Call::get(target).header(header::ACCEPT, format.media_type()))
        .await?;
    let version = answer.version()?;
    session.terminal.out(&answer.text());
    session.terminal.say(&match version {
        0 => "version 0: nothing has been applied yet".to_owned(),
        version => format!("version {version}"),
    });
    Ok(Exit::Done)
}
