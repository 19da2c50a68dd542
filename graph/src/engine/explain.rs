//! What the engine shows of itself: rows, the chain of evidence, the topology in force.

use std::collections::{BTreeMap, BTreeSet};

use super::condition::decide;
use super::model::{Edge, Stream};
use super::propagate::{NeedIs, state};
use super::{ComponentRef, Engine};
use crate::{Component, ComponentIx, Condition, Kind, Provenance, Relation, Status, Timestamp};

/// The most components that a chain of evidence shows: more than anybody reads.
const STEPS_MAX: usize = 200;

/// The most members of a group that are named.
const NAMED_MAX: usize = 5;

/// Why a component has its condition.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// The component asked for, then what it leads to, each once, nearest first.
    pub steps: Vec<Step>,
}

/// One component of the chain.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// How far from the component asked for.
    pub depth: u32,
    /// The component.
    pub component: ComponentIx,
    /// The row of the table that decided, in words.
    pub rule: &'static str,
    /// Its observations, newest first.
    pub evidence: Vec<EvidenceItem>,
    /// Its needs.
    pub needs: Vec<NeedReport>,
}

/// One observation, as evidence.
#[derive(Debug, Clone, PartialEq)]
pub struct EvidenceItem {
    /// The agent's host.
    pub vantage: String,
    /// The check.
    pub check: String,
    /// What was found.
    pub status: Status,
    /// One line for people.
    pub detail: String,
    /// When the probe ran.
    pub sampled_at: Timestamp,
    /// Whether it still counts.
    pub fresh: bool,
    /// Measured values with their names.
    pub values: Vec<(String, f64)>,
}

/// What became of a need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NeedState {
    /// There.
    There,
    /// Surely not there.
    Lost,
    /// Nobody knows.
    NotKnown,
}

impl NeedState {
    /// The words for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::There => "there",
            Self::Lost => "lost",
            Self::NotKnown => "not known",
        }
    }
}

/// One need and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NeedReport {
    /// In words: `etcd-1`, `2 of etcd-1, etcd-2, etcd-3`.
    pub need: String,
    /// Hard or soft, and in which phase; `in` for the container.
    pub relation: Relation,
    /// What became of it.
    pub state: NeedState,
    /// Lost although the component works: the edge may be wrong.
    pub contradicted: bool,
    /// The components that decide it, sorted.
    pub components: Vec<ComponentIx>,
}

/// A component and its edges, as the topology in force has it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopologyEntry {
    /// The component.
    pub component: ComponentIx,
    /// Its edges.
    pub needs: Vec<NeedReport>,
}

