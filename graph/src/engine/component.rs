//! One component as the engine sees it now: a row of what readers show.

use std::collections::BTreeMap;

use super::condition::decide;
use super::node::Stream;
use super::propagate::{NeedIs, state};
use super::{Engine, Node, Slot, SlotId};
use crate::{Component, ComponentIx, Condition, Kind, Provenance, Status, Timestamp};

/// One component as the engine sees it now.
#[derive(Debug, Clone, Copy)]
pub struct ComponentRef<'a> {
    pub(super) engine: &'a Engine,
    pub(super) ix: ComponentIx,
}

impl<'a> ComponentRef<'a> {
    fn node(&self) -> &'a Node {
        self.engine.model.node(self.ix)
    }

    /// Its index.
    #[must_use]
    pub const fn ix(&self) -> ComponentIx {
        self.ix
    }

    /// As it was declared or discovered.
    #[must_use]
    pub fn declared(&self) -> &'a Component {
        &self.node().component
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        &self.node().component.id
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.node().component.kind
    }

    /// Its condition.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.node().condition
    }

    /// Since when it has it.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.node().since
    }

    /// The class that it is counted in.
    #[must_use]
    pub fn class(&self) -> &'a str {
        &self.node().component.class
    }

    /// Where it is known from.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.node().component.provenance
    }

    /// The id of what it is in.
    #[must_use]
    pub fn container(&self) -> Option<&'a str> {
        self.node()
            .component
            .container
            .map(|ix| &*self.engine.model.node(ix).component.id)
    }

    /// Whether it is destroyed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.node().gone
    }

    /// Until when work on it is planned.
    #[must_use]
    pub fn maintenance_until(&self) -> Option<Timestamp> {
        self.engine.maintenance.get(&self.ix).copied()
    }

    /// What it shares with others: as declared or discovered, and what its agent told besides.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<&'a str, &'a str> {
        let told = self.engine.told.get(&self.ix).into_iter().flatten();
        told.chain(&self.node().component.labels)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// How far it is, while it is starting and somebody tells.
    #[must_use]
    pub fn progress(&self) -> Option<f32> {
        self.speaking(Status::Starting)
            .and_then(Slot::progress)
            .filter(|_| self.condition() == Condition::Starting)
    }

    /// The measured values, of each check as one observation has them: (check, name, value). That is the newest one from
    /// inside, or the newest at all where nobody looks from inside.
    pub fn values(&self) -> impl Iterator<Item = (&'a str, &'a str, f64)> + use<'a> {
        let engine = self.engine;
        let slot = move |id: &SlotId| &engine.slots[id.index()];
        let checks = self
            .node()
            .slots
            .chunk_by(move |a, b| slot(a).check == slot(b).check);
        checks
            .filter_map(move |slots| {
                let fresh = slots.iter().map(slot).filter(|slot| slot.fresh);
                fresh.max_by_key(|slot| (slot.inside, slot.sampled_at))
            })
            .flat_map(|slot| {
                slot.value_names
                    .iter()
                    .zip(&slot.values)
                    .filter(|(_, value)| !value.is_nan())
                    .map(|(name, value)| (&*slot.check, &**name, *value))
            })
    }

    /// The fresh observation with this status that speaks for all: one from inside, if any, and of these the first by check
    /// and vantage. Not the newest: two checks would take turns, and the text with them.
    fn speaking(&self, status: Status) -> Option<&'a Slot> {
        let says = move |slot: &&Slot| slot.counts() && slot.status == status;
        let engine = self.engine;
        let slots = self.node().slots.iter();
        let mut said = slots.map(|slot| &engine.slots[slot.index()]).filter(says);
        let mut inside = said.clone().filter(|slot| slot.inside);
        inside.next().or_else(|| said.next())
    }

    /// One line: why it has its condition.
    #[must_use]
    pub fn reason(&self) -> String {
        let node = self.node();
        let said = |status: Status| {
            self.speaking(status)
                .map(|slot| slot.detail.to_string())
                .filter(|text| !text.is_empty())
        };
        let rule = || decide(&self.engine.facts(self.ix)).1.to_owned();
        match node.condition {
            _ if node.gone => "destroyed; it will not return".to_owned(),
            Condition::Up => said(Status::Ok).unwrap_or_else(rule),
            Condition::Degraded if node.evidence == Some(Status::Degraded) => {
                said(Status::Degraded).unwrap_or_else(rule)
            }
            Condition::Degraded => self
                .lost(false)
                .map_or_else(rule, |lost| format!("uses {lost}")),
            Condition::Starting => said(Status::Starting).unwrap_or_else(rule),
            Condition::Blocked if node.held => {
                "what it needs is back; waiting for a fresh look".to_owned()
            }
            Condition::Blocked => self
                .lost(true)
                .map_or_else(rule, |lost| format!("needs {lost}")),
            Condition::Down if node.is_stopped() => "stopped in order".to_owned(),
            Condition::Down => said(Status::Failed).unwrap_or_else(rule),
            Condition::Unreachable => rule(),
            Condition::Unknown if node.stream() == Some(Stream::Lost) => {
                "its agent is silent".to_owned()
            }
            Condition::Unknown if node.stream() == Some(Stream::Awaited) => {
                "its agent has not returned since the aggregator's restart".to_owned()
            }
            Condition::Unknown if node.slots.is_empty() => "nobody observes it".to_owned(),
            Condition::Unknown => "no fresh observation".to_owned(),
        }
    }

    /// The first lost need in words: `etcd-1, which is down`.
    fn lost(&self, hard: bool) -> Option<String> {
        let node = self.node();
        let edge = node.edges().find(|edge| {
            edge.relation.is_hard() == hard
                && (edge.relation.counts_while(node.is_running())
                    || edge.relation.counts_while(false) && node.evidence == Some(Status::Starting))
                && state(&self.engine.model, *edge) == NeedIs::Lost
        })?;
        let name = self.engine.words(edge);
        let culprit = self.engine.deciding(edge).into_iter().next();
        Some(match (edge.of, culprit) {
            ([member], Some(ix)) if *member == ix => {
                format!(
                    "{name}, which is {}",
                    self.engine.model.node(ix).condition.as_str()
                )
            }
            ([_], Some(ix)) => format!(
                "{name}, and {} on the way there is {}",
                self.engine.id(ix),
                self.engine.model.node(ix).condition.as_str()
            ),
            _ => format!("{name}, of which too few are left"),
        })
    }
}
