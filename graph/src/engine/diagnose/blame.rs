//! Who could be to blame: everything that leads to a symptom, with what it costs to assume its fault.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::super::model::index;
use super::super::symptom::Ill;
use super::Cost;
use super::board::Board;
use super::case::{Case, LOOKS_APART, Seen, is_composite_of, is_power};
use super::reach::Reach;
use crate::{ComponentIx, Kind, Status, Timestamp};

/// The most components that are looked at; those that lead to most symptoms come first.
const CANDIDATES_MAX: usize = 2_048;
/// How far up from a symptom a cause is looked for.
const DEPTH_MAX: u32 = 12;
/// The most members of a redundant group that are taken as one cause together.
const REDUNDANT_MAX: usize = 4;
/// How many supplies one after the other are followed behind those of a rack: a unit, a battery, a transfer switch, a feed.
const SUPPLIES_MAX: usize = 4;
/// A change up to so long before the first symptom may be its cause.
const ACTION_BEFORE: Duration = Duration::from_secs(3_600);
/// A change so shortly before is likelier to be.
const ACTION_JUST_BEFORE: Duration = Duration::from_secs(600);
/// From so many components on that only one vantage sees fail, it is asked whether the vantage is sick.
const ACCUSED_MIN: usize = 3;
/// The most symptoms that are asked what leads to them; of more, evenly chosen ones.
const SYMPTOMS_MAX: usize = 20_000;
/// What it costs more that of a silent host only the agent is gone: for a start the host itself is suspected.
const ONLY_THE_AGENT: Cost = 300;
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
    let (ranked, truncated) = ranked(case);
    let mut causes = Vec::new();
    let mut groups = BTreeSet::new();
    for ix in &ranked {
        itself(case, *ix, &mut causes);
        redundant_inputs(case, *ix, &mut groups, &mut causes);
    }
    labels(case, &mut causes);
    actions(case, &mut causes);
    vantages(case, &mut causes);
    isolation(case, &mut causes);
    (causes, truncated)
}

/// Components that lead to a symptom: those that lead to most of them first; then those that are ill although nothing that
/// they need is, however far down the chain.
fn ranked(case: &Case<'_>) -> (Vec<ComponentIx>, bool) {
    let components = case.engine.model.nodes.len();
    let mut below: Board<u32> = Board::new(components);
    let mut met: Board<()> = Board::new(components);
    let stride = case.seen.len() / SYMPTOMS_MAX + 1;
    for ix in case.seen.keys().step_by(stride) {
        met.clear();
        for cause in leads_to(case, ix, &mut met) {
            match below.get_mut(cause) {
                Some(count) => *count += 1,
                None => below.insert(cause, 1),
            }
        }
    }
    let mut ranked: Vec<(u32, ComponentIx)> =
        below.iter().map(|(ix, count)| (*count, ix)).collect();
    // By id where as many follow: what joined in which order decides nothing.
    let id = |ix: ComponentIx| &case.node(ix).component.id;
    ranked.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| id(a.1).cmp(id(b.1))));
    let truncated = ranked.len() > CANDIDATES_MAX || stride > 1;
    let mut ranked: Vec<ComponentIx> = ranked.into_iter().map(|(_, ix)| ix).collect();
    if ranked.len() > CANDIDATES_MAX {
        let rest = ranked.split_off(CANDIDATES_MAX / 2);
        let tops = rest.into_iter().filter(|ix| is_top(case, *ix));
        ranked.extend(tops.take(CANDIDATES_MAX / 2));
    }
    (ranked, truncated)
}

/// Whether it is ill and nothing that it needs, is in or is reached by is.
fn is_top(case: &Case<'_>, ix: ComponentIx) -> bool {
    case.seen.contains_key(&ix) && !above(case, ix).any(|up| case.seen.contains_key(&up))
}

/// What it needs, is in or is reached by.
fn above<'a>(case: &Case<'a>, ix: ComponentIx) -> impl Iterator<Item = ComponentIx> + use<'a> {
    let node = case.node(ix);
    let needs = node.edges().flat_map(|edge| edge.of.iter().copied());
    let paths = node.component.reached_via.iter();
    needs.chain(paths.flat_map(|requirement| requirement.of.iter().copied()))
}

