//! Who could be to blame: everything that leads to a symptom, with what it costs to assume its fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::model::index;
use super::super::symptom::Ill;
use super::Cost;
use super::case::{Case, is_composite_of, is_power};
use super::reach::Reach;
use crate::{ComponentIx, Kind, Timestamp};

/// The most components that are looked at; those that lead to most symptoms come first.
const CANDIDATES_MAX: usize = 2_048;
/// How far up from a symptom a cause is looked for.
const DEPTH_MAX: u32 = 12;
/// The most members of a redundant group that are taken as one cause together.
const REDUNDANT_MAX: usize = 4;
/// A change up to so long before the first symptom may be its cause.
const ACTION_BEFORE: Duration = Duration::from_secs(3_600);
/// A change so shortly before is likelier to be.
const ACTION_JUST_BEFORE: Duration = Duration::from_secs(600);
/// From so many components on that only one vantage sees fail, it is asked whether the vantage is sick.
const ACCUSED_MIN: usize = 3;
/// The load of the first of two supplies trips the second every other time.
const LOAD_TRIPS: Cost = 700;

/// What could be to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Nature {
    /// A component, or redundant inputs together.
    Component,
    /// What some components have in common.
    Label,
    /// What somebody did.
    Action,
    /// An agent that sees things fail that work.
    Vantage,
    /// The aggregator hears nobody any more.
    Isolation,
}

impl Nature {
    /// Whether the cause is where it begins, and does not only touch it.
    pub(super) const fn is_where_it_begins(self) -> bool {
        matches!(self, Self::Component)
    }
}

/// Something that could be to blame.
#[derive(Debug, Clone)]
pub(super) struct Cause {
    /// How it is named: one id, or those of redundant inputs that can only be to blame together.
    pub(super) ids: Vec<String>,
    /// Where it begins.
    pub(super) seeds: Vec<ComponentIx>,
    /// What it does to where it begins.
    pub(super) mode: Reach,
    /// What it costs to assume it.
    pub(super) prior: Cost,
    /// It cannot have done anything before.
    pub(super) since: Option<Timestamp>,
    pub(super) nature: Nature,
}

/// Everything that leads to a symptom; and whether there was more than is looked at.
pub(super) fn candidates(case: &Case<'_>) -> (Vec<Cause>, bool) {
    let mut below: BTreeMap<ComponentIx, u32> = BTreeMap::new();
    for ix in case.seen.keys() {
        for cause in leads_to(case, *ix) {
            *below.entry(cause).or_default() += 1;
        }
    }
    let mut ranked: Vec<(u32, ComponentIx)> =
        below.into_iter().map(|(ix, count)| (count, ix)).collect();
    // By id where as many follow: what joined in which order decides nothing.
    let id = |ix: ComponentIx| &case.node(ix).component.id;
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| id(a.1).cmp(id(b.1))));
    let truncated = ranked.len() > CANDIDATES_MAX;
    ranked.truncate(CANDIDATES_MAX);
    let mut causes = Vec::new();
    let mut groups = BTreeSet::new();
    for (_, ix) in &ranked {
        itself(case, *ix, &mut causes);
        redundant_inputs(case, *ix, &mut groups, &mut causes);
    }
    labels(case, &mut causes);
    actions(case, &mut causes);
    observers(case, &mut causes);
    (causes, truncated)
}

fn may_be_cause(case: &Case<'_>, ix: ComponentIx) -> bool {
    let node = case.node(ix);
    node.component.kind != Kind::Group && !node.gone && !case.engine.maintenance.contains_key(&ix)
}

/// Itself and everything that it needs, is in or is reached by, at any depth up to the bound.
fn leads_to(case: &Case<'_>, ix: ComponentIx) -> BTreeSet<ComponentIx> {
    let mut found = BTreeSet::from([ix]);
    // Its members share what is wrong with a service as a whole.
    let composites = case.node(ix).dependents.iter().copied();
    found.extend(composites.filter(|outer| is_composite_of(case.node(*outer), ix)));
    let mut level: Vec<ComponentIx> = found.iter().copied().collect();
    for _ in 0..DEPTH_MAX {
        let mut next = Vec::new();
        for ix in level.drain(..) {
            let node = case.node(ix);
            let needs = node.edges().flat_map(|edge| edge.of.iter().copied());
            let paths = node.component.reached_via.iter();
            let paths = paths.flat_map(|requirement| requirement.of.iter().copied());
            next.extend(needs.chain(paths).filter(|up| found.insert(*up)));
        }
        if next.is_empty() {
            break;
        }
        level = next;
    }
    found.retain(|ix| may_be_cause(case, *ix));
    found
}

