//! The engine: takes events in order, keeps the condition of every component and the incident.
//!
//! One owner drives it; nothing in it blocks. [`Engine::observe`] is the hot path: an answer that says what the last
//! one said costs a few comparisons. Everything else costs what it changes.

mod condition;
mod evidence;
mod explain;
mod hear;
mod model;
mod propagate;
mod save;
mod tracker;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;
use std::time::Duration;

pub use evidence::{Sample, SlotId};
pub use explain::{EvidenceItem, Explanation, NeedReport, NeedState, Step, TopologyEntry};
pub use hear::ApplyError;
pub use model::Verdict;
pub use save::LoadError;

use crate::{
    Component, ComponentIx, Condition, Incident, Kind, Provenance, Status, Timestamp, Topology,
};
use condition::{Facts, decide};
use evidence::{Slot, TTL_DEFAULT, together};
use model::{Model, Node};
use tracker::Tracker;

/// The most slots: far above the largest fleet measured, far below the memory of a machine.
const SLOTS_MAX: usize = 50_000_000;

/// The most components that may join the declared ones.
const JOINED_MAX: usize = 2_000_000;

/// The component of a slot whose component left the topology.
const NOWHERE: ComponentIx = ComponentIx(u32::MAX);

/// What an event changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Components whose condition, reason or standing changed; each once, sorted.
    pub components: Vec<ComponentIx>,
    /// The incident changed.
    pub incident: bool,
    /// Components were added, or the topology was replaced: every index may mean another component.
    pub topology: bool,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.components.is_empty() && !self.incident && !self.topology
    }

    /// Adds what another event changed.
    pub fn absorb(&mut self, other: Self) {
        if self.components.is_empty() {
            self.components = other.components;
        } else if !other.components.is_empty() {
            self.components.extend(other.components);
            self.components.sort_unstable();
            self.components.dedup();
        }
        self.incident |= other.incident;
        self.topology |= other.topology;
    }
}

/// How many components have each condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConditionCounts {
    counts: [u32; 7],
}

impl ConditionCounts {
    /// How many have this one. Destroyed components and empty groups are not counted.
    #[must_use]
    pub const fn of(&self, condition: Condition) -> u32 {
        self.counts[condition as usize]
    }
}

/// One component as the engine sees it now.
#[derive(Debug, Clone, Copy)]
pub struct ComponentRef<'a> {
    engine: &'a Engine,
    ix: ComponentIx,
}

/// The engine.
#[derive(Debug, Clone)]
pub struct Engine {
    now: Timestamp,
    declared: Topology,
    model: Model,
    slots: Vec<Slot>,
    slot_ids: BTreeMap<(ComponentIx, ComponentIx, Arc<str>), SlotId>,
    expiries: BinaryHeap<Reverse<(Timestamp, SlotId)>>,
    maintenance: BTreeMap<ComponentIx, Timestamp>,
    tracker: Tracker,
    counts: [u32; 7],
}

impl Engine {
    /// An engine that knows the declared topology and nothing else.
    #[must_use]
    pub fn new(declared: Topology, at: Timestamp) -> Self {
        let mut engine = Self {
            now: at,
            model: Model::new(&declared, at),
            declared,
            slots: Vec::new(),
            slot_ids: BTreeMap::new(),
            expiries: BinaryHeap::new(),
            maintenance: BTreeMap::new(),
            tracker: Tracker::default(),
            counts: [0; 7],
        };
        engine.start();
        engine
    }

    /// Brings everything up to date from evidence, after the model was made.
    fn start(&mut self) {
        self.counts = [0; 7];
        let all: Vec<ComponentIx> = (0..self.model.nodes.len()).map(model::index).collect();
        for node in &mut self.model.nodes {
            if !node.gone {
                self.counts[node.condition as usize] += 1;
            }
        }
        propagate::refresh(&mut self.model, &all);
        let mut changes = Changes::default();
        for ix in all {
            self.decide(ix, &mut changes);
        }
    }

