//! What a set of causes would do: carried along needs, containers and paths.
//!
//! First how much reaches whom, a least fixpoint of a monotone rule; then how it came there, a join over all ways by which that
//! much comes. Neither depends on the order of work.

use super::super::node::{Edge, Node, PathId};
use super::super::symptom::Ill;
use super::Cause;
use super::blame::Nature;
use super::board::Board;
use super::case::{Case, is_composite_of, is_power};
use crate::{ComponentIx, Kind, Relation, Status, Timestamp};

/// How much of a fault reaches a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Nobody tells of it any more; it runs on.
    Mute,
    /// It may suffer.
    Soft,
    /// Its supply was bad for a moment: some restart.
    Sag,
    /// It cannot work.
    Lost,
}

/// How it came to one component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reached {
    pub(super) reach: Reach,
    /// It is where a cause begins.
    pub(super) is_seed: bool,
    /// A change, or whoever looks, touches it itself.
    pub(super) is_touched: bool,
    /// As a member of a service that is to blame as a whole.
    pub(super) is_member: bool,
    /// It only looks so to somebody who sees what is not: nothing follows for others.
    pub(super) is_mistaken: bool,
    pub(super) way: Way,
}

/// By which way, over all that bring as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// Which of the causes, by place: the first.
    pub(super) by: usize,
    /// Not before.
    pub(super) since: Option<Timestamp>,
    /// A path to it, or to what it needs, is cut: nothing restarts for that.
    pub(super) is_cut: bool,
    /// Also through containers and paths alone, which let nothing pass later.
    pub(super) at_once: bool,
    /// Also through containers and supplies alone: what is said of the cause's power is true of it too.
    pub(super) is_ground: bool,
    /// From something that nobody saw fail.
    pub(super) is_assumed: bool,
}

impl Way {
    /// No way at all.
    const NONE: Self = Self {
        by: usize::MAX,
        since: Some(Timestamp::FAR),
        is_cut: true,
        at_once: false,
        is_ground: false,
        is_assumed: false,
    };

    /// Both ways: a join, so that the order does not matter.
    fn join(self, other: Self) -> Self {
        Self {
            by: self.by.min(other.by),
            since: match (self.since, other.since) {
                (Some(a), Some(b)) => Some(a.min(b)),
                _ => None,
            },
            is_cut: self.is_cut && other.is_cut,
            at_once: self.at_once || other.at_once,
            is_ground: self.is_ground || other.is_ground,
            is_assumed: self.is_assumed || other.is_assumed,
        }
    }
}

/// What a set of causes would do, and how much was looked at to know.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    pub(super) reached: Board<Reached>,
    pub(super) work: u64,
    /// So many work although they should not that to blame nobody is better: not carried to the end.
    pub(super) is_hopeless: bool,
    /// How many of those there may be.
    left: u64,
    open: Vec<ComponentIx>,
}

impl Spread {
    pub(super) fn new(components: usize) -> Self {
        Self {
            reached: Board::new(components),
            work: 0,
            is_hopeless: false,
            left: 0,
            open: Vec::new(),
        }
    }

    fn raise(&mut self, ix: ComponentIx, reach: Reach, is_seed: bool) {
        match self.reached.get_mut(ix) {
            Some(known) => {
                known.is_seed |= is_seed;
                if known.reach >= reach {
                    return;
                }
                known.reach = reach;
                known.is_mistaken = false;
            }
            None => {
                let reached = Reached {
                    reach,
                    is_seed,
                    is_touched: false,
                    is_mistaken: false,
                    is_member: false,
                    way: Way::NONE,
                };
                self.reached.insert(ix, reached);
            }
        }
        self.open.push(ix);
    }

    fn come(&mut self, ix: ComponentIx, way: Way) {
        if let Some(known) = self.reached.get_mut(ix) {
            let joined = known.way.join(way);
            if joined != known.way {
                known.way = joined;
                self.open.push(ix);
            }
        }
    }
}

