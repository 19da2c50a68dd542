//! Puts what was found into words and probabilities.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::node::Verdict;
use super::super::symptom::{Ill, Return};
use super::begin::busiest;
use super::case::Case;
use super::reach::Spread;
use super::score::{Fit, fit};
use super::search::{Candidate, Found, RIVAL_WITHIN, names};
use super::{Cause, Cost, advise, fault, judge};
use crate::{ComponentIx, Diagnosis, Fault, Hypothesis, Timestamp};

/// The most hypotheses that are told.
const TOLD_MAX: usize = 5;
/// The most lines of evidence.
const EVIDENCE_MAX: usize = 8;
/// Assuming something that the topology does not have, which explains each symptom a little.
const NOT_IN_MODEL: Cost = 8_000;
const NOT_IN_MODEL_EACH: Cost = 4_000;
const NOT_IN_MODEL_FAILED: Cost = 6_000;
/// What one cause does, it begins to do within this.
const ONE_EVENT: Duration = Duration::from_secs(120);
/// A set less likely than this is not worth a line at three in the morning.
const TOLD_MIN: f64 = 0.02;
/// What is seen of many components at once is less than so many independent looks: costs count by this part.
const WITNESSES_SHARE: f64 = 3.0;

/// A diagnosis with what follows from it.
#[derive(Debug)]
pub(in crate::engine) struct Told {
    pub(in crate::engine) diagnosis: Diagnosis,
    /// What it says of components that nobody observes.
    pub(in crate::engine) verdicts: BTreeMap<ComponentIx, Verdict>,
    /// How much there was to compare: symptoms by candidates, up to a bound.
    pub(in crate::engine) work: u64,
}

/// Puts what was found into words and probabilities.
pub(super) fn tell(case: &Case<'_>, found: &Found) -> Told {
    let unknown = not_in_model(case);
    let weights = weights(&found.candidates, unknown);
    let worth = weights
        .sets
        .iter()
        .take_while(|weight| **weight >= TOLD_MIN);
    let told = worth.count().clamp(1, TOLD_MAX).min(found.candidates.len());
    let told = &found.candidates[..told];
    let fits: Vec<Refit> = told
        .iter()
        .map(|candidate| Refit::of(case, candidate))
        .collect();
    let hypotheses = told
        .iter()
        .zip(&fits)
        .enumerate()
        .map(|(at, (candidate, fit))| Hypothesis {
            causes: names(case, &candidate.causes),
            probability: rounded(weights.sets[at]),
            faults: faults(case, candidate, &fit.fit),
            explains: fit.fit.explained.len(),
            unexplained: fit.unexplained.len(),
            contradicts: fit.fit.contradicts.len(),
            evidence: evidence(case, candidate, fit),
            cannot_tell_from: rivals(case, told, &fits, at),
            check_next: if at == 0 {
                advise::check_next(case, told, &weights.sets)
            } else {
                Vec::new()
            },
        });
    let diagnosis = Diagnosis {
        hypotheses: hypotheses.collect(),
        not_in_model: rounded(weights.unknown),
        search: found.search,
    };
    Told {
        diagnosis,
        verdicts: judge::verdicts(case, told, &fits, &weights.sets),
        work: found.work,
    }
}

struct Weights {
    sets: Vec<f64>,
    unknown: f64,
}

/// Costs as probabilities that sum to 1.
fn weights(candidates: &[Candidate], unknown: Cost) -> Weights {
    let Some(best) = candidates.first() else {
        return Weights {
            sets: Vec::new(),
            unknown: 0.0,
        };
    };
    let weight = |cost: Cost| {
        let over = i32::try_from(cost - best.cost.min(unknown)).unwrap_or(i32::MAX);
        (-f64::from(over) / 1_000.0 / WITNESSES_SHARE).exp()
    };
    let sets: Vec<f64> = candidates.iter().map(|set| weight(set.cost)).collect();
    let sum = sets.iter().sum::<f64>() + weight(unknown);
    Weights {
        sets: sets.iter().map(|set| set / sum).collect(),
        unknown: weight(unknown) / sum,
    }
}

/// To three digits: what is beyond is no knowledge.
fn rounded(share: f64) -> f64 {
    (share * 1_000.0).round() / 1_000.0
}

/// A set looked at again, with everything that is told of it.
#[derive(Debug)]
pub(super) struct Refit {
    pub(super) fit: Fit,
    pub(super) spread: Spread,
    /// Symptoms that do not follow from it; by id.
    unexplained: Vec<ComponentIx>,
}

impl Refit {
    fn of(case: &Case<'_>, candidate: &Candidate) -> Self {
        let causes = candidate.causes.iter().map(|at| &case.causes[*at]);
        let causes: Vec<&Cause> = causes.collect();
        let mut spread = Spread::new(case.engine.model.nodes.len());
        let mut fit = fit(case, &causes, &mut spread);
        let id = |ix: ComponentIx| &case.node(ix).component.id;
        fit.explained
            .sort_by(|a, b| id(a.component).cmp(id(b.component)));
        fit.contradicts.sort_by(|a, b| id(*a).cmp(id(*b)));
        let explained: BTreeSet<ComponentIx> = fit.explained.iter().map(|e| e.component).collect();
        let unexplained = case.seen.keys().filter(|ix| !explained.contains(ix));
        Self {
            unexplained: unexplained.collect(),
            fit,
            spread,
        }
    }

