//! The state as events: what a capture that begins now has to tell first, so that its replay goes on from here.
//!
//! Told are what is known now, since when it is so, and, while an incident is open, that what worked before it did. Not told is
//! what nothing follows from any more: answers that were replaced, incidents that are over.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::node::{Agent, Node, Stream};
use super::symptom::{Return, Symptom};
use super::{Engine, Slot};
use crate::{
    ComponentIx, DiscoveredComponent, Event, EventKind, Kind, Provenance, Status, Timestamp,
};

/// How long before the first of it everything is told to have worked: an incident has to find a stable time before it.
const STABLE_BEFORE: Duration = Duration::from_secs(60);

/// What is said of one thing holds this much longer than until the next word on it.
const HOLDS_OVER: Duration = Duration::from_secs(1);

impl Engine {
    /// The state as events in the order of their moments, none of them after [`Engine::now`]. An engine of the same declared
    /// topology that takes them has the same conditions and the same symptoms.
    #[must_use]
    pub fn as_events(&self) -> Vec<Event> {
        let mut told = Told {
            engine: self,
            begin: self.begin_of_capture(),
            events: Vec::new(),
        };
        told.actions();
        told.agents();
        told.discovered();
        for slot in &self.slots {
            told.slot(slot);
        }
        told.marks();
        // Stable: what is told of one moment stays in its order.
        told.events.sort_by_key(|event| event.at);
        told.events
    }

    /// Before anything that is told began.
    fn begin_of_capture(&self) -> Timestamp {
        let opened = self
            .incident()
            .filter(|_| self.tracker.is_open())
            .map(|incident| incident.opened);
        let onsets = self.symptoms.values().map(|symptom| symptom.onset);
        let samples = self.slots.iter().filter(|slot| slot.fresh);
        let samples = samples.map(|slot| slot.sampled_at);
        let first = opened.into_iter().chain(onsets).chain(samples).min();
        let first = first.unwrap_or(self.now).min(self.now).as_micros();
        let before = i64::try_from(STABLE_BEFORE.as_micros()).unwrap_or(0);
        Timestamp::from_micros(first.saturating_sub(before))
    }
}

struct Told<'a> {
    engine: &'a Engine,
    begin: Timestamp,
    events: Vec<Event>,
}

