//! How well a set of causes fits what is seen.
//!
//! Every number is a negative log-likelihood in thousandths of a nat. They are rough on purpose: what decides is their order, which
//! replayed outages (`tests/tests/system/scenarios.rs`) and simulated ones (`docs/accuracy.md`) hold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Node;
use super::super::node::PathId;
use super::super::symptom::{Ill, Return, Symptom};
use super::case::{Case, Seen, is_power};
use super::fault::not_power;
use super::reach::{Reach, Reached, Spread, carry, is_path_lost};
use super::{Cause, Cost};
use crate::{ComponentIx, Kind, Timestamp};

/// An incident is under way: some cause there is.
const SOMETHING_BROKE: Cost = -8_000;
/// A symptom may be noticed so much earlier than what caused it.
const NOTICED_BEFORE: Duration = Duration::from_secs(90);
/// What comes through a container or a path comes within this of the cause.
const AT_ONCE: Duration = Duration::from_secs(120);
/// …and agents that fall silent for one reason do within this of each other: the patience of their streams.
const SILENT_TOGETHER: Duration = Duration::from_secs(45);
/// Behind a cut nothing restarts, and without power nothing runs on.
const ODD_RETURN: Cost = 3_000;
/// What comes later than it can.
const LATE: Cost = 4_500;
/// Ground that only suffers brings down little of what is in it.
const ONLY_SUFFERS: Cost = 6_000;
/// From so many losses on, others suffer from the crowd without any edge.
const CROWD: usize = 5;
/// Who looks through a cut path sees everything behind it fail.
const SEEN_THROUGH_CUT: Cost = 600;
/// What only those see that were hit themselves is part of how they were hit.
const SEEN_BY_HIT: Cost = 3_000;
/// More than this is no explanation.
pub(super) const UNEXPLAINED: Cost = 3_000;

/// How well a set of causes fits.
#[derive(Debug)]
pub(super) struct Fit {
    pub(super) cost: Cost,
    /// Symptoms that follow from it, with the cause and what that costs.
    pub(super) explained: Vec<Explained>,
    /// What the others cost, where that is less than if nothing led to them.
    pub(super) eased: BTreeMap<ComponentIx, Cost>,
    /// Components that work although they should not.
    pub(super) contradicts: Vec<ComponentIx>,
}

/// A symptom that follows from a cause.
#[derive(Debug, Clone, Copy)]
pub(super) struct Explained {
    pub(super) component: ComponentIx,
    /// The cause, by place in the set.
    pub(super) by: usize,
    pub(super) cost: Cost,
}

/// What it costs that a symptom is there although nothing led to it.
pub(super) fn alone(node: &Node, symptom: &Symptom) -> Cost {
    let cost = match symptom.worst {
        Ill::Failed if symptom.confirmed => 17_000,
        // One look, and the next saw nothing: as good as nothing.
        Ill::Failed if symptom.well_since.is_some() => 3_000,
        Ill::Failed => 6_000,
        Ill::Silent => match symptom.returned {
            Some(Return::Unclean | Return::Rebooted) => 10_000,
            Some(Return::SameBoot) | None => 6_000,
        },
        // A supply that complains at the very moment is no accident.
        Ill::Degraded if is_power(node.component.kind) => 9_000,
        Ill::Degraded => 6_000,
        Ill::Starting | Ill::No => 3_000,
    };
    // Nobody saw it work, so nobody saw it break.
    let unheard_of = !symptom.worked && !node.ran;
    if unheard_of { cost.min(4_000) } else { cost }
}

