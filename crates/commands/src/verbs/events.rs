//! `sluice events`.

use super::Session;
use crate::client::{Call, Event, Failure};
use crate::exit::Exit;
use crate::table::shown;
use http::HeaderName;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

const LAST: HeaderName = HeaderName::from_static("last-event-id");
/// A node that is started anew is back within this.
const GONE: Duration = Duration::from_secs(10);
const AGAIN_AFTER: Duration = Duration::from_secs(1);

pub(crate) async fn events(session: &Session<'_>) -> Result<Exit, Failure> {
    let mut last: Option<String> = None;
    let mut until = Instant::now();
    loop {
        let mut call = Call::get("/v1/events");
        if let Some(last) = &last {
            call = call.header(LAST, last);
        }
        let failure = match session.client.follow(call).await {
            Ok(mut events) => loop {
                match events.next().await {
                    Ok(Some(event)) => {
                        tell(session, &event);
                        if session.terminal.is_closed() {
                            return Ok(Exit::Done);
                        }
                        until = Instant::now() + GONE;
                        last = event.id.or(last);
                    }
                    Ok(None) => break None,
                    Err(failure) => break Some(failure),
                }
            },
            Err(failure) => Some(failure),
        };
        // Who never answered, or says no, is not asked again and again.
        let comes_back = matches!(
            &failure,
            None | Some(Failure::Unreachable { .. } | Failure::Broken { .. })
        ) || failure.as_ref().is_some_and(|failure| failure.code() == "draining");
        if let Some(failure) = failure
            && (!comes_back || Instant::now() >= until)
        {
            return Err(failure);
        }
        tokio::time::sleep(AGAIN_AFTER).await;
    }
}

fn tell(session: &Session<'_>, event: &Event) {
    let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
    if session.terminal.json {
        let mut object = json!({"event": event.kind, "id": event.id});
        for (key, value) in data.as_object().into_iter().flatten() {
            // The id of a member is its incarnation.
            let key = if key == "id" { "member_id" } else { key };
            object[key] = value.clone();
        }
        session.terminal.object(&object);
    } else {
        session.terminal.out(&shown(&line(&event.kind, &data)));
    }
}

/// What a breaker does now, and why.
fn breaker(data: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let mut words = text(&data["upstream"]);
    if let Some(route) = data["route"].as_str() {
        words.push_str(&format!(" on {route}"));
    }
    words.push_str(&format!(" is {}", super::breakers::state(&text(&data["state"]))));
    let (set, cause) = (&data["override"], &data["cause"]);
    if set.is_object() {
        let (who, until, why) = (text(&set["who"]), text(&set["until"]), text(&set["why"]));
        words.push_str(&format!(", set by {who} until {until}: {why}"));
    } else if data["state"] == "open" && cause.is_object() {
        let by = super::breakers::criterion(&text(&cause["by"]));
        words.push_str(&format!(", tripped by {}: {by}", text(&cause["node"])));
    }
    if data["shared"] == false {
        words.push_str(&format!(" (on {} alone)", text(&data["node"])));
    }
    words
}

/// An event in words.
fn line(kind: &str, data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or("-").to_owned();
    let list = |value: &Value| {
        let names: Vec<&str> = value
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        names.join(", ")
    };
    let words = match kind {
        "leader" => match data["leader"].as_str() {
            Some(leader) => format!("{leader} leads (term {})", data["term"]),
            None => "nobody leads".to_owned(),
        },
        "version" => {
            let mut words = format!("{}", data["version"]);
            if data["author"].is_string() {
                words.push_str(&format!(" by {}: {}", text("author"), list(&data["changed"])));
            }
            if let Some(message) = data["message"].as_str() {
                words.push_str(&format!(" ({message})"));
            }
            let trial = &data["trial"];
            if trial.is_object() {
                words.push_str(", on trial");
                if trial["on"].is_array() {
                    words.push_str(&format!(" on {}", list(&trial["on"])));
                }
                if let Some(by) = trial["confirm_by"].as_str() {
                    words.push_str(&format!(" until {by}"));
                }
            }
            words
        }
        "live" => match (data["version"].as_u64(), data["why_not_live"].as_str()) {
            (version, Some(why)) => format!("{} serves by {}: {why}", text("node"), version.unwrap_or_default()),
            (version, None) => format!("{} serves by {}", text("node"), version.unwrap_or_default()),
        },
        "member" => {
            let state = match (
                data["role"].as_str(),
                data["reachable"].as_bool(),
                data["draining"].as_bool(),
            ) {
                (None, ..) => "is no member any more".to_owned(),
                (Some(role), Some(false), _) => format!("is a {role}, and is not heard"),
                (Some(role), _, Some(true)) => format!("is a {role}, and is draining"),
                (Some(role), ..) => format!("is a {role}"),
            };
            format!("{} {state}", text("name"))
        }
        "breaker" => breaker(data),
        "degraded" if data["over"] == true => format!("{}: {} is over", text("node"), text("what")),
        "degraded" => format!("{}: {}: {}", text("node"), text("what"), text("why")),
        _ => data.to_string(),
    };
    format!("{kind:<9}{words}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_in_words() {
        let trial = json!({"version": 4, "author": "ada", "changed": ["upstreams/a"], "message": null, "trial": {"on": ["n3"], "confirm_by": null}});
        assert_eq!(
            line("version", &trial),
            "version  4 by ada: upstreams/a, on trial on n3"
        );
        assert_eq!(
            line("leader", &json!({"leader": null, "term": 3})),
            "leader   nobody leads"
        );
        let open = json!({"node": "n1", "upstream": "orders", "route": null, "state": "open", "shared": true, "override": null,
            "cause": {"node": "n2", "by": "failure_rate"}});
        assert_eq!(
            line("breaker", &open),
            "breaker  orders is open, tripped by n2: too many failed"
        );
        let set = json!({"node": "n1", "upstream": "orders", "route": "web/buy", "state": "forced_closed", "shared": true,
            "override": {"who": "ada", "until": "12:00", "why": "false alarm"}, "cause": null});
        assert_eq!(
            line("breaker", &set),
            "breaker  orders on web/buy is closed by hand, set by ada until 12:00: false alarm"
        );
        let gone = json!({"name": "n2", "role": null, "reachable": false, "draining": false});
        assert_eq!(line("member", &gone), "member   n2 is no member any more");
        let live = json!({"node": "n1", "version": 3, "wanted": 4, "why_not_live": "no listener"});
        assert_eq!(line("live", &live), "live     n1 serves by 3: no listener");
    }
}
