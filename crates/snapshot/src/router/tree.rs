//! Paths by their segments. A literal child is found by hash, so that a node of ten thousand costs what one of ten does.

use super::rank::{Entry, Terminal};
use super::search::Search;
use crate::persistent::Map;
use crate::route::Route;
use sluice_http_semantics::pattern::Segment;
use std::sync::Arc;

/// What stands at one place of a path. Copies share all that lies below and did not change.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    literals: Map<Arc<str>, Arc<Node>>,
    param: Option<Arc<Node>>,
    /// Paths that end here.
    end: Terminal,
    /// Paths with `/**` after here.
    rest: Terminal,
    /// No entry at or below has a greater priority; it may be that none has so great a one any more.
    greatest: i32,
}

// === impl Node ===

impl Default for Node {
    fn default() -> Self {
        Self {
            literals: Map::default(),
            param: None,
            end: Terminal::default(),
            rest: Terminal::default(),
            greatest: i32::MIN,
        }
    }
}

impl Node {
    /// Offers all entries that match `path` in the order of rank among equal priorities; `path` is what follows this
    /// node's slash, `None` where it ended. Recursion goes as deep as patterns do: 64.
    pub(crate) fn search<'s, 'r>(&'s self, path: Option<&'r str>, search: &mut Search<'s, 'r>) {
        if !search.wants(self.greatest) {
            return;
        }
        let Some(path) = path else {
            search.offer(self.end.entries());
            if !self.rest.is_empty() {
                search.with_param("", |search| search.offer(self.rest.entries()));
            }
            return;
        };
        let (segment, below) = match path.split_once('/') {
            Some((segment, below)) => (segment, Some(below)),
            None => (path, None),
        };
        if let Some(child) = self.literals.get(segment) {
            child.search(below, search);
        }
        if let Some(child) = &self.param
            && !segment.is_empty()
        {
            search.with_param(segment, |search| child.search(below, search));
        }
        if !self.rest.is_empty() {
            search.with_param(path, |search| search.offer(self.rest.entries()));
        }
    }

    /// # Errors
    ///
    /// The route in the way. The tree is of no use then.
    pub(crate) fn insert(&mut self, segments: &[Segment], entry: Entry) -> Result<(), Arc<Route>> {
        self.greatest = self.greatest.max(entry.priority());
        match segments {
            [] => self.end.insert(entry),
            [Segment::Rest, ..] => self.rest.insert(entry),
            [Segment::Param(_), below @ ..] => Arc::make_mut(self.param.get_or_insert_default()).insert(below, entry),
            [Segment::Literal(text), below @ ..] => {
                if let Some(child) = self.literals.get_mut(&**text) {
                    return Arc::make_mut(child).insert(below, entry);
                }
                let mut child = Self::default();
                child.insert(below, entry)?;
                self.literals.insert((&**text).into(), Arc::new(child));
                Ok(())
            }
        }
    }

    /// Takes the entries of a route away from one of its paths, with the nodes that are bare then.
    pub(crate) fn remove(&mut self, segments: &[Segment], id: &str) {
        match segments {
            [] => self.end.remove(id),
            [Segment::Rest, ..] => self.rest.remove(id),
            [Segment::Param(_), below @ ..] => {
                if let Some(child) = &mut self.param {
                    let child = Arc::make_mut(child);
                    child.remove(below, id);
                    if child.is_bare() {
                        self.param = None;
                    }
                }
            }
            [Segment::Literal(text), below @ ..] => {
                if let Some(child) = self.literals.get_mut(&**text) {
                    let child = Arc::make_mut(child);
                    child.remove(below, id);
                    if child.is_bare() {
                        self.literals.remove(&**text);
                    }
                }
            }
        }
        // Where all have the usual priority there is nothing to gain, and the children of a large node are many.
        if self.greatest > 0 {
            self.greatest = self.look_for_greatest();
        }
    }

    /// Puts `route` where a route of its id and its very selector stands.
    pub(crate) fn replace(&mut self, segments: &[Segment], route: &Arc<Route>) {
        match segments {
            [] => self.end.replace(route),
            [Segment::Rest, ..] => self.rest.replace(route),
            [Segment::Param(_), below @ ..] => {
                if let Some(child) = &mut self.param {
                    Arc::make_mut(child).replace(below, route);
                }
            }
            [Segment::Literal(text), below @ ..] => {
                if let Some(child) = self.literals.get_mut(&**text) {
                    Arc::make_mut(child).replace(below, route);
                }
            }
        }
    }

    fn is_bare(&self) -> bool {
        self.literals.is_empty() && self.param.is_none() && self.end.is_empty() && self.rest.is_empty()
    }

    fn look_for_greatest(&self) -> i32 {
        let children = self.literals.values().chain(&self.param).map(|child| child.greatest);
        let here = self.end.greatest().into_iter().chain(self.rest.greatest());
        children.chain(here).max().unwrap_or(i32::MIN)
    }
}
