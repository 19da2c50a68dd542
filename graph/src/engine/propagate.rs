//! What is lost and what is there, carried along the edges.
//!
//! Both are least fixpoints of monotone rules, so the answer does not depend on the order of work, and
//! a cycle never keeps itself lost. When a fact falls away, everything that may have rested on it is
//! taken back first and then derived anew (delete and rederive, Gupta, Mumick and Subrahmanian, "Maintaining Views
//! Incrementally", SIGMOD 1993): the cost is that of what changes, not of the graph.

use super::model::Model;
use super::node::{Edge, Node};
use crate::{ComponentIx, Kind, Status};

/// The two facts that travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Lost,
    There,
}

/// Brings `lost` and `there` up to date after the evidence of `seeds` changed. Returns the components for which one of
/// them is different now, sorted.
pub(super) fn refresh(model: &mut Model, seeds: &[ComponentIx]) -> Vec<ComponentIx> {
    let mut before = Vec::new();
    refresh_one(model, seeds, Fact::Lost, &mut before);
    // A member that is there behind a path that was lost just now counts as lost.
    let lost = flipped(model, &mut before);
    let mut groups: Vec<ComponentIx> = lost
        .iter()
        .flat_map(|ix| &model.node(*ix).dependents)
        .filter(|ix| model.node(**ix).component.kind == Kind::Group)
        .copied()
        .collect();
    groups.extend_from_slice(seeds);
    groups.sort_unstable();
    groups.dedup();
    refresh_one(model, &groups, Fact::There, &mut before);
    flipped(model, &mut before)
}

/// A component with whether it was lost and whether it was there.
type Before = (ComponentIx, (bool, bool));

/// Which of them are different now; leaves each once, as it was first.
fn flipped(model: &Model, before: &mut Vec<Before>) -> Vec<ComponentIx> {
    before.sort_by_key(|(ix, _)| *ix);
    before.dedup_by_key(|(ix, _)| *ix);
    before
        .iter()
        .filter(|(ix, was)| *was != (model.node(*ix).lost, model.node(*ix).there))
        .map(|(ix, _)| *ix)
        .collect()
}

fn refresh_one(model: &mut Model, seeds: &[ComponentIx], fact: Fact, before: &mut Vec<Before>) {
    let mut open: Vec<ComponentIx> = Vec::new();
    let mut stack: Vec<ComponentIx> = seeds.to_vec();
    while let Some(ix) = stack.pop() {
        let node = model.node(ix);
        if !holds(node, fact) || is_given(node, fact) {
            continue;
        }
        before.push((ix, (node.lost, node.there)));
        set(model.node_mut(ix), fact, false);
        open.push(ix);
        let dependents = model.node(ix).dependents.iter().copied();
        stack.extend(dependents.filter(|dependent| holds(model.node(*dependent), fact)));
    }
    open.extend_from_slice(seeds);
    while let Some(ix) = open.pop() {
        let node = model.node(ix);
        if holds(node, fact) || !derives(model, node, fact) {
            continue;
        }
        before.push((ix, (node.lost, node.there)));
        set(model.node_mut(ix), fact, true);
        let dependents = model.node(ix).dependents.iter().copied();
        open.extend(dependents.filter(|dependent| !holds(model.node(*dependent), fact)));
    }
}

const fn holds(node: &Node, fact: Fact) -> bool {
    match fact {
        Fact::Lost => node.lost,
        Fact::There => node.there,
    }
}

const fn set(node: &mut Node, fact: Fact, value: bool) {
    match fact {
        Fact::Lost => node.lost = value,
        Fact::There => node.there = value,
    }
}

/// Whether the fact follows from the component's own evidence alone.
fn is_given(node: &Node, fact: Fact) -> bool {
    match fact {
        Fact::Lost => {
            node.gone
                || node.is_stopped()
                || node.evidence == Some(Status::Failed)
                || (node.evidence.is_none() && node.verdict.is_some())
        }
        Fact::There => {
            !node.gone
                && !node.is_stopped()
                && matches!(node.evidence, Some(Status::Ok | Status::Degraded))
        }
    }
}

/// Whether the fact follows from its evidence or from what it needs.
fn derives(model: &Model, node: &Node, fact: Fact) -> bool {
    if is_given(node, fact) {
        return true;
    }
    if node.gone || node.is_stopped() {
        return false;
    }
    match (fact, node.evidence) {
        (Fact::Lost, None | Some(Status::Unknown)) => {
            hard_need_is_lost(model, node, node.is_running())
        }
        (Fact::Lost, Some(Status::Starting)) => hard_need_is_lost(model, node, false),
        (Fact::There, None) if node.component.kind == Kind::Group => node
            .edges()
            .filter(|edge| edge.relation.is_hard())
            .all(|edge| state(model, edge) == NeedIs::There),
        _ => false,
    }
}

/// Whether a hard need of the phase is lost.
fn hard_need_is_lost(model: &Model, node: &Node, running: bool) -> bool {
    node.edges().any(|edge| {
        edge.relation.is_hard()
            && edge.relation.counts_while(running)
            && state(model, edge) == NeedIs::Lost
    })
}

/// What a component lost of what it needs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct LostNeeds {
    /// A hard need to start.
    pub(super) to_start: bool,
    /// A hard need to run.
    pub(super) to_run: bool,
    /// A soft need of its phase.
    pub(super) used: bool,
}

/// What of a component's needs is lost.
pub(super) fn lost_needs(model: &Model, node: &Node, running: bool) -> LostNeeds {
    let mut lost = LostNeeds::default();
    for edge in node.edges() {
        let relation = edge.relation;
        if state(model, edge) != NeedIs::Lost {
            continue;
        }
        if relation.is_hard() {
            lost.to_start |= relation.counts_while(false);
            lost.to_run |= relation.counts_while(true);
        } else {
            lost.used |= relation.counts_while(running);
        }
    }
    lost
}

/// What became of a need, three-valued: what is not known is never counted as lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NeedIs {
    There,
    Lost,
    NotKnown,
}

/// The need as a whole, before any look through its members. Looks no further than it takes to know.
pub(super) fn state(model: &Model, edge: Edge<'_>) -> NeedIs {
    let enough = edge.at_least as usize;
    let spare = edge.of.len() - enough.min(edge.of.len());
    let (mut there, mut lost) = (0_usize, 0_usize);
    for (member, path) in edge.members() {
        let node = model.node(member);
        if node.lost || model.path_is_lost(path) {
            lost += 1;
            if lost > spare {
                return NeedIs::Lost;
            }
        } else if node.there {
            there += 1;
            if there >= enough {
                return NeedIs::There;
            }
        }
    }
    NeedIs::NotKnown
}
