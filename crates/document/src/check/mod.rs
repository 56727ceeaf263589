//! Checks that need the document alone: references, names that collide, routes that conflict or never get a request,
//! and the grammar of everything that is a text in the document and more than a text later.
//!
//! A fault names its place by steps; who holds the text turns them into lines. An empty text stands in for what could
//! not be read, and nothing is said of it here: no sound document has one where a grammar is checked.

mod conflicts;
mod dead;
mod hosts;
mod limits;
mod names;
mod resilience;
mod route;
mod text;
mod upstream;
mod urls;

use crate::declared::{Document, Gateway, Route, Upstream};
use crate::decode::Step;
use crate::diagnostic::{Diagnostic, Finding, Severity};
use crate::parts::placed;
use crate::source::Sources;
use std::collections::{BTreeMap, BTreeSet};

/// A step to a place in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    Key(String),
    Index(usize),
}

/// A fault with its place in steps.
#[derive(Debug, Clone)]
pub(crate) struct Fault {
    pub(crate) finding: Finding,
    pub(crate) at: Vec<At>,
    /// The other of two that collide.
    pub(crate) other: Option<Vec<At>>,
}

/// Collects faults on a walk through declared types.
#[derive(Default)]
pub(crate) struct Checker<'d> {
    path: Vec<Step<'d>>,
    faults: Vec<Fault>,
    errors: usize,
    warnings: usize,
}

/// What is wrong with a whole document whose parts are sound by themselves, or not known to be: everything that
/// [`crate::parse()`] checks beyond shape, without lines, since there is no text. Routes are named by their ids.
///
/// Cost: near linear.
pub fn check(document: &Document) -> Vec<Diagnostic> {
    let findings = whole(document, &BTreeMap::new()).into_iter().map(|fault| {
        let path = by_id(document, &fault.at);
        fault.finding.path(path)
    });
    placed(findings.collect(), &Sources::new([]))
}

/// All checks. `broken` are the indexes of routes that stand in for what could not be read, by gateway: they collide
/// with nothing.
pub(crate) fn whole(document: &Document, broken: &BTreeMap<String, BTreeSet<usize>>) -> Vec<Fault> {
    let none = BTreeSet::new();
    let mut c = Checker::default();
    c.within(Step::Key("upstreams"), |c| {
        for (name, upstream) in &document.upstreams {
            c.within(Step::Key(name), |c| upstream::check(c, upstream));
        }
        resilience::fallbacks(c, document);
    });
    c.within(Step::Key("gateways"), |c| {
        names::shared_hosts(c, document);
        for (name, gateway) in &document.gateways {
            c.within(Step::Key(name), |c| {
                gateway_at(c, gateway, broken.get(name).unwrap_or(&none));
                names::references(c, document, gateway);
            });
        }
    });
    c.faults
}

/// What is wrong with an upstream by itself; steps begin at the upstream.
pub(crate) fn upstream(upstream: &Upstream) -> Vec<Fault> {
    let mut c = Checker::default();
    upstream::check(&mut c, upstream);
    c.faults
}

/// What is wrong with a gateway and its routes by themselves; steps begin at the gateway.
pub(crate) fn gateway(gateway: &Gateway) -> Vec<Fault> {
    let mut c = Checker::default();
    gateway_at(&mut c, gateway, &BTreeSet::new());
    c.faults
}

/// What is wrong with a route by itself; steps begin at the route.
pub(crate) fn route(route: &Route) -> Vec<Fault> {
    let mut c = Checker::default();
    route::check(&mut c, route);
    c.faults
}

fn gateway_at<'d>(c: &mut Checker<'d>, gateway: &'d Gateway, broken: &BTreeSet<usize>) {
    names::route_ids(c, gateway);
    hosts::check(c, gateway);
    limits::of_gateway(c, gateway);
    let mut sound = Vec::with_capacity(gateway.routes.len());
    c.within(Step::Key("routes"), |c| {
        for (index, route) in gateway.routes.iter().enumerate() {
            let patterns = c.within(Step::Index(index), |c| route::check(c, route));
            if let Some(patterns) = patterns.filter(|_| !broken.contains(&index)) {
                sound.push(conflicts::Sound { index, route, patterns });
            }
        }
    });
    conflicts::check(c, &sound);
    dead::check(c, gateway, &sound);
}

/// The path of a place, with routes named by their ids instead of where they stand.
fn by_id(document: &Document, at: &[At]) -> String {
    let steps: Vec<Step<'_>> = at.iter().map(At::step).collect();
    match steps.as_slice() {
        [
            Step::Key("gateways"),
            Step::Key(name),
            Step::Key("routes"),
            Step::Index(index),
            rest @ ..,
        ] => {
            let route = document
                .gateways
                .get(*name)
                .and_then(|gateway| gateway.routes.get(*index));
            let id = route.map_or("", |route| route.id.as_str());
            let front = [
                Step::Key("gateways"),
                Step::Key(name),
                Step::Key("routes"),
                Step::Key(id),
            ];
            crate::decode::spell(&front.into_iter().chain(rest.iter().copied()).collect::<Vec<_>>())
        }
        steps => crate::decode::spell(steps),
    }
}

/// Errors, and warnings, beyond this many are not kept.
const MOST_FAULTS: usize = 1_000;

// === impl Checker ===

impl<'d> Checker<'d> {
    /// Does `f` one step further in.
    pub(crate) fn within<T>(&mut self, step: Step<'d>, f: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(step);
        let out = f(self);
        self.path.pop();
        out
    }

    pub(crate) fn report(&mut self, finding: Finding) {
        self.report_at(finding, &[]);
    }

    /// A fault at `here`, which are steps from where the checker is.
    pub(crate) fn report_at(&mut self, finding: Finding, here: &[Step<'_>]) {
        let at = self.path.iter().chain(here).map(At::from).collect();
        let other = None;
        self.keep(Fault { finding, at, other });
    }

    /// A fault of two places: `here` and `there` are steps from where the checker is.
    pub(crate) fn report_two(&mut self, finding: Finding, here: &[Step<'_>], there: &[Step<'_>]) {
        let from = |steps: &[Step<'_>]| self.path.iter().chain(steps).map(At::from).collect::<Vec<_>>();
        let (at, other) = (from(here), Some(from(there)));
        self.keep(Fault { finding, at, other });
    }

    /// Whether enough was found that a search for near names is no longer worth its cost.
    pub(crate) fn many(&self) -> bool {
        self.faults.len() > 100
    }

    fn keep(&mut self, fault: Fault) {
        let warning = fault.finding.severity == Severity::Warning;
        let kept = if warning { &mut self.warnings } else { &mut self.errors };
        *kept += 1;
        if *kept <= MOST_FAULTS {
            self.faults.push(fault);
        }
    }
}

// === impl At ===

impl At {
    fn step(&self) -> Step<'_> {
        match self {
            Self::Key(key) => Step::Key(key),
            Self::Index(index) => Step::Index(*index),
        }
    }
}

impl From<&Step<'_>> for At {
    fn from(step: &Step<'_>) -> Self {
        match step {
            Step::Key(key) => Self::Key((*key).to_owned()),
            Step::Index(index) => Self::Index(*index),
        }
    }
}