/// What it costs when that much of a cause reaches it.
fn when_reached(case: &Case<'_>, cause: &Cause, seen: &Seen, reached: &Reached) -> Cost {
    let symptom = &seen.symptom;
    if reached.reach == Reach::Mute {
        return when_mute(symptom);
    }
    let is_supply = cause.nature.is_where_it_begins()
        && cause
            .seeds
            .iter()
            .all(|ix| is_power(case.node(*ix).component.kind));
    let odd_return = match symptom.returned {
        Some(Return::Unclean) if reached.way.is_cut => ODD_RETURN,
        Some(Return::SameBoot) if is_supply => ODD_RETURN,
        _ => 0,
    };
    odd_return + when_reached_so(symptom, reached)
}

/// Only its agent is gone.
fn when_mute(symptom: &Symptom) -> Cost {
    match (symptom.worst, symptom.returned) {
        (Ill::Silent, Some(Return::Unclean | Return::Rebooted)) => ODD_RETURN,
        (Ill::Silent, _) => 100,
        _ => 20_000,
    }
}

fn when_reached_so(symptom: &Symptom, reached: &Reached) -> Cost {
    if reached.is_touched && reached.reach < Reach::Lost {
        return if symptom.worst == Ill::Silent {
            2_500
        } else {
            600
        };
    }
    if reached.is_seed {
        return match symptom.worst {
            Ill::Failed | Ill::Silent => 100,
            Ill::Degraded => 700,
            Ill::Starting | Ill::No => 500,
        };
    }
    let rebooted = matches!(symptom.returned, Some(Return::Unclean | Return::Rebooted));
    match (symptom.worst, reached.reach) {
        (Ill::Failed | Ill::Silent, Reach::Lost) => 100,
        // A member that fails by itself is not a service that fails as a whole.
        (Ill::Failed, Reach::Soft) if reached.is_member => 7_000,
        (Ill::Failed, _) => 2_500,
        (Ill::Silent, Reach::Sag) if rebooted => 300,
        (Ill::Silent, Reach::Sag) => 400,
        (Ill::Silent, _) => 4_000,
        (Ill::Degraded, Reach::Lost | Reach::Sag) => 2_000,
        (Ill::Degraded, _) => 1_000,
        (Ill::Starting | Ill::No, Reach::Lost) => 500,
        (Ill::Starting | Ill::No, _) => 1_500,
    }
}

/// What it costs that a component is not seen to suffer. `begin`: when its cause began; what was seen before says nothing.
fn unharmed(
    case: &Case<'_>,
    ix: ComponentIx,
    reached: &Reached,
    begin: Option<Timestamp>,
) -> Option<Cost> {
    if case.node(ix).component.kind == Kind::Group || reached.reach == Reach::Mute {
        return Some(0);
    }
    if !case.worked_through(ix, begin.unwrap_or(case.first)) {
        return Some(if reached.is_seed { 300 } else { 0 });
    }
    match reached.reach {
        _ if reached.is_seed => Some(8_000),
        // What it needs is seen to have failed: that it works speaks against the edge, whoever is to blame.
        Reach::Lost if !reached.way.is_assumed => None,
        Reach::Lost => Some(4_000),
        Reach::Mute | Reach::Sag | Reach::Soft => Some(100),
    }
}

