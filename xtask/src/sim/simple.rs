//! Three simple ways to name a cause, from the same evidence: what the engine has to be better than.

use std::collections::{BTreeMap, BTreeSet};

use blackstart_graph::Status;

use super::case::Case;
use super::estate::{Estate, Ix, Want};
use super::fleet::News;

/// An answer counts for so long; the same as the engine's.
const FRESH_MS: i64 = 60_000;
/// The greedy cover takes whom so much of what hangs on it is bad.
const HIT: f64 = 0.8;
/// More causes than this name nothing.
const CAUSES_MAX: usize = 8;

/// What is bad and what is well at a moment, as anybody would write it down.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    pub(super) silent: BTreeSet<Ix>,
    pub(super) bad: BTreeSet<Ix>,
    pub(super) well: BTreeSet<Ix>,
}

impl Evidence {
    /// What is known at the end of a second.
    pub(super) fn at(case: &Case, second: i64) -> Self {
        let now = second * 1_000 + 999;
        let mut silent = BTreeSet::new();
        let mut last: BTreeMap<usize, (i64, Status)> = BTreeMap::new();
        for told in case.told.iter().take_while(|told| told.at <= now) {
            match told.news {
                News::Seen { watch, status, .. } => {
                    let known = last.entry(watch).or_insert((told.sampled, status));
                    if told.sampled >= known.0 {
                        *known = (told.sampled, status);
                    }
                }
                News::Connected { host, .. } => {
                    silent.remove(&host);
                }
                News::Lost { host } => {
                    silent.insert(host);
                }
                News::Restarted { .. } => {}
            }
        }
        let mut looks: BTreeMap<Ix, (usize, usize)> = BTreeMap::new();
        for (watch, (sampled, status)) in last {
            let watch = case.estate.watches[watch];
            if now - sampled > FRESH_MS * watch.every || silent.contains(&watch.from) {
                continue;
            }
            let (bad, all) = looks.entry(watch.target).or_default();
            *bad += usize::from(status == Status::Failed);
            *all += 1;
        }
        let mut evidence = Self {
            silent,
            ..Self::default()
        };
        for (ix, (bad, all)) in looks {
            if bad * 2 > all {
                evidence.bad.insert(ix);
            } else if !evidence.silent.contains(&ix) {
                evidence.well.insert(ix);
            }
        }
        evidence.bad.extend(&evidence.silent);
        evidence
    }
}

/// Who hangs on whom, by what the file says: containers, hard needs without a spare, paths without a spare.
#[derive(Debug)]
pub(super) struct Hangs {
    on: Vec<Vec<Ix>>,
    below: Vec<Vec<Ix>>,
}

impl Hangs {
    pub(super) fn of(estate: &Estate) -> Self {
        let count = estate.parts.len();
        let (mut on, mut below) = (vec![Vec::new(); count], vec![Vec::new(); count]);
        for (ix, part) in estate.parts.iter().enumerate() {
            let needs = part
                .edges
                .iter()
                .filter(|edge| edge.declared && edge.want != Want::Uses);
            let needs = needs
                .filter(|edge| edge.want != Want::ToStart)
                .map(|edge| &edge.group);
            let groups = needs
                .chain(&part.via)
                .filter(|group| group.at_least == group.of.len());
            let ups = part
                .container
                .into_iter()
                .chain(groups.flat_map(|group| group.of.iter().copied()));
            for up in ups {
                on[ix].push(up);
                below[up].push(ix);
            }
        }
        Self { on, below }
    }

    /// It and all that hangs on it.
    fn cover(&self, ix: Ix) -> BTreeSet<Ix> {
        let mut found = BTreeSet::from([ix]);
        let mut open = vec![ix];
        while let Some(at) = open.pop() {
            open.extend(
                self.below[at]
                    .iter()
                    .copied()
                    .filter(|below| found.insert(*below)),
            );
        }
        found
    }
}

/// The name of a way, and what it names.
pub(super) type Named = (&'static str, Vec<String>);

/// What each of the three names.
pub(super) fn answers(case: &Case, hangs: &Hangs, second: i64) -> Vec<Named> {
    let evidence = Evidence::at(case, second);
    let ids = |of: Vec<Ix>| {
        let mut ids: Vec<String> = of
            .iter()
            .map(|ix| case.estate.parts[*ix].id.clone())
            .collect();
        ids.sort();
        ids
    };
    vec![
        (
            "lowest common container",
            ids(lowest_common(case, &evidence)),
        ),
        ("greedy cover", ids(greedy(case, hangs, &evidence))),
        ("deepest failed", ids(deepest(hangs, &evidence))),
    ]
}

fn lowest_common(case: &Case, evidence: &Evidence) -> Vec<Ix> {
    let of = if evidence.silent.is_empty() {
        &evidence.bad
    } else {
        &evidence.silent
    };
    let mut chains = of.iter().map(|ix| &case.estate.chains[*ix]);
    let Some(first) = chains.next() else {
        return Vec::new();
    };
    let chains: Vec<_> = chains.collect();
    let common = first
        .iter()
        .find(|outer| chains.iter().all(|chain| chain.contains(outer)));
    common.copied().into_iter().collect()
}

fn greedy(case: &Case, hangs: &Hangs, evidence: &Evidence) -> Vec<Ix> {
    let mut left = evidence.bad.clone();
    let mut chosen = Vec::new();
    let covers: Vec<BTreeSet<Ix>> = (0..case.estate.parts.len())
        .map(|ix| {
            if reaches(hangs, evidence, ix) {
                hangs.cover(ix)
            } else {
                BTreeSet::new()
            }
        })
        .collect();
    while !left.is_empty() && chosen.len() < CAUSES_MAX {
        let worth = |cover: &BTreeSet<Ix>| {
            let bad = cover.intersection(&evidence.bad).count();
            let well = cover.intersection(&evidence.well).count();
            (bad as f64 >= HIT * (bad + well) as f64).then(|| cover.intersection(&left).count())
        };
        // Of equals the smaller one.
        let best = (0..covers.len())
            .filter_map(|ix| Some((worth(&covers[ix])?, std::cmp::Reverse(covers[ix].len()), ix)))
            .filter(|(gain, ..)| *gain > 0)
            .max_by_key(|(gain, size, ix)| (*gain, *size, std::cmp::Reverse(*ix)));
        let Some((_, _, ix)) = best else { break };
        left.retain(|bad| !covers[ix].contains(bad));
        chosen.push(ix);
    }
    chosen
}

/// Whether anything bad hangs on it: all others need no look.
fn reaches(hangs: &Hangs, evidence: &Evidence, ix: Ix) -> bool {
    evidence.bad.contains(&ix)
        || hangs.below[ix].iter().any(|below| {
            evidence.bad.contains(below)
                || hangs.below[*below]
                    .iter()
                    .any(|next| evidence.bad.contains(next))
        })
        || hangs
            .cover(ix)
            .iter()
            .any(|below| evidence.bad.contains(below))
}

fn deepest(hangs: &Hangs, evidence: &Evidence) -> Vec<Ix> {
    let bad = evidence.bad.iter().copied();
    bad.filter(|ix| !hangs.on[*ix].iter().any(|up| evidence.bad.contains(up)))
        .collect()
}
