//! Runs the engine on a case and judges its answers against the truth.

use std::collections::BTreeSet;

use blackstart_graph::{Diagnosis, Engine, FaultKind, Hypothesis, Kind, Topology};

use super::build::Size;
use super::case::{Case, Moment, moment};
use super::fault::Fault;
use super::noise::Cell;
use super::oracle::{self, Best};
use super::simple::{self, Hangs};
use super::twin;
use super::world::ROUND_S;
use crate::steps::StepError;

/// What is surer than this and wrong is confidently wrong.
pub(super) const SURE: f64 = 0.9;

/// One answer, judged.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) moment: Moment,
    pub(super) truth: Vec<String>,
    pub(super) answers: Vec<(Vec<String>, f64)>,
    pub(super) strict: bool,
    /// The first answer is in the class of the truth.
    pub(super) top1: bool,
    pub(super) top3: bool,
    /// Of the first answer's causes, right, named and true ones; a set of the class of the truth is all right.
    pub(super) right: usize,
    pub(super) named: usize,
    pub(super) wanted: usize,
    /// The probability of the first answer, with that of others of its class.
    pub(super) sure: f64,
    pub(super) not_in_model: f64,
    /// Whether the kinds are right, where the place is.
    pub(super) kind: Option<bool>,
    /// What the engine called the kind, where that is wrong.
    pub(super) called: String,
    /// What the engine says of its first answer.
    pub(super) evidence: Vec<String>,
}

