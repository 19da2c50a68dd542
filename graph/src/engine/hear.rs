//! What each type of event does to the engine.

use std::time::Duration;

use super::evidence::{Sample, SlotId, TTL_DEFAULT};
use super::model::index;
use super::node::{Agent, Stream};
use super::symptom::Return;
use super::{Changes, Engine};
use crate::{ComponentIx, Event, EventKind, Timestamp};

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
    /// The event names what does not exist, or a table is full. What time alone changed is in `changes` nonetheless.
    pub fn apply(&mut self, event: &Event, changes: &mut Changes) -> Result<(), ApplyError> {
        if let EventKind::AggregatorRestarted { watched_until } = &event.kind {
            // What was so until then went on without anybody watching.
            self.tell((*watched_until).min(event.at), changes);
            self.nobody_watched(changes);
        }
        self.tell(event.at, changes);
        let outcome = self.hear(event, changes);
        self.settle_incident(changes);
        self.tell_untold(changes);
        changes.settle();
        outcome
    }

    fn hear(&mut self, event: &Event, changes: &mut Changes) -> Result<(), ApplyError> {
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
                let sample = Sample {
                    sampled_at: sampled_at.unwrap_or(event.at).min(event.at),
                    status: *status,
                    progress: *progress,
                    detail: Some(detail),
                    values: &values,
                };
                if !self.is_history(slot, sample.sampled_at) {
                    self.define(slot, ttl.min(TTL_MAX), &names);
                    self.observe(event.at, slot, &sample, changes);
                }
            }
            EventKind::AgentConnected {
                agent,
                boot_id,
                clean_shutdown,
                ..
            } => self.agent_connected(agent, boot_id, *clean_shutdown, changes)?,
            EventKind::AgentLost { agent } => self.agent_lost(agent, changes)?,
            EventKind::AgentStopping { agent, .. } => {
                let host = self.host(agent)?;
                self.agent(host).stopping = true;
                self.left(vec![host], host, changes);
            }
            EventKind::Discovered { agent, components } => {
                let mut redefined = Vec::new();
                let outcome = self.discovered(agent, components, &mut redefined);
                redefined.sort_unstable();
                redefined.dedup();
                self.evidence_changed(&redefined, changes);
                outcome?;
            }
            EventKind::Facts { agent, labels } => {
                let host = self.host(agent)?;
                if labels.is_empty() {
                    self.told.remove(&host);
                } else {
                    self.told.insert(host, labels.clone());
                }
            }
            EventKind::Gone { component } => {
                let ix = self.known(component)?;
                let node = self.model.node_mut(ix);
                if !std::mem::replace(&mut node.gone, true) {
                    let condition = node.condition;
                    self.conclusion.tell();
                    self.counts[condition as usize] -= 1;
                    self.settle(&[ix], changes);
                    self.account(ix);
                }
            }
            EventKind::Maintenance { component, until } => {
                let ix = self.known(component)?;
                self.maintain(ix, *until, changes);
            }
            EventKind::ProviderStatus {
                component,
                indicator,
                ..
            } => {
                let ix = self.known(component)?;
                self.remember_provider(ix, indicator);
                self.conclusion.tell();
            }
            EventKind::Action {
                id: Some(id),
                affects,
                ..
            } => {
                self.remember_action(event.at, id, affects);
                self.conclusion.tell();
            }
            // What a class counts weighs in recovery; no condition follows from it.
            EventKind::Action { id: None, .. }
            | EventKind::Baseline { .. }
            | EventKind::AggregatorRestarted { .. }
            | EventKind::Tick => {}
        }
        Ok(())
    }

    /// Whether the slot knows something newer.
    fn is_history(&self, slot: SlotId, sampled_at: Timestamp) -> bool {
        sampled_at < self.slots[slot.index()].sampled_at
    }

    fn known(&self, id: &str) -> Result<ComponentIx, ApplyError> {
        self.model
            .find(id)
            .ok_or_else(|| ApplyError::UnknownComponent {
                component: id.to_owned(),
            })
    }

    fn agent(&mut self, host: ComponentIx) -> &mut Agent {
        self.model.node_mut(host).agent.get_or_insert_default()
    }

    fn agent_connected(
        &mut self,
        agent: &str,
        boot_id: &str,
        clean_shutdown: Option<bool>,
        changes: &mut Changes,
    ) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        let known = self.agent(host);
        let rebooted = !known.boot_id.is_empty() && known.boot_id != boot_id;
        let came_back = match (known.boot_id.is_empty(), rebooted, clean_shutdown) {
            (true, ..) => None,
            (_, false, _) => Some(Return::SameBoot),
            (_, true, Some(true)) => Some(Return::Rebooted),
            (_, true, _) => Some(Return::Unclean),
        };
        *known = Agent {
            came_back,
            stream: Stream::Open,
            stopping: false,
            boot_id: boot_id.to_owned(),
        };
        let mut touched = vec![host];
        if rebooted {
            // What was running on it has to start again.
            touched.extend(self.model.inside(host));
            for ix in &touched {
                self.model.node_mut(*ix).running = false;
            }
        }
        self.evidence_changed(&touched, changes);
        self.account(host);
        Ok(())
    }

    fn agent_lost(&mut self, agent: &str, changes: &mut Changes) -> Result<(), ApplyError> {
        let host = self.host(agent)?;
        let known = self.agent(host);
        known.stream = Stream::Lost;
        known.came_back = None;
        let mut touched = vec![host];
        for at in 0..self.model.node(host).seen_from_here.len() {
            let id = self.model.node(host).seen_from_here[at];
            if self.change_slot(id, |slot| std::mem::replace(&mut slot.fresh, false)) {
                touched.push(self.slots[id.index()].component);
            }
        }
        self.left(touched, host, changes);
        Ok(())
    }

    /// After a host or its agent may have gone.
    fn left(&mut self, mut touched: Vec<ComponentIx>, host: ComponentIx, changes: &mut Changes) {
        if self.model.node(host).is_stopped() {
            // It left in order: it is not missed.
            for ix in self.model.inside(host).into_iter().chain([host]) {
                let node = self.model.node_mut(ix);
                if std::mem::replace(&mut node.ran, false) && node.condition.is_there() {
                    self.working.insert(ix);
                }
                touched.push(ix);
            }
        }
        touched.sort_unstable();
        touched.dedup();
        self.evidence_changed(&touched, changes);
        for ix in touched {
            self.account(ix);
        }
    }

    /// The aggregator itself was not there: whose stream was open is awaited. What was observed holds for its
    /// time, as ever.
    fn nobody_watched(&mut self, changes: &mut Changes) {
        let mut awaited = Vec::new();
        for (at, node) in self.model.nodes.iter_mut().enumerate() {
            if let Some(agent) = &mut node.agent
                && agent.stream == Stream::Open
            {
                agent.stream = Stream::Awaited;
                awaited.push(index(at));
            }
        }
        self.evidence_changed(&awaited, changes);
        self.settle_incident(changes);
    }

    fn maintain(&mut self, ix: ComponentIx, until: Timestamp, changes: &mut Changes) {
        if until > self.now {
            self.maintenance.insert(ix, until);
        } else {
            self.maintenance.remove(&ix);
        }
        self.maintenance_ends = self.maintenance.values().min().copied();
        self.account(ix);
        self.conclusion.tell();
        changes.components.push(ix);
    }

    /// Ends the maintenance that was planned until now.
    pub(super) fn end_maintenance(&mut self, changes: &mut Changes) {
        if self.maintenance_ends.is_none_or(|until| until > self.now) {
            return;
        }
        let now = self.now;
        let ended = self.maintenance.iter().filter(|(_, until)| **until <= now);
        for ix in ended.map(|(ix, _)| *ix).collect::<Vec<_>>() {
            self.maintain(ix, now, changes);
        }
    }
}