impl<'a> ComponentRef<'a> {
    fn node(&self) -> &'a super::Node {
        self.engine.model.node(self.ix)
    }

    /// Its index.
    #[must_use]
    pub const fn ix(&self) -> ComponentIx {
        self.ix
    }

    /// As it was declared or discovered.
    #[must_use]
    pub fn declared(&self) -> &'a Component {
        &self.node().component
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &'a str {
        &self.node().component.id
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.node().component.kind
    }

    /// Its condition.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.node().condition
    }

    /// Since when it has it.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        self.node().since
    }

    /// The class that it is counted in.
    #[must_use]
    pub fn class(&self) -> &'a str {
        &self.node().component.class
    }

    /// Where it is known from.
    #[must_use]
    pub fn provenance(&self) -> Provenance {
        self.node().component.provenance
    }

    /// The id of what it is in.
    #[must_use]
    pub fn container(&self) -> Option<&'a str> {
        self.node()
            .component
            .container
            .map(|ix| &*self.engine.model.node(ix).component.id)
    }

    /// Whether it is destroyed.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.node().gone
    }

    /// Until when work on it is planned.
    #[must_use]
    pub fn maintenance_until(&self) -> Option<Timestamp> {
        self.engine.maintenance.get(&self.ix).copied()
    }

    /// What it shares with others: as declared or discovered, and what its agent told besides.
    #[must_use]
    pub fn labels(&self) -> BTreeMap<&'a str, &'a str> {
        let told = self.engine.told.get(&self.ix).into_iter().flatten();
        told.chain(&self.node().component.labels)
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }

    /// How far it is, while it is starting and somebody tells.
    #[must_use]
    pub fn progress(&self) -> Option<f32> {
        self.speaking(Status::Starting)
            .and_then(super::Slot::progress)
            .filter(|_| self.condition() == Condition::Starting)
    }

    /// The newest measured values: (check, name, value).
    pub fn values(&self) -> impl Iterator<Item = (&'a str, &'a str, f64)> + use<'a> {
        let engine = self.engine;
        self.node()
            .slots
            .iter()
            .map(move |slot| &engine.slots[slot.index()])
            .filter(|slot| slot.fresh)
            .flat_map(|slot| {
                slot.value_names
                    .iter()
                    .zip(&slot.values)
                    .filter(|(_, value)| !value.is_nan())
                    .map(|(name, value)| (&*slot.check, &**name, *value))
            })
    }

    /// The fresh observation with this status that speaks for all: one from inside, if any, and of these the first by check
    /// and vantage. Not the newest: two checks would take turns, and the text with them.
    fn speaking(&self, status: Status) -> Option<&'a super::Slot> {
        let says = move |slot: &&super::Slot| slot.counts() && slot.status == status;
        let engine = self.engine;
        let slots = self.node().slots.iter();
        let mut said = slots.map(|slot| &engine.slots[slot.index()]).filter(says);
        let mut inside = said.clone().filter(|slot| slot.inside);
        inside.next().or_else(|| said.next())
    }

    /// One line: why it has its condition.
    #[must_use]
    pub fn reason(&self) -> String {
        let node = self.node();
        let said = |status: Status| {
            self.speaking(status)
                .map(|slot| slot.detail.to_string())
                .filter(|text| !text.is_empty())
        };
        let rule = || decide(&self.engine.facts(self.ix)).1.to_owned();
        match node.condition {
            _ if node.gone => "destroyed; it will not return".to_owned(),
            Condition::Up => said(Status::Ok).unwrap_or_else(rule),
            Condition::Degraded if node.evidence == Some(Status::Degraded) => {
                said(Status::Degraded).unwrap_or_else(rule)
            }
            Condition::Degraded => self
                .lost(false)
                .map_or_else(rule, |lost| format!("uses {lost}")),
            Condition::Starting => said(Status::Starting).unwrap_or_else(rule),
            Condition::Blocked if node.held => {
                "what it needs is back; waiting for a fresh look".to_owned()
            }
            Condition::Blocked => self
                .lost(true)
                .map_or_else(rule, |lost| format!("needs {lost}")),
            Condition::Down if node.is_stopped() => "stopped in order".to_owned(),
            Condition::Down => said(Status::Failed).unwrap_or_else(rule),
            Condition::Unreachable => rule(),
            Condition::Unknown if node.stream() == Some(Stream::Lost) => {
                "its agent is silent".to_owned()
            }
            Condition::Unknown if node.stream() == Some(Stream::Awaited) => {
                "its agent has not returned since the aggregator's restart".to_owned()
            }
            Condition::Unknown if node.slots.is_empty() => "nobody observes it".to_owned(),
            Condition::Unknown => "no fresh observation".to_owned(),
        }
    }

    /// The first lost need in words: `etcd-1, which is down`.
    fn lost(&self, hard: bool) -> Option<String> {
        let node = self.node();
        let edge = node.edges().find(|edge| {
            edge.relation.is_hard() == hard
                && (edge.relation.counts_while(node.is_running())
                    || edge.relation.counts_while(false) && node.evidence == Some(Status::Starting))
                && state(&self.engine.model, *edge) == NeedIs::Lost
        })?;
        let name = self.engine.words(edge);
        let culprit = self.engine.deciding(edge).into_iter().next();
        Some(match (edge.of, culprit) {
            ([member], Some(ix)) if *member == ix => {
                format!(
                    "{name}, which is {}",
                    self.engine.model.node(ix).condition.as_str()
                )
            }
            ([_], Some(ix)) => format!(
                "{name}, and {} on the way there is {}",
                self.engine.id(ix),
                self.engine.model.node(ix).condition.as_str()
            ),
            _ => format!("{name}, of which too few are left"),
        })
    }
}

impl Engine {
    fn id(&self, ix: ComponentIx) -> &str {
        &self.model.node(ix).component.id
    }