    /// The moment of the last event.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The slot of a (component, check, vantage); made where it is new, together with components that nobody
    /// declared.
    ///
    /// # Errors
    /// There are too many slots or components.
    pub fn slot(
        &mut self,
        component: &str,
        check: &str,
        vantage: &str,
    ) -> Result<SlotId, ApplyError> {
        let vantage = self.ensure(vantage, Kind::Host, None, Provenance::Inferred)?;
        let host = self.model.node(vantage).component.id.clone();
        let inside = component
            .strip_prefix(&*host)
            .is_some_and(|rest| rest.starts_with('/'));
        let component = self.ensure(
            component,
            Kind::Service,
            inside.then_some(vantage),
            Provenance::Inferred,
        )?;
        let key = (component, vantage, Arc::from(check));
        if let Some(id) = self.slot_ids.get(&key) {
            return Ok(*id);
        }
        if self.slots.len() >= SLOTS_MAX {
            return Err(ApplyError::TooMany {
                what: "checks",
                limit: SLOTS_MAX,
            });
        }
        let id = SlotId(
            u32::try_from(self.slots.len()).map_err(|_| ApplyError::TooMany {
                what: "checks",
                limit: SLOTS_MAX,
            })?,
        );
        let path = self.model.path(vantage, component);
        self.model.depend_on_path(component, path);
        self.slots.push(Slot {
            component,
            vantage,
            check: key.2.clone(),
            inside: self.model.is_inside(component, vantage)
                || self.model.is_inside(vantage, component),
            path,
            ttl: TTL_DEFAULT,
            value_names: Arc::new([]),
            status: Status::Unknown,
            progress: None,
            detail: Box::default(),
            values: Vec::new(),
            sampled_at: Timestamp::from_micros(i64::MIN),
            expires: Timestamp::from_micros(i64::MIN),
            fresh: false,
            queued: false,
        });
        self.model.node_mut(component).slots.push(id);
        self.model.node_mut(vantage).seen_from_here.push(id);
        self.slot_ids.insert(key, id);
        Ok(id)
    }

    /// Says how long the answers of a slot hold, and what its values are called.
    pub fn define(&mut self, slot: SlotId, ttl: Duration, value_names: &[String]) {
        if let Some(slot) = self.slots.get_mut(slot.index()) {
            slot.ttl = ttl;
            if *slot.value_names != *value_names {
                slot.value_names = Arc::from(value_names);
            }
        }
    }

    /// Takes one answer. What is older than the slot's newest changes nothing: it is history.
    pub fn observe(
        &mut self,
        at: Timestamp,
        slot: SlotId,
        sample: &Sample<'_>,
        changes: &mut Changes,
    ) {
        self.tell(at, changes);
        let Some(known) = self.slots.get_mut(slot.index()) else {
            return;
        };
        if sample.sampled_at < known.sampled_at || known.component == NOWHERE {
            return;
        }
        let expires = sample.sampled_at.plus(known.ttl);
        let fresh = expires > at;
        let text_changed = sample.detail.is_some_and(|detail| *detail != *known.detail);
        let same = known.fresh == fresh
            && known.status == sample.status
            && known.progress == sample.progress;
        if text_changed {
            known.detail = sample.detail.unwrap_or_default().into();
        }
        known.status = sample.status;
        known.progress = sample.progress;
        known.sampled_at = sample.sampled_at;
        known.expires = expires;
        known.fresh = fresh;
        if known.values.len() == sample.values.len() {
            known.values.copy_from_slice(sample.values);
        } else {
            known.values = sample.values.to_vec();
        }
        if fresh && !known.queued {
            known.queued = true;
            self.expiries.push(Reverse((expires, slot)));
        }
        let component = known.component;
        if !same || self.model.node(component).held {
            self.evidence_changed(&[component], changes);
        }
        if text_changed {
            changes.absorb(Changes {
                components: vec![component],
                ..Changes::default()
            });
        }
    }

    /// Lets time go on: what held too long ends, incidents open and close.
    pub fn advance(&mut self, at: Timestamp) -> Changes {
        let mut changes = Changes::default();
        self.tell(at, &mut changes);
        changes
    }

    /// The next moment at which time alone may change something.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let expiry = self.expiries.peek().map(|Reverse((at, _))| *at);
        let maintenance = self.maintenance.values().min().copied();
        [expiry, maintenance, self.tracker.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Puts another declared topology in force. Evidence, agents, phases and the incident stay with the components that
    /// are in both; what was discovered stays.
    pub fn replace_topology(&mut self, declared: Topology, at: Timestamp) -> Changes {
        let mut changes = self.advance(at);
        let saved = self.snapshot();
        *self = Self::restore(saved, declared);
        self.now = self.now.max(at);
        self.settle_incident(&mut changes);
        changes.topology = true;
        changes
    }

    /// All components, in the order of their indices.
    pub fn components(&self) -> impl Iterator<Item = ComponentRef<'_>> + '_ {
        (0..self.model.nodes.len()).map(|at| ComponentRef {
            engine: self,
            ix: model::index(at),
        })
    }

    /// The component at an index.
    #[must_use]
    pub fn component(&self, ix: ComponentIx) -> Option<ComponentRef<'_>> {
        (ix.index() < self.model.nodes.len()).then_some(ComponentRef { engine: self, ix })
    }