fn itself(case: &Case<'_>, ix: ComponentIx, causes: &mut Vec<Cause>) {
    let node = case.node(ix);
    let seen = case.seen.get(&ix);
    let soft = if is_power(node.component.kind) {
        Reach::Sag
    } else {
        Reach::Soft
    };
    let modes: &[Reach] = match seen.map(|seen| seen.symptom.worst) {
        Some(Ill::Degraded | Ill::Starting) => &[soft],
        Some(_) => &[Reach::Lost],
        None => &[Reach::Lost, soft],
    };
    let prior = prior(node.component.kind) - provider_says(case, ix);
    for mode in modes {
        let extra = match impaired(node.component.kind) {
            _ if *mode != soft || seen.is_some() => 0,
            Some(extra) => extra,
            None => continue,
        };
        causes.push(Cause {
            ids: vec![node.component.id.to_string()],
            seeds: vec![ix],
            mode: *mode,
            prior: prior + extra,
            since: seen.map(|seen| seen.symptom.onset),
            nature: Nature::Component,
        });
    }
}

/// What it costs more that something is not lost but not well either, where nobody sees it; `None` where there is nothing between.
const fn impaired(kind: Kind) -> Option<Cost> {
    match kind {
        Kind::Datacenter | Kind::Building | Kind::Room | Kind::Rack => None,
        kind if is_power(kind) => Some(3_000),
        Kind::Provider | Kind::Region | Kind::Zone | Kind::Host | Kind::Vm => Some(4_000),
        _ => Some(0),
    }
}

/// What a provider's own word takes off the cost of blaming a part of it.
fn provider_says(case: &Case<'_>, ix: ComponentIx) -> Cost {
    let outer = case.engine.model.chain(ix);
    let words = outer.filter_map(|step| case.engine.provider.get(&step));
    let weights = words.map(|word| match &*word.indicator {
        "critical" | "major" => 2_000,
        "minor" => 1_000,
        _ => 0,
    });
    weights.max().unwrap_or(0)
}

/// Redundant inputs that nobody watches, or that all failed: only together they explain what is lost.
fn redundant_inputs(
    case: &Case<'_>,
    ix: ComponentIx,
    done: &mut BTreeSet<Vec<ComponentIx>>,
    causes: &mut Vec<Cause>,
) {
    for edge in case.node(ix).edges() {
        let is_redundant = edge.relation.is_hard() && edge.of.len() > edge.at_least as usize;
        if !is_redundant || edge.of.len() > REDUNDANT_MAX {
            continue;
        }
        let may = |ix: &ComponentIx| may_be_cause(case, *ix) && !case.is_healthy(*ix);
        let members = edge.of.to_vec();
        if !members.iter().all(may) || !done.insert(members.clone()) {
            continue;
        }
        let kinds = members.iter().map(|ix| case.node(*ix).component.kind);
        let mut priors: Vec<Cost> = kinds.clone().map(prior).collect();
        priors.sort_unstable();
        let is_supply = kinds.clone().all(is_power);
        let others = priors[1..].iter();
        let others: Cost = others
            .map(|cost| if is_supply { LOAD_TRIPS } else { *cost })
            .sum();
        let onsets = members.iter().filter_map(|ix| case.seen.get(ix));
        causes.push(Cause {
            ids: members
                .iter()
                .map(|ix| case.node(*ix).component.id.to_string())
                .collect(),
            prior: priors[0] + others,
            since: onsets.map(|seen| seen.symptom.onset).min(),
            seeds: members,
            mode: Reach::Lost,
            nature: Nature::Component,
        });
    }
}

