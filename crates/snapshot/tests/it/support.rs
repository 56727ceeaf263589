//! Documents as text, compiled whole or by what changed; requests in one line.

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sluice_document::{Document, Format, PartKey, decode_part, parse, split};
use sluice_http_semantics::path::Path;
use sluice_snapshot::{Answer, Change, CompileBudget, CompileError, Lookup, NodeContext, Snapshot, compile_changes};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub type Parts = BTreeMap<PartKey, String>;

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    pub host: String,
    pub method: Method,
    pub target: String,
    pub headers: HeaderMap,
    pub client: IpAddr,
}

pub fn context() -> NodeContext {
    NodeContext {
        listeners: vec!["public".into(), "partner".into()],
    }
}

pub fn document(yaml: &str) -> Document {
    match parse(yaml, Format::Yaml, None) {
        Ok(parsed) => parsed.document,
        Err(errors) => panic!("{errors:#?}"),
    }
}

pub fn parts(yaml: &str) -> Parts {
    split(&document(yaml))
}

/// What is other in `new`.
pub fn changes(old: &Parts, new: &Parts) -> Vec<Change> {
    let gone = old.keys().filter(|key| !new.contains_key(key));
    let put = new.iter().filter(|(key, text)| old.get(key) != Some(text));
    gone.map(|key| Change::Delete(key.clone()))
        .chain(put.map(|(key, text)| Change::Put(key.clone(), decode_part(key, text).unwrap())))
        .collect()
}

pub fn compile_onto(prev: &Snapshot, changes: Vec<Change>) -> Result<Snapshot, CompileError> {
    let version = prev.version() + 1;
    compile_changes(changes, prev, version, [0; 16], &context(), &CompileBudget::default())
}

pub fn compile(yaml: &str) -> Snapshot {
    compile_onto(&Snapshot::empty(), changes(&Parts::new(), &parts(yaml))).unwrap()
}

/// `GET shop.example.com/orders/7?x=1`.
pub fn request(line: &str) -> Request {
    let (method, rest) = line.split_once(' ').unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap());
    Request {
        host: host.into(),
        method: Method::from_bytes(method.as_bytes()).unwrap(),
        target: target.into(),
        headers: HeaderMap::new(),
        client: [192, 0, 2, 1].into(),
    }
}

impl Request {
    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers
            .append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub fn from(mut self, client: &str) -> Self {
        self.client = client.parse().unwrap();
        self
    }

    /// `id`, `404`, `404 no gateway`, `405 GET, HEAD` or `400 id`, with the parameters behind it.
    pub fn answer(&self, snapshot: &Snapshot) -> String {
        let (path, query) = match self.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (self.target.as_str(), None),
        };
        let path = Path::normalize(path).unwrap();
        let Some(gateway) = snapshot.gateway("public", &self.host) else {
            return "404 no gateway".into();
        };
        let lookup = Lookup {
            host: &self.host,
            path: &path,
            method: &self.method,
            headers: &self.headers,
            query,
            client: self.client,
            trusted: false,
        };
        match gateway.route(&lookup) {
            Answer::Route { route, params } => {
                let params: String = params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{}{params}", route.id)
            }
            Answer::NoRoute => "404".into(),
            Answer::MethodNotAllowed { allow } => format!("405 {allow}"),
            Answer::EncodedSlash { route } => format!("400 {}", route.id),
        }
    }
}

/// What each line's request gets: `GET a/orders/7 -> orders id=7`.
pub fn expect(snapshot: &Snapshot, lines: &str) {
    let mut wrong = String::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (sent, right) = line.split_once(" -> ").unwrap();
        let got = request(sent).answer(snapshot);
        if got != right {
            wrong.push_str(&format!("{sent} -> {got}, not {right}\n"));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}
