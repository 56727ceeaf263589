//! The sample document.

use crate::ports::Ports;
use crate::services::Service;

const SAMPLE: &str = include_str!("sample.yaml");

/// The sample document (YAML), for a demo on these ports.
#[must_use]
pub fn document(ports: Ports) -> String {
    let home = Ports::moved_by(0).unwrap_or(ports);
    // All at once: with an offset of 1 a port that was moved is the next one's old place.
    let mut text = String::with_capacity(SAMPLE.len());
    let mut rest = SAMPLE;
    let all = Service::ALL.map(|service| {
        (
            home.service(service.number()).to_string(),
            ports.service(service.number()),
        )
    });
    while let Some((at, from, to)) = all
        .iter()
        .filter_map(|(from, to)| rest.find(from.as_str()).map(|at| (at, from, to)))
        .min_by_key(|(at, _, _)| *at)
    {
        text.push_str(&rest[..at]);
        text.push_str(&to.to_string());
        rest = &rest[at + from.len()..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_offset_moves_every_target_and_nothing_else() {
        let moved = document(Ports::moved_by(1).unwrap());
        for port in 9102..=9107 {
            assert!(moved.contains(&format!("127.0.0.1:{port}\"")), "{port}");
        }
        assert!(!moved.contains("9101"));
        assert_eq!(document(Ports::moved_by(0).unwrap()), SAMPLE);
    }
}
