//! What could be known at best: every single fault that would have told the very same, weighed by how the cases are drawn.
//!
//! Exact for a single fault without noise, since a world without noise tells one thing only: the posterior is the share of the draw among what is left.
//! With noise nobody can know more, so it stays a ceiling.

use std::collections::BTreeMap;

use blackstart_graph::FaultKind;

use super::case::Case;
use super::sorts::{self, SORTS};
use super::twin;

/// What the oracle would answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Best {
    /// How likely its likeliest place is the true one, to the letter: one of several where they are equally likely.
    pub(super) place: f64,
    /// Told the true place, its likeliest kind is right.
    pub(super) kind: bool,
}

/// The best answer at a moment; `None` where that is not computed: several faults, or one that the sorts do not list.
pub(super) fn best(case: &Case, second: i64) -> Option<Best> {
    let mut faults = case.faults();
    let (Some(truth), None) = (faults.next(), faults.next()) else {
        return None;
    };
    if truth.sort == "action" || truth.sort == "way out" || truth.from() > second {
        return None;
    }
    let mut places: BTreeMap<Vec<String>, f64> = BTreeMap::new();
    let mut kinds: BTreeMap<FaultKind, f64> = BTreeMap::new();
    for sort in SORTS {
        for choice in sorts::choices(&case.estate, sort) {
            let harms = choice.harms(&case.estate, truth.from(), truth.until());
            if !twin::told_exactly(case, &harms, second) {
                continue;
            }
            if choice.causes == truth.causes {
                // Any of them would be called right for this fault; the first is what it most likely is.
                for (at, kind) in choice.kinds.iter().enumerate() {
                    *kinds.entry(*kind).or_default() += choice.share / (at + 1) as f64;
                }
            }
            let mut causes = choice.causes;
            causes.sort();
            *places.entry(causes).or_default() += choice.share;
        }
    }
    let mut causes = truth.causes.clone();
    causes.sort();
    let most = places.values().copied().fold(0.0, f64::max);
    let likeliest: Vec<_> = places
        .iter()
        .filter(|(_, share)| **share > most - 1e-9)
        .collect();
    let is_among = likeliest.iter().any(|(place, _)| **place == causes);
    let place = if is_among {
        1.0 / likeliest.len() as f64
    } else {
        0.0
    };
    let kind = kinds
        .iter()
        .max_by(|a, b| a.1.total_cmp(b.1))
        .map(|(kind, _)| kind);
    Some(Best {
        place,
        kind: kind.is_some_and(|kind| truth.kinds.contains(kind)),
    })
}
