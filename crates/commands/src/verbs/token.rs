//! `sluice token`.

use super::Session;
use crate::arguments::{Role, TokenAct, TokenCreate};
use crate::client::{Call, Failure, Made, Tokens, encode};
use crate::exit::Exit;
use crate::table::table;
use http::Method;
use serde_json::{Value, json};

pub(crate) async fn token(act: &TokenAct, session: &Session<'_>) -> Result<Exit, Failure> {
    match act {
        TokenAct::Create(create) => self::create(create, session).await,
        TokenAct::List(_) => list(session).await,
        TokenAct::Revoke(named) => {
            let call = Call::new(Method::DELETE, format!("/v1/tokens/{}", encode(&named.name)));
            session.client.change(call).await?;
            if session.terminal.json {
                session.terminal.object(&json!({"revoked": named.name}));
            }
            session.terminal.say(&format!("the token {} is revoked", named.name));
            Ok(Exit::Done)
        }
    }
}

async fn create(args: &TokenCreate, session: &Session<'_>) -> Result<Exit, Failure> {
    let role = match args.role {
        Role::Admin => "admin",
        Role::Viewer => "viewer",
    };
    let body = json!({"name": args.name, "role": role}).to_string();
    let answer = session
        .client
        .change(Call::post("/v1/tokens").body("application/json", body))
        .await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
    } else {
        session.terminal.out(&answer.json::<Made>()?.token);
    }
    session.terminal.say(&format!(
        "this is the only time that the token {} ({role}) is shown; use it as SLUICE_ADMIN_TOKEN",
        args.name
    ));
    Ok(Exit::Done)
}

async fn list(session: &Session<'_>) -> Result<Exit, Failure> {
    let answer = session.client.call(Call::get("/v1/tokens")).await?;
    if session.terminal.json {
        session.terminal.object(&answer.json::<Value>()?);
        return Ok(Exit::Done);
    }
    let Tokens { tokens } = answer.json()?;
    if tokens.is_empty() {
        session
            .terminal
            .say("no tokens; make one by `sluice token create NAME --role admin`");
        return Ok(Exit::Done);
    }
    let rows = tokens.into_iter().map(|token| {
        [
            token.name,
            token.role,
            token.created.unwrap_or_default(),
            token.last_used.unwrap_or_default(),
        ]
    });
    session
        .terminal
        .out(&table(["NAME", "ROLE", "CREATED", "LAST USED"], rows));
    Ok(Exit::Done)
}
