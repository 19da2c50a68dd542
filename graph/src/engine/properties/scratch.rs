//! The engine's answer, worked out from nothing and without cleverness: for comparison.

use std::collections::BTreeMap;

use super::super::Engine;
use super::super::condition::{Facts, decide};
use crate::{ComponentIx, Condition, Kind, Relation, Requirement, Status};

struct Scratch<'a> {
    engine: &'a Engine,
    evidence: Vec<Option<Status>>,
    lost: Vec<bool>,
    there: Vec<bool>,
}

/// Every condition, from topology, answers and what is kept of the past.
pub(super) fn conditions(engine: &Engine) -> Vec<Condition> {
    let count = engine.model.nodes.len();
    let mut scratch = Scratch {
        engine,
        evidence: (0..count).map(|at| evidence(engine, at)).collect(),
        lost: vec![false; count],
        there: vec![false; count],
    };
    while scratch.lose_one() {}
    while scratch.find_one() {}
    (0..count).map(|at| scratch.condition(at)).collect()
}

fn evidence(engine: &Engine, at: usize) -> Option<Status> {
    let about = |slot: &&super::super::Slot| slot.component.index() == at && slot.counts();
    let (mut inside, mut checks) = (None, BTreeMap::<&str, Status>::new());
    for slot in engine.slots.iter().filter(about) {
        let (own, vantage) = (slot.component, slot.vantage);
        if holds(engine, vantage, own) || holds(engine, own, vantage) {
            inside = inside.max(Some(slot.status));
        }
        let best = checks.entry(&slot.check).or_insert(slot.status);
        *best = slot.status.min(*best);
    }
    let seen = inside.or_else(|| checks.into_values().max());
    match engine.model.nodes[at].has_open_stream() {
        true => seen.max(Some(Status::Ok)),
        false => seen,
    }
}

/// The component and everything that holds it.
fn chain(engine: &Engine, ix: ComponentIx) -> Vec<ComponentIx> {
    let mut chain = vec![ix];
    while let Some(outer) = engine
        .model
        .node(chain[chain.len() - 1])
        .component
        .container
    {
        chain.push(outer);
    }
    chain
}

fn holds(engine: &Engine, outer: ComponentIx, inner: ComponentIx) -> bool {
    chain(engine, inner).contains(&outer)
}

impl Scratch<'_> {
    fn path_is_lost(&self, from: ComponentIx, to: ComponentIx) -> bool {
        let (a, b) = (chain(self.engine, from), chain(self.engine, to));
        let between = a
            .iter()
            .filter(|step| !b.contains(step))
            .chain(b.iter().filter(|step| !a.contains(step)));
        between
            .flat_map(|step| &self.engine.model.node(*step).component.reached_via)
            .filter(|via| !via.of.contains(&from) && !via.of.contains(&to))
            .any(|via| {
                let left = via.of.iter().filter(|ix| !self.lost[ix.index()]).count();
                left < via.at_least as usize
            })
    }

    /// (surely lost, surely there)
    fn need(&self, own: ComponentIx, need: &Requirement, with_path: bool) -> (bool, bool) {
        let (mut lost, mut there) = (0, 0);
        for member in &need.of {
            if self.lost[member.index()] || with_path && self.path_is_lost(own, *member) {
                lost += 1;
            } else if self.there[member.index()] {
                there += 1;
            }
        }
        let enough = need.at_least as usize;
        (need.of.len() - lost < enough, there >= enough)
    }

    fn needs(&self, at: usize) -> Vec<(Relation, bool, bool)> {
        let own = super::super::model::index(at);
        let component = &self.engine.model.nodes[at].component;
        let container = component.container.map(|outer| {
            let need = Requirement {
                at_least: 1,
                of: Box::new([outer]),
            };
            let (lost, there) = self.need(own, &need, false);
            (Relation::Container, lost, there)
        });
        let needs = component.needs.iter().map(|need| {
            let (lost, there) = self.need(own, &need.requirement, true);
            (need.relation, lost, there)
        });
        container.into_iter().chain(needs).collect()
    }

    fn is_running(&self, at: usize) -> bool {
        match self.evidence[at] {
            Some(Status::Ok | Status::Degraded) => true,
            Some(Status::Starting) => false,
            _ => self.engine.model.nodes[at].running,
        }
    }

    fn lost_hard(&self, at: usize, running: bool) -> bool {
        self.needs(at).iter().any(|(relation, lost, _)| {
            relation.is_hard() && relation.counts_while(running) && *lost
        })
    }

    fn lose_one(&mut self) -> bool {
        let found = (0..self.lost.len()).find(|at| !self.lost[*at] && self.is_lost(*at));
        found.map(|at| self.lost[at] = true).is_some()
    }

    fn is_lost(&self, at: usize) -> bool {
        let node = &self.engine.model.nodes[at];
        match self.evidence[at] {
            _ if node.gone || node.is_stopped() => true,
            Some(Status::Failed) => true,
            Some(Status::Starting) => self.lost_hard(at, false),
            None => node.verdict.is_some() || self.lost_hard(at, self.is_running(at)),
            _ => false,
        }
    }

    fn find_one(&mut self) -> bool {
        let found = (0..self.there.len()).find(|at| !self.there[*at] && self.is_there(*at));
        found.map(|at| self.there[at] = true).is_some()
    }

    fn is_there(&self, at: usize) -> bool {
        let node = &self.engine.model.nodes[at];
        match self.evidence[at] {
            _ if node.gone || node.is_stopped() => false,
            Some(Status::Ok | Status::Degraded) => true,
            None if node.component.kind == Kind::Group => {
                let mut needs = self.needs(at).into_iter();
                needs.all(|(relation, _, there)| !relation.is_hard() || there)
            }
            _ => false,
        }
    }

    fn condition(&self, at: usize) -> Condition {
        let own = super::super::model::index(at);
        let node = &self.engine.model.nodes[at];
        let running = self.is_running(at);
        let need_lost = self.lost_hard(at, running);
        let failing: Vec<_> = self
            .engine
            .slots
            .iter()
            .filter(|slot| slot.component == own && slot.counts() && slot.status == Status::Failed)
            .collect();
        let (was_lost, until) = match running {
            true => (node.run_lost, node.run_lost_until),
            false => (node.start_lost, node.start_lost_until),
        };
        let until = if was_lost { self.engine.now } else { until };
        let failed = self.evidence[at] == Some(Status::Failed);
        let facts = Facts {
            evidence: self.evidence[at],
            verdict: node.verdict,
            stopped: node.gone || node.is_stopped(),
            need_lost,
            start_need_lost: self.lost_hard(at, false),
            run_need_lost: self.lost_hard(at, true),
            use_lost: self.needs(at).iter().any(|(relation, lost, _)| {
                !relation.is_hard() && relation.counts_while(running) && *lost
            }),
            seen_through_lost_path: failed
                && failing.iter().all(|slot| {
                    !holds(self.engine, slot.vantage, own)
                        && !holds(self.engine, own, slot.vantage)
                        && self.path_is_lost(slot.vantage, own)
                }),
            held: failed && !need_lost && failing.iter().all(|slot| slot.sampled_at <= until),
            group_is_there: node.component.kind == Kind::Group && self.there[at],
        };
        decide(&facts).0
    }
}