    /// The component of an id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<ComponentRef<'_>> {
        self.model
            .find(id)
            .map(|ix| ComponentRef { engine: self, ix })
    }

    /// How many components have each condition.
    #[must_use]
    pub const fn counts(&self) -> ConditionCounts {
        ConditionCounts {
            counts: self.counts,
        }
    }

    /// The last incident, open or resolved.
    #[must_use]
    pub const fn incident(&self) -> Option<&Incident> {
        self.tracker.incident.as_ref()
    }

    /// Takes the word of a diagnosis on a component that nobody observes; `None` takes it back.
    pub fn judge(&mut self, at: Timestamp, component: &str, verdict: Option<Verdict>) -> Changes {
        let mut changes = self.advance(at);
        if let Some(ix) = self.model.find(component) {
            self.model.node_mut(ix).verdict = verdict;
            self.settle(&[ix], &mut changes);
        }
        changes
    }

    /// Brings the engine's time to `at` and does what fell due.
    fn tell(&mut self, at: Timestamp, changes: &mut Changes) {
        self.now = self.now.max(at);
        while let Some(due) = self.next_deadline().filter(|due| *due <= self.now) {
            self.expire(due, changes);
        }
    }

    fn expire(&mut self, due: Timestamp, changes: &mut Changes) {
        let mut stale = Vec::new();
        while let Some(Reverse((at, id))) = self
            .expiries
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= due)
        {
            self.expiries.pop();
            let slot = &mut self.slots[id.index()];
            if slot.expires > at {
                // It was renewed since: one entry a slot is enough.
                self.expiries.push(Reverse((slot.expires, id)));
                continue;
            }
            slot.queued = false;
            if std::mem::replace(&mut slot.fresh, false) {
                stale.push(slot.component);
            }
        }
        let ended: Vec<ComponentIx> = self
            .maintenance
            .iter()
            .filter(|(_, until)| **until <= due)
            .map(|(ix, _)| *ix)
            .collect();
        for ix in ended {
            self.maintenance.remove(&ix);
            self.model.node_mut(ix).maintenance_until = None;
            self.account(ix);
            changes.absorb(Changes {
                components: vec![ix],
                ..Changes::default()
            });
        }
        stale.sort_unstable();
        stale.dedup();
        self.evidence_changed(&stale, changes);
        self.settle_incident(changes);
    }

    /// Looks again at what the slots of some components say together.
    fn evidence_changed(&mut self, components: &[ComponentIx], changes: &mut Changes) {
        let mut seeds = Vec::new();
        for ix in components {
            let node = self.model.node(*ix);
            let mut evidence = together(node.slots.iter().map(|slot| &self.slots[slot.index()]));
            if node.agent.as_ref().is_some_and(|agent| agent.connected) {
                // The stream of its agent is open: somebody inside is alive.
                evidence = Some(evidence.map_or(Status::Ok, |status| status.max(Status::Ok)));
            }
            let node = self.model.node_mut(*ix);
            match evidence {
                Some(Status::Ok | Status::Degraded) => node.running = true,
                Some(Status::Starting) => node.running = false,
                _ => {}
            }
            node.evidence = evidence;
            seeds.push(*ix);
        }
        self.settle(&seeds, changes);
    }

    /// Carries a change along the edges and decides every condition that it may touch.
    fn settle(&mut self, seeds: &[ComponentIx], changes: &mut Changes) {
        if seeds.is_empty() {
            return;
        }
        let flipped = propagate::refresh(&mut self.model, seeds);
        let mut touched: Vec<ComponentIx> = seeds.to_vec();
        for ix in &flipped {
            touched.push(*ix);
            touched.extend_from_slice(&self.model.node(*ix).dependents);
        }
        touched.sort_unstable();
        touched.dedup();
        for ix in touched {
            self.decide(ix, changes);
        }
        self.settle_incident(changes);
    }

    fn facts(&self, ix: ComponentIx) -> Facts {
        let node = self.model.node(ix);
        let need_lost = propagate::hard_need_is_lost(&self.model, node, node.running);
        let use_lost = node.edges.iter().any(|edge| {
            !edge.relation.is_hard()
                && edge.relation.counts_while(node.running)
                && propagate::state(&self.model, edge) == propagate::NeedIs::Lost
        });
        Facts {
            evidence: node.evidence,
            verdict: node.verdict,
            stopped: node.gone || node.is_stopped(),
            need_lost,
            start_need_lost: propagate::hard_need_is_lost(&self.model, node, false),
            use_lost,
            seen_through_lost_path: self.seen_through_lost_path(node),
            held: false,
            group_is_there: node.component.kind == Kind::Group && node.there,
        }
    }

    fn seen_through_lost_path(&self, node: &Node) -> bool {
        let mut failing = node
            .slots
            .iter()
            .map(|slot| &self.slots[slot.index()])
            .filter(|slot| slot.counts() && slot.status == Status::Failed)
            .peekable();
        failing.peek().is_some()
            && failing.all(|slot| !slot.inside && self.model.path_is_lost(slot.path))
    }

    /// Whether what blocked a failed component is back and nobody has looked at it since.
    fn is_held(&self, node: &Node, facts: &Facts) -> bool {
        facts.evidence == Some(Status::Failed)
            && !facts.need_lost
            && (node.condition == Condition::Blocked || node.held)
            && node
                .slots
                .iter()
                .map(|slot| &self.slots[slot.index()])
                .filter(|slot| slot.counts() && slot.status == Status::Failed)
                .all(|slot| slot.sampled_at <= node.blocked_until)
    }

    fn decide(&mut self, ix: ComponentIx, changes: &mut Changes) {
        let mut facts = self.facts(ix);
        if facts.need_lost {
            self.model.node_mut(ix).blocked_until = self.now;
        }
        let node = self.model.node(ix);
        if node.condition == Condition::Blocked && !node.held && !facts.need_lost {
            // The need came back at this very moment.
            self.model.node_mut(ix).blocked_until = self.now;
        }
        facts.held = self.is_held(self.model.node(ix), &facts);
        let (condition, _) = decide(&facts);
        let now = self.now;
        let node = self.model.node_mut(ix);
        let changed = node.condition != condition || node.held != facts.held;
        node.held = facts.held;
        if node.condition != condition {
            if !node.gone {
                self.counts[node.condition as usize] -= 1;
                self.counts[condition as usize] += 1;
            }
            node.condition = condition;
            node.since = now;
        }
        if changed {
            self.account(ix);
            changes.absorb(Changes {
                components: vec![ix],
                ..Changes::default()
            });
        }
    }

    /// Keeps the incident's accounts: what is broken on its own, what is missing of what worked.
    fn account(&mut self, ix: ComponentIx) {
        let stable = self.tracker.is_stable();
        let node = self.model.node_mut(ix);
        let good = node.condition.is_there();
        let counted = !node.gone && node.maintenance_until.is_none();
        let silent = node
            .agent
            .as_ref()
            .is_some_and(|agent| !agent.connected && !agent.stopping);
        let broken = counted
            && !node.is_stopped()
            && (node.condition == Condition::Down
                || (silent && node.condition == Condition::Unknown && node.ran));
        if good && stable {
            node.ran = true;
        }
        if broken {
            self.tracker.broken.insert(node.component.id.to_string());
        } else {
            self.tracker.broken.remove(&*node.component.id);
        }
        let missing = counted && node.ran && !good;
        let was_missing = std::mem::replace(&mut node.missing, missing);
        match (was_missing, missing) {
            (false, true) => self.tracker.missing += 1,
            (true, false) => self.tracker.missing = self.tracker.missing.saturating_sub(1),
            _ => {}
        }
    }

    fn settle_incident(&mut self, changes: &mut Changes) {
        let (changed, stable_again) = self.tracker.update(self.now);
        changes.incident |= changed;
        if stable_again {
            for node in &mut self.model.nodes {
                node.ran |= node.condition.is_there() && !node.gone;
            }
        }
    }

    /// The component of this id, made where there is none.
    fn ensure(
        &mut self,
        id: &str,
        kind: Kind,
        container: Option<ComponentIx>,
        provenance: Provenance,
    ) -> Result<ComponentIx, ApplyError> {
        if let Some(ix) = self.model.find(id) {
            return Ok(ix);
        }
        self.join(id, kind, container, provenance)
    }

    fn join(
        &mut self,
        id: &str,
        kind: Kind,
        container: Option<ComponentIx>,
        provenance: Provenance,
    ) -> Result<ComponentIx, ApplyError> {
        if self.model.nodes.len() >= self.declared.components().len() + JOINED_MAX {
            return Err(ApplyError::TooMany {
                what: "discovered components",
                limit: JOINED_MAX,
            });
        }
        let component = Component {
            id: Arc::from(id),
            kind,
            container,
            class: Arc::from(kind.default_class()),
            weight: 1.0,
            public: None,
            start_slots: None,
            labels: BTreeMap::new(),
            needs: Vec::new(),
            reached_via: Vec::new(),
            backs_up: Vec::new(),
            provenance,
        };
        let ix = self.model.append(component, self.now);
        self.counts[Condition::Unknown as usize] += 1;
        let mut ignored = Changes::default();
        propagate::refresh(&mut self.model, &[ix]);
        self.decide(ix, &mut ignored);
        Ok(ix)
    }
}

#[cfg(test)]
mod tests;
