//! What each type of event does to the engine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::evidence::{Sample, TTL_DEFAULT};
use super::model::Agent;
use super::{Changes, Engine};
use crate::{
    Component, ComponentIx, DiscoveredComponent, Event, EventKind, Kind, Need, Provenance,
    Relation, Requirement, Timestamp,
};

/// The longest time to live that an observation may ask for: a week.
const TTL_MAX: Duration = Duration::from_secs(7 * 86_400);

/// Why an event was not taken; nothing changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The event is about a component that nobody declared or discovered.
    #[error("no component {component:?} in the topology")]
    UnknownComponent {
        /// Its id.
        component: String,
    },
    /// A table of the engine is full.
    #[error("more than {limit} {what}")]
    TooMany {
        /// What there are too many of.
        what: &'static str,
        /// The most there may be.
        limit: usize,
    },
}

impl Engine {
    /// Takes one event, of any type.
    ///
    /// # Errors
    /// The event names what does not exist, or a table is full.
    pub fn apply(&mut self, event: &Event) -> Result<Changes, ApplyError> {
        let mut changes = self.advance(event.at);
        let known = self.model.nodes.len();
        match &event.kind {
            EventKind::Observation {
                agent,
                component,
                check,
                status,
                progress,
                detail,
                values,
                sampled_at,
                ttl_s,
            } => {
                let slot = self.slot(component.as_deref().unwrap_or(agent), check, agent)?;
                let names: Vec<String> = values.keys().cloned().collect();
                let values: Vec<f64> = values.values().copied().collect();
                let ttl = ttl_s
                    .and_then(|ttl| Duration::try_from_secs_f64(ttl).ok())
                    .unwrap_or(TTL_DEFAULT);
                self.define(slot, ttl.min(TTL_MAX), &names);
                let sample = Sample {
                    sampled_at: sampled_at.unwrap_or(event.at).min(event.at),
                    status: *status,
                    progress: *progress,
                    detail: Some(detail),
                    values: &values,
                };
                self.observe(event.at, slot, &sample, &mut changes);
            }
            EventKind::AgentConnected { agent, boot_id, .. } => {
                self.agent_connected(agent, boot_id, &mut changes)?
            }
            EventKind::AgentLost { agent } => self.agent_lost(agent, &mut changes)?,
            EventKind::AgentStopping { agent, .. } => self.agent_stopping(agent)?,
            EventKind::Discovered { agent, components } => {
                self.discovered(agent, components, &mut changes)?
            }
            EventKind::Facts { agent, labels } => self.facts_told(agent, labels)?,
            EventKind::Gone { component } => {
                let ix = self.known(component)?;
                let node = self.model.node_mut(ix);
                if !std::mem::replace(&mut node.gone, true) {
                    let condition = node.condition;
                    self.counts[condition as usize] -= 1;
                    self.settle(&[ix], &mut changes);
                    self.account(ix);
                    changes.absorb(Changes {
                        components: vec![ix],
                        ..Changes::default()
                    });
                }
            }
            EventKind::Maintenance { component, until } => {
                let ix = self.known(component)?;
                self.maintain(ix, *until, &mut changes);
            }
            // What a provider says, what somebody did and what a class counts weigh in the diagnosis and in
            // recovery; no condition follows from them.
            EventKind::ProviderStatus { .. }
            | EventKind::Action { .. }
            | EventKind::Baseline { .. }
            | EventKind::Tick => {}
        }
        changes.topology |= self.model.nodes.len() != known;
        Ok(changes)
    }

    fn known(&self, id: &str) -> Result<ComponentIx, ApplyError> {
        self.model
            .find(id)
            .ok_or_else(|| ApplyError::UnknownComponent {
                component: id.to_owned(),
            })
    }

    fn host(&mut self, agent: &str) -> Result<ComponentIx, ApplyError> {
        self.ensure(agent, Kind::Host, None, Provenance::Inferred)
    }

    fn agent_connected(
        &mut self,
        agent: &str,
        boot_id: &str,
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        let known = self.model.node_mut(host).agent.get_or_insert_default();
        let rebooted = !known.boot_id.is_empty() && known.boot_id != boot_id;
        *known = Agent {
            connected: true,
            stopping: false,
            boot_id: boot_id.to_owned(),
        };
        let mut touched = vec![host];
        if rebooted {
            // What was running on it has to start again.
            touched.extend(self.inside(host));
            for ix in &touched {
                self.model.node_mut(*ix).running = false;
            }
        }
        self.evidence_changed(&touched, changes);
        self.account(host);
        self.settle_incident(changes);
        Ok(())
    }