/// How well these causes fit what is seen. Leaves in `spread` how they reach whom.
pub(super) fn fit(case: &Case<'_>, causes: &[&Cause], spread: &mut Spread) -> Fit {
    carry(case, causes, spread);
    let priors: Cost = causes.iter().map(|cause| cause.prior).sum();
    let mut fit = Fit {
        cost: SOMETHING_BROKE + priors + case.all_alone,
        explained: Vec::new(),
        eased: BTreeMap::new(),
        contradicts: Vec::new(),
    };
    let begins = begins(case, causes, spread);
    let mut losses = 0_usize;
    for (ix, reached) in spread.reached.iter() {
        let by = reached.way.by.min(causes.len() - 1);
        let Some(seen) = case.seen.get(&ix) else {
            match unharmed(case, ix, reached, begins[by].from) {
                Some(cost) => {
                    fit.cost += cost;
                    if cost >= UNEXPLAINED {
                        fit.contradicts.push(ix);
                    }
                }
                None => fit.contradicts.push(ix),
            }
            continue;
        };
        if !is_after(seen, reached) {
            continue;
        }
        let mut cost = when_reached(case, causes[by], seen, reached);
        if begins[by].is_late(seen, reached) {
            cost += LATE;
        }
        if told_from_inside(case, spread, seen, reached) {
            cost += LATE;
        }
        if cost < seen.alone {
            fit.cost += cost - seen.alone;
            losses += usize::from(is_loss(seen, reached));
            fit.explained.push(Explained {
                component: ix,
                by,
                cost,
            });
        }
    }
    fit.cost += must_be_power(case, causes, &fit);
    if losses >= CROWD {
        fit.cost += causes
            .iter()
            .map(|cause| only_suffers(case, cause))
            .sum::<Cost>();
    }
    ease_what_the_hit_saw(case, spread, &begins, &mut fit);
    if losses >= CROWD {
        ease_the_crowd(case, spread, &mut fit);
    }
    fit
}

fn is_loss(seen: &Seen, reached: &Reached) -> bool {
    reached.reach >= Reach::Sag && matches!(seen.symptom.worst, Ill::Failed | Ill::Silent)
}

/// Whether a component takes over the work of others: no part of the ground that they stand on does.
fn does_work(case: &Case<'_>, ix: ComponentIx) -> bool {
    let kind = case.node(ix).component.kind;
    kind >= Kind::Dns || kind == Kind::Host || kind == Kind::Vm
}

/// What it costs that ground which only suffers should have led to a mass of losses.
fn only_suffers(case: &Case<'_>, cause: &Cause) -> Cost {
    let is_ground = |ix: &ComponentIx| case.node(*ix).component.kind < Kind::PowerFeed;
    let is_soft = cause.nature.is_where_it_begins() && cause.mode == Reach::Soft;
    if is_soft && cause.seeds.iter().any(is_ground) {
        ONLY_SUFFERS
    } else {
        0
    }
}

/// What it costs that a cause must be a loss of power, because who it hit came back with another boot.
fn must_be_power(case: &Case<'_>, causes: &[&Cause], fit: &Fit) -> Cost {
    let mut rebooted = vec![false; causes.len()];
    for Explained { component, by, .. } in &fit.explained {
        rebooted[*by] |= case.seen[component].symptom.returned == Some(Return::Unclean);
    }
    let of = causes.iter().zip(rebooted);
    of.filter(|(cause, rebooted)| {
        *rebooted && cause.nature.is_where_it_begins() && cause.mode != Reach::Mute
    })
    .map(|(cause, _)| {
        let kinds = cause.seeds.iter().map(|ix| case.node(*ix).component.kind);
        // A host restarts for many reasons of its own.
        let kinds = kinds.filter(|kind| !matches!(kind, Kind::Host | Kind::Vm));
        kinds.map(not_power).max().unwrap_or(0)
    })
    .sum()
}

/// Whether somebody told of it who was hit by the same at once, and could not have told any more.
fn told_from_inside(case: &Case<'_>, spread: &Spread, seen: &Seen, reached: &Reached) -> bool {
    let could_not = |vantage: &ComponentIx| {
        let hit = spread.reached.get(vantage);
        let is_hit = hit.is_some_and(|hit| hit.reach == Reach::Lost);
        let told_before = case
            .seen
            .get(vantage)
            .is_some_and(|other| other.symptom.worst_since >= seen.symptom.worst_since);
        is_hit && told_before
    };
    !reached.is_seed
        && reached.way.at_once
        && reached.reach == Reach::Lost
        && seen.seen_from.iter().any(could_not)
}

/// Whether it can come from there: not before.
fn is_after(seen: &Seen, reached: &Reached) -> bool {
    let since = reached.way.since;
    since.is_none_or(|since| seen.symptom.worst_since.plus(NOTICED_BEFORE) >= since)
}