fn may_be_cause(case: &Case<'_>, ix: ComponentIx) -> bool {
    let node = case.node(ix);
    node.component.kind != Kind::Group && !node.gone && !case.engine.maintenance.contains_key(&ix)
}

/// Itself and everything that it needs, is in or is reached by, at any depth up to the bound. `met`: an empty table.
fn leads_to(case: &Case<'_>, ix: ComponentIx, met: &mut Board<()>) -> Vec<ComponentIx> {
    let mut found = vec![ix];
    met.insert(ix, ());
    // Its members share what is wrong with a service as a whole.
    for outer in &case.node(ix).dependents {
        if is_composite_of(&case.engine.model, case.node(*outer), ix) && !met.contains_key(outer) {
            met.insert(*outer, ());
            found.push(*outer);
        }
    }
    let mut from = 0;
    for _ in 0..DEPTH_MAX {
        let level = from..found.len();
        from = found.len();
        for at in level {
            for up in above(case, found[at]) {
                if !met.contains_key(&up) {
                    met.insert(up, ());
                    found.push(up);
                }
            }
        }
    }
    found.retain(|ix| may_be_cause(case, *ix));
    found
}

/// Whether it was seen to work in the course of the incident, from inside or from more than one place.
pub(super) fn is_cleared(case: &Case<'_>, ix: ComponentIx) -> bool {
    if !case.worked_through(ix, case.first) {
        return false;
    }
    let since = case.first.plus(LOOKS_APART);
    let node = case.node(ix);
    if node.has_open_stream() {
        return true;
    }
    let slots = node
        .slots
        .iter()
        .map(|slot| &case.engine.slots[slot.index()]);
    let mut well =
        slots.filter(|slot| slot.fresh && slot.status == Status::Ok && slot.sampled_at >= since);
    let Some(first) = well.next() else {
        return false;
    };
    first.inside || well.any(|slot| slot.inside || slot.vantage != first.vantage)
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
    if is_cleared(case, ix) {
        return;
    }
    let prior = prior(node.component.kind) - provider_says(case, ix);
    if seen.is_some_and(|seen| seen.symptom.worst == Ill::Silent) {
        causes.push(Cause {
            ids: vec![node.component.id.to_string()],
            seeds: vec![ix],
            mode: Reach::Mute,
            prior: prior + ONLY_THE_AGENT,
            since: seen.map(|seen| seen.symptom.onset),
            nature: Nature::Component,
        });
    }
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

/// Redundant inputs that nobody watches, or that all failed: only together they explain what is lost. Of supplies, also those
/// that stand behind them.
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
        let mut members = edge.of.to_vec();
        together(case, members.clone(), done, causes);
        for _ in 0..SUPPLIES_MAX {
            let behind: Option<Vec<ComponentIx>> =
                members.iter().map(|ix| supply_of(case, *ix)).collect();
            let Some(mut behind) = behind else {
                break;
            };
            behind.sort_unstable();
            behind.dedup();
            if behind.len() < members.len() {
                break;
            }
            together(case, behind.clone(), done, causes);
            members = behind;
        }
    }
}

/// The one supply that a supply cannot do without.
fn supply_of(case: &Case<'_>, ix: ComponentIx) -> Option<ComponentIx> {
    let is_supply = |ix: ComponentIx| is_power(case.node(ix).component.kind);
    let mut needs = case.node(ix).edges().filter(|edge| {
        edge.relation.is_hard() && edge.of.len() == 1 && is_supply(edge.of[0]) && is_supply(ix)
    });
    needs.next().map(|edge| edge.of[0])
}

