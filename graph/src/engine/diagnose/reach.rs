//! What a set of causes would do: carried along needs, containers and paths.

use std::collections::BTreeMap;

use super::super::node::{Edge, Node};
use super::super::symptom::Ill;
use super::Cause;
use super::case::{Case, is_composite_of, is_power};
use crate::{ComponentIx, Kind, Relation, Status, Timestamp};

/// How much of a fault reaches a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// It may suffer.
    Soft,
    /// Its supply was bad for a moment: some restart.
    Sag,
    /// It cannot work.
    Lost,
}

/// How it came to one component.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reached {
    pub(super) reach: Reach,
    /// Which of the causes, by place.
    pub(super) by: usize,
    /// Not before.
    pub(super) since: Option<Timestamp>,
    /// It is where the cause begins.
    pub(super) is_seed: bool,
    /// A path to it is cut: it runs on behind that.
    pub(super) is_cut: bool,
    /// Through containers and paths alone, which let nothing pass later.
    pub(super) at_once: bool,
    /// Through containers and supplies alone: what is said of the cause's power is true of it too.
    pub(super) is_ground: bool,
}

/// What a set of causes would do, and how many edges were looked at to know.
#[derive(Debug, Default)]
pub(super) struct Spread {
    pub(super) reached: BTreeMap<ComponentIx, Reached>,
    pub(super) work: u64,
    open: Vec<ComponentIx>,
}

/// Carries the causes along.
pub(super) fn spread(case: &Case<'_>, causes: &[&Cause]) -> Spread {
    let mut spread = Spread::default();
    for (by, cause) in causes.iter().enumerate() {
        for seed in &cause.seeds {
            let reached = Reached {
                reach: cause.mode,
                by,
                since: cause.since,
                is_seed: cause.nature.is_where_it_begins(),
                is_cut: false,
                at_once: true,
                is_ground: true,
            };
            spread.raise(*seed, reached);
        }
    }
    while let Some(ix) = spread.open.pop() {
        let Some(from) = spread.reached.get(&ix).copied() else {
            continue;
        };
        pass_to_the_other_side(case, ix, from, &mut spread);
        if from.is_seed && from.reach < Reach::Lost {
            pass_to_members(case, ix, from, &mut spread);
        }
        for dependent in &case.node(ix).dependents {
            spread.work += 1;
            if let Some((reach, is_container)) = arrives(case, &spread, *dependent) {
                let next = Reached {
                    reach,
                    is_seed: false,
                    at_once: from.at_once && is_container,
                    is_ground: from.is_ground && (is_container || supplies(case, ix, *dependent)),
                    ..from
                };
                spread.raise(*dependent, next);
            }
        }
    }
    spread
}

impl Spread {
    fn raise(&mut self, ix: ComponentIx, reached: Reached) {
        match self.reached.get_mut(&ix) {
            Some(known) if known.reach >= reached.reach => {
                known.since = match (known.since, reached.since) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    _ => None,
                };
            }
            Some(known) => {
                let is_seed = known.is_seed;
                *known = Reached { is_seed, ..reached };
                self.open.push(ix);
            }
            None => {
                self.reached.insert(ix, reached);
                self.open.push(ix);
            }
        }
    }
}

/// Whether one component is a supply of another.
fn supplies(case: &Case<'_>, ix: ComponentIx, dependent: ComponentIx) -> bool {
    let mut needs = case.node(dependent).edges();
    is_power(case.node(ix).component.kind)
        && needs.any(|edge| edge.relation.is_hard() && edge.of.binary_search(&ix).is_ok())
}

/// What stands on a path takes along what is behind it; where the aggregator is behind it, everything else.
fn pass_to_the_other_side(case: &Case<'_>, ix: ComponentIx, from: Reached, spread: &mut Spread) {
    let Some(containers) = case.behind.get(&ix) else {
        return;
    };
    let Some(passed) = passes_on(case, spread, ix, false) else {
        return;
    };
    let next = Reached {
        is_seed: false,
        is_cut: true,
        reach: match passed {
            Reach::Lost => Reach::Lost,
            Reach::Sag | Reach::Soft => Reach::Soft,
        },
        ..from
    };
    for container in containers {
        let mut path = case.node(*container).component.reached_via.iter();
        let is_lost = path.any(|requirement| {
            let lost = requirement
                .of
                .iter()
                .filter(|member| passes_on(case, spread, **member, false) >= Some(passed));
            requirement.of.len() - lost.count() < requirement.at_least as usize
        });
        let model = &case.engine.model;
        let ours = case
            .aggregator
            .is_some_and(|at| model.is_inside(at, *container));
        if !is_lost {
            continue;
        }
        if !ours {
            spread.raise(*container, next);
            continue;
        }
        for (other, seen) in &case.seen {
            spread.work += 1;
            if seen.symptom.worst == Ill::Silent && !model.is_inside(*other, *container) {
                spread.raise(*other, next);
            }
        }
    }
}

