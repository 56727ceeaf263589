//! What changed, by kind and name.

use crate::error::Fault;
use sluice_document::declared;
use sluice_document::{Part, PartKey};
use std::collections::BTreeMap;

/// A part that is other than before.
// Handled one at a time and taken apart at once: a box would cost more than the room it saves.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Change {
    /// It is new, or has this content now.
    Put(PartKey, Part),
    /// It is gone. Deleting what is not there changes nothing.
    Delete(PartKey),
}

/// Changes by kind; `None` deletes.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) upstreams: BTreeMap<String, Option<declared::Upstream>>,
    pub(super) gateways: BTreeMap<String, Option<declared::Gateway>>,
    pub(super) routes: BTreeMap<String, BTreeMap<String, Option<declared::Route>>>,
    pub(super) cluster: Option<Option<declared::Cluster>>,
    pub(super) telemetry: Option<Option<declared::Telemetry>>,
}

// === impl Sorted ===

impl Sorted {
    pub(super) fn of(changes: Vec<Change>, faults: &mut Vec<Fault>) -> Self {
        let mut sorted = Self::default();
        for change in changes {
            match change {
                Change::Put(PartKey::Upstream(name), Part::Upstream(part)) => {
                    sorted.upstreams.insert(name, Some(part));
                }
                Change::Put(PartKey::Gateway(name), Part::Gateway(part)) if part.routes.is_empty() => {
                    sorted.gateways.insert(name, Some(part));
                }
                Change::Put(PartKey::Route { gateway, id }, Part::Route(part)) if part.id == id => {
                    sorted.routes.entry(gateway).or_default().insert(id, Some(part));
                }
                Change::Put(PartKey::Cluster, Part::Cluster(part)) => sorted.cluster = Some(Some(part)),
                Change::Put(PartKey::Telemetry, Part::Telemetry(part)) => sorted.telemetry = Some(Some(part)),
                Change::Put(part, _) => faults.push(Fault {
                    part,
                    why: "its content is that of another part".to_owned(),
                }),
                Change::Delete(PartKey::Upstream(name)) => {
                    sorted.upstreams.insert(name, None);
                }
                Change::Delete(PartKey::Gateway(name)) => {
                    sorted.gateways.insert(name, None);
                }
                Change::Delete(PartKey::Route { gateway, id }) => {
                    sorted.routes.entry(gateway).or_default().insert(id, None);
                }
                Change::Delete(PartKey::Cluster) => sorted.cluster = Some(None),
                Change::Delete(PartKey::Telemetry) => sorted.telemetry = Some(None),
            }
        }
        sorted
    }
}
