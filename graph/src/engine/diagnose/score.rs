//! How well a set of causes fits what is seen.
//!
//! Every number is a negative log-likelihood in thousandths of a nat. They are rough on purpose: what decides is their order, which
//! replayed outages (`tests/tests/system/scenarios.rs`) and simulated ones (`docs/accuracy.md`) hold.

use std::collections::BTreeMap;
use std::time::Duration;

use super::super::symptom::{Ill, Return, Symptom};
use super::case::{Case, Seen, is_power};
use super::fault::not_power;
use super::reach::{Reach, Reached, Spread, spread};
use super::{Cause, Cost};
use crate::{ComponentIx, Kind, Timestamp};

/// An incident is under way: some cause there is.
const SOMETHING_BROKE: Cost = -8_000;
/// A symptom may be noticed so much earlier than what caused it.
const NOTICED_BEFORE: Duration = Duration::from_secs(90);
/// What comes through a container or a path comes within this.
const AT_ONCE: Duration = Duration::from_secs(120);
/// Behind a cut nothing restarts, and without power nothing runs on.
const ODD_RETURN: Cost = 3_000;
/// What comes later than it can.
const LATE: Cost = 3_000;
/// From so many losses on, others suffer from the crowd without any edge.
const CROWD: usize = 5;
/// More than this is no explanation.
pub(super) const UNEXPLAINED: Cost = 3_000;

/// How well a set of causes fits.
#[derive(Debug)]
pub(super) struct Fit {
    pub(super) cost: Cost,
    pub(super) spread: Spread,
    /// Symptoms that do not follow from it.
    pub(super) unexplained: Vec<ComponentIx>,
    /// Symptoms that do, with the cause.
    pub(super) explained: Vec<(ComponentIx, usize)>,
    /// Components that work although they should not.
    pub(super) contradicts: Vec<ComponentIx>,
}

/// What it costs that a symptom is there although nothing led to it.
fn out_of_nothing(case: &Case<'_>, ix: ComponentIx, seen: &Seen) -> Cost {
    let symptom = &seen.symptom;
    let cost = match symptom.worst {
        Ill::Failed if seen.confirmed => 17_000,
        // One look, and the next saw nothing: as good as nothing.
        Ill::Failed if symptom.well_since.is_some() => 3_000,
        Ill::Failed => 6_000,
        Ill::Silent => match symptom.returned {
            Some(Return::Unclean | Return::Rebooted) => 8_000,
            Some(Return::SameBoot) | None => 6_000,
        },
        // A supply that complains at the very moment is no accident.
        Ill::Degraded if is_power(case.node(ix).component.kind) => 9_000,
        Ill::Degraded => 6_000,
        Ill::Starting | Ill::No => 5_000,
    };
    // Nobody saw it work, so nobody saw it break.
    let unheard_of = !symptom.worked && !case.node(ix).ran;
    if unheard_of { cost.min(4_000) } else { cost }
}

/// What it costs when that much of a cause reaches it.
fn when_reached(case: &Case<'_>, cause: &Cause, seen: &Seen, reached: &Reached) -> Cost {
    let symptom = &seen.symptom;
    let is_supply = cause.nature.is_where_it_begins()
        && cause
            .seeds
            .iter()
            .all(|ix| is_power(case.node(*ix).component.kind));
    let odd_return = match symptom.returned {
        Some(Return::Unclean) if reached.is_cut => ODD_RETURN,
        Some(Return::SameBoot) if is_supply => ODD_RETURN,
        _ => 0,
    };
    odd_return + when_reached_so(symptom, reached)
}

fn when_reached_so(symptom: &Symptom, reached: &Reached) -> Cost {
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
        (Ill::Failed, Reach::Sag | Reach::Soft) => 2_500,
        (Ill::Silent, Reach::Sag) if rebooted => 300,
        (Ill::Silent, Reach::Sag) => 700,
        (Ill::Silent, Reach::Soft) => 4_000,
        (Ill::Degraded, Reach::Lost | Reach::Sag) => 2_000,
        (Ill::Degraded, Reach::Soft) => 1_000,
        (Ill::Starting | Ill::No, Reach::Lost) => 500,
        (Ill::Starting | Ill::No, Reach::Sag | Reach::Soft) => 1_500,
    }
}

/// What it costs that a component is not seen to suffer.
fn unharmed(case: &Case<'_>, ix: ComponentIx, reached: &Reached) -> Cost {
    if case.node(ix).component.kind == Kind::Group {
        return 0;
    }
    if !case.is_healthy(ix) {
        return if reached.is_seed { 300 } else { 0 };
    }
    match reached.reach {
        _ if reached.is_seed => 8_000,
        Reach::Lost => 4_000,
        Reach::Sag | Reach::Soft => 100,
    }
}