/// What is wrong with a service as a whole is wrong with its members.
fn pass_to_members(case: &Case<'_>, ix: ComponentIx, from: Reached, spread: &mut Spread) {
    let node = case.node(ix);
    for need in &node.component.needs {
        for member in &need.requirement.of {
            if is_composite_of(node, *member) && case.seen.contains_key(member) {
                let next = Reached {
                    is_seed: false,
                    reach: Reach::Soft,
                    at_once: false,
                    ..from
                };
                spread.raise(*member, next);
            }
        }
    }
}

/// How much of what its needs suffer arrives at a component, and whether it comes through its container alone.
fn arrives(case: &Case<'_>, spread: &Spread, ix: ComponentIx) -> Option<(Reach, bool)> {
    let to = case.node(ix);
    // What broke while it ran did not break for want of what it needs to start.
    let running = match case.seen.get(&ix) {
        Some(seen) => seen.symptom.worked && seen.symptom.worst > Ill::Starting,
        None => to.is_running(),
    };
    let mut worst: Option<(Reach, bool)> = None;
    for edge in to.edges() {
        if !edge.relation.counts_while(running) {
            continue;
        }
        let Some(reach) = through(case, spread, to, edge) else {
            continue;
        };
        let is_container = edge.relation == Relation::Container;
        worst = match worst {
            Some((known, only)) if known > reach => Some((known, only)),
            Some((known, only)) if known == reach => Some((known, only && is_container)),
            _ => Some((reach, is_container)),
        };
    }
    worst
}

/// What a component passes on to those that need it, in the light of what is seen of itself.
fn passes_on(
    case: &Case<'_>,
    spread: &Spread,
    member: ComponentIx,
    is_container: bool,
) -> Option<Reach> {
    let reached = spread.reached.get(&member)?;
    let evidence = case.node(member).evidence;
    let is_there = matches!(evidence, Some(Status::Ok | Status::Degraded));
    Some(
        match case.seen.get(&member).map(|seen| seen.symptom.worst) {
            // What is explained passes on what it is seen to be.
            Some(Ill::Failed | Ill::Silent) => Reach::Lost,
            // It says that something is wrong, and it is there.
            Some(_) if !is_container && is_there => reached.reach.min(Reach::Sag),
            // Whoever is seen to work passes on no more than trouble.
            None if !is_container && !reached.is_seed && case.is_healthy(member) => Reach::Soft,
            _ => reached.reach,
        },
    )
}

fn through(case: &Case<'_>, spread: &Spread, to: &Node, edge: Edge<'_>) -> Option<Reach> {
    let (mut touched, mut sag, mut lost) = (0_usize, 0_usize, 0_usize);
    let is_container = edge.relation == Relation::Container;
    for (member, _) in edge.members() {
        let Some(reach) = passes_on(case, spread, member, is_container) else {
            continue;
        };
        touched += 1;
        sag += usize::from(reach == Reach::Sag);
        lost += usize::from(reach == Reach::Lost);
    }
    let spare = edge.of.len() - (edge.at_least as usize).min(edge.of.len());
    if touched == 0 {
        return None;
    }
    if !edge.relation.is_hard() {
        return Some(Reach::Soft);
    }
    if lost > spare {
        return Some(Reach::Lost);
    }
    if sag > 0 && sag + lost > spare {
        return Some(Reach::Sag);
    }
    // A redundant supply carries on; a service with fewer members may suffer.
    let is_supply = edge
        .of
        .iter()
        .all(|ix| is_power(case.node(*ix).component.kind));
    let is_ground = matches!(to.component.kind, Kind::Rack | Kind::Host | Kind::Room);
    (touched > spare || (!is_supply && !is_ground)).then_some(Reach::Soft)
}
