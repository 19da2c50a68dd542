//! What nothing led to and yet is no wonder: seen through what is lost, told by who was hit, near to a mass event.

use std::collections::BTreeMap;

use super::super::node::PathId;
use super::super::symptom::Ill;
use super::Cost;
use super::begin::Begin;
use super::case::{Case, Seen, is_power};
use super::reach::{Reach, Reached, Spread, is_path_lost};
use super::score::{CROWD, Explained, Fit, NOTICED_BEFORE, is_loss};
use crate::{ComponentIx, Kind, Timestamp};

/// Who looks through a cut path sees everything behind it fail.
const SEEN_THROUGH_CUT: Cost = 600;
/// What only those see that were hit themselves is part of how they were hit.
const SEEN_BY_HIT: Cost = 3_000;

/// What nothing led to, and only those tell that look through what is lost, or were hit themselves.
pub(super) fn ease_what_the_hit_saw(
    case: &Case<'_>,
    spread: &Spread,
    begins: &[Begin],
    fit: &mut Fit,
) {
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
pub(super) fn ease_the_crowd(case: &Case<'_>, spread: &Spread, fit: &mut Fit) {
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

/// Whether a component takes over the work of others: no part of the ground that they stand on does.
fn does_work(case: &Case<'_>, ix: ComponentIx) -> bool {
    let kind = case.node(ix).component.kind;
    kind >= Kind::Dns || kind == Kind::Host || kind == Kind::Vm
}