impl Told<'_> {
    fn tell(&mut self, at: Timestamp, kind: EventKind) {
        let at = at.max(self.begin).min(self.engine.now);
        self.events.push(Event { at, kind });
    }

    fn id(&self, ix: ComponentIx) -> String {
        self.engine.model.node(ix).component.id.to_string()
    }

    fn nodes(&self) -> impl Iterator<Item = (ComponentIx, &Node)> + use<'_> {
        let nodes = self.engine.model.nodes.iter().enumerate();
        nodes.map(|(at, node)| (super::model::index(at), node))
    }

    fn symptom(&self, ix: ComponentIx) -> Option<Symptom> {
        self.engine.symptoms.get(&ix).copied()
    }

    fn actions(&mut self) {
        for (id, action) in &self.engine.actions {
            let kind = EventKind::Action {
                by: String::new(),
                detail: String::new(),
                id: Some(id.clone()),
                affects: action.affects.clone(),
            };
            self.tell(action.at, kind);
        }
    }

    fn agents(&mut self) {
        let agents = self
            .nodes()
            .filter_map(|(ix, node)| Some((ix, node.agent.as_deref()?.clone(), node.since)));
        let agents: Vec<(ComponentIx, Agent, Timestamp)> = agents.collect();
        let awaited = agents
            .iter()
            .filter(|(_, agent, _)| agent.stream == Stream::Awaited);
        let awaited: Vec<_> = awaited.collect();
        if !awaited.is_empty() {
            for (ix, agent, _) in awaited {
                self.connected(self.begin, *ix, &agent.boot_id, None);
            }
            let watched_until = self.begin;
            // Before the others are told to be connected.
            self.tell(self.begin, EventKind::AggregatorRestarted { watched_until });
        }
        for (ix, agent, since) in agents {
            self.agent(ix, &agent, since);
            if let Some(labels) = self.engine.told.get(&ix).cloned() {
                let agent = self.id(ix);
                self.tell(self.begin, EventKind::Facts { agent, labels });
            }
        }
    }

    fn agent(&mut self, ix: ComponentIx, agent: &Agent, since: Timestamp) {
        if agent.stream == Stream::Awaited {
            return;
        }
        let symptom = self.symptom(ix);
        let onset = self.onset(ix, self.engine.model.node(ix));
        let left = onset
            .or(symptom.map(|symptom| symptom.onset))
            .unwrap_or(since);
        let id = self.id(ix);
        let lost = EventKind::AgentLost { agent: id.clone() };
        match (agent.stream, agent.came_back) {
            (Stream::Open, Some(back)) => {
                let before = match back {
                    Return::SameBoot => agent.boot_id.clone(),
                    Return::Unclean | Return::Rebooted => format!("before {}", agent.boot_id),
                };
                self.connected(self.begin, ix, &before, None);
                self.tell(left, lost);
                let returned = symptom
                    .and_then(|symptom| symptom.well_since)
                    .unwrap_or(since);
                let clean = (back != Return::SameBoot).then_some(back == Return::Rebooted);
                self.connected(returned.max(left), ix, &agent.boot_id, clean);
            }
            (Stream::Open, None) => self.connected(self.begin, ix, &agent.boot_id, None),
            _ => {
                self.connected(self.begin, ix, &agent.boot_id, None);
                if agent.stopping {
                    let (agent, reason) = (id, String::new());
                    self.tell(left, EventKind::AgentStopping { agent, reason });
                }
                self.tell(left, lost);
                return;
            }
        }
        if agent.stopping {
            let (agent, reason) = (id, String::new());
            self.tell(self.engine.now, EventKind::AgentStopping { agent, reason });
        }
    }

    fn connected(&mut self, at: Timestamp, ix: ComponentIx, boot_id: &str, clean: Option<bool>) {
        let connected = EventKind::AgentConnected {
            agent: self.id(ix),
            boot_id: boot_id.to_owned(),
            uptime_s: 0.0,
            clean_shutdown: clean,
        };
        self.tell(at, connected);
    }

    /// What agents found, by the host that it is in.
    fn discovered(&mut self) {
        let mut by_host: BTreeMap<String, Vec<DiscoveredComponent>> = BTreeMap::new();
        let anybody = self
            .nodes()
            .find(|(_, node)| node.agent.is_some() || !node.seen_from_here.is_empty());
        let anybody = anybody.map(|(ix, _)| self.id(ix));
        for (_, node) in self.nodes() {
            let component = &node.component;
            if component.provenance != Provenance::Discovered {
                continue;
            }
            let host = component
                .container
                .filter(|ix| self.engine.model.node(*ix).component.kind == Kind::Host)
                .map(|ix| self.id(ix));
            let Some(host) = host.or_else(|| anybody.clone()) else {
                continue;
            };
            let needs = component.needs.iter();
            let used = needs.flat_map(|need| need.requirement.of.iter());
            let found = DiscoveredComponent {
                id: component.id.to_string(),
                kind: component.kind.as_str().to_owned(),
                container: component.container.map(|ix| self.id(ix)),
                uses: used.map(|ix| self.id(*ix)).collect(),
                labels: component.labels.clone(),
            };
            by_host.entry(host).or_default().push(found);
        }
        for (agent, components) in by_host {
            self.tell(self.begin, EventKind::Discovered { agent, components });
        }
    }

    /// The last answer of a slot; before it, while an incident is open, that it worked and when it began not to.
    fn slot(&mut self, slot: &Slot) {
        if slot.sampled_at < self.begin {
            return;
        }
        let node = self.engine.model.node(slot.component);
        let onset = self.onset(slot.component, node);
        let is_open = self.engine.tracker.is_open();
        let is_bad = slot.status != Status::Ok && slot.status != Status::Unknown;
        let began = onset
            .filter(|onset| is_bad && *onset < slot.sampled_at)
            .unwrap_or(slot.sampled_at);
        if is_open && node.ran && self.begin < began {
            self.answer(slot, self.begin, Status::Ok, began);
        }
        if began < slot.sampled_at {
            self.answer(slot, began, slot.status, slot.sampled_at);
        }
        let ttl = Duration::from_millis(u64::from(slot.ttl_ms));
        let told = slot.sampled_at.plus(ttl);
        // Its end is what was said when it came.
        let until = slot.expires.max(told);
        self.observation(
            slot,
            slot.sampled_at,
            slot.status,
            until.since(slot.sampled_at),
        );
    }

    /// Since when something is wrong with it now. A symptom may have begun with a blip that passed: the incident that
    /// is open did not begin with it.
    fn onset(&self, ix: ComponentIx, node: &Node) -> Option<Timestamp> {
        let symptom = self.symptom(ix)?;
        if symptom.well_since.is_some() {
            return None;
        }
        let incident = self.engine.incident();
        let opened = incident.filter(|_| self.engine.tracker.is_open());
        Some(match opened.map(|incident| incident.opened) {
            Some(opened) if node.since >= opened => symptom.onset.max(opened),
            _ => symptom.onset,
        })
    }

    fn answer(&mut self, slot: &Slot, at: Timestamp, status: Status, next: Timestamp) {
        self.observation(slot, at, status, next.since(at) + HOLDS_OVER);
    }

    fn observation(&mut self, slot: &Slot, at: Timestamp, status: Status, ttl: Duration) {
        let is_last = at == slot.sampled_at;
        let values = slot.value_names.iter().zip(&slot.values);
        let values = values.filter(|(_, value)| is_last && value.is_finite());
        let detail = if status == slot.status {
            &*slot.detail
        } else {
            ""
        };
        let observation = EventKind::Observation {
            agent: self.id(slot.vantage),
            component: Some(self.id(slot.component)),
            check: slot.check.to_string(),
            status,
            progress: slot.progress().filter(|_| is_last),
            detail: detail.to_owned(),
            values: values
                .map(|(name, value)| (name.to_string(), *value))
                .collect(),
            sampled_at: Some(at),
            ttl_s: Some(ttl.as_secs_f64()),
        };
        self.tell(at, observation);
    }

    /// What was said of components: by people, and by providers of themselves. Nothing follows from what was said of one that
    /// nobody else speaks of and nobody declared: it is left out, as there is no such component where this is taken.
    fn marks(&mut self) {
        let now = self.engine.now;
        let observed = self.engine.slots.iter();
        let observed: BTreeSet<ComponentIx> = observed
            .filter(|slot| slot.sampled_at >= self.begin)
            .flat_map(|slot| [slot.component, slot.vantage])
            .collect();
        let is_there = |ix: ComponentIx| {
            let node = self.engine.model.node(ix);
            node.component.provenance != Provenance::Inferred
                || node.agent.is_some()
                || observed.contains(&ix)
        };
        let mut marks = Vec::new();
        for (ix, word) in &self.engine.provider {
            let said = EventKind::ProviderStatus {
                component: self.id(*ix),
                indicator: word.indicator.clone(),
                detail: String::new(),
            };
            marks.push((*ix, said));
        }
        for (ix, until) in &self.engine.maintenance {
            let (component, until) = (self.id(*ix), *until);
            marks.push((*ix, EventKind::Maintenance { component, until }));
        }
        for (ix, _) in self.nodes().filter(|(_, node)| node.gone) {
            let component = self.id(ix);
            marks.push((ix, EventKind::Gone { component }));
        }
        marks.retain(|(ix, _)| is_there(*ix));
        for (_, mark) in marks {
            self.tell(now, mark);
        }
    }
}

#[cfg(test)]
mod tests;
