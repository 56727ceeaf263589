//! The figures of one node, or of several added up.

use super::Histogram;
use super::exposition::{Sample, samples};
use std::collections::BTreeMap;

/// Most entries of each kind that are kept; a cluster of ten thousand routes has room.
const MOST: usize = 16_384;

/// What one page of `/metrics` tells that is looked at here. Counts are whole numbers, kept as the page has them.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Figures {
    /// By gateway and route; both are empty for requests that found no route.
    pub(crate) routes: BTreeMap<(String, String), Answers>,
    pub(crate) upstreams: BTreeMap<String, Upstream>,
    /// The gateway's own refusals, by code.
    pub(crate) refusals: BTreeMap<String, f64>,
    /// Open connections of clients, by state.
    pub(crate) connections: BTreeMap<String, f64>,
    /// Those that speak HTTP/2, and the requests under way on them.
    pub(crate) http2: [f64; 2],
    /// Connections of clients that were closed at once, by why.
    pub(crate) connections_refused: BTreeMap<String, f64>,
    /// How near each resource is to its limit: 0 far, 1 requests are shed, 2 connections too.
    pub(crate) overload: BTreeMap<String, f64>,
    pub(crate) panics: f64,
    /// Seconds.
    pub(crate) cpu: f64,
    /// Bytes.
    pub(crate) memory: f64,
    pub(crate) open_files: f64,
    pub(crate) most_files: f64,
    /// Since the Unix epoch, seconds: tells one start of the process from another.
    pub(crate) started: f64,
    /// Series beyond what is kept.
    pub(crate) left_out: u64,
}

/// Answers by status, and how long they took.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answers {
    /// `200`; `none` where there was no answer.
    pub(crate) statuses: BTreeMap<String, f64>,
    pub(crate) durations: Histogram,
}

/// What went to an upstream.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Upstream {
    pub(crate) answers: Answers,
    /// Open connections to its targets, by state.
    pub(crate) connections: BTreeMap<String, f64>,
    /// Requests sent again because a pooled connection had died.
    pub(crate) replaced: f64,
}

// === impl Figures ===

impl Figures {
    /// Reads a page of `/metrics`.
    pub(crate) fn read(page: &str) -> Self {
        let mut figures = Self::default();
        for sample in samples(page).filter(|sample| sample.value.is_finite()) {
            figures.take(&sample);
        }
        figures
    }

    fn take(&mut self, sample: &Sample<'_>) {
        let value = sample.value;
        let status = "http_response_status_code";
        match sample.name {
            "http_server_request_duration_seconds_count" => {
                if let Some(route) = self.route(sample) {
                    *route.statuses.entry(sample.label(status).to_owned()).or_default() += value;
                }
            }
            "http_server_request_duration_seconds_bucket" => {
                if let Some(route) = self.route(sample) {
                    route.durations.put(bound(sample), value);
                }
            }
            "http_client_request_duration_seconds_count" => {
                if let Some(upstream) = self.upstream(sample) {
                    let statuses = &mut upstream.answers.statuses;
                    *statuses.entry(sample.label(status).to_owned()).or_default() += value;
                }
            }
            "http_client_request_duration_seconds_bucket" => {
                if let Some(upstream) = self.upstream(sample) {
                    upstream.answers.durations.put(bound(sample), value);
                }
            }
            "sluice_upstream_connections" => {
                if let Some(upstream) = self.upstream(sample) {
                    let state = sample.label("state").to_owned();
                    *upstream.connections.entry(state).or_default() += value;
                }
            }
            "sluice_upstream_replaced_total" => {
                if let Some(upstream) = self.upstream(sample) {
                    upstream.replaced += value;
                }
            }
            "sluice_requests_rejected_total" => {
                count(&mut self.refusals, sample.label("code"), value, &mut self.left_out);
            }
            "sluice_connections" => {
                count(&mut self.connections, sample.label("state"), value, &mut self.left_out);
            }
            "sluice_http2_connections" => self.http2[0] += value,
            "sluice_http2_streams" => self.http2[1] += value,
            "sluice_connections_refused_total" => {
                count(
                    &mut self.connections_refused,
                    sample.label("why"),
                    value,
                    &mut self.left_out,
                );
            }
            "sluice_overload_level" => {
                count(&mut self.overload, sample.label("resource"), value, &mut self.left_out);
            }
            "sluice_panics_total" => self.panics += value,
            "process_cpu_seconds_total" => self.cpu = value,
            "process_resident_memory_bytes" => self.memory = value,
            "process_open_fds" => self.open_files = value,
            "process_max_fds" => self.most_files = value,
            "process_start_time_seconds" => self.started = value,
            _ => {}
        }
    }