/// When a cause began.
#[derive(Debug, Clone, Copy, Default)]
struct Begin {
    /// By itself, or by the first that it takes away.
    from: Option<Timestamp>,
    /// When most of those fell silent that it cuts off or darkens at once.
    silent_from: Option<Timestamp>,
}

impl Begin {
    /// Whether a symptom comes at another time than what comes at once.
    fn is_late(&self, seen: &Seen, reached: &Reached) -> bool {
        if reached.is_seed || !reached.way.at_once || reached.reach != Reach::Lost {
            return false;
        }
        let at = seen.symptom.worst_since;
        let is_long_after = self.from.is_some_and(|from| at > from.plus(AT_ONCE));
        let is_apart = seen.symptom.worst == Ill::Silent
            && self
                .silent_from
                .is_some_and(|from| at < from || at > from.plus(SILENT_TOGETHER));
        is_long_after || is_apart
    }
}

fn begins(case: &Case<'_>, causes: &[&Cause], spread: &Spread) -> Vec<Begin> {
    let mut firsts: Vec<Option<Timestamp>> = vec![None; causes.len()];
    let mut silences: Vec<Vec<Timestamp>> = vec![Vec::new(); causes.len()];
    for (ix, reached) in spread.reached.iter() {
        if reached.reach != Reach::Lost {
            continue;
        }
        let Some(seen) = case.seen.get(&ix).filter(|seen| is_after(seen, reached)) else {
            continue;
        };
        let (by, at) = (
            reached.way.by.min(causes.len() - 1),
            seen.symptom.worst_since,
        );
        firsts[by] = Some(firsts[by].map_or(at, |known| known.min(at)));
        if !reached.is_seed && reached.way.at_once && seen.symptom.worst == Ill::Silent {
            silences[by].push(at);
        }
    }
    let all = causes.iter().zip(firsts).zip(silences);
    all.map(|((cause, first), mut silent)| {
        let silent_from = busiest(&mut silent, SILENT_TOGETHER);
        let first = silent_from.or(first);
        Begin {
            from: match (cause.since, first) {
                (Some(own), Some(first)) => Some(own.min(first)),
                (own, first) => own.or(first),
            },
            silent_from,
        }
    })
    .collect()
}

/// Where the stretch of this length begins that most of these moments are in.
pub(super) fn busiest(moments: &mut [Timestamp], length: Duration) -> Option<Timestamp> {
    moments.sort_unstable();
    let (mut best, mut most, mut end) = (None, 0, 0);
    for (at, from) in moments.iter().enumerate() {
        while end < moments.len() && moments[end] <= from.plus(length) {
            end += 1;
        }
        if end - at > most {
            most = end - at;
            best = Some(*from);
        }
    }
    best
}

/// What nothing led to, and only those tell that look through what is lost, or were hit themselves.
fn ease_what_the_hit_saw(case: &Case<'_>, spread: &Spread, begins: &[Begin], fit: &mut Fit) {
    let begin = |reached: &Reached| begins.get(reached.way.by)?.from;
    let mut told: Vec<ComponentIx> = Vec::new();
    for explained in &fit.explained {
        let told_by = case.accusations.get(&explained.component);
        told.extend(told_by.into_iter().flatten());
    }
    for (on_path, through) in &case.seen_through {
        if spread.reached.contains_key(on_path) {
            told.extend(through);
        }
    }
    told.sort_unstable();
    told.dedup();
    if told.is_empty() {
        return;
    }
    let mut explained: Vec<ComponentIx> = fit.explained.iter().map(|e| e.component).collect();
    explained.sort_unstable();
    // Who is cut off was not hit: what it told before came through.
    let is_hit = |ix: &ComponentIx| {
        let reached = spread.reached.get(ix);
        let is_hit = |reached: &Reached| reached.reach >= Reach::Sag && !reached.way.is_cut;
        reached.is_some_and(is_hit) && case.seen.contains_key(ix)
    };
    for ix in told {
        if explained.binary_search(&ix).is_ok() {
            continue;
        }
        let seen = &case.seen[&ix];
        let by = seen.symptom.worst_since.plus(NOTICED_BEFORE);
        let mut paths = seen.seen_through.iter();
        let through_cut = !seen.seen_through.is_empty()
            && paths.all(|path| is_path_lost(case, spread, *path, by, begin));
        if through_cut {
            let is_seen = |path: &PathId| is_seen_lost(case, *path);
            let cost = if seen.seen_through.iter().all(is_seen) {
                SEEN_THROUGH_CUT
            } else {
                SEEN_BY_HIT
            };
            ease(fit, seen, ix, cost);
        } else if !is_power(case.node(ix).component.kind)
            && !seen.seen_from.is_empty()
            && seen.seen_from.iter().all(is_hit)
        {
            // Of their supply they told the truth.
            ease(fit, seen, ix, SEEN_BY_HIT);
        }
    }
}