    /// The chain of evidence behind a component's condition; `None` when there is no such component.
    #[must_use]
    pub fn why(&self, id: &str) -> Option<Explanation> {
        let first = self.model.find(id)?;
        let mut steps = Vec::new();
        let mut seen = BTreeSet::from([first]);
        let mut level = vec![first];
        let mut depth = 0;
        while !level.is_empty() && steps.len() < STEPS_MAX {
            let mut next = Vec::new();
            for ix in level {
                let step = self.step(ix, depth);
                for need in step
                    .needs
                    .iter()
                    .filter(|need| need.state == NeedState::Lost)
                {
                    next.extend(
                        need.components
                            .iter()
                            .copied()
                            .filter(|ix| seen.insert(*ix)),
                    );
                }
                steps.push(step);
            }
            steps.truncate(STEPS_MAX);
            level = next;
            depth += 1;
        }
        Some(Explanation { steps })
    }

    /// Every component with its edges, sorted by id.
    #[must_use]
    pub fn topology(&self) -> Vec<TopologyEntry> {
        let mut entries: Vec<TopologyEntry> = self
            .components()
            .map(|component| TopologyEntry {
                component: component.ix(),
                needs: self.needs(component.ix()),
            })
            .collect();
        entries.sort_by(|a, b| self.id(a.component).cmp(self.id(b.component)));
        entries
    }

    fn step(&self, ix: ComponentIx, depth: u32) -> Step {
        let node = self.model.node(ix);
        let facts = self.facts(ix);
        let mut evidence: Vec<EvidenceItem> = node
            .slots
            .iter()
            .map(|slot| &self.slots[slot.index()])
            .filter(|slot| slot.sampled_at > Timestamp::NEVER)
            .map(|slot| EvidenceItem {
                vantage: self.id(slot.vantage).to_owned(),
                check: slot.check.to_string(),
                status: slot.status,
                detail: slot.detail.to_string(),
                sampled_at: slot.sampled_at,
                fresh: slot.fresh,
                values: slot
                    .value_names
                    .iter()
                    .map(|name| name.to_string())
                    .zip(slot.values.iter().copied())
                    .collect(),
            })
            .collect();
        evidence.sort_by(|a, b| {
            b.sampled_at
                .cmp(&a.sampled_at)
                .then_with(|| (&a.check, &a.vantage).cmp(&(&b.check, &b.vantage)))
        });
        let rule = if node.gone {
            "it is destroyed"
        } else {
            decide(&facts).1
        };
        Step {
            depth,
            component: ix,
            rule,
            evidence,
            needs: self.needs(ix),
        }
    }

    fn needs(&self, ix: ComponentIx) -> Vec<NeedReport> {
        let node = self.model.node(ix);
        node.edges()
            .map(|edge| {
                let state = match state(&self.model, edge) {
                    NeedIs::There => NeedState::There,
                    NeedIs::Lost => NeedState::Lost,
                    NeedIs::NotKnown => NeedState::NotKnown,
                };
                let counts =
                    edge.relation.is_hard() && edge.relation.counts_while(node.is_running());
                NeedReport {
                    need: self.words(edge),
                    relation: edge.relation,
                    state,
                    contradicted: state == NeedState::Lost
                        && counts
                        && node.evidence == Some(Status::Ok),
                    components: if state == NeedState::Lost {
                        self.deciding(edge)
                    } else {
                        edge.of.to_vec()
                    },
                }
            })
            .collect()
    }

    /// The lost members of a lost need, and what is lost on the way to them.
    fn deciding(&self, edge: Edge<'_>) -> Vec<ComponentIx> {
        let mut found = BTreeSet::new();
        for (member, path) in edge.members() {
            if self.model.node(member).lost {
                found.insert(member);
            }
            if self.model.path_is_lost(path) {
                for requirement in self.model.requirements(path).iter() {
                    found.extend(
                        requirement
                            .of
                            .iter()
                            .filter(|ix| self.model.node(**ix).lost),
                    );
                }
            }
        }
        found.into_iter().collect()
    }

    fn words(&self, edge: Edge<'_>) -> String {
        let named = edge.of.iter().take(NAMED_MAX);
        let mut names: Vec<&str> = named.map(|ix| self.id(*ix)).collect();
        names.sort_unstable();
        let more = edge.of.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        match edge.of.len() {
            1 => names.concat(),
            n if n == edge.at_least as usize => format!("all of {}{more}", names.join(", ")),
            _ => format!("{} of {}{more}", edge.at_least, names.join(", ")),
        }
    }
}