    fn route(&mut self, sample: &Sample<'_>) -> Option<&mut Answers> {
        let key = (
            sample.label("gateway").to_owned(),
            sample.label("http_route").to_owned(),
        );
        place(&mut self.routes, key, &mut self.left_out)
    }

    fn upstream(&mut self, sample: &Sample<'_>) -> Option<&mut Upstream> {
        place(
            &mut self.upstreams,
            sample.label("upstream").to_owned(),
            &mut self.left_out,
        )
    }

    /// What was counted after `before`; what only stands (connections, memory) as it is now.
    ///
    /// A process that was started anew counts from zero, and all of it came since.
    pub(crate) fn since(&self, before: &Self) -> Self {
        if self.started != before.started {
            return self.clone();
        }
        let mut since = self.clone();
        for (key, route) in &mut since.routes {
            if let Some(before) = before.routes.get(key) {
                *route = route.since(before);
            }
        }
        for (key, upstream) in &mut since.upstreams {
            if let Some(before) = before.upstreams.get(key) {
                upstream.answers = upstream.answers.since(&before.answers);
                upstream.replaced = risen(upstream.replaced, before.replaced);
            }
        }
        less(&mut since.refusals, &before.refusals);
        less(&mut since.connections_refused, &before.connections_refused);
        since.panics = risen(self.panics, before.panics);
        since.cpu = risen(self.cpu, before.cpu);
        since
    }
}

// === impl Answers ===

impl Answers {
    /// How many there were whose status fulfils `which`.
    pub(crate) fn count(&self, which: impl Fn(&str) -> bool) -> f64 {
        let counted = self.statuses.iter().filter(|(status, _)| which(status));
        // An empty sum of floats is -0.
        counted.fold(0.0, |sum, (_, count)| sum + count)
    }

    pub(crate) fn all(&self) -> f64 {
        self.count(|_| true)
    }

    pub(crate) fn add(&mut self, other: &Self) {
        for (status, count) in &other.statuses {
            *self.statuses.entry(status.clone()).or_default() += count;
        }
        self.durations.add(&other.durations);
    }

    fn since(&self, before: &Self) -> Self {
        let mut statuses = self.statuses.clone();
        less(&mut statuses, &before.statuses);
        Self {
            statuses,
            durations: self.durations.since(&before.durations),
        }
    }
}

/// The upper bound of a bucket.
fn bound(sample: &Sample<'_>) -> f64 {
    sample.label("le").parse().unwrap_or(f64::NAN)
}

fn risen(now: f64, before: f64) -> f64 {
    (now - before).max(0.0)
}

fn less(now: &mut BTreeMap<String, f64>, before: &BTreeMap<String, f64>) {
    for (key, value) in now.iter_mut() {
        *value = risen(*value, before.get(key).copied().unwrap_or(0.0));
    }
}

fn place<'a, K: Ord, V: Default>(map: &'a mut BTreeMap<K, V>, key: K, left_out: &mut u64) -> Option<&'a mut V> {
    if map.len() >= MOST && !map.contains_key(&key) {
        *left_out += 1;
        return None;
    }
    Some(map.entry(key).or_default())
}

