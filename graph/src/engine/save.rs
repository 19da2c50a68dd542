//! The engine as bytes, and back.
//!
//! JSON with a version: a snapshot can be read by people, and the same engine gives the same bytes. What follows
//! from evidence (conditions, what is lost) is not trusted but derived again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::{Agent, Model, Verdict, index};
use super::tracker::Tracker;
use super::{Engine, NOWHERE, Slot, SlotId, model};
use crate::{
    Component, ComponentIx, Condition, Kind, Need, Provenance, Relation, Requirement, Status,
    Timestamp, Topology,
};

/// The version of the snapshot that this release writes and reads.
const VERSION: u32 = 1;

/// Why a snapshot cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no snapshot.
    #[error("the snapshot is damaged")]
    Damaged(#[source] serde_json::Error),
    /// It is of another version.
    #[error("the snapshot has version {found}, this release reads {VERSION}")]
    Version {
        /// The version found.
        found: u32,
    },
    /// It refers to a component that is not in it.
    #[error("the snapshot is damaged: {0}")]
    Reference(String),
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Snapshot {
    version: u32,
    now: Timestamp,
    nodes: Vec<SavedNode>,
    slots: Vec<SavedSlot>,
    tracker: Tracker,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedNode {
    id: Arc<str>,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    container: Option<u32>,
    provenance: Provenance,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    uses: Vec<u32>,
    condition: Condition,
    since: Timestamp,
    #[serde(default, skip_serializing_if = "is_false")]
    running: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    gone: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    held: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    ran: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    missing: bool,
    blocked_until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maintenance_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<(bool, bool, String)>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedSlot {
    component: u32,
    vantage: u32,
    check: Arc<str>,
    ttl_us: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    value_names: Vec<String>,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<f32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    /// `null` where a value was not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<Option<f64>>,
    sampled_us: i64,
    fresh: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde asks for a reference"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

impl Engine {
    /// The engine as bytes; the same engine gives the same bytes.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        serde_json::to_vec(&self.snapshot()).unwrap_or_default()
    }

    /// An engine from its bytes, under the declared topology that is in force now.
    ///
    /// # Errors
    /// The bytes are damaged or of another version.
    pub fn load(bytes: &[u8], declared: Topology) -> Result<Self, LoadError> {
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(LoadError::Damaged)?;
        if snapshot.version != VERSION {
            return Err(LoadError::Version {
                found: snapshot.version,
            });
        }
        snapshot.check()?;
        Ok(Self::restore(snapshot, declared))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let nodes = self.model.nodes.iter().map(|node| SavedNode {
            id: node.component.id.clone(),
            kind: node.component.kind.as_str().to_owned(),
            container: node.component.container.map(|ix| ix.0),
            provenance: node.component.provenance,
            labels: node.component.labels.clone(),
            uses: match node.component.provenance {
                Provenance::Declared => Vec::new(),
                _ => node
                    .component
                    .needs
                    .iter()
                    .flat_map(|need| need.requirement.of.iter().map(|ix| ix.0))
                    .collect(),
            },
            condition: node.condition,
            since: node.since,
            running: node.running,
            gone: node.gone,
            held: node.held,
            ran: node.ran,
            missing: node.missing,
            blocked_until: node.blocked_until,
            maintenance_until: node.maintenance_until,
            verdict: node.verdict,
            agent: node
                .agent
                .as_ref()
                .map(|agent| (agent.connected, agent.stopping, agent.boot_id.clone())),
        });
        let slots = self.slots.iter().map(|slot| SavedSlot {
            component: slot.component.0,
            vantage: slot.vantage.0,
            check: slot.check.clone(),
            ttl_us: u64::try_from(slot.ttl.as_micros()).unwrap_or(u64::MAX),
            value_names: slot.value_names.to_vec(),
            status: slot.status,
            progress: slot.progress,
            detail: slot.detail.to_string(),
            values: slot
                .values
                .iter()
                .map(|value| Some(*value).filter(|value| value.is_finite()))
                .collect(),
            sampled_us: slot.sampled_at.as_micros(),
            fresh: slot.fresh,
        });
        Snapshot {
            version: VERSION,
            now: self.now,
            nodes: nodes.collect(),
            slots: slots.collect(),
            tracker: self.tracker.clone(),
        }
    }

    /// Makes the engine of a sound snapshot: the declared components first, then what had joined them, then evidence.
    pub(super) fn restore(snapshot: Snapshot, declared: Topology) -> Self {
        let now = snapshot.now;
        let mut engine = Self {
            now,
            model: Model::new(&declared, now),
            declared,
            slots: Vec::with_capacity(snapshot.slots.len()),
            slot_ids: BTreeMap::new(),
            expiries: BinaryHeap::new(),
            maintenance: BTreeMap::new(),
            tracker: snapshot.tracker,
            counts: [0; 7],
        };
        let old: Vec<Arc<str>> = snapshot.nodes.iter().map(|node| node.id.clone()).collect();
        let vantages: BTreeSet<u32> = snapshot.slots.iter().map(|slot| slot.vantage).collect();
        engine.rejoin(&snapshot.nodes, &vantages);
        let place: Vec<Option<ComponentIx>> = old.iter().map(|id| engine.model.find(id)).collect();
        engine.tracker.missing = 0;
        for saved in snapshot.nodes {
            let Some(ix) = engine.model.find(&saved.id) else {
                // It was declared and is no longer: nobody waits for it.
                engine.tracker.broken.remove(&*saved.id);
                continue;
            };
            let node = engine.model.node_mut(ix);
            node.condition = saved.condition;
            node.since = saved.since;
            node.running = saved.running;
            node.gone = saved.gone;
            node.held = saved.held;
            node.ran = saved.ran;
            node.missing = saved.missing;
            node.blocked_until = saved.blocked_until;
            node.maintenance_until = saved.maintenance_until;
            node.verdict = saved.verdict;
            node.agent = saved.agent.map(|(connected, stopping, boot_id)| Agent {
                connected,
                stopping,
                boot_id,
            });
            engine.tracker.missing += usize::from(saved.missing);
            if let Some(until) = saved.maintenance_until {
                engine.maintenance.insert(ix, until);
            }
        }
        for saved in snapshot.slots {
            engine.restore_slot(saved, &place);
        }
        for at in 0..engine.model.nodes.len() {
            let node = &engine.model.nodes[at];
            let mut evidence =
                super::together(node.slots.iter().map(|slot| &engine.slots[slot.index()]));
            if node.agent.as_ref().is_some_and(|agent| agent.connected) {
                evidence = Some(evidence.map_or(Status::Ok, |status| status.max(Status::Ok)));
            }
            engine.model.nodes[at].evidence = evidence;
        }
        engine.start();
        engine
    }

    /// Appends what had joined the declared components, and hosts of agents that are declared no longer.
    fn rejoin(&mut self, nodes: &[SavedNode], vantages: &BTreeSet<u32>) {
        let now = self.now;
        for (at, saved) in nodes.iter().enumerate() {
            let observes = vantages.contains(&index(at).0) || saved.agent.is_some();
            let stays = saved.provenance != Provenance::Declared || observes;
            if !stays || self.model.find(&saved.id).is_some() {
                continue;
            }
            let kind = Kind::find(&saved.kind).unwrap_or(Kind::Service);
            self.model.append(
                Component {
                    id: saved.id.clone(),
                    kind,
                    container: None,
                    class: Arc::from(kind.default_class()),
                    weight: 1.0,
                    public: None,
                    start_slots: None,
                    labels: saved.labels.clone(),
                    needs: Vec::new(),
                    reached_via: Vec::new(),
                    backs_up: Vec::new(),
                    provenance: match saved.provenance {
                        Provenance::Declared => Provenance::Inferred,
                        other => other,
                    },
                },
                now,
            );
        }
        for saved in nodes
            .iter()
            .filter(|saved| saved.provenance != Provenance::Declared)
        {
            let Some(ix) = self.model.find(&saved.id) else {
                continue;
            };
            if self.model.node(ix).component.provenance == Provenance::Declared {
                continue;
            }
            let find = |at: &u32| self.model.find(&nodes[*at as usize].id);
            let container = saved
                .container
                .as_ref()
                .and_then(find)
                .filter(|outer| !self.model.is_inside(*outer, ix));
            let needs: Vec<Need> = saved
                .uses
                .iter()
                .filter_map(find)
                .map(|used| Need {
                    relation: Relation::Uses,
                    requirement: Requirement {
                        at_least: 1,
                        of: Box::new([used]),
                    },
                })
                .collect();
            if container.is_some() || !needs.is_empty() {
                let component = Component {
                    container,
                    needs,
                    ..self.model.node(ix).component.clone()
                };
                self.model.redefine(ix, component);
            }
        }
    }

    /// Every slot keeps its id; one whose component is no longer there keeps its place and is about nothing.
    fn restore_slot(&mut self, saved: SavedSlot, place: &[Option<ComponentIx>]) {
        let id = SlotId(index(self.slots.len()).0);
        let ends = (
            place[saved.component as usize],
            place[saved.vantage as usize],
        );
        let (component, vantage) = (ends.0.unwrap_or(NOWHERE), ends.1.unwrap_or(NOWHERE));
        let known = ends.0.is_some() && ends.1.is_some();
        let path = if known {
            self.model.path(vantage, component)
        } else {
            model::PathId::default()
        };
        let ttl = Duration::from_micros(saved.ttl_us);
        let sampled_at = Timestamp::from_micros(saved.sampled_us);
        let expires = sampled_at.plus(ttl);
        let fresh = saved.fresh && known;
        let inside = known
            && (self.model.is_inside(component, vantage)
                || self.model.is_inside(vantage, component));
        self.slots.push(Slot {
            component,
            vantage,
            check: saved.check.clone(),
            inside,
            path,
            ttl,
            value_names: Arc::from(saved.value_names),
            status: saved.status,
            progress: saved.progress,
            detail: saved.detail.into(),
            values: saved
                .values
                .into_iter()
                .map(|value| value.unwrap_or(f64::NAN))
                .collect(),
            sampled_at,
            expires,
            fresh,
            queued: fresh,
        });
        if known {
            self.model.depend_on_path(component, path);
            self.model.node_mut(component).slots.push(id);
            self.model.node_mut(vantage).seen_from_here.push(id);
            self.slot_ids.insert((component, vantage, saved.check), id);
        }
        if fresh {
            self.expiries.push(Reverse((expires, id)));
        }
    }
}

impl Snapshot {
    /// Whether every reference points at something.
    fn check(&self) -> Result<(), LoadError> {
        let known = |at: u32| (at as usize) < self.nodes.len();
        for node in &self.nodes {
            if !node.container.iter().chain(&node.uses).all(|at| known(*at)) {
                return Err(LoadError::Reference(format!("an edge of {}", node.id)));
            }
        }
        match self
            .slots
            .iter()
            .find(|slot| !known(slot.component) || !known(slot.vantage))
        {
            Some(slot) => Err(LoadError::Reference(format!(
                "an observation of check {}",
                slot.check
            ))),
            None => Ok(()),
        }
    }
}