/// Whether something on the path was seen to fail.
fn is_seen_lost(case: &Case<'_>, path: PathId) -> bool {
    let requirements = case.engine.model.requirements(path);
    let mut members = requirements.iter().flat_map(|requirement| &requirement.of);
    members.any(|member| {
        let seen = case.seen.get(member);
        seen.is_some_and(|seen| seen.symptom.worst == Ill::Failed)
    })
}

fn ease(fit: &mut Fit, seen: &Seen, ix: ComponentIx, cost: Cost) {
    if cost >= seen.alone {
        return;
    }
    let known = fit.eased.get(&ix).copied().unwrap_or(seen.alone);
    if cost < known {
        fit.cost += cost - known;
        fit.eased.insert(ix, cost);
    }
}

/// What nothing led to, beside a mass event: it may be near to what was lost, or suffer from the crowd of it.
fn ease_the_crowd(case: &Case<'_>, spread: &Spread, fit: &mut Fit) {
    let mut lost: BTreeMap<ComponentIx, Vec<Timestamp>> = BTreeMap::new();
    let mut began: Option<Timestamp> = None;
    let mut explained: Vec<ComponentIx> = Vec::with_capacity(fit.explained.len());
    for Explained { component, .. } in &fit.explained {
        explained.push(*component);
        let seen = &case.seen[component];
        if is_loss(seen, &spread.reached[component]) {
            let at = seen.symptom.worst_since;
            began = Some(began.map_or(at, |known| known.min(at)));
            for outer in case.engine.model.chain(*component).skip(1) {
                lost.entry(outer).or_default().push(at);
            }
        }
    }
    explained.sort_unstable();
    for times in lost.values_mut() {
        times.sort_unstable();
    }
    for (ix, seen) in case.seen.iter() {
        let at = seen.symptom.worst_since.plus(NOTICED_BEFORE);
        let is_after = began.is_some_and(|began| at >= began);
        if !is_after || explained.binary_search(&ix).is_ok() {
            continue;
        }
        match seen.symptom.worst {
            // Whoever is left does the work of those that are lost.
            Ill::Degraded | Ill::Starting | Ill::No if does_work(case, ix) => {
                ease(fit, seen, ix, 1_000);
            }
            Ill::Degraded | Ill::Starting | Ill::No => {}
            // Nearly everything around it is lost: it needs what they need, whatever the topology says.
            Ill::Failed | Ill::Silent => {
                let around = case.engine.model.chain(ix).skip(1).find(|outer| {
                    let before = lost
                        .get(outer)
                        .map(|lost| lost.partition_point(|t| *t <= at));
                    let lost = before.unwrap_or(0);
                    lost >= CROWD && lost / 3 >= case.healthy_inside(*outer) as usize
                });
                if around.is_some() {
                    ease(fit, seen, ix, 3_500);
                }
            }
        }
    }
}
