//! The engine: takes events in order, keeps the condition of every component and the incident.
//!
//! One owner drives it; nothing in it blocks. What an event costs goes by what it changes, not by how much there is.

mod capture;
mod changes;
mod component;
mod conclude;
mod condition;
mod crowd;
mod diagnose;
mod evidence;
mod explain;
mod hear;
mod instant;
mod join;
mod model;
mod node;
mod progress;
mod propagate;
mod save;
mod settle;
mod slots;
mod symptom;
mod told;
mod tracker;

use std::collections::{BTreeMap, BTreeSet};

pub use changes::Changes;
pub use component::ComponentRef;
pub use evidence::{Sample, SlotId};
pub use explain::{EvidenceItem, Explanation, NeedReport, NeedState, Step, TopologyEntry};
pub use hear::ApplyError;
pub use node::Verdict;
pub use progress::ClassProgress;
pub use save::LoadError;

use crate::{ComponentIx, Condition, Incident, Timestamp, Topology};
use conclude::Conclusion;
use evidence::{Shared, Slot};
use instant::Instant;
use model::Model;
use node::Node;
use symptom::Symptom;
use told::{Action, ProviderWord};
use tracker::Tracker;

/// How many components have each condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ConditionCounts {
    counts: [u32; 7],
}

impl ConditionCounts {
    /// How many have this one. Destroyed components are not counted.
    #[must_use]
    pub const fn of(&self, condition: Condition) -> u32 {
        self.counts[condition as usize]
    }
}

/// The engine.
#[derive(Debug, Clone)]
pub struct Engine {
    now: Timestamp,
    instant: Instant,
    model: Model,
    slots: Vec<Slot>,
    shared: Shared,
    /// When to look at which slot, once for each whose answer holds: at its end or before.
    expiries: BTreeSet<(Timestamp, SlotId)>,
    /// Until when work is planned on what.
    maintenance: BTreeMap<ComponentIx, Timestamp>,
    /// The next end of one of them.
    maintenance_ends: Option<Timestamp>,
    /// What agents told of their hosts.
    told: BTreeMap<ComponentIx, BTreeMap<String, String>>,
    /// What changed where nobody could be told yet.
    untold: Changes,
    /// Components that work and may not have been noted as such.
    working: BTreeSet<ComponentIx>,
    tracker: Tracker,
    /// What was seen to be wrong, as it stood when the present instant began.
    symptoms: BTreeMap<ComponentIx, Symptom>,
    /// What somebody did, by its id.
    actions: BTreeMap<String, Action>,
    /// The last word of each provider.
    provider: BTreeMap<ComponentIx, ProviderWord>,
    conclusion: Conclusion,
    counts: [u32; 7],
}

impl Engine {
    /// An engine that knows the declared topology and nothing else.
    #[must_use]
    pub fn new(declared: Topology, at: Timestamp) -> Self {
        let mut engine = Self::unstarted(declared, at);
        engine.start();
        engine
    }

    fn unstarted(declared: Topology, at: Timestamp) -> Self {
        Self {
            now: at,
            instant: Instant::default(),
            model: Model::new(declared, at),
            slots: Vec::new(),
            shared: Shared::default(),
            expiries: BTreeSet::new(),
            maintenance: BTreeMap::new(),
            maintenance_ends: None,
            told: BTreeMap::new(),
            untold: Changes::default(),
            working: BTreeSet::new(),
            tracker: Tracker::default(),
            symptoms: BTreeMap::new(),
            actions: BTreeMap::new(),
            provider: BTreeMap::new(),
            conclusion: Conclusion::default(),
            counts: [0; 7],
        }
    }

    /// Brings everything up to date from evidence, after the model was made.
    fn start(&mut self) {
        self.counts = [0; 7];
        let all: Vec<ComponentIx> = (0..self.model.nodes.len()).map(model::index).collect();
        for node in &self.model.nodes {
            if !node.gone {
                self.counts[node.condition as usize] += 1;
            }
        }
        propagate::refresh(&mut self.model, &all);
        for ix in all {
            self.decide(ix);
        }
    }

    /// The moment of the last event.
    #[must_use]
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// Lets time go on: what held too long ends, incidents open and close.
    pub fn advance(&mut self, at: Timestamp) -> Changes {
        let mut changes = Changes::default();
        self.tell(at, &mut changes);
        changes.settle();
        changes
    }

    /// The next moment at which time alone may change something. Nothing changes before.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        let expiry = self.expiries.first().map(|(at, _)| *at);
        let conclusion = self.conclusion.deadline(self.now);
        [
            expiry,
            self.maintenance_ends,
            self.tracker.deadline(),
            conclusion,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Puts another declared topology in force. Evidence, agents, phases and the incident stay with the components that
    /// are in both; what was discovered stays. Every [`SlotId`] may mean another slot afterwards.
    pub fn replace_topology(&mut self, declared: Topology, at: Timestamp) -> Changes {
        let mut changes = self.advance(at);
        let saved = self.snapshot();
        *self = Self::restore(saved, declared);
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

    /// Brings the engine's time to `at` and does what fell due, each at its own moment.
    fn tell(&mut self, at: Timestamp, changes: &mut Changes) {
        self.tell_untold(changes);
        if at <= self.now {
            // All that was due by then is done, and nothing becomes due at once.
            return;
        }
        while let Some(due) = self.next_deadline().filter(|due| *due <= at) {
            self.begin_instant(due);
            self.expire(changes);
            self.end_maintenance(changes);
            self.settle_incident(changes);
            self.conclude(changes);
        }
        self.begin_instant(at);
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