/// Everything of a case.
#[derive(Debug, Clone)]
pub(super) struct Outcome {
    pub(super) seed: u64,
    pub(super) sorts: Vec<&'static str>,
    pub(super) verdicts: Vec<Verdict>,
    /// Moments at which nothing was to be seen, and how many of them had an answer nonetheless.
    pub(super) unseen: usize,
    pub(super) false_alarms: usize,
    /// After how many rounds the first answer was right and stayed so; `None`: it was not.
    pub(super) rounds: Option<i64>,
    /// Whether that could be asked.
    pub(super) timed: bool,
    /// Which of the simple ways was right, at each moment.
    pub(super) simple: Vec<(&'static str, bool)>,
    /// What could be known at best of a single fault, with whether the engine knew the place to the letter, and the kind.
    pub(super) oracle: Vec<(Moment, Best, bool, bool)>,
    pub(super) events: usize,
    pub(super) parts: usize,
}

/// Runs the case of a seed.
pub(super) fn outcome(size: Size, seed: u64, cell: &Cell) -> Result<Outcome, StepError> {
    let case = Case::new(size, seed, cell);
    judge(&case, size == Size::Xs)
}

/// Runs a case, and asks the oracle where that is little work.
pub(super) fn judge(case: &Case, oracle: bool) -> Result<Outcome, StepError> {
    let hangs = Hangs::of(&case.estate);
    let seed = case.estate.seed;
    let topology = Topology::parse("topology.toml", &case.estate.toml()).map_err(|report| {
        StepError::Rule(format!("seed {seed}: the topology is not one: {report}"))
    })?;
    let mut engine = Engine::new(topology, moment(0));
    let mut changes = blackstart_graph::Changes::default();
    let mut outcome = Outcome {
        seed,
        sorts: case.story.faults.iter().map(|fault| fault.sort).collect(),
        verdicts: Vec::new(),
        unseen: 0,
        false_alarms: 0,
        rounds: None,
        timed: false,
        simple: Vec::new(),
        oracle: Vec::new(),
        events: 0,
        parts: case.estate.parts.len(),
    };
    let mut asks = asks(case);
    asks.reverse();
    let mut right_since: Option<i64> = None;
    let mut memo = std::collections::BTreeMap::new();
    let mut events = case.events().peekable();
    while let Some((second, asked)) = asks.pop() {
        while let Some(event) = events.next_if(|event| event.at <= moment(second * 1_000 + 999)) {
            outcome.events += 1;
            engine
                .apply(&event, &mut changes)
                .map_err(|failure| StepError::Rule(format!("seed {seed}: {failure}")))?;
            changes = blackstart_graph::Changes::default();
        }
        if !case.is_heard(second) {
            continue;
        }
        if asked != Some(Moment::End) {
            let first = engine
                .held_diagnosis()
                .and_then(|held| held.hypotheses.first());
            let is_right = first.is_some_and(|first| {
                let answer = bare(case, &case.causes(second), &first.causes);
                is_of_class(case, &answer, second, &mut memo)
            });
            right_since = is_right.then(|| right_since.unwrap_or(second));
        }
        let Some(asked) = asked else { continue };
        let diagnosis = engine.diagnosis();
        if twin::is_unseen(case, second) {
            outcome.unseen += 1;
            let wrong = |hypothesis: &Hypothesis| {
                let truth = case.causes(second);
                !bare(case, &truth, &hypothesis.causes).is_empty() && hypothesis.causes != truth
            };
            let alarm = diagnosis.hypotheses.first().is_some_and(wrong);
            outcome.false_alarms += usize::from(alarm);
            continue;
        }
        outcome
            .verdicts
            .push(verdict(case, asked, second, &diagnosis, &mut memo));
        for (way, answer) in simple::answers(case, &hangs, second) {
            let answer = bare(case, &case.causes(second), &answer);
            let right = is_of_class(case, &answer, second, &mut memo);
            outcome.simple.push((way, right));
        }
        if let Some(best) = oracle.then(|| oracle::best(case, second)).flatten()
            && let Some(verdict) = outcome.verdicts.last()
        {
            outcome
                .oracle
                .push((asked, best, verdict.strict, verdict.kind == Some(true)));
        }
    }
    let last = case.faults().map(Fault::from).max().unwrap_or(0);
    let shown = (last..case.second(Moment::Heal)).find(|second| !twin::is_unseen(case, *second));
    if let Some(shown) = shown {
        outcome.timed = true;
        outcome.rounds = right_since.map(|since| ((since - shown).max(0) + ROUND_S - 1) / ROUND_S);
    }
    Ok(outcome)
}

type Memo = std::collections::BTreeMap<(Vec<String>, i64), bool>;

/// Seconds after the last fault at which it is asked whether the answer is right yet: dense at first, since an answer takes its time.
const LOOKS_S: [i64; 10] = [5, 10, 15, 25, 35, 45, 75, 105, 165, 225];

/// When to ask: at the moments, and in between to see from when on the answer is right.
fn asks(case: &Case) -> Vec<(i64, Option<Moment>)> {
    let last = case.faults().map(Fault::from).max().unwrap_or(0);
    let heal = case.second(Moment::Heal);
    let looks = LOOKS_S.into_iter().map(|look| last + look);
    let mut asks: Vec<(i64, Option<Moment>)> =
        looks.filter(|at| *at < heal).map(|at| (at, None)).collect();
    for moment in Moment::ALL {
        let second = case.second(moment);
        if second < heal || matches!(moment, Moment::Heal | Moment::End) {
            asks.push((second, Some(moment)));
        }
    }
    asks.sort_by_key(|(second, asked)| (*second, *asked));
    asks
}

/// An answer without those that are ill beside the faults of the case. A cluster that lost its quorum stands for its members that failed: who says
/// that the cluster broke has said it right.
fn bare(case: &Case, truth: &[String], answer: &[String]) -> Vec<String> {
    let optional: BTreeSet<&str> = case.optional().into_iter().collect();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for id in answer {
        let lost = lost_members(case, truth, id);
        if !lost.is_empty() {
            named.extend(lost);
        } else if truth.contains(id) || !optional.contains(id.as_str()) {
            named.insert(id.clone());
        }
    }
    named.into_iter().collect()
}

/// The members of a cluster that are true causes, where it is one and cannot do without so many.
fn lost_members(case: &Case, truth: &[String], id: &str) -> Vec<String> {
    let part = case.estate.by_id.get(id).map(|ix| &case.estate.parts[*ix]);
    let Some(part) = part.filter(|part| part.is_composite()) else {
        return Vec::new();
    };
    let Some(edge) = part.edges.first() else {
        return Vec::new();
    };
    let members = edge.group.of.iter().map(|ix| &case.estate.parts[*ix].id);
    let lost: Vec<String> = members
        .filter(|member| truth.contains(member))
        .cloned()
        .collect();
    let spare = edge.group.of.len() - edge.group.at_least;
    if lost.len() > spare { lost } else { Vec::new() }
}

fn is_of_class(case: &Case, answer: &[String], second: i64, memo: &mut Memo) -> bool {
    let key = (answer.to_vec(), second);
    *memo
        .entry(key)
        .or_insert_with(|| twin::is_of_class(case, answer, second))
}

fn verdict(
    case: &Case,
    asked: Moment,
    second: i64,
    diagnosis: &Diagnosis,
    memo: &mut Memo,
) -> Verdict {
    let truth = case.causes(second);
    let first = diagnosis.hypotheses.first();
    let bared: Vec<Vec<String>> = diagnosis
        .hypotheses
        .iter()
        .map(|hypothesis| bare(case, &truth, &hypothesis.causes))
        .collect();
    let of_class: Vec<bool> = bared
        .iter()
        .take(3)
        .map(|answer| is_of_class(case, answer, second, memo))
        .collect();
    let top1 = of_class.first() == Some(&true);
    let answer = bared.first().cloned().unwrap_or_default();
    let (right, named, wanted) = if top1 {
        (truth.len(), truth.len(), truth.len())
    } else {
        let right = answer.iter().filter(|id| truth.contains(id)).count();
        (right, answer.len(), truth.len())
    };
    let same = diagnosis
        .hypotheses
        .iter()
        .zip(&of_class)
        .filter(|(_, same)| **same);
    let sure = if top1 {
        same.map(|(hypothesis, _)| hypothesis.probability).sum()
    } else {
        first.map_or(0.0, |first| first.probability)
    };
    let (kind, called) = match first.filter(|_| top1) {
        Some(first) => kinds(case, second, first, &answer),
        None => (None, String::new()),
    };
    let hypotheses = diagnosis.hypotheses.iter();
    Verdict {
        moment: asked,
        strict: answer == truth,
        truth,
        answers: hypotheses
            .map(|of| (of.causes.clone(), of.probability))
            .collect(),
        top1,
        top3: of_class.contains(&true),
        right,
        named,
        wanted,
        sure,
        not_in_model: diagnosis.not_in_model,
        kind,
        called,
        evidence: first
            .map(|first| first.evidence.clone())
            .unwrap_or_default(),
    }
}

fn is_ground(case: &Case, id: &str) -> bool {
    let part = case.estate.by_id.get(id).map(|ix| &case.estate.parts[*ix]);
    part.is_some_and(|part| part.kind < Kind::DhcpServer)
}

/// Whether the likeliest kind of each cause is one that is right for the fault it stands for.
fn kinds(
    case: &Case,
    second: i64,
    first: &Hypothesis,
    answer: &[String],
) -> (Option<bool>, String) {
    let mut all = true;
    let mut called = Vec::new();
    let begun: Vec<&Fault> = case
        .faults()
        .filter(|fault| fault.from() <= second)
        .collect();
    for id in answer {
        let own = begun.iter().find(|fault| fault.causes.contains(id));
        let fault = match (own, begun.as_slice()) {
            (Some(fault), _) => fault,
            // A switch in the place of a rack is judged; a lease in the place of the one who holds it is another thing.
            (None, [only]) if is_ground(case, id) => only,
            // Which of several it stands for is not decided.
            (None, _) => return (None, String::new()),
        };
        let kinds = first.faults.get(id).map(|fault| &fault.kind);
        let likeliest = kinds.and_then(|kinds| {
            kinds
                .iter()
                .max_by(|a, b| a.1.total_cmp(b.1))
                .map(|(kind, share)| (*kind, *share))
        });
        let is_right = likeliest.is_some_and(|(kind, _)| fault.kinds.contains(&kind));
        if !is_right {
            let wanted = fault
                .kinds
                .first()
                .map_or("", |kind: &FaultKind| kind.as_str());
            called.push(match likeliest {
                Some((kind, share)) => format!("{} {share:.2} for {wanted}", kind.as_str()),
                None => format!("nothing for {wanted}"),
            });
        }
        all &= is_right;
    }
    (Some(all), called.join(", "))
}