/// How well these causes fit what is seen.
pub(super) fn fit(case: &Case<'_>, causes: &[&Cause]) -> Fit {
    let spread = spread(case, causes);
    let priors: Cost = causes.iter().map(|cause| cause.prior).sum();
    let mut fit = Fit {
        cost: SOMETHING_BROKE + priors,
        spread,
        unexplained: Vec::new(),
        explained: Vec::new(),
        contradicts: Vec::new(),
    };
    for (ix, reached) in &fit.spread.reached {
        if !case.seen.contains_key(ix) {
            let cost = unharmed(case, *ix, reached);
            fit.cost += cost;
            if cost >= UNEXPLAINED {
                fit.contradicts.push(*ix);
            }
        }
    }
    let begins = begins(case, causes, &fit.spread);
    let mut left: Vec<(ComponentIx, &Seen)> = Vec::new();
    for (ix, seen) in &case.seen {
        let out_of_nothing = out_of_nothing(case, *ix, seen);
        match fit
            .spread
            .reached
            .get(ix)
            .filter(|reached| is_after(seen, reached))
        {
            Some(reached) => {
                let mut cost = when_reached(case, causes[reached.by], seen, reached);
                let late = begins[reached.by]
                    .is_some_and(|begin| seen.symptom.worst_since > begin.plus(AT_ONCE));
                if late && reached.at_once && !reached.is_seed {
                    cost += LATE;
                }
                if told_from_inside(case, &fit.spread, seen, reached) {
                    cost += LATE;
                }
                fit.cost += cost.min(out_of_nothing);
                if cost < out_of_nothing {
                    fit.explained.push((*ix, reached.by));
                } else {
                    fit.unexplained.push(*ix);
                }
            }
            None => left.push((*ix, seen)),
        }
    }
    fit.cost += must_be_power(case, causes, &fit);
    settle_the_rest(case, &left, &mut fit);
    fit
}

/// Whether a component takes over the work of others: no part of the ground that they stand on does.
fn does_work(case: &Case<'_>, ix: ComponentIx) -> bool {
    let kind = case.node(ix).component.kind;
    kind >= Kind::Dns || kind == Kind::Host || kind == Kind::Vm
}

/// What it costs that a cause must be a loss of power, because who it hit came back with another boot.
fn must_be_power(case: &Case<'_>, causes: &[&Cause], fit: &Fit) -> Cost {
    let mut rebooted = vec![false; causes.len()];
    for (ix, by) in &fit.explained {
        rebooted[*by] |= case.seen[ix].symptom.returned == Some(Return::Unclean);
    }
    let of = causes.iter().zip(rebooted);
    of.filter(|(cause, rebooted)| *rebooted && cause.nature.is_where_it_begins())
        .map(|(cause, _)| {
            let kinds = cause.seeds.iter().map(|ix| case.node(*ix).component.kind);
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
        && reached.at_once
        && reached.reach == Reach::Lost
        && seen.seen_from.iter().any(could_not)
}

/// Whether it can come from there: not before.
fn is_after(seen: &Seen, reached: &Reached) -> bool {
    reached
        .since
        .is_none_or(|since| seen.symptom.worst_since.plus(NOTICED_BEFORE) >= since)
}

/// When each cause began, by itself or by the first that it explains.
fn begins(case: &Case<'_>, causes: &[&Cause], spread: &Spread) -> Vec<Option<Timestamp>> {
    let mut begins: Vec<Option<Timestamp>> = causes.iter().map(|cause| cause.since).collect();
    for (ix, seen) in &case.seen {
        let reached = spread.reached.get(ix);
        if let Some(reached) = reached.filter(|reached| reached.reach == Reach::Lost) {
            let known = begins[reached.by].unwrap_or(seen.symptom.worst_since);
            begins[reached.by] = Some(known.min(seen.symptom.worst_since));
        }
    }
    begins
}

/// What nothing led to: it may be near to what was lost, or suffer from the crowd of it.
fn settle_the_rest(case: &Case<'_>, left: &[(ComponentIx, &Seen)], fit: &mut Fit) {
    let mut lost: BTreeMap<ComponentIx, u32> = BTreeMap::new();
    let mut losses = 0_usize;
    let mut began = None;
    for (ix, _) in &fit.explained {
        let seen = &case.seen[ix];
        let by = fit.spread.reached[ix].reach;
        if by >= Reach::Sag && matches!(seen.symptom.worst, Ill::Failed | Ill::Silent) {
            losses += 1;
            began = began
                .min(Some(seen.symptom.worst_since))
                .or(Some(seen.symptom.worst_since));
            for outer in case.engine.model.chain(*ix).skip(1) {
                *lost.entry(outer).or_default() += 1;
            }
        }
    }
    for (ix, seen) in left {
        let mut cost = out_of_nothing(case, *ix, seen);
        // What only those see that were hit themselves is part of how they were hit.
        let hit = |ix: &ComponentIx| {
            let reached = fit.spread.reached.get(ix);
            reached.is_some_and(|reached| reached.reach >= Reach::Sag) && case.seen.contains_key(ix)
        };
        if !seen.seen_from.is_empty() && seen.seen_from.iter().all(hit) {
            cost = cost.min(3_000);
        }
        let is_after =
            began.is_some_and(|began| seen.symptom.worst_since.plus(NOTICED_BEFORE) >= began);
        if losses >= CROWD && is_after {
            match seen.symptom.worst {
                // Whoever is left does the work of those that are lost.
                Ill::Degraded | Ill::Starting | Ill::No if does_work(case, *ix) => {
                    cost = cost.min(1_000);
                }
                Ill::Degraded | Ill::Starting | Ill::No => {}
                // Nearly everything around it is lost: it needs what they need, whatever the topology says.
                Ill::Failed | Ill::Silent => {
                    let around = case.engine.model.chain(*ix).skip(1).find(|outer| {
                        let lost = lost.get(outer).copied().unwrap_or(0);
                        let healthy = case.healthy.get(outer).copied().unwrap_or(0);
                        lost >= 5 && lost >= healthy * 3
                    });
                    if around.is_some() {
                        cost = cost.min(3_500);
                    }
                }
            }
        }
        fit.cost += cost;
        fit.unexplained.push(*ix);
    }
}
