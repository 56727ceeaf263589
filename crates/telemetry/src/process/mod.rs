//! The facts of the process, read from `/proc` at each scrape.
//!
//! Where a file cannot be read (another system, a locked-down container), its facts are left out.

mod limits;

pub use limits::{Limits, Usage};

use std::fmt;
use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use crate::names::{Kind, PROCESS};

/// Ticks a second of the times in `/proc`: the kernel's interface to programs has it at 100 on
/// every architecture that Rust's standard library supports.
const TICKS: f64 = 100.0;

#[derive(Debug)]
pub(crate) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let values = read();
        for (name, value) in PROCESS.iter().zip(values) {
            let Some(value) = value else { continue };
            match name.kind {
                Kind::Counter => {
                    let metric = ConstCounter::new(value);
                    metric.encode(encoder.encode_descriptor(name.stem(), name.help, None, metric.metric_type())?)?;
                }
                Kind::Gauge | Kind::Histogram => {
                    let metric = ConstGauge::new(value);
                    metric.encode(encoder.encode_descriptor(name.stem(), name.help, None, metric.metric_type())?)?;
                }
            }
        }
        Ok(())
    }
}

/// The values in the order of [`PROCESS`].
fn read() -> [Option<f64>; 7] {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let open = fs::read_dir("/proc/self/fd")
        .ok()
        // One of them is the directory being read.
        .map(|entries| entries.count().saturating_sub(1) as f64);
    [
        cpu_seconds(&stat),
        kibibytes(&status, "VmRSS:"),
        kibibytes(&status, "VmSize:"),
        open,
        max_fds(&limits),
        field(&status, "Threads:").and_then(|text| text.parse().ok()),
        start_time(&stat),
    ]
}

/// The fields of `stat` after the command's name, which may hold spaces and brackets: the first
/// of them is field 3, the state (proc_pid_stat(5)).
fn after_name(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_ascii_whitespace())
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = after_name(stat)?.skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) / TICKS)
}

fn start_time(stat: &str) -> Option<f64> {
    let since_boot: f64 = after_name(stat)?.nth(19)?.parse().ok()?;
    let uptime: f64 = fs::read_to_string("/proc/uptime")
        .ok()?
        .split_ascii_whitespace()
        .next()?
        .parse()
        .ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    Some((now.as_secs_f64() - uptime + since_boot / TICKS).round())
}

fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(name))?;
    line[name.len()..].split_ascii_whitespace().next()
}

fn kibibytes(status: &str, name: &str) -> Option<f64> {
    let kibibytes: f64 = field(status, name)?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

fn max_fds(limits: &str) -> Option<f64> {
    match field(limits, "Max open files")? {
        "unlimited" => Some(f64::INFINITY),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_is_found_here() {
        for (name, value) in PROCESS.iter().zip(read()) {
            assert!(value.is_some_and(|value| value >= 0.0), "{}", name.name);
        }
    }

    #[test]
    fn a_command_name_with_brackets_does_not_shift_the_fields() {
        let stat = "1 (a ) b) S 1 1 1 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 777 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(after_name(stat).and_then(|mut fields| fields.nth(19)), Some("777"));
    }

    #[test]
    fn nonsense_gives_nothing() {
        assert_eq!(cpu_seconds(""), None);
        assert_eq!(kibibytes("VmRSS:\n", "VmRSS:"), None);
        assert_eq!(max_fds("Max open files unlimited"), Some(f64::INFINITY));
    }
}
