//! What is seen, and who could be to blame: everything that the search needs, gathered once.

use std::collections::{BTreeMap, BTreeSet};

use super::super::model::index;
use super::super::symptom::{FORGET_AFTER, Ill, Symptom};
use super::super::{Engine, Node, Slot};
use super::{Cause, blame};
use crate::{ComponentIx, Kind, Status, Timestamp};

/// A symptom with what the score needs of it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) symptom: Symptom,
    /// More than one look says so.
    pub(super) confirmed: bool,
    /// Where those look from that see what is wrong with it, or saw it last; sorted.
    pub(super) seen_from: Vec<ComponentIx>,
    /// Everything that sees it fail looks from there, and from outside.
    pub(super) accuser: Option<ComponentIx>,
}

/// What is seen, and who could be to blame.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) engine: &'a Engine,
    pub(super) seen: BTreeMap<ComponentIx, Seen>,
    pub(super) causes: Vec<Cause>,
    /// What stands on the path to the inside of which containers.
    pub(super) behind: BTreeMap<ComponentIx, Vec<ComponentIx>>,
    /// Where the aggregator is, if the topology says so.
    pub(super) aggregator: Option<ComponentIx>,
    /// Of each container around a symptom: how many in it work.
    pub(super) healthy: BTreeMap<ComponentIx, u32>,
    /// There were more candidates than are looked at.
    pub(super) truncated: bool,
}

impl<'a> Case<'a> {
    pub(super) fn of(engine: &'a Engine) -> Self {
        let mut case = Self {
            engine,
            seen: seen(engine),
            causes: Vec::new(),
            behind: BTreeMap::new(),
            aggregator: None,
            healthy: BTreeMap::new(),
            truncated: false,
        };
        if !case.seen.is_empty() {
            case.look_around();
            (case.causes, case.truncated) = blame::candidates(&case);
        }
        case
    }

    pub(super) fn node(&self, ix: ComponentIx) -> &'a Node {
        self.engine.model.node(ix)
    }

    /// Whether a component is seen to work, and nothing was seen to be wrong with it or with what it is in: while its host
    /// was silent nobody knew.
    pub(super) fn is_healthy(&self, ix: ComponentIx) -> bool {
        self.node(ix).evidence == Some(Status::Ok)
            && !self.seen.contains_key(&ix)
            && self.engine.model.chain(ix).skip(1).all(|outer| {
                let seen = self.seen.get(&outer);
                seen.is_none_or(|seen| seen.symptom.worst < Ill::Silent)
            })
    }

    /// The first symptom of all.
    pub(super) fn first(&self) -> Timestamp {
        let onsets = self.seen.values().map(|seen| seen.symptom.onset);
        onsets.min().unwrap_or(self.engine.now)
    }

    fn look_around(&mut self) {
        let mut near: BTreeSet<ComponentIx> = BTreeSet::new();
        for ix in self.seen.keys() {
            near.extend(self.engine.model.chain(*ix).skip(1));
        }
        for (at, node) in self.engine.model.nodes.iter().enumerate() {
            let ix = index(at);
            for requirement in &node.component.reached_via {
                for member in &requirement.of {
                    self.behind.entry(*member).or_default().push(ix);
                }
            }
            if node.component.kind == Kind::Aggregator && self.aggregator.is_none() {
                self.aggregator = Some(ix);
            }
            if self.is_healthy(ix) {
                for outer in self.engine.model.chain(ix).skip(1) {
                    if near.contains(&outer) {
                        *self.healthy.entry(outer).or_default() += 1;
                    }
                }
            }
        }
    }
}

fn seen(engine: &Engine) -> BTreeMap<ComponentIx, Seen> {
    let incident = engine.tracker.incident.as_ref();
    let opened = incident.filter(|_| engine.tracker.is_open());
    let from = opened.map_or(engine.now, |incident| incident.opened);
    let mut found = BTreeMap::new();
    for (ix, symptom) in engine.symptoms_now() {
        let node = engine.model.node(ix);
        let forgotten = symptom
            .well_since
            .is_some_and(|well| well.plus(FORGET_AFTER) < from);
        let counts = !forgotten
            && !node.gone
            && node.component.kind != Kind::Group
            && !engine.maintenance.contains_key(&ix);
        if counts {
            found.insert(ix, look(engine, node, symptom));
        }
    }
    found
}

fn look(engine: &Engine, node: &Node, symptom: Symptom) -> Seen {
    let slots = node.slots.iter().map(|slot| &engine.slots[slot.index()]);
    let bad = match symptom.worst {
        Ill::Degraded => Status::Degraded,
        _ => Status::Failed,
    };
    let said: Vec<&Slot> = slots.filter(|slot| slot.status == bad).collect();
    let mut failing: Vec<&Slot> = said.iter().copied().filter(|slot| slot.fresh).collect();
    let is_seen_now = !failing.is_empty();
    if !is_seen_now {
        failing = said;
    }
    let mut slots = node.slots.iter().map(|slot| &engine.slots[slot.index()]);
    let again = slots.any(|slot| slot.failures > 1 && slot.sampled_at >= symptom.onset);
    let mut vantages: Vec<ComponentIx> = failing.iter().map(|slot| slot.vantage).collect();
    vantages.sort_unstable();
    vantages.dedup();
    let is_outside = failing.iter().all(|slot| !slot.inside);
    Seen {
        symptom,
        confirmed: (is_seen_now && vantages.len() > 1) || again,
        accuser: match *vantages {
            [only] if is_outside && is_seen_now && symptom.worst == Ill::Failed => Some(only),
            _ => None,
        },
        seen_from: vantages,
    }
}

/// A service made of members: what is wrong with it as a whole is wrong with them.
pub(super) fn is_composite_of(outer: &Node, member: ComponentIx) -> bool {
    outer.component.kind != Kind::Group
        && outer.component.container.is_none()
        && outer.component.needs.iter().any(|need| {
            let of = &need.requirement.of;
            of.len() > 1 && of.binary_search(&member).is_ok()
        })
}

/// Whether a bad supply is what its fault does.
pub(super) const fn is_power(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::PowerFeed | Kind::Generator | Kind::Ups | Kind::Pdu | Kind::Psu
    )
}
