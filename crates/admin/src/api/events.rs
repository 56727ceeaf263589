//! `/v1/events`: what happens, as server-sent events (HTML standard, §9.2).

use crate::Config;
use crate::problem::{Answer, Refused};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, header};
use sluice_control::{Event, Hears, Listener};
use sluice_http_semantics::problem::{Code, Problem};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::timeout;

/// Where nothing happens, a comment is sent this often: who hears none knows that the connection is dead.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// How long a client should wait before it comes back, in ms.
const RETRY: &str = "retry: 1000\n\n";

/// One stream of events.
struct Telling {
    listener: Listener,
    opened: bool,
    over: bool,
}

/// `GET /v1/events`.
pub(crate) async fn events(
    State(config): State<Config>,
    Extension(answer): Extension<Answer>,
    headers: HeaderMap,
) -> Response {
    if config.control.is_draining() {
        let problem = Problem::new(Code::Draining, "this node is leaving: listen to another one");
        return answer.give::<Response>(Err(Refused::from(problem)));
    }
    let last = headers.get("last-event-id").and_then(|last| last.to_str().ok());
    let telling = Telling {
        listener: config.control.listen(last),
        opened: false,
        over: false,
    };
    let body = stream::unfold(telling, |mut telling| async move {
        let text = telling.next().await?;
        Some((Ok::<_, Infallible>(Bytes::from(text)), telling))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(body)).into_response()
}

// === impl Telling ===

impl Telling {
    /// The next piece of the stream; `None` where it ends.
    async fn next(&mut self) -> Option<String> {
        if self.over {
            return None;
        }
        if !std::mem::replace(&mut self.opened, true) {
            return Some(RETRY.to_owned());
        }
        let Ok(hears) = timeout(HEARTBEAT, self.listener.next()).await else {
            return Some(":\n\n".to_owned());
        };
        self.over = !matches!(hears, Hears::Event(_));
        Some(match hears {
            Hears::Event(event) => written(&event),
            Hears::Cut(missed) => format!(
                "event: cut\ndata: {{\"missed\":{missed},\"why\":\"events came faster than they were read: come back with Last-Event-ID\"}}\n\n"
            ),
            Hears::End => "event: end\ndata: {\"why\":\"this node is leaving\"}\n\n".to_owned(),
        })
    }
}

fn written(event: &Event) -> String {
    // The data is JSON in one line.
    format!("id: {}\nevent: {}\ndata: {}\n\n", event.id, event.kind, event.data)
}
