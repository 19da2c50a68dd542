//! How well a set of causes fits what is seen.
//!
//! Every number is a negative log-likelihood in thousandths of a nat. They are rough on purpose: what decides is their order, which
//! replayed outages (`tests/tests/system/scenarios.rs`) and simulated ones (`docs/accuracy.md`) hold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::Node;
use super::super::symptom::{Ill, Return, Symptom};
use super::begin::begins;
use super::case::{Case, Seen, is_power};
use super::ease::{ease_the_crowd, ease_what_the_hit_saw};
use super::fault::not_power;
use super::reach::{Reach, Reached, Spread, carry};
use super::{Cause, Cost};
use crate::{ComponentIx, Kind, Timestamp};

/// An incident is under way: some cause there is.
const SOMETHING_BROKE: Cost = -8_000;
/// A symptom may be noticed so much earlier than what caused it.
pub(super) const NOTICED_BEFORE: Duration = Duration::from_secs(90);
/// Behind a cut nothing restarts, and without power nothing runs on.
const ODD_RETURN: Cost = 3_000;
/// What comes later than it can.
const LATE: Cost = 4_500;
/// Ground that only suffers brings down little of what is in it.
const ONLY_SUFFERS: Cost = 6_000;
/// From so many losses on, others suffer from the crowd without any edge.
pub(super) const CROWD: usize = 5;
/// What it costs at the least that one works that should suffer.
const UNHARMED_MIN: Cost = 100;
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
        Reach::Mute | Reach::Sag | Reach::Soft => Some(UNHARMED_MIN),
    }
}

/// How many may work although they should suffer before it is better to blame nobody for symptoms that cost so much.
pub(super) fn contradictions_max(all_alone: Cost) -> u64 {
    u64::try_from((all_alone - SOMETHING_BROKE) / UNHARMED_MIN).unwrap_or(0)
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
    if spread.is_hopeless {
        return fit;
    }
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

pub(super) fn is_loss(seen: &Seen, reached: &Reached) -> bool {
    reached.reach >= Reach::Sag && matches!(seen.symptom.worst, Ill::Failed | Ill::Silent)
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
pub(super) fn is_after(seen: &Seen, reached: &Reached) -> bool {
    let since = reached.way.since;
    since.is_none_or(|since| seen.symptom.worst_since.plus(NOTICED_BEFORE) >= since)
}
