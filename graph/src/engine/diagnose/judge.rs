//! What follows from a diagnosis for components that nobody observes: without power, or cut off.

use std::collections::BTreeMap;

use super::super::node::Verdict;
use super::case::Case;
use super::fault;
use super::reach::Reach;
use super::score::Fit;
use super::search::Candidate;
use crate::{ComponentIx, FaultKind, Kind};

/// From so sure on, what nobody sees is called by what the diagnosis says of it (DESIGN §4, the table of conditions).
const HOLDS_FROM: f64 = 0.9;

/// What is known of one component: how likely it is without power or gone, and how likely cut off.
#[derive(Debug, Clone, Copy, Default)]
struct Odds {
    without_power: f64,
    path_lost: f64,
}

/// What the sets together say of each component that nobody observes, where that is sure enough. `weights`: the probability of each
/// set, in the same order.
pub(super) fn verdicts(
    case: &Case<'_>,
    told: &[Candidate],
    fits: &[Fit],
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
            .map(|(by, at)| shares(case, fit, by, *at))
            .collect();
        for (ix, reached) in &fit.spread.reached {
            let node = case.node(*ix);
            let is_unseen = node.evidence.is_none() && !node.gone && !node.is_stopped();
            if !is_unseen || node.component.kind == Kind::Group || reached.reach < Reach::Lost {
                continue;
            }
            let known = odds.entry(*ix).or_default();
            if reached.is_cut {
                known.path_lost += weight;
            } else if reached.is_ground {
                known.without_power += weight * shares[reached.by].without_power;
                known.path_lost += weight * shares[reached.by].path_lost;
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
    if !is_ground {
        return all;
    }
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
