//! What is seen, and who could be to blame: everything that the search needs, gathered once.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use super::super::model::Model;
use super::super::node::PathId;
use super::super::symptom::{FORGET_AFTER, Ill, Symptom};
use super::super::{Engine, Node, Slot};
use super::board::Board;
use super::{Cause, Cost, blame, score};
use crate::{ComponentIx, Kind, Status, Timestamp};

/// A symptom with what the score needs of it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) symptom: Symptom,
    /// Where those look from that see what is wrong with it, or saw it last; sorted.
    pub(super) seen_from: Vec<ComponentIx>,
    /// By which paths; empty where somebody looks from inside.
    pub(super) seen_through: Vec<PathId>,
    /// Everything that sees it fail looks from there, and from outside.
    pub(super) accuser: Option<ComponentIx>,
    /// What it costs that it is there although nothing led to it.
    pub(super) alone: Cost,
}

/// What is seen, and who could be to blame.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) engine: &'a Engine,
    /// In the order of ids, so that what joined in which order decides nothing.
    pub(super) seen: Board<Seen>,
    /// What each vantage says is wrong.
    pub(super) accusations: BTreeMap<ComponentIx, Vec<ComponentIx>>,
    /// What is seen to be wrong through each component that stands on a path.
    pub(super) seen_through: BTreeMap<ComponentIx, Vec<ComponentIx>>,
    /// What all symptoms cost if nothing led to any.
    pub(super) all_alone: Cost,
    /// So many components that work although they should not speak louder than all symptoms together.
    pub(super) contradictions_max: u64,
    pub(super) causes: Vec<Cause>,
    /// Where the aggregator is, if the topology says so.
    pub(super) aggregator: Option<ComponentIx>,
    /// The first symptom of all.
    pub(super) first: Timestamp,
    /// There were more candidates than are looked at.
    pub(super) truncated: bool,
    /// What was asked before: see [`Case::works_until`].
    health: RefCell<Board<Option<Timestamp>>>,
    /// Of containers around a symptom: how many in it work.
    healthy_inside: RefCell<BTreeMap<ComponentIx, u32>>,
}

impl<'a> Case<'a> {
    pub(super) fn of(engine: &'a Engine) -> Self {
        let components = engine.model.nodes.len();
        let mut case = Self {
            engine,
            seen: seen(engine),
            accusations: BTreeMap::new(),
            seen_through: BTreeMap::new(),
            all_alone: 0,
            contradictions_max: 0,
            causes: Vec::new(),
            aggregator: engine.model.aggregator(),
            first: engine.now,
            truncated: false,
            health: RefCell::new(Board::new(components)),
            healthy_inside: RefCell::new(BTreeMap::new()),
        };
        for (ix, seen) in case.seen.iter() {
            case.first = case.first.min(seen.symptom.onset);
            case.all_alone += seen.alone;
            for vantage in &seen.seen_from {
                case.accusations.entry(*vantage).or_default().push(ix);
            }
            for path in &seen.seen_through {
                for requirement in engine.model.requirements(*path).iter() {
                    for member in &requirement.of {
                        case.seen_through.entry(*member).or_default().push(ix);
                    }
                }
            }
        }
        case.contradictions_max = score::contradictions_max(case.all_alone);
        if !case.seen.is_empty() {
            (case.causes, case.truncated) = blame::candidates(&case);
        }
        case
    }