    fn agent_lost(&mut self, agent: &str, changes: &mut Changes) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        self.model
            .node_mut(host)
            .agent
            .get_or_insert_default()
            .connected = false;
        let mut touched = vec![host];
        for slot in self.model.node(host).seen_from_here.clone() {
            let slot = &mut self.slots[slot.index()];
            if std::mem::replace(&mut slot.fresh, false) {
                touched.push(slot.component);
            }
        }
        if self.model.node(host).is_stopped() {
            // It left in order: it is not missed.
            for ix in self.inside(host).into_iter().chain([host]) {
                self.model.node_mut(ix).ran = false;
                touched.push(ix);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        self.evidence_changed(&touched, changes);
        for ix in touched {
            self.account(ix);
        }
        self.settle_incident(changes);
        Ok(())
    }

    fn agent_stopping(&mut self, agent: &str) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        self.model
            .node_mut(host)
            .agent
            .get_or_insert_default()
            .stopping = true;
        Ok(())
    }

    /// Everything in a component, at any depth.
    fn inside(&self, ix: ComponentIx) -> Vec<ComponentIx> {
        let mut found = Vec::new();
        let mut open = self.model.node(ix).content.clone();
        while let Some(ix) = open.pop() {
            found.push(ix);
            open.extend_from_slice(&self.model.node(ix).content);
        }
        found
    }

    fn maintain(&mut self, ix: ComponentIx, until: Timestamp, changes: &mut Changes) {
        let until = Some(until).filter(|until| *until > self.now);
        self.model.node_mut(ix).maintenance_until = until;
        match until {
            Some(until) => self.maintenance.insert(ix, until),
            None => self.maintenance.remove(&ix),
        };
        self.account(ix);
        self.settle_incident(changes);
        changes.absorb(Changes {
            components: vec![ix],
            ..Changes::default()
        });
    }

    fn facts_told(
        &mut self,
        agent: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        let component = &mut self.model.node_mut(host).component;
        for (name, value) in labels {
            // The declared wins.
            if component.provenance != Provenance::Declared || !component.labels.contains_key(name)
            {
                component.labels.insert(name.clone(), value.clone());
            }
        }
        Ok(())
    }

    /// Joins what an agent found. What was found once stays until it is said to be gone: a server that died
    /// has no listening socket any more, and is missed all the more.
    fn discovered(
        &mut self,
        agent: &str,
        found: &[DiscoveredComponent],
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        let mut seeds = Vec::new();
        for component in found {
            let container = match component.container.as_deref() {
                Some(id) if id == agent => Some(host),
                Some(id) => Some(self.ensure(id, Kind::Host, None, Provenance::Inferred)?),
                None => None,
            };
            let kind = Kind::find(&component.kind).unwrap_or(Kind::Service);
            let ix = match self.model.find(&component.id) {
                None => self.join(&component.id, kind, container, Provenance::Discovered)?,
                Some(ix) => ix,
            };
            let mut uses = Vec::new();
            for id in &component.uses {
                let used = self.ensure(id, Kind::Service, None, Provenance::Inferred)?;
                uses.push(Need {
                    relation: Relation::Uses,
                    requirement: Requirement {
                        at_least: 1,
                        of: Box::new([used]),
                    },
                });
            }
            let node = self.model.node(ix);
            if node.component.provenance == Provenance::Declared || ix == host && kind != Kind::Host
            {
                continue;
            }
            // A container that holds this one already would be a cycle.
            let container = container.filter(|container| !self.model.is_inside(*container, ix));
            let new = Component {
                id: Arc::from(component.id.as_str()),
                kind,
                container,
                class: Arc::from(kind.default_class()),
                labels: component.labels.clone(),
                needs: uses,
                provenance: Provenance::Discovered,
                ..node.component.clone()
            };
            if new != node.component {
                self.model.redefine(ix, new);
                self.look_again_from(ix);
                seeds.push(ix);
            }
        }
        changes.absorb(Changes {
            components: {
                seeds.sort_unstable();
                seeds.dedup();
                seeds.clone()
            },
            ..Changes::default()
        });
        self.evidence_changed(&seeds, changes);
        Ok(())
    }

    /// After a component moved: who looks at it from inside, and by which path, may be different.
    fn look_again_from(&mut self, ix: ComponentIx) {
        for slot in self.model.node(ix).slots.clone() {
            let (component, vantage) = (
                self.slots[slot.index()].component,
                self.slots[slot.index()].vantage,
            );
            let path = self.model.path(vantage, component);
            self.model.depend_on_path(component, path);
            let inside = self.model.is_inside(component, vantage)
                || self.model.is_inside(vantage, component);
            let slot = &mut self.slots[slot.index()];
            slot.path = path;
            slot.inside = inside;
        }
    }
}
