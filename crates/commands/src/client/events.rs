//! A stream of server-sent events, read as it comes (HTML standard, §9.2).

use super::{Endpoint, Failure};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::task::JoinSet;

/// A stream that shows no sign of life for this long is dead: a node sends one every 15 s.
const SILENCE: Duration = Duration::from_secs(45);

/// No event is longer.
const MOST: usize = 16 << 20;

/// An event.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) id: Option<String>,
    pub(crate) kind: String,
    pub(crate) data: String,
}

/// The events that come on one connection.
pub(crate) struct Events {
    endpoint: Endpoint,
    body: Incoming,
    /// Ends the connection with this.
    _driver: JoinSet<hyper::Result<()>>,
    text: Vec<u8>,
}

// === impl Events ===

impl Events {
    pub(super) fn new(endpoint: Endpoint, body: Incoming, driver: JoinSet<hyper::Result<()>>) -> Self {
        Self {
            endpoint,
            body,
            _driver: driver,
            text: Vec::new(),
        }
    }

    /// The next one; `None` where the node has ended the stream.
    pub(crate) async fn next(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            if let Some(event) = take(&mut self.text) {
                return Ok(Some(event));
            }
            if self.text.len() > MOST {
                return Err(self.broken("an event has no end".to_owned()));
            }
            match tokio::time::timeout(SILENCE, self.body.frame()).await {
                Ok(Some(Ok(frame))) => self.text.extend(frame.into_data().unwrap_or_default()),
                Ok(Some(Err(error))) => return Err(self.broken(error.to_string())),
                Ok(None) => return Ok(None),
                Err(_) => return Err(self.broken(format!("no sign of life for {} s", SILENCE.as_secs()))),
            }
        }
    }

    fn broken(&self, why: String) -> Failure {
        Failure::Broken {
            endpoint: self.endpoint.clone(),
            why,
        }
    }
}

/// The first whole event of the text, which it leaves. Comments and what is unknown are passed over.
fn take(text: &mut Vec<u8>) -> Option<Event> {
    while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
        let block: Vec<u8> = text.drain(..end + 2).collect();
        let mut event = Event::default();
        for line in String::from_utf8_lossy(&block).lines() {
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "id" => event.id = Some(value.to_owned()),
                "event" => value.clone_into(&mut event.kind),
                "data" => event.data.push_str(value),
                _ => {}
            }
        }
        if !event.data.is_empty() {
            return Some(event);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn events_are_taken_as_they_become_whole_and_comments_are_none() {
        let mut text =
            b"retry: 1000\n\n:\n\nid: a-1\nevent: leader\ndata: {\"leader\":\"n1\"}\n\nid: a-2\nevent: li".to_vec();
        let event = take(&mut text).unwrap();
        assert_eq!((event.id.as_deref(), event.kind.as_str()), (Some("a-1"), "leader"));
        assert_eq!(event.data, "{\"leader\":\"n1\"}");
        assert_eq!(take(&mut text), None);
        text.extend(b"ve\ndata: {}\n\n");
        assert_eq!(take(&mut text).unwrap().kind, "live");
        assert!(text.is_empty());
    }
}
