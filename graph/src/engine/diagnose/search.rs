//! Looks for the sets of causes that fit best.
//!
//! Every single cause is tried; the best of them are extended by whatever explains what they leave, one at a time, and
//! causes that add nothing are taken out again. Bounded by edges looked at, not by time, so that a replay does the same.

use std::collections::{BTreeMap, BTreeSet};

use super::Cost;
use super::case::Case;
use super::score::{Fit, UNEXPLAINED, fit};
use crate::{ComponentIx, Search};

/// The most edges that are looked at.
const WORK_MAX: u64 = 4_000_000;
/// How many single causes are extended.
const BEAMS: usize = 12;
/// The most causes of one set.
const CAUSES_MAX: usize = 6;
/// The most sets that are kept.
const KEPT_MAX: usize = 32;

/// A set of causes, by place in the case, with what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) causes: Vec<usize>,
    pub(super) cost: Cost,
}

/// What was found.
#[derive(Debug)]
pub(super) struct Found {
    /// The cheapest first; of sets with the same names, only the cheapest.
    pub(super) candidates: Vec<Candidate>,
    pub(super) search: Search,
    /// How much there was to compare: symptoms by candidates, up to the bound.
    pub(super) work: u64,
}

struct Tried {
    fit: Fit,
    causes: Vec<usize>,
}

/// Looks for the sets of causes that fit best.
pub(super) fn search(case: &Case<'_>) -> Found {
    let mut search = Searcher {
        case,
        work: 0,
        costs: BTreeMap::new(),
    };
    let mut singles: Vec<Tried> = Vec::new();
    for at in 0..case.causes.len() {
        match search.try_out(vec![at]) {
            Some(tried) => singles.push(tried),
            None => break,
        }
    }
    let explains: Vec<BTreeSet<ComponentIx>> = singles
        .iter()
        .map(|tried| tried.fit.explained.iter().map(|(ix, _)| *ix).collect())
        .collect();
    singles.sort_by(|a, b| {
        let by_cost = a.fit.cost.cmp(&b.fit.cost);
        by_cost.then_with(|| a.causes.cmp(&b.causes))
    });
    singles.truncate(BEAMS);
    for single in singles {
        search.extend(single, &explains);
    }
    search.found()
}

struct Searcher<'a, 'b> {
    case: &'a Case<'b>,
    work: u64,
    costs: BTreeMap<Vec<usize>, Cost>,
}

impl Searcher<'_, '_> {
    /// `None` when the bound on work is reached.
    fn try_out(&mut self, causes: Vec<usize>) -> Option<Tried> {
        if self.work > WORK_MAX {
            return None;
        }
        let chosen: Vec<_> = causes.iter().map(|at| &self.case.causes[*at]).collect();
        let fit = fit(self.case, &chosen);
        self.work += fit.spread.work + self.case.seen.len() as u64;
        self.costs.insert(causes.clone(), fit.cost);
        Some(Tried { fit, causes })
    }

    fn extend(&mut self, mut best: Tried, explains: &[BTreeSet<ComponentIx>]) {
        while best.causes.len() < CAUSES_MAX {
            let left: BTreeSet<ComponentIx> = best.fit.unexplained.iter().copied().collect();
            let mut better: Option<Tried> = None;
            for (at, explained) in explains.iter().enumerate() {
                let may_help = !best.causes.contains(&at) && !explained.is_disjoint(&left);
                if !may_help || self.shares_a_name(&best.causes, at) {
                    continue;
                }
                let mut causes = best.causes.clone();
                causes.push(at);
                causes.sort_unstable();
                if self.costs.contains_key(&causes) {
                    continue;
                }
                let Some(tried) = self.try_out(causes) else {
                    return;
                };
                let cheapest = better
                    .as_ref()
                    .map_or(best.fit.cost, |known| known.fit.cost);
                if tried.fit.cost < cheapest {
                    better = Some(tried);
                }
            }
            let Some(mut better) = better else {
                return;
            };
            for at in better.causes.clone() {
                let mut fewer = better.causes.clone();
                fewer.retain(|cause| *cause != at);
                if fewer.is_empty() {
                    continue;
                }
                let Some(tried) = self.try_out(fewer) else {
                    return;
                };
                if tried.fit.cost <= better.fit.cost {
                    better = tried;
                }
            }
            best = better;
        }
    }

    fn shares_a_name(&self, causes: &[usize], at: usize) -> bool {
        let ids = &self.case.causes[at].ids;
        causes.iter().any(|cause| {
            self.case.causes[*cause]
                .ids
                .iter()
                .any(|id| ids.contains(id))
        })
    }

    fn found(self) -> Found {
        let case = self.case;
        let mut all: Vec<Candidate> = self
            .costs
            .into_iter()
            .map(|(causes, cost)| Candidate { causes, cost })
            .collect();
        all.sort_by(|a, b| a.cost.cmp(&b.cost).then_with(|| a.causes.cmp(&b.causes)));
        let mut named = BTreeSet::new();
        let mut candidates = Vec::new();
        for candidate in all {
            if candidates.len() < KEPT_MAX && named.insert(names(case, &candidate.causes)) {
                candidates.push(candidate);
            }
        }
        Found {
            work: WORK_MAX.min(case.seen.len() as u64 * case.causes.len() as u64),
            candidates,
            search: if self.work > WORK_MAX || case.truncated {
                Search::Bounded
            } else {
                Search::Exact
            },
        }
    }
}

/// What a set is called: its ids, sorted.
pub(super) fn names(case: &Case<'_>, causes: &[usize]) -> Vec<String> {
    let mut names: Vec<String> = causes
        .iter()
        .flat_map(|at| case.causes[*at].ids.iter().cloned())
        .collect();
    names.sort();
    names.dedup();
    names
}

/// Below this a set is no rival.
pub(super) const RIVAL_WITHIN: Cost = 2 * UNEXPLAINED / 3;