/// Carries the causes along.
pub(super) fn carry(case: &Case<'_>, causes: &[&Cause], spread: &mut Spread) {
    spread.reached.clear();
    spread.open.clear();
    spread.work = 0;
    spread.is_hopeless = false;
    spread.left = case.contradictions_max;
    for cause in causes {
        for seed in &cause.seeds {
            let is_seed = cause.nature.is_where_it_begins();
            let is_new = !spread.reached.contains_key(seed);
            spread.raise(*seed, cause.mode, is_seed);
            if let Some(reached) = spread.reached.get_mut(*seed) {
                reached.is_touched |= !is_seed;
                reached.is_mistaken |= cause.nature == Nature::Vantage && is_new;
            }
        }
    }
    while let Some(ix) = spread.open.pop() {
        reach_from(case, ix, spread);
        if spread.is_hopeless {
            return;
        }
    }
    for (by, cause) in causes.iter().enumerate() {
        let is_fault_of_work = matches!(cause.nature, Nature::Label | Nature::Action);
        for seed in &cause.seeds {
            let way = Way {
                by,
                since: cause.since,
                is_cut: cause.nature == Nature::Isolation,
                at_once: !is_fault_of_work,
                is_ground: true,
                is_assumed: !was_seen_to_fail(case, *seed),
            };
            spread.come(*seed, way);
        }
    }
    while let Some(ix) = spread.open.pop() {
        ways_from(case, ix, spread);
    }
}

/// Whether what stands on a path between two components was lost by a moment. `begin`: when what reached a component began.
pub(super) fn is_path_lost(
    case: &Case<'_>,
    spread: &Spread,
    path: PathId,
    by: Timestamp,
    begin: impl Fn(&Reached) -> Option<Timestamp>,
) -> bool {
    let requirements = case.engine.model.requirements(path);
    let since = |member: &ComponentIx| match case.seen.get(member) {
        Some(seen) => Some(seen.symptom.worst_since),
        None => begin(spread.reached.get(member)?),
    };
    requirements.iter().any(|requirement| {
        let members = requirement.of.iter();
        let lost = members
            .filter(|member| passes_on(case, spread, **member, false) == Some(Reach::Lost))
            .filter(|member| since(member).is_some_and(|since| since <= by))
            .count();
        requirement.of.len() - lost < requirement.at_least as usize
    })
}

fn was_seen_to_fail(case: &Case<'_>, ix: ComponentIx) -> bool {
    case.seen
        .get(&ix)
        .is_some_and(|seen| seen.symptom.worst == Ill::Failed)
}

/// What passes on from one component: how much.
fn reach_from(case: &Case<'_>, ix: ComponentIx, spread: &mut Spread) {
    for (container, reach) in cut_off_by(case, ix, spread) {
        spread.raise(container, reach, false);
    }
    let is_seed = spread.reached[&ix].is_seed;
    if is_seed {
        for member in ill_members(case, ix) {
            spread.raise(member, Reach::Soft, false);
            if let Some(reached) = spread.reached.get_mut(member) {
                reached.is_member = true;
            }
        }
    }
    if spread.reached[&ix].is_mistaken {
        return;
    }
    // What works without something that is seen to have failed speaks against the edge alone.
    let is_assumed = !was_seen_to_fail(case, ix);
    for at in 0..case.node(ix).dependents.len() {
        let dependent = case.node(ix).dependents[at];
        if let Some(reach) = arrives(case, spread, dependent, ix) {
            let is_new = !spread.reached.contains_key(&dependent);
            spread.raise(dependent, reach, false);
            let is_against = is_new && is_assumed && case.worked_through(dependent, case.first);
            if is_against {
                spread.is_hopeless |= spread.left == 0;
                spread.left = spread.left.saturating_sub(1);
            }
        }
    }
}

