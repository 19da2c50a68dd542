//! What follows from a diagnosis for components that nobody observes: without power, or cut off.

use std::collections::BTreeMap;

use super::super::node::Verdict;
use super::super::symptom::Ill;
use super::case::Case;
use super::fault;
use super::reach::Reach;
use super::score::{Explained, Fit};
use super::search::Candidate;
use super::tell::Refit;
use crate::{ComponentIx, FaultKind, Kind, Status};

/// From so sure on, what nobody sees is called by what the diagnosis says of it (DESIGN §4, the table of conditions).
const HOLDS_FROM: f64 = 0.9;

/// What is known of one component: how likely it is without power or gone, and how likely cut off.
#[derive(Debug, Clone, Copy, Default)]
struct Odds {
    without_power: f64,
    path_lost: f64,
    /// 1, if it lasts.
    any: f64,
}

/// What the sets together say of each component that nobody observes, where that is sure enough. `weights`: the probability of each
/// set, in the same order.
pub(super) fn verdicts(
    case: &Case<'_>,
    told: &[Candidate],
    fits: &[Refit],
    weights: &[f64],
) -> BTreeMap<ComponentIx, Verdict> {
    // Sets that leave so much to others can make nothing sure.
    if weights.iter().take(told.len()).sum::<f64>() < HOLDS_FROM {
        return BTreeMap::new();
    }
    let mut odds: BTreeMap<ComponentIx, Odds> = BTreeMap::new();
    for ((candidate, fit), weight) in told.iter().zip(fits).zip(weights) {
        let shares: Vec<Odds> = candidate
            .causes
            .iter()
            .enumerate()
            .map(|(by, at)| shares(case, &fit.fit, by, *at))
            .collect();
        for (ix, reached) in fit.spread.reached.iter() {
            let node = case.node(ix);
            let is_unseen = node.evidence.is_none() && !node.gone && !node.is_stopped();
            if is_unseen && is_alive(case, ix) {
                continue;
            }
            if !is_unseen || node.component.kind == Kind::Group || reached.reach < Reach::Lost {
                continue;
            }
            let known = odds.entry(ix).or_default();
            let by = shares[reached.way.by.min(shares.len() - 1)];
            if reached.way.is_cut && reached.way.is_ground {
                known.path_lost += weight * by.any;
            } else if reached.way.is_ground && !reached.way.is_cut {
                known.without_power += weight * by.without_power;
                known.path_lost += weight * by.path_lost;
            }
        }
    }
    let sure = odds.into_iter().filter_map(|(ix, odds)| {
        if odds.without_power >= HOLDS_FROM {
            Some((ix, Verdict::WithoutPower))
        } else if odds.path_lost >= HOLDS_FROM {
            Some((ix, Verdict::PathLost))
        } else {
            None
        }
    });
    sure.collect()
}

/// Whether something in it, or what it is in, is seen to be there: then the cause has passed.
fn is_alive(case: &Case<'_>, ix: ComponentIx) -> bool {
    const LOOKED_AT_MAX: usize = 10_000;
    let is_there = |ix: ComponentIx| {
        let evidence = case.node(ix).evidence;
        matches!(
            evidence,
            Some(Status::Ok | Status::Degraded | Status::Starting)
        )
    };
    let host = |ix: &ComponentIx| matches!(case.node(*ix).component.kind, Kind::Host | Kind::Vm);
    let mut around = case.engine.model.chain(ix).skip(1).filter(host);
    if around.any(is_there) {
        return true;
    }
    let mut open = case.node(ix).content.clone();
    let mut looked_at = 0;
    while let Some(ix) = open.pop() {
        looked_at += 1;
        if is_there(ix) || looked_at > LOOKED_AT_MAX {
            return true;
        }
        open.extend_from_slice(&case.node(ix).content);
    }
    false
}

/// How much of a cause is a loss of power or of the machine, and how much a cut.
fn shares(case: &Case<'_>, fit: &Fit, by: usize, at: usize) -> Odds {
    let cause = &case.causes[at];
    let mut all = Odds::default();
    let Some(id) = cause
        .ids
        .first()
        .filter(|_| cause.nature.is_where_it_begins())
    else {
        return all;
    };
    let is_ground = cause
        .seeds
        .iter()
        .all(|ix| case.node(*ix).component.kind < Kind::DhcpServer);
    // Somebody that it hit is well again: who is still dark is on the way up, or hangs.
    let is_well = |explained: &Explained| {
        let symptom = &case.seen[&explained.component].symptom;
        explained.by == by && symptom.worst >= Ill::Silent && symptom.well_since.is_some()
    };
    if !is_ground || fit.explained.iter().any(is_well) {
        return all;
    }
    all.any = 1.0;
    for (kind, share) in FaultKind::ALL
        .into_iter()
        .zip(fault::odds(case, fit, cause, by, id))
    {
        match kind {
            FaultKind::Power | FaultKind::Cooling | FaultKind::Hardware | FaultKind::Stopped => {
                all.without_power += share;
            }
            FaultKind::Network => all.path_lost += share,
            _ => {}
        }
    }
    all
}