    fn explained(&self) -> impl Iterator<Item = ComponentIx> + '_ {
        self.fit.explained.iter().map(|e| e.component)
    }
}

/// What it costs to assume one thing that the topology does not have, and that did what was seen.
fn not_in_model(case: &Case<'_>) -> Cost {
    let seen = case.seen.values();
    let mut onsets: Vec<Timestamp> = seen.clone().map(|seen| seen.symptom.onset).collect();
    let from = busiest(&mut onsets, ONE_EVENT).unwrap_or(case.first);
    let each = seen.map(|seen| {
        let onset = seen.symptom.onset;
        let cost = match seen.symptom.worst {
            _ if onset < from || onset > from.plus(ONE_EVENT) => seen.alone,
            Ill::Failed if seen.symptom.confirmed => NOT_IN_MODEL_FAILED,
            _ => NOT_IN_MODEL_EACH,
        };
        cost.min(seen.alone)
    });
    NOT_IN_MODEL + each.sum::<Cost>()
}

fn faults(case: &Case<'_>, candidate: &Candidate, fit: &Fit) -> BTreeMap<String, Fault> {
    let mut faults = BTreeMap::new();
    for (by, at) in candidate.causes.iter().enumerate() {
        let cause = &case.causes[*at];
        let victims = fit.explained.iter().filter(|e| e.by == by);
        let first = victims.map(|e| case.seen[&e.component].symptom.onset);
        let first = first.min();
        for id in &cause.ids {
            let odds = fault::odds(case, fit, &case.causes[*at], by, id);
            faults.insert(
                id.clone(),
                Fault {
                    since: own_onset(case, id)
                        .or(cause.since)
                        .or(first)
                        .unwrap_or(case.first),
                    kind: fault::shown(odds),
                },
            );
        }
    }
    faults
}

fn own_onset(case: &Case<'_>, id: &str) -> Option<Timestamp> {
    let ix = case.engine.model.find(id)?;
    case.seen.get(&ix).map(|seen| seen.symptom.onset)
}

/// What speaks for it, then what speaks against it.
fn evidence(case: &Case<'_>, candidate: &Candidate, fit: &Refit) -> Vec<String> {
    let mut lines = Vec::new();
    for at in &candidate.causes {
        for id in &case.causes[*at].ids {
            lines.extend(own_words(case, id));
        }
    }
    let count = |wanted: fn(&super::super::symptom::Symptom) -> bool| {
        let explained = fit.explained();
        explained
            .filter(|ix| wanted(&case.seen[ix].symptom))
            .count()
    };
    let groups: [(usize, &str); 5] = [
        (count(|s| s.worst == Ill::Silent), "fell silent"),
        (count(|s| s.worst == Ill::Failed), "fail or failed"),
        (
            count(|s| matches!(s.worst, Ill::Degraded | Ill::Starting)),
            "suffer or are on their way up",
        ),
        (
            count(|s| matches!(s.returned, Some(Return::Unclean | Return::Rebooted))),
            "came back with a new boot",
        ),
        (
            count(|s| s.returned == Some(Return::SameBoot)),
            "came back and had run on",
        ),
    ];
    lines.extend(
        groups
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, words)| format!("{count} of what it explains {words}")),
    );
    if !fit.fit.contradicts.is_empty() {
        lines.push(format!(
            "against it: {} work although they should not",
            listed(case, &fit.fit.contradicts)
        ));
    }
    if !fit.unexplained.is_empty() {
        lines.push(format!("not explained: {}", listed(case, &fit.unexplained)));
    }
    lines.truncate(EVIDENCE_MAX);
    lines
}

fn own_words(case: &Case<'_>, id: &str) -> Option<String> {
    let ix = case.engine.model.find(id)?;
    let symptom = case.seen.get(&ix)?.symptom;
    let what = match symptom.worst {
        Ill::Failed => "seen to fail",
        Ill::Silent => "silent",
        Ill::Degraded => "says that something is wrong",
        Ill::Starting | Ill::No => "on its way up",
    };
    let until = symptom
        .well_since
        .map(|at| format!(", well again since {at}"));
    Some(format!(
        "{id}: {what} since {}{}",
        symptom.worst_since,
        until.unwrap_or_default()
    ))
}

fn listed(case: &Case<'_>, components: &[ComponentIx]) -> String {
    const NAMED_MAX: usize = 3;
    let named: Vec<&str> = components
        .iter()
        .take(NAMED_MAX)
        .map(|ix| &*case.node(*ix).component.id)
        .collect();
    match components.len().saturating_sub(NAMED_MAX) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

/// Other sets that explain the same and are contradicted by the same.
fn rivals(case: &Case<'_>, told: &[Candidate], fits: &[Refit], at: usize) -> Vec<Vec<String>> {
    let symptoms = |fit: &Refit| -> Vec<ComponentIx> { fit.explained().collect() };
    let own = symptoms(&fits[at]);
    let others = (0..told.len()).filter(|other| *other != at);
    others
        .filter(|other| {
            (told[*other].cost - told[at].cost).abs() <= RIVAL_WITHIN
                && symptoms(&fits[*other]) == own
                && fits[*other].fit.contradicts == fits[at].fit.contradicts
        })
        .map(|other| names(case, &told[other].causes))
        .collect()
}