fn count(map: &mut BTreeMap<String, f64>, key: &str, value: f64, left_out: &mut u64) {
    if let Some(held) = place(map, key.to_owned(), left_out) {
        *held += value;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const PAGE: &str = r#"
# TYPE http_server_request_duration_seconds histogram
http_server_request_duration_seconds_sum{gateway="web",http_route="/a",http_request_method="GET",http_response_status_code="200"} 1.5
http_server_request_duration_seconds_count{gateway="web",http_route="/a",http_request_method="GET",http_response_status_code="200"} 8
http_server_request_duration_seconds_bucket{le="0.1",gateway="web",http_route="/a",http_request_method="GET",http_response_status_code="200"} 8
http_server_request_duration_seconds_bucket{le="+Inf",gateway="web",http_route="/a",http_request_method="GET",http_response_status_code="200"} 8
http_server_request_duration_seconds_count{gateway="web",http_route="/a",http_request_method="PUT",http_response_status_code="503"} 2
http_server_request_duration_seconds_bucket{le="0.1",gateway="web",http_route="/a",http_request_method="PUT",http_response_status_code="503"} 0
http_server_request_duration_seconds_bucket{le="+Inf",gateway="web",http_route="/a",http_request_method="PUT",http_response_status_code="503"} 2
http_client_request_duration_seconds_count{upstream="a",http_response_status_code="none"} 3
sluice_upstream_connections{upstream="a",state="idle"} 2
sluice_upstream_replaced_total{upstream="a",why="reset"} 1
sluice_requests_rejected_total{code="no_route"} 4
sluice_connections{listener="public",state="active"} 1
sluice_connections{listener="partner",state="active"} 2
process_start_time_seconds 100
process_cpu_seconds_total 5
process_resident_memory_bytes 1000
"#;

    fn key() -> (String, String) {
        ("web".to_owned(), "/a".to_owned())
    }

    #[test]
    fn a_page_is_summed_by_route_upstream_code_and_state() {
        let figures = Figures::read(PAGE);
        let route = &figures.routes[&key()];
        assert_eq!(
            (route.all(), route.count(|status| status.starts_with('5'))),
            (10.0, 2.0)
        );
        assert_eq!(route.durations.quantile(0.5), Some(0.0625));
        let upstream = &figures.upstreams["a"];
        assert_eq!(
            (
                upstream.answers.statuses["none"],
                upstream.connections["idle"],
                upstream.replaced
            ),
            (3.0, 2.0, 1.0)
        );
        assert_eq!(
            (figures.refusals["no_route"], figures.connections["active"]),
            (4.0, 3.0)
        );
    }

    #[test]
    fn between_two_pages_counters_are_subtracted_and_gauges_stand() {
        let before = Figures::read(PAGE);
        let after = Figures::read(
            &PAGE
                .replace("\"} 8\n", "\"} 18\n")
                .replace("process_cpu_seconds_total 5", "process_cpu_seconds_total 7"),
        );
        let since = after.since(&before);
        assert_eq!(since.routes[&key()].all(), 10.0);
        assert_eq!(since.routes[&key()].count(|status| status == "503"), 0.0);
        assert_eq!(
            (since.cpu, since.memory, since.connections["active"]),
            (2.0, 1000.0, 3.0)
        );
        assert_eq!(since.refusals["no_route"], 0.0);
    }

    #[test]
    fn a_process_that_was_started_anew_counts_from_zero() {
        let before = Figures::read(PAGE);
        let after = Figures::read(&PAGE.replace("process_start_time_seconds 100", "process_start_time_seconds 200"));
        assert_eq!(after.since(&before).routes[&key()].all(), 10.0);
    }

    #[test]
    fn what_is_beyond_the_bound_is_left_out_and_counted() {
        let page: String = (0..MOST + 5)
            .map(|n| format!("sluice_requests_rejected_total{{code=\"c{n}\"}} 1\n"))
            .collect();
        let figures = Figures::read(&page);
        assert_eq!((figures.refusals.len(), figures.left_out), (MOST, 5));
    }

    #[test]
    fn every_name_that_is_read_stands_in_the_page_of_metrics() {
        let page = include_str!("../../../../docs/metrics.md");
        let source = include_str!("node.rs");
        let body = source
            .split("fn take")
            .nth(1)
            .and_then(|rest| rest.split("fn route").next())
            .unwrap();
        let names: Vec<_> = body
            .lines()
            .filter_map(|line| line.trim().strip_prefix('"')?.split_once("\" =>").map(|(name, _)| name))
            .collect();
        assert!(names.len() > 10, "{names:?}");
        for name in names {
            let name = name.trim_end_matches("_bucket");
            let name = if name.ends_with("_seconds_count") {
                name.trim_end_matches("_count")
            } else {
                name
            };
            assert!(page.contains(&format!("`{name}`")), "{name}");
        }
    }
}
