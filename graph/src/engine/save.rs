//! The engine as bytes, and back.
//!
//! JSON with a version: a snapshot can be read by people, and the same engine gives the same bytes. What follows
//! from evidence (conditions, what is lost) is not trusted but derived again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::conclude::Conclusion;
use super::model::index;
use super::node::{Agent, Stream, UNMARKED, Verdict};
use super::symptom::{Return, Symptom, View};
use super::told::{Action, ProviderWord};
use super::tracker::Tracker;
use super::{Engine, Slot};
use crate::{
    Component, ComponentIx, Condition, Kind, Need, Provenance, Relation, Requirement, Status,
    Timestamp, Topology,
};

/// The version of the snapshot that this release writes and reads.
const VERSION: u32 = 4;

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
    #[serde(default)]
    actions: BTreeMap<String, Action>,
    /// The last word of each provider, by its component.
    #[serde(default)]
    provider: BTreeMap<Arc<str>, ProviderWord>,
    conclusion: Conclusion,
}

#[derive(Deserialize)]
struct VersionOf {
    version: u32,
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
    #[serde(default, skip_serializing_if = "is_false")]
    start_lost: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    run_lost: bool,
    /// Microseconds since the Unix epoch; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_lost_until_us: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run_lost_until_us: Option<i64>,
    /// How it stood when the present instant began, if that touched it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before: Option<(Condition, Timestamp)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    maintenance_until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<Verdict>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    agent: Option<SavedAgent>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    symptom: Option<Symptom>,
    #[serde(default, skip_serializing_if = "is_default")]
    view: View,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    well_since: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    told: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedAgent {
    stream: Stream,
    stopping: bool,
    boot_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    came_back: Option<Return>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct SavedSlot {
    component: u32,
    vantage: u32,
    check: Arc<str>,
    ttl_ms: u32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    value_names: Vec<Box<str>>,
    status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    progress: Option<f32>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    detail: String,
    /// `null` where a value was not measured.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    values: Vec<Option<f64>>,
    sampled_us: i64,
    expires_us: i64,
    fresh: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    failures: u8,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
        let snapshot: Snapshot = serde_json::from_slice(bytes).map_err(|damage| {
            // What another release wrote may lack a field: that is no damage.
            match serde_json::from_slice::<VersionOf>(bytes) {
                Ok(VersionOf { version }) if version != VERSION => {
                    LoadError::Version { found: version }
                }
                _ => LoadError::Damaged(damage),
            }
        })?;
        if snapshot.version != VERSION {
            return Err(LoadError::Version {
                found: snapshot.version,
            });
        }
        snapshot.check()?;
        Ok(Self::restore(snapshot, declared))
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        let never = |at: Timestamp| Some(at.as_micros()).filter(|_| at != Timestamp::NEVER);
        let each = self.model.nodes.iter().enumerate();
        let nodes = each.map(|(at, node)| SavedNode {
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
            start_lost: node.start_lost,
            run_lost: node.run_lost,
            start_lost_until_us: never(node.start_lost_until),
            run_lost_until_us: never(node.run_lost_until),
            before: self
                .instant
                .before(node)
                .map(|before| (before.condition, before.since)),
            maintenance_until: self.maintenance.get(&index(at)).copied(),
            verdict: node.verdict,
            agent: node.agent.as_ref().map(|agent| SavedAgent {
                stream: agent.stream,
                stopping: agent.stopping,
                boot_id: agent.boot_id.clone(),
                came_back: agent.came_back,
            }),
            symptom: self.symptoms.get(&index(at)).copied(),
            view: node.view,
            well_since: Some(node.well_since).filter(|since| *since != Timestamp::FAR),
            told: self.told.get(&index(at)).cloned().unwrap_or_default(),
        });
        let slots = self.slots.iter().map(|slot| SavedSlot {
            component: slot.component.0,
            vantage: slot.vantage.0,
            check: slot.check.clone(),
            ttl_ms: slot.ttl_ms,
            value_names: slot.value_names.to_vec(),
            status: slot.status,
            progress: slot.progress(),
            detail: slot.detail.to_string(),
            values: slot
                .values
                .iter()
                .map(|value| Some(*value).filter(|value| value.is_finite()))
                .collect(),
            sampled_us: slot.sampled_at.as_micros(),
            expires_us: slot.expires.as_micros(),
            fresh: slot.fresh,
            failures: slot.failures,
        });
        Snapshot {
            version: VERSION,
            now: self.now,
            nodes: nodes.collect(),
            slots: slots.collect(),
            tracker: self.tracker.clone(),
            actions: self.actions.clone(),
            provider: self
                .provider
                .iter()
                .map(|(ix, word)| (self.model.node(*ix).component.id.clone(), word.clone()))
                .collect(),
            conclusion: self.conclusion.clone(),
        }
    }

    /// Makes the engine of a sound snapshot: the declared components first, then what had joined them, then evidence.
    pub(super) fn restore(snapshot: Snapshot, declared: Topology) -> Self {
        let mut engine = Self {
            tracker: snapshot.tracker,
            actions: snapshot.actions,
            conclusion: snapshot.conclusion,
            ..Self::unstarted(declared, snapshot.now)
        };
        let old: Vec<Arc<str>> = snapshot.nodes.iter().map(|node| node.id.clone()).collect();
        let vantages: BTreeSet<u32> = snapshot.slots.iter().map(|slot| slot.vantage).collect();
        engine.rejoin(&snapshot.nodes, &vantages);
        let place: Vec<Option<ComponentIx>> = old.iter().map(|id| engine.model.find(id)).collect();
        for (id, word) in snapshot.provider {
            if let Some(ix) = engine.model.find(&id) {
                engine.provider.insert(ix, word);
            }
        }
        engine.tracker.missing = 0;
        for (saved, ix) in snapshot.nodes.into_iter().zip(&place) {
            match ix {
                Some(ix) => engine.restore_node(saved, *ix),
                // It was declared and is no longer: nobody waits for it.
                None => engine.tracker.forget(&saved.id),
            }
        }
        engine.maintenance_ends = engine.maintenance.values().min().copied();
        engine.slots.reserve_exact(snapshot.slots.len());
        for saved in snapshot.slots {
            engine.restore_slot(saved, &place);
        }
        for at in 0..engine.model.nodes.len() {
            let ix = index(at);
            engine.model.nodes[at].evidence = engine.evidence(ix);
            let node = &engine.model.nodes[at];
            if node.condition.is_there() && !node.ran && node.mark == UNMARKED {
                engine.working.insert(ix);
            }
        }
        engine.start();
        engine
    }

    fn restore_node(&mut self, saved: SavedNode, ix: ComponentIx) {
        let node = self.model.node_mut(ix);
        if let Some((condition, since)) = saved.before {
            self.instant.restore(ix, node, condition, since);
        }
        node.condition = saved.condition;
        node.since = saved.since;
        node.running = saved.running;
        node.gone = saved.gone;
        node.held = saved.held;
        node.ran = saved.ran;
        node.missing = saved.missing;
        node.start_lost = saved.start_lost;
        node.run_lost = saved.run_lost;
        let until = |us: Option<i64>| us.map_or(Timestamp::NEVER, Timestamp::from_micros);
        node.start_lost_until = until(saved.start_lost_until_us);
        node.run_lost_until = until(saved.run_lost_until_us);
        node.verdict = saved.verdict;
        node.view = saved.view;
        node.well_since = saved.well_since.unwrap_or(Timestamp::FAR);
        if saved.verdict.is_some() {
            self.conclusion.judged.insert(ix);
        }
        if let Some(symptom) = saved.symptom {
            self.symptoms.insert(ix, symptom);
        }
        node.agent = saved.agent.map(|agent| {
            Box::new(Agent {
                stream: agent.stream,
                stopping: agent.stopping,
                boot_id: agent.boot_id,
                came_back: agent.came_back,
            })
        });
        self.tracker.missing += usize::from(saved.missing);
        if let Some(until) = saved.maintenance_until {
            self.maintenance.insert(ix, until);
        }
        if !saved.told.is_empty() {
            self.told.insert(ix, saved.told);
        }
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
            let provenance = match saved.provenance {
                Provenance::Declared => Provenance::Inferred,
                other => other,
            };
            let mut component = Component::joined(&saved.id, kind, None, provenance);
            component.labels.clone_from(&saved.labels);
            self.model.append(component, now);
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

    /// A slot whose component or vantage is no longer there is dropped; under the same topology every one keeps its id.
    fn restore_slot(&mut self, saved: SavedSlot, place: &[Option<ComponentIx>]) {
        let (Some(component), Some(vantage)) = (
            place[saved.component as usize],
            place[saved.vantage as usize],
        ) else {
            return;
        };
        let Err(at) = self.place_of(component, &saved.check, vantage) else {
            return;
        };
        let values: Vec<f64> = saved
            .values
            .into_iter()
            .map(|value| value.unwrap_or(f64::NAN))
            .collect();
        let expires = Timestamp::from_micros(saved.expires_us);
        let check = self.shared.check(&saved.check);
        let value_names = self.shared.value_names(&saved.value_names);
        let mut slot = Slot::new(component, vantage, check, value_names);
        slot.ttl_ms = saved.ttl_ms;
        slot.sampled_at = Timestamp::from_micros(saved.sampled_us);
        slot.expires = expires;
        slot.values = values.into();
        slot.detail = saved.detail.into();
        slot.status = saved.status;
        slot.fresh = saved.fresh;
        slot.failures = saved.failures;
        if saved.fresh {
            slot.queued = expires;
        }
        slot.set_progress(saved.progress);
        let id = self.add_slot(at, slot);
        if saved.fresh {
            self.expiries.insert((expires, id));
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