    pub(super) fn node(&self, ix: ComponentIx) -> &'a Node {
        self.engine.model.node(ix)
    }

    /// The containers that a component stands on the path to.
    pub(super) fn behind(&self, ix: ComponentIx) -> Option<&'a Vec<ComponentIx>> {
        self.engine.model.behind(ix)
    }

    /// Whether a component is seen to work, and nothing was seen to be wrong with it or with what it is in: while its host
    /// was silent nobody knew.
    pub(super) fn is_healthy(&self, ix: ComponentIx) -> bool {
        self.works_until(ix).is_some()
    }

    /// Whether it was seen to work at a moment and was after it, without a break: who was not looked at for a while may have failed meanwhile.
    pub(super) fn worked_through(&self, ix: ComponentIx, moment: Timestamp) -> bool {
        let after = moment.plus(LOOKS_APART);
        self.node(ix).well_since <= after && self.works_until(ix).is_some_and(|last| last >= after)
    }

    /// When somebody saw last that it works, if nothing was seen to be wrong with it or with what it is in.
    pub(super) fn works_until(&self, ix: ComponentIx) -> Option<Timestamp> {
        if let Some(known) = self.health.borrow().get(&ix) {
            return *known;
        }
        let answer = self.ask(ix);
        self.health.borrow_mut().insert(ix, answer);
        answer
    }

    fn ask(&self, ix: ComponentIx) -> Option<Timestamp> {
        let node = self.node(ix);
        if node.evidence != Some(Status::Ok) || self.seen.contains_key(&ix) {
            return None;
        }
        let is_dark = |outer: ComponentIx| {
            let seen = self.seen.get(&outer);
            seen.is_some_and(|seen| seen.symptom.worst >= Ill::Silent)
        };
        if self.engine.model.chain(ix).skip(1).any(is_dark) {
            return None;
        }
        if node.has_open_stream() {
            return Some(self.engine.now);
        }
        let slots = node
            .slots
            .iter()
            .map(|slot| &self.engine.slots[slot.index()]);
        let well = slots.filter(|slot| slot.fresh && slot.status == Status::Ok);
        well.map(|slot| slot.sampled_at).max()
    }

    /// How many of those in a container work; no more than a bound, beyond which it does not matter.
    pub(super) fn healthy_inside(&self, outer: ComponentIx) -> u32 {
        const LOOKED_AT_MAX: usize = 20_000;
        if let Some(known) = self.healthy_inside.borrow().get(&outer) {
            return *known;
        }
        let mut open = self.node(outer).content.clone();
        let (mut count, mut looked_at) = (0, 0);
        while let Some(ix) = open.pop() {
            looked_at += 1;
            if looked_at > LOOKED_AT_MAX {
                count = u32::MAX;
                break;
            }
            count += u32::from(self.is_healthy(ix));
            open.extend_from_slice(&self.node(ix).content);
        }
        self.healthy_inside.borrow_mut().insert(outer, count);
        count
    }
}

fn seen(engine: &Engine) -> Board<Seen> {
    let incident = engine.tracker.incident.as_ref();
    let opened = incident.filter(|_| engine.tracker.is_open());
    let resolved = incident.and_then(|incident| incident.resolved);
    let from = opened.map_or(engine.now, |incident| incident.opened);
    let symptoms = engine.symptoms_now();
    let mut counted: Vec<(ComponentIx, &Node, Symptom)> = Vec::with_capacity(symptoms.len());
    for (ix, symptom) in symptoms {
        let node = engine.model.node(ix);
        // What was well again when an incident was over went with it.
        let forgotten = symptom
            .well_since
            .is_some_and(|well| well.plus(FORGET_AFTER) < from || Some(well) <= resolved);
        let counts = !forgotten
            && !node.gone
            && node.component.kind != Kind::Group
            && !engine.maintenance.contains_key(&ix);
        if counts {
            counted.push((ix, node, symptom));
        }
    }
    counted.sort_by(|a, b| a.1.component.id.cmp(&b.1.component.id));
    let mut found = Board::new(engine.model.nodes.len());
    for (ix, node, symptom) in counted {
        found.insert(ix, look(engine, node, symptom));
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
    let mut vantages: Vec<ComponentIx> = failing.iter().map(|slot| slot.vantage).collect();
    vantages.sort_unstable();
    vantages.dedup();
    let is_outside = failing.iter().all(|slot| !slot.inside);
    Seen {
        symptom,
        accuser: match *vantages {
            [only] if is_outside && is_seen_now && symptom.worst == Ill::Failed => Some(only),
            _ => None,
        },
        alone: score::alone(node, &symptom),
        seen_through: if is_outside {
            failing.iter().map(|slot| slot.path).collect()
        } else {
            Vec::new()
        },
        seen_from: vantages,
    }
}

/// Two looks at the same thing are at least so far apart in their results: a look of before says nothing of what came after.
pub(super) const LOOKS_APART: Duration = Duration::from_secs(1);

/// A service made of members: what is wrong with it as a whole is wrong with them.
pub(super) fn is_composite_of(model: &Model, outer: &Node, member: ComponentIx) -> bool {
    let component = &outer.component;
    let is_of_one_kind = |member: ComponentIx| {
        let kind = model.node(member).component.kind;
        kind == component.kind
            || component.kind == Kind::Service
            || (component.kind == Kind::EtcdCluster && kind == Kind::EtcdMember)
    };
    match &*component.needs {
        [need] => {
            let of = &need.requirement.of;
            component.kind > Kind::DhcpServer
                && component.kind != Kind::Group
                && component.container.is_none()
                && of.len() > 1
                && of.contains(&member)
                && is_of_one_kind(member)
        }
        _ => false,
    }
}

/// Whether a bad supply is what its fault does.
pub(super) const fn is_power(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::PowerFeed | Kind::Generator | Kind::Ups | Kind::Pdu | Kind::Psu
    )
}