/// What passes on from one component: by which way.
fn ways_from(case: &Case<'_>, ix: ComponentIx, spread: &mut Spread) {
    let from = spread.reached[&ix];
    let way = Way {
        is_assumed: !was_seen_to_fail(case, ix),
        ..from.way
    };
    for (container, reach) in cut_off_by(case, ix, spread) {
        let in_full = spread.reached.get(&container).map(|to| to.reach) == Some(reach);
        let way = Way {
            is_cut: true,
            at_once: way.at_once && in_full,
            ..way
        };
        spread.come(container, way);
    }
    if from.is_seed {
        for member in ill_members(case, ix) {
            let way = Way {
                at_once: false,
                ..way
            };
            spread.come(member, way);
        }
    }
    for at in 0..case.node(ix).dependents.len() {
        let dependent = case.node(ix).dependents[at];
        let Some(to) = spread.reached.get(&dependent).copied() else {
            continue;
        };
        let node = case.node(dependent);
        let running = is_hit_while_running(case, dependent);
        let (mut is_carried, mut in_full, mut in_earnest) = (false, false, false);
        let (mut by_container, mut by_supply) = (true, false);
        for edge in node.edges() {
            if !edge.relation.counts_while(running) || !edge.of.contains(&ix) {
                continue;
            }
            let Some(reach) = through(case, spread, node, edge) else {
                continue;
            };
            is_carried = true;
            // Less than what arrives in the end may have begun it: what was hit took others along, and they it.
            in_full |= reach == to.reach;
            in_earnest |= reach >= Reach::Sag || reach == to.reach;
            by_container &= edge.relation == Relation::Container;
            by_supply |= edge.relation.is_hard() && is_power(case.node(ix).component.kind);
        }
        if is_carried {
            let next = Way {
                at_once: way.at_once && by_container && in_full,
                is_ground: way.is_ground && (by_container || by_supply),
                is_cut: !in_earnest || way.is_cut,
                ..way
            };
            spread.come(dependent, next);
        }
    }
}

/// What stands on a path takes along what is behind it; where the aggregator is behind it, everything else that fell silent.
fn cut_off_by(case: &Case<'_>, ix: ComponentIx, spread: &mut Spread) -> Vec<(ComponentIx, Reach)> {
    let Some(containers) = case.behind(ix) else {
        return Vec::new();
    };
    let Some(passed) = passes_on(case, spread, ix, false) else {
        return Vec::new();
    };
    let reach = match passed {
        Reach::Mute => return Vec::new(),
        Reach::Lost => Reach::Lost,
        Reach::Sag | Reach::Soft => Reach::Soft,
    };
    let model = &case.engine.model;
    let mut cut = Vec::new();
    for container in containers {
        spread.work += 1;
        let mut path = case.node(*container).component.reached_via.iter();
        let is_lost = path.any(|requirement| {
            let lost = requirement
                .of
                .iter()
                .filter(|member| passes_on(case, spread, **member, false) >= Some(passed));
            requirement.of.len() - lost.count() < requirement.at_least as usize
        });
        if !is_lost {
            continue;
        }
        let is_ours = case
            .aggregator
            .is_some_and(|at| model.is_inside(at, *container));
        if !is_ours {
            cut.push((*container, reach));
            continue;
        }
        for (other, seen) in case.seen.iter() {
            spread.work += 1;
            if seen.symptom.worst == Ill::Silent && !model.is_inside(other, *container) {
                cut.push((other, reach));
            }
        }
    }
    cut
}

/// What is wrong with a service as a whole is wrong with its members.
fn ill_members<'a>(case: &'a Case<'_>, ix: ComponentIx) -> impl Iterator<Item = ComponentIx> + 'a {
    let node = case.node(ix);
    let needs = node.component.needs.iter();
    needs
        .flat_map(|need| need.requirement.of.iter().copied())
        .filter(move |member| {
            is_composite_of(&case.engine.model, node, *member) && case.seen.contains_key(member)
        })
}

/// What broke while it ran did not break for want of what it needs to start. What nobody looks at is taken to run.
fn is_hit_while_running(case: &Case<'_>, ix: ComponentIx) -> bool {
    match case.seen.get(&ix) {
        Some(seen) => seen.symptom.worked && seen.symptom.worst > Ill::Starting,
        None => case.node(ix).is_running() || case.node(ix).evidence.is_none(),
    }
}

/// How much arrives at a component by the edges that lead to one of its needs.
fn arrives(
    case: &Case<'_>,
    spread: &mut Spread,
    ix: ComponentIx,
    from: ComponentIx,
) -> Option<Reach> {
    let to = case.node(ix);
    let running = is_hit_while_running(case, ix);
    let mut worst = None;
    for edge in to.edges() {
        spread.work += 1;
        if !edge.relation.counts_while(running) || !edge.of.contains(&from) {
            continue;
        }
        spread.work += edge.of.len() as u64;
        worst = worst.max(through(case, spread, to, edge));
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
    if reached.reach == Reach::Mute || reached.is_mistaken {
        return None;
    }
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