fn labels(case: &Case<'_>, causes: &mut Vec<Cause>) {
    let mut sick: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for ix in case.seen.keys() {
        for (key, value) in &case.node(*ix).component.labels {
            *sick.entry((key, value)).or_default() += 1;
        }
    }
    sick.retain(|_, count| *count >= 2);
    if sick.is_empty() {
        return;
    }
    let mut holders: BTreeMap<(&str, &str), Vec<ComponentIx>> = BTreeMap::new();
    for (at, node) in case.engine.model.nodes.iter().enumerate() {
        for (key, value) in &node.component.labels {
            let label = (key.as_str(), value.as_str());
            if sick.contains_key(&label) {
                holders.entry(label).or_default().push(index(at));
            }
        }
    }
    for ((key, value), seeds) in holders {
        for mode in [Reach::Lost, Reach::Soft] {
            causes.push(Cause {
                ids: vec![format!("label:{key}={value}")],
                seeds: seeds.clone(),
                mode,
                prior: 14_500,
                since: None,
                nature: Nature::Label,
            });
        }
    }
}

fn actions(case: &Case<'_>, causes: &mut Vec<Cause>) {
    for (id, action) in &case.engine.actions {
        let touched = action.affects.iter();
        let seeds: Vec<ComponentIx> = touched
            .filter_map(|id| case.engine.model.find(id))
            .collect();
        let onsets = seeds.iter().filter_map(|ix| case.seen.get(ix));
        let onsets = onsets.map(|seen| seen.symptom.onset);
        // Seen by a look that may be a period late; done before what it did.
        let first = onsets.filter(|onset| onset.plus(Duration::from_secs(60)) >= action.at);
        let first = first.min().unwrap_or(case.first());
        let lead = first.since(action.at);
        if seeds.is_empty()
            || lead > ACTION_BEFORE
            || action.at > first.plus(Duration::from_secs(60))
        {
            continue;
        }
        causes.push(Cause {
            ids: vec![format!("action:{id}")],
            seeds,
            mode: Reach::Soft,
            prior: if lead <= ACTION_JUST_BEFORE {
                10_500
            } else {
                12_000
            },
            since: Some(action.at),
            nature: Nature::Action,
        });
    }
}

/// One vantage that sees things fail that nobody else sees, and the aggregator that hears nobody any more.
fn observers(case: &Case<'_>, causes: &mut Vec<Cause>) {
    let mut accused: BTreeMap<ComponentIx, Vec<ComponentIx>> = BTreeMap::new();
    let mut silent = Vec::new();
    for (ix, seen) in &case.seen {
        if let Some(accuser) = seen.accuser {
            accused.entry(accuser).or_default().push(*ix);
        }
        if seen.symptom.worst == Ill::Silent && seen.symptom.well_since.is_none() {
            silent.push(*ix);
        }
    }
    for (accuser, seeds) in accused {
        if seeds.len() >= ACCUSED_MIN && may_be_cause(case, accuser) {
            causes.push(Cause {
                ids: vec![case.node(accuser).component.id.to_string()],
                seeds,
                mode: Reach::Soft,
                prior: 13_500,
                since: None,
                nature: Nature::Vantage,
            });
        }
    }
    let nodes = case.engine.model.nodes.iter();
    let agents = nodes.filter(|node| node.agent.is_some()).count();
    if silent.len() >= ACCUSED_MIN && silent.len() * 10 >= agents * 9 {
        let id = case.aggregator.map_or_else(
            || "aggregator".to_owned(),
            |ix| case.node(ix).component.id.to_string(),
        );
        causes.push(Cause {
            ids: vec![id],
            seeds: silent,
            mode: Reach::Lost,
            prior: 13_200,
            since: None,
            nature: Nature::Isolation,
        });
    }
}

/// The cost of assuming a fault of a kind at a given minute: the logarithm of the minutes between two of them.
#[expect(clippy::cast_possible_truncation, reason = "a cost has five digits")]
fn prior(kind: Kind) -> Cost {
    const MINUTES_PER_YEAR: f64 = 525_600.0;
    let rate = kind.prior_faults_per_year().max(0.01);
    (((MINUTES_PER_YEAR / rate).ln() * 1_000.0) as Cost).min(15_500)
}