/// Some components that failed together, one after the other by the same load if they are supplies.
fn together(
    case: &Case<'_>,
    members: Vec<ComponentIx>,
    done: &mut BTreeSet<Vec<ComponentIx>>,
    causes: &mut Vec<Cause>,
) {
    let may = |ix: &ComponentIx| may_be_cause(case, *ix) && !is_cleared(case, *ix);
    if !members.iter().all(may) || !done.insert(members.clone()) {
        return;
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
    let word = members.iter().map(|ix| provider_says(case, *ix)).min();
    causes.push(Cause {
        ids: members
            .iter()
            .map(|ix| case.node(*ix).component.id.to_string())
            .collect(),
        prior: priors[0] + others - word.unwrap_or(0),
        since: onsets.map(|seen| seen.symptom.onset).min(),
        seeds: members,
        mode: Reach::Lost,
        nature: Nature::Component,
    });
}

/// Whether those with a label are ill more often than those with another value of it. Each: how many there are, how many of them are ill.
const fn tells_apart(with: (u32, u32), without: (u32, u32)) -> bool {
    let (with, ill_with) = (with.0 as u64, with.1 as u64);
    let (without, ill_without) = (without.0 as u64, without.1 as u64);
    ill_with * without >= 2 * ill_without * with
}

fn labels(case: &Case<'_>, causes: &mut Vec<Cause>) {
    let mut sick: BTreeMap<(&str, &str), u32> = BTreeMap::new();
    for ix in case.seen.keys() {
        for (key, value) in &case.node(ix).component.labels {
            *sick.entry((key, value)).or_default() += 1;
        }
    }
    sick.retain(|_, count| *count >= 2);
    if sick.is_empty() {
        return;
    }
    let mut holders: BTreeMap<(&str, &str), Vec<ComponentIx>> = BTreeMap::new();
    let mut of_key: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for (at, node) in case.engine.model.nodes.iter().enumerate() {
        for (key, value) in &node.component.labels {
            let label = (key.as_str(), value.as_str());
            let (all, ill) = of_key.entry(key).or_default();
            *all += 1;
            *ill += u32::from(case.seen.contains_key(&index(at)));
            if sick.contains_key(&label) {
                holders.entry(label).or_default().push(index(at));
            }
        }
    }
    for ((key, value), seeds) in holders {
        let (all, ill) = of_key[key];
        let here = (
            u32::try_from(seeds.len()).unwrap_or(u32::MAX),
            sick[&(key, value)],
        );
        if !tells_apart(here, (all - here.0, ill - here.1)) {
            continue;
        }
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
        let first = first.min().unwrap_or(case.first);
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

/// A vantage that sees things fail that nobody else sees.
fn vantages(case: &Case<'_>, causes: &mut Vec<Cause>) {
    let mut accused: BTreeMap<&str, (ComponentIx, Vec<ComponentIx>)> = BTreeMap::new();
    for (ix, seen) in case.seen.iter() {
        if let Some(accuser) = seen.accuser {
            let id = &*case.node(accuser).component.id;
            let (_, seeds) = accused.entry(id).or_insert((accuser, Vec::new()));
            seeds.push(ix);
        }
    }
    for (id, (accuser, seeds)) in accused {
        if seeds.len() >= ACCUSED_MIN && may_be_cause(case, accuser) {
            causes.push(Cause {
                ids: vec![id.to_owned()],
                seeds,
                mode: Reach::Soft,
                prior: 13_500,
                since: None,
                nature: Nature::Vantage,
            });
        }
    }
}

/// The aggregator hears, or heard for a while, nearly nobody.
fn isolation(case: &Case<'_>, causes: &mut Vec<Cause>) {
    let was_silent =
        |(ix, seen): (ComponentIx, &Seen)| (seen.symptom.worst == Ill::Silent).then_some(ix);
    let seeds: Vec<ComponentIx> = case.seen.iter().filter_map(was_silent).collect();
    if seeds.len() < ACCUSED_MIN || seeds.len() * 10 < case.engine.model.agents() * 9 {
        return;
    }
    let id = case.aggregator.map_or_else(
        || "aggregator".to_owned(),
        |ix| case.node(ix).component.id.to_string(),
    );
    causes.push(Cause {
        ids: vec![id],
        seeds,
        mode: Reach::Lost,
        prior: 13_200,
        since: None,
        nature: Nature::Isolation,
    });
}

/// The cost of assuming a fault of a kind at a given minute: the logarithm of the minutes between two of them.
#[expect(clippy::cast_possible_truncation, reason = "a cost has five digits")]
fn prior(kind: Kind) -> Cost {
    const MINUTES_PER_YEAR: f64 = 525_600.0;
    let rate = kind.prior_faults_per_year().max(0.01);
    (((MINUTES_PER_YEAR / rate).ln() * 1_000.0) as Cost).min(15_500)
}
