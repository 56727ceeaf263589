//! The operator's side: calls of the admin API.

use crate::call::{Answer, Call, CallError};
use http::Method;
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;

/// A client of one node's admin API.
#[derive(Debug, Clone)]
pub struct Admin {
    at: SocketAddr,
    token: String,
}

/// An acknowledged change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The version that it made, or the one that stood where it changed nothing.
    pub version: u64,
    /// The parts that changed.
    pub changed: Vec<String>,
    /// The nodes that serve by it.
    pub live: Vec<String>,
    /// The nodes that do not yet.
    pub pending: Vec<String>,
}

impl Admin {
    /// A client that shows this token.
    pub fn new(at: SocketAddr, token: &str) -> Self {
        Self {
            at,
            token: token.to_owned(),
        }
    }

    /// Where it calls.
    pub fn address(&self) -> SocketAddr {
        self.at
    }

    /// A call with the token.
    pub fn call(&self, method: Method, target: &str) -> Call {
        Call::new(method, self.at, target).header("authorization", &format!("Bearer {}", self.token))
    }

    /// GET.
    ///
    /// # Errors
    /// No answer.
    pub async fn get(&self, target: &str) -> Result<Answer, CallError> {
        self.call(Method::GET, target).send().await
    }

    /// `/readyz`.
    ///
    /// # Errors
    /// No answer.
    pub async fn readyz(&self) -> Result<Answer, CallError> {
        self.get("/readyz").await
    }

    /// The document, as JSON.
    pub async fn document(&self) -> Value {
        self.get("/v1/config")
            .await
            .expect("the admin API answers")
            .expect(200)
            .json()
    }

    /// The version that the node has committed; 0 where it is asked too early.
    pub async fn version(&self) -> u64 {
        match self.get("/v1/config").await {
            Ok(answer) => version_of(&answer),
            Err(_) => 0,
        }
    }

    /// `PUT /v1/config` of a YAML document; `query` as `?wait=all`, or nothing.
    ///
    /// # Errors
    /// No answer.
    pub async fn put(&self, document: &str, query: &str) -> Result<Answer, CallError> {
        self.put_part("", document, query).await
    }

    /// PUT of a part: `/gateways/web/routes/orders`.
    ///
    /// # Errors
    /// No answer.
    pub async fn put_part(&self, part: &str, yaml: &str, query: &str) -> Result<Answer, CallError> {
        let call = self.call(Method::PUT, &format!("/v1/config{part}{query}"));
        call.header("content-type", "application/yaml")
            .body(yaml.to_owned())
            .send()
            .await
    }

    /// Makes the configuration this document and waits until all healthy nodes serve by it.
    pub async fn apply(&self, document: &str) -> Written {
        let answer = self
            .put(document, "?wait=all&timeout=20s")
            .await
            .expect("the admin API answers");
        let written = Written::of(&answer.expect(200));
        assert!(written.pending.is_empty(), "not live everywhere: {written:?}");
        written
    }

    /// [`Admin::apply`], again and again while there is no leader or nobody answers.
    pub async fn apply_when_possible(&self, document: &str) -> Written {
        crate::eventually("a change to be taken", || async {
            match self.put(document, "?wait=majority").await {
                Ok(answer) if answer.status == 200 => Ok(Written::of(&answer)),
                Ok(answer) if answer.status == 503 => Err(answer.text()),
                Ok(answer) => panic!("{}: {}", answer.status, answer.text()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// `/v1/cluster`.
    ///
    /// # Errors
    /// No answer, or not the expected one.
    pub async fn cluster(&self) -> Result<Value, String> {
        match self.get("/v1/cluster").await {
            Ok(answer) if answer.status == 200 => Ok(answer.json()),
            Ok(answer) => Err(format!("{}: {}", answer.status, answer.text())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The leader's name, where the node knows of one.
    pub async fn leader(&self) -> Option<String> {
        self.cluster().await.ok()?["leader"].as_str().map(str::to_owned)
    }

    /// The version that the node says it serves by, by its own entry in `/v1/cluster`.
    pub async fn live(&self, name: &str) -> Option<u64> {
        member(&self.cluster().await.ok()?, name)?["live"].as_u64()
    }

    /// The versions of the history, newest first.
    pub async fn history(&self) -> Vec<Value> {
        let answer = self
            .get("/v1/config/history?limit=1000")
            .await
            .expect("the admin API answers")
            .expect(200);
        answer.json()["versions"].as_array().cloned().unwrap_or_default()
    }

    /// Says POST without a body.
    ///
    /// # Errors
    /// No answer.
    pub async fn post(&self, target: &str) -> Result<Answer, CallError> {
        self.call(Method::POST, target)
            .bound(Duration::from_secs(60))
            .send()
            .await
    }

    /// A sample of /metrics: the sum over all series of a name whose labels hold all of these texts.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> f64 {
        let text = self
            .get("/metrics")
            .await
            .expect("the metrics answer")
            .expect(200)
            .text();
        text.lines()
            .filter(|line| {
                line.split(['{', ' ']).next() == Some(name) && labels.iter().all(|label| line.contains(label))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }
}

impl Written {
    /// Reads the answer of a PUT or DELETE.
    pub fn of(answer: &Answer) -> Self {
        let told = answer.json();
        let texts = |list: &Value, pick: &dyn Fn(&Value) -> Option<String>| -> Vec<String> {
            list.as_array().into_iter().flatten().filter_map(pick).collect()
        };
        Self {
            version: told["version"]
                .as_u64()
                .unwrap_or_else(|| panic!("no version in {told}")),
            changed: texts(&told["changed"], &|part| part.as_str().map(str::to_owned)),
            live: texts(&told["live"], &|name| name.as_str().map(str::to_owned)),
            pending: texts(&told["pending"], &|node| node["name"].as_str().map(str::to_owned)),
        }
    }
}

/// A node's entry in the answer of `/v1/cluster`.
pub fn member<'a>(cluster: &'a Value, name: &str) -> Option<&'a Value> {
    cluster["nodes"].as_array()?.iter().find(|node| node["name"] == name)
}

/// The version in an answer's ETag; 0 where there is none.
pub fn version_of(answer: &Answer) -> u64 {
    answer.header("etag").trim_matches('"').parse().unwrap_or(0)
}
