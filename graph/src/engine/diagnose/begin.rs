//! When a cause began, and what comes at another time than its effects would.

use std::time::Duration;

use super::super::symptom::Ill;
use super::Cause;
use super::case::{Case, Seen};
use super::reach::{Reach, Reached, Spread};
use super::score::is_after;
use crate::Timestamp;

/// What comes through a container or a path comes within this of the cause.
const AT_ONCE: Duration = Duration::from_secs(120);
/// …and agents that fall silent for one reason do within this of each other: the patience of their streams.
const SILENT_TOGETHER: Duration = Duration::from_secs(45);

/// When a cause began.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Begin {
    /// By itself, or by the first that it takes away.
    pub(super) from: Option<Timestamp>,
    /// When most of those fell silent that it cuts off or darkens at once.
    silent_from: Option<Timestamp>,
}

impl Begin {
    /// Whether a symptom comes at another time than what comes at once.
    pub(super) fn is_late(&self, seen: &Seen, reached: &Reached) -> bool {
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

/// When each cause began.
pub(super) fn begins(case: &Case<'_>, causes: &[&Cause], spread: &Spread) -> Vec<Begin> {
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
