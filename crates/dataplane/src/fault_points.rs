//! Faults on purpose, for tests of what a bad configuration can do to a node.
//!
//! Compiled in by the feature `fault-points` alone. `SLUICE_FAULT_POINTS` names them, as
//! `first_request=MARK,request=MARK,swap=MARK`, each with a text that the id of a route must
//! contain to be meant:
//!
//! * `swap` ends the process when a worker takes a snapshot that has such a route;
//! * `first_request` ends it at the first request of such a route;
//! * `request` panics in every request of such a route.

pub(crate) use points::FaultPoints;

#[cfg(not(feature = "fault-points"))]
mod points {
    use sluice_snapshot::{Route, Snapshot};

    /// None: this build has no faults on purpose.
    #[derive(Debug, Default)]
    pub(crate) struct FaultPoints;

    impl FaultPoints {
        pub(crate) fn from_environment() -> Self {
            Self
        }

        #[inline]
        pub(crate) fn taken(&self, _: &Snapshot) {}

        #[inline]
        pub(crate) fn requested(&self, _: &Route) {}
    }
}

#[cfg(feature = "fault-points")]
mod points {
    use sluice_snapshot::{Route, Snapshot};

    /// The marks of routes that are meant, for each fault.
    #[derive(Debug, Default)]
    pub(crate) struct FaultPoints {
        swap: Option<String>,
        first_request: Option<String>,
        request: Option<String>,
    }

    impl FaultPoints {
        pub(crate) fn from_environment() -> Self {
            Self::parse(&std::env::var("SLUICE_FAULT_POINTS").unwrap_or_default())
        }

        fn parse(text: &str) -> Self {
            let mark = |name: &str| {
                let points = text.split(',').filter_map(|point| point.trim().split_once('='));
                points
                    .filter(|(point, mark)| *point == name && !mark.is_empty())
                    .map(|(_, mark)| mark.to_owned())
                    .next()
            };
            Self {
                swap: mark("swap"),
                first_request: mark("first_request"),
                request: mark("request"),
            }
        }

        pub(crate) fn taken(&self, snapshot: &Snapshot) {
            if let Some(mark) = &self.swap
                && snapshot
                    .gateways()
                    .flat_map(|gateway| gateway.routes())
                    .any(|route| route.id.contains(mark.as_str()))
            {
                std::process::abort();
            }
        }

        pub(crate) fn requested(&self, route: &Route) {
            if self
                .first_request
                .as_ref()
                .is_some_and(|mark| route.id.contains(mark.as_str()))
            {
                std::process::abort();
            }
            if self
                .request
                .as_ref()
                .is_some_and(|mark| route.id.contains(mark.as_str()))
            {
                panic!("the fault point of route {} in {}", route.id, route.gateway);
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn each_fault_has_its_mark() {
            let points = FaultPoints::parse("first_request=bad-first, request=bad,swap=");
            assert_eq!(points.first_request.as_deref(), Some("bad-first"));
            assert_eq!(points.request.as_deref(), Some("bad"));
            assert_eq!(points.swap, None);
        }
    }
}
