//! Components that nobody declared: what agents find, what they run on, and what they report on.

use std::sync::Arc;

use super::evidence::SlotId;
use super::{ApplyError, Changes, Engine};
use crate::{
    Component, ComponentIx, Condition, DiscoveredComponent, Kind, Need, Provenance, Relation,
    Requirement,
};

/// The most components that may join the declared ones.
const JOINED_MAX: usize = 2_000_000;

impl Engine {
    /// The component of this id; one that somebody uses or reports on where there is none.
    pub(super) fn ensure(&mut self, id: &str) -> Result<ComponentIx, ApplyError> {
        match self.model.find(id) {
            Some(ix) => Ok(ix),
            None => self.join(id, Kind::Service, None, Provenance::Inferred),
        }
    }

    /// The host of an agent, or what somebody said holds a component.
    pub(super) fn host(&mut self, id: &str) -> Result<ComponentIx, ApplyError> {
        let Some(ix) = self.model.find(id) else {
            return self.join(id, Kind::Host, None, Provenance::Inferred);
        };
        let component = &self.model.node(ix).component;
        if component.provenance == Provenance::Inferred && component.kind == Kind::Service {
            // Somebody reported on it before it was known to be a host.
            let component = Component {
                kind: Kind::Host,
                class: Arc::from(Kind::Host.default_class()),
                ..component.clone()
            };
            let mut touched = self.redefine(ix, component);
            touched.extend(self.adopt(ix));
            self.settle_untold(&touched);
        }
        Ok(ix)
    }

    fn join(
        &mut self,
        id: &str,
        kind: Kind,
        container: Option<ComponentIx>,
        provenance: Provenance,
    ) -> Result<ComponentIx, ApplyError> {
        if self.model.nodes.len() >= self.model.declared + JOINED_MAX {
            return Err(ApplyError::TooMany {
                what: "discovered components",
                limit: JOINED_MAX,
            });
        }
        let container = match provenance {
            Provenance::Inferred => self.host_in_name(id),
            _ => container,
        };
        let component = Component::joined(id, kind, container, provenance);
        let ix = self.model.append(component, self.now);
        self.counts[Condition::Unknown as usize] += 1;
        let mut touched = vec![ix];
        if kind == Kind::Host {
            touched.extend(self.adopt(ix));
        }
        self.settle_untold(&touched);
        Ok(ix)
    }

    /// The host that an id names, as in `web-1/postgres:5432`.
    fn host_in_name(&self, id: &str) -> Option<ComponentIx> {
        let (host, _) = id.split_once('/')?;
        let ix = self.model.find(host)?;
        matches!(self.model.node(ix).component.kind, Kind::Host | Kind::Vm).then_some(ix)
    }

    /// Takes in what others reported to be on a host before the host was known.
    fn adopt(&mut self, host: ComponentIx) -> Vec<ComponentIx> {
        let prefix = format!("{}/", self.model.node(host).component.id);
        let mut touched = Vec::new();
        for ix in self.model.with_prefix(&prefix) {
            let component = &self.model.node(ix).component;
            if component.provenance == Provenance::Inferred
                && component.container.is_none()
                && !self.model.is_inside(host, ix)
            {
                let component = Component {
                    container: Some(host),
                    ..component.clone()
                };
                touched.extend(self.redefine(ix, component));
            }
        }
        touched
    }

    /// Settles what changed where nobody can be told at once.
    fn settle_untold(&mut self, touched: &[ComponentIx]) {
        let mut changes = std::mem::take(&mut self.untold);
        self.evidence_changed(touched, &mut changes);
        self.settle_incident(&mut changes);
        self.untold = changes;
    }

    /// Tells what could not be told before.
    pub(super) fn tell_untold(&mut self, changes: &mut Changes) {
        if !self.untold.is_empty() {
            changes.absorb(std::mem::take(&mut self.untold));
        }
    }

    /// Joins what an agent found. What was found once stays until it is said to be gone: a server that died
    /// has no listening socket any more, and is missed all the more.
    pub(super) fn discovered(
        &mut self,
        agent: &str,
        found: &[DiscoveredComponent],
        redefined: &mut Vec<ComponentIx>,
    ) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        for component in found {
            let container = match component.container.as_deref() {
                Some(id) if id == agent => Some(host),
                Some(id) => Some(self.host(id)?),
                None => None,
            };
            let kind = Kind::find(&component.kind).unwrap_or(Kind::Service);
            let ix = match self.model.find(&component.id) {
                None => self.join(&component.id, kind, container, Provenance::Discovered)?,
                Some(ix) => ix,
            };
            let mut uses = Vec::new();
            for id in &component.uses {
                let used = self.ensure(id)?;
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
                redefined.extend(self.redefine(ix, new));
            }
        }
        Ok(())
    }

    /// Puts another description of a component in place. Returns everything whose evidence may count differently now.
    fn redefine(&mut self, ix: ComponentIx, component: Component) -> Vec<ComponentIx> {
        let moved = self.model.node(ix).component.container != component.container;
        self.model.redefine(ix, component);
        let mut touched = vec![ix];
        if moved {
            touched.extend(self.model.inside(ix));
        }
        for at in 0..touched.len() {
            let node = self.model.node(touched[at]);
            let slots = node.slots.iter().chain(&node.seen_from_here);
            for slot in slots.copied().collect::<Vec<SlotId>>() {
                self.look_again(slot);
                touched.push(self.slots[slot.index()].component);
            }
            // The paths to it, for those who need it, may be others.
            touched.extend_from_slice(&self.model.node(touched[at]).dependents);
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }
}
