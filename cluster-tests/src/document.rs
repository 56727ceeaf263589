//! Gateway documents made by rule, with the answers that they must give.

use std::fmt::Write;

/// The host of all made documents.
pub const HOST: &str = "shop.example.com";

/// A document whose only route answers `/` with this text and says who served it.
pub fn answering(text: &str) -> String {
    format!(
        "gateways:\n  web:\n    hosts: ['*']\n    expose: [version, node]\n    routes:\n      - {{ path: /, respond: {{ text: '{text}' }} }}\n"
    )
}

/// A gateway `web` for any host, exposing version and node, with these routes (a YAML flow mapping each) and upstreams
/// (name and target).
pub fn with_routes<S: AsRef<str>>(upstreams: &[(&str, &str)], routes: &[S]) -> String {
    let mut text = String::new();
    if !upstreams.is_empty() {
        text.push_str("upstreams:\n");
    }
    for (name, target) in upstreams {
        let _ = writeln!(text, "  {name}: {{ targets: ['{target}'] }}");
    }
    text.push_str("gateways:\n  web:\n    hosts: ['*']\n    expose: [version, node]\n    routes:\n");
    for route in routes {
        let _ = writeln!(text, "      - {}", route.as_ref());
    }
    text
}

/// A document that marks both ends of a request with `mark`: the upstream gets it as `X-Mark`, the answer carries it as
/// `X-Mark`, so that an echo shows whether one version did both.
pub fn marking(target: &str, mark: usize) -> String {
    let route = format!(
        "{{ path: '/**', upstream: a, request: {{ headers: {{ set: {{ x-mark: 'm{mark}' }} }} }}, response: {{ headers: {{ set: {{ x-mark: 'm{mark}' }} }} }} }}"
    );
    with_routes(&[("a", target)], &[route])
}

/// Whether an answer of a [`marking`] route was made by one version from end to end.
///
/// # Errors
/// What differs.
pub fn one_mark(answer: &crate::Answer) -> Result<(), String> {
    if answer.status != 200 {
        return Err(format!("{}: {}", answer.status, answer.text()));
    }
    let out = answer.header("x-mark").to_owned();
    let told: serde_json::Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let fields = told["headers"].as_array().ok_or("no headers in the echo")?;
    let went_in = fields.iter().find(|field| {
        field[0]
            .as_str()
            .is_some_and(|name| name.eq_ignore_ascii_case("x-mark"))
    });
    match went_in.and_then(|field| field[1].as_str()) {
        Some(mark) if mark == out => Ok(()),
        mark => Err(format!("mixed: the service got {mark:?}, the client {out:?}")),
    }
}

/// What a probe of a made document must find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// The method to use.
    pub method: &'static str,
    /// The path to ask for.
    pub path: String,
    /// The text of the answer, or the status where none of the routes may answer.
    pub right: Result<String, u16>,
}

/// A document of `count` routes, each with a fixed answer, and probes whose right answers follow from how it was made.
///
/// Routes come in families of three under one literal: a parameter that takes GET alone, a literal beside it, and all
/// that lies below a second literal. They are written in an order that `seed` shuffles: the order must not matter.
pub fn many_routes(count: usize, seed: u64) -> (String, Vec<Probe>) {
    let mut routes = Vec::with_capacity(count);
    let mut probes = Vec::new();
    let mut probe = |method, path: String, right| probes.push(Probe { method, path, right });
    for family in 0..count.div_ceil(3) {
        let base = format!("/things{family}");
        for member in 0..3.min(count - family * 3) {
            let says = format!("{family}-{member}");
            let respond = format!("respond: {{ text: '{says}' }}");
            match member {
                0 => {
                    routes.push(format!("{{ path: '{base}/{{id}}', methods: [GET], {respond} }}"));
                    probe("GET", format!("{base}/7"), Ok(says.clone()));
                    probe("GET", format!("{base}/a%20b"), Ok(says));
                    probe("DELETE", format!("{base}/7"), Err(405));
                    probe("GET", format!("{base}/7/"), Err(404));
                }
                1 => {
                    routes.push(format!("{{ path: '{base}/latest', {respond} }}"));
                    probe("GET", format!("{base}/latest"), Ok(says.clone()));
                    probe("DELETE", format!("{base}/latest"), Ok(says));
                }
                _ => {
                    routes.push(format!("{{ path: '{base}/files/**', {respond} }}"));
                    probe("GET", format!("{base}/files/a/b.txt"), Ok(says.clone()));
                    probe("PUT", format!("{base}/files"), Ok(says));
                }
            }
        }
    }
    probe("GET", "/nothing/here".into(), Err(404));
    fastrand::Rng::with_seed(seed).shuffle(&mut routes);
    (with_routes(&[], &routes), probes)
}

/// The example documents of `docs/examples`: name and text, in the order of their names.
pub fn examples() -> Vec<(String, String)> {
    let directory = crate::program::repository().join("docs/examples");
    let entries = std::fs::read_dir(&directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut found: Vec<(String, String)> = entries
        .flatten()
        .filter(|entry| {
            entry
                .path()
                .extension()
                .is_some_and(|e| ["yaml", "json", "toml"].iter().any(|known| e == *known))
        })
        .map(|entry| {
            let text = std::fs::read_to_string(entry.path()).expect("an example is a text");
            (entry.file_name().to_string_lossy().into_owned(), text)
        })
        .collect();
    found.sort();
    found
}
