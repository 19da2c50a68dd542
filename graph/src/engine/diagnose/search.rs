//! Looks for the sets of causes that fit best.
//!
//! Every single cause is tried; the best of them are extended, one cause at a time, by whatever makes the whole cheaper, and
//! causes that add nothing are taken out again. What a cause can save at the most is known from having tried it alone, so most need
//! not be tried again (the idea of Flock: gains, not candidates by observations). Bounded by what is looked at, not by time, so
//! that a replay does the same.

use std::collections::{BTreeMap, BTreeSet};

use super::Cost;
use super::case::Case;
use super::reach::Spread;
use super::score::{Explained, Fit, UNEXPLAINED, fit};
use crate::{ComponentIx, Search};

/// The most edges and symptoms that are looked at.
const WORK_MAX: u64 = 4_000_000;
/// How many single causes are extended.
const BEAMS: usize = 12;
/// The most causes of one set.
const CAUSES_MAX: usize = 6;
/// The most causes that are tried for one place in a set, the most promising first.
const TRIED_MAX: usize = 24;
/// The most sets that are kept.
const KEPT_MAX: usize = 32;
/// Below this a set is no rival.
pub(super) const RIVAL_WITHIN: Cost = 2 * UNEXPLAINED / 3;

/// A set of causes, by place in the case, with what it costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) causes: Vec<usize>,
    pub(super) cost: Cost,
    /// How many symptoms follow from it.
    explains: usize,
}

impl Candidate {
    /// Whether it is another set and more, and explains nothing more.
    fn only_adds_to(&self, other: &Self) -> bool {
        other.causes.len() < self.causes.len()
            && other.explains >= self.explains
            && other.causes.iter().all(|at| self.causes.contains(at))
    }
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
        spread: Spread::new(case.engine.model.nodes.len()),
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
    let saves: Vec<Vec<Explained>> = singles
        .iter()
        .map(|tried| tried.fit.explained.clone())
        .collect();
    singles.retain(|tried| !tried.fit.explained.is_empty());
    singles.sort_by(|a, b| {
        let by_cost = a.fit.cost.cmp(&b.fit.cost);
        by_cost.then_with(|| a.causes.cmp(&b.causes))
    });
    singles.truncate(BEAMS);
    for single in singles {
        search.extend(single, &saves);
    }
    search.found()
}

struct Searcher<'a, 'b> {
    case: &'a Case<'b>,
    spread: Spread,
    work: u64,
    /// Of each set that was tried: what it costs, and how many symptoms it explains.
    costs: BTreeMap<Vec<usize>, (Cost, usize)>,
}

impl Searcher<'_, '_> {
    /// `None` when the bound on work is reached.
    fn try_out(&mut self, causes: Vec<usize>) -> Option<Tried> {
        if self.work > WORK_MAX {
            return None;
        }
        let chosen: Vec<_> = causes.iter().map(|at| &self.case.causes[*at]).collect();
        let fit = fit(self.case, &chosen, &mut self.spread);
        self.work += 16 + self.spread.work + 4 * self.spread.reached.len() as u64;
        if !fit.explained.is_empty() {
            let found = (fit.cost, fit.explained.len());
            self.costs.insert(causes.clone(), found);
        }
        Some(Tried { fit, causes })
    }

    fn extend(&mut self, mut best: Tried, saves: &[Vec<Explained>]) {
        while best.causes.len() < CAUSES_MAX {
            let Some(better) = self.one_more(&best, saves) else {
                return;
            };
            let Some(better) = self.fewer(better) else {
                return;
            };
            best = better;
        }
    }

    /// The set with the one cause more that makes it cheapest, if any makes it cheaper.
    fn one_more(&mut self, best: &Tried, saves: &[Vec<Explained>]) -> Option<Tried> {
        let mut now: BTreeMap<ComponentIx, Cost> = best.fit.eased.clone();
        now.extend(best.fit.explained.iter().map(|e| (e.component, e.cost)));
        let mut promising: Vec<(Cost, usize)> = Vec::new();
        for (at, saves) in saves.iter().enumerate() {
            if best.causes.contains(&at) || self.shares_a_name(&best.causes, at) {
                continue;
            }
            self.work += saves.len() as u64;
            let saved = saves.iter().map(|explained| {
                let ix = &explained.component;
                let now = now.get(ix).copied();
                let now = now.unwrap_or_else(|| self.case.seen[ix].alone);
                (now - explained.cost).max(0)
            });
            let gain = saved.sum::<Cost>() - self.case.causes[at].prior;
            if gain > 0 {
                promising.push((gain, at));
            }
        }
        promising.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        promising.truncate(TRIED_MAX);
        let mut better: Option<Tried> = None;
        for (gain, at) in promising {
            let cheapest = better
                .as_ref()
                .map_or(best.fit.cost, |known| known.fit.cost);
            if best.fit.cost - gain >= cheapest {
                break;
            }
            let mut causes = best.causes.clone();
            causes.push(at);
            causes.sort_unstable();
            if self.costs.contains_key(&causes) {
                continue;
            }
            let tried = self.try_out(causes)?;
            if tried.fit.cost < cheapest {
                better = Some(tried);
            }
        }
        better
    }

    /// The set without what adds nothing to it.
    fn fewer(&mut self, mut better: Tried) -> Option<Tried> {
        for at in better.causes.clone() {
            let mut fewer = better.causes.clone();
            fewer.retain(|cause| *cause != at);
            if fewer.is_empty() {
                continue;
            }
            let tried = self.try_out(fewer)?;
            if tried.fit.cost <= better.fit.cost {
                better = tried;
            }
        }
        Some(better)
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
            .map(|(causes, (cost, explains))| Candidate {
                causes,
                cost,
                explains,
            })
            .collect();
        all.sort_by(|a, b| a.cost.cmp(&b.cost).then_with(|| a.causes.cmp(&b.causes)));
        let mut named = BTreeSet::new();
        let mut candidates: Vec<Candidate> = Vec::new();
        for candidate in all {
            if candidates.len() >= KEPT_MAX {
                break;
            }
            if candidates.iter().any(|known| candidate.only_adds_to(known)) {
                continue;
            }
            if named.insert(names(case, &candidate.causes)) {
                candidates.push(candidate);
            }
        }
        let there_was = case.seen.len() as u64 * case.causes.len() as u64;
        Found {
            candidates,
            search: if self.work > WORK_MAX || case.truncated {
                Search::Bounded
            } else {
                Search::Exact
            },
            work: WORK_MAX.min(there_was),
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
