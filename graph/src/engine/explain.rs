//! What the engine shows of itself beside rows: the chain of evidence, the topology in force.

use std::collections::BTreeSet;

use super::Engine;
use super::condition::decide;
use super::node::Edge;
use super::propagate::{NeedIs, state};
use crate::{ComponentIx, Relation, Status, Timestamp};

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

impl Engine {
    pub(super) fn id(&self, ix: ComponentIx) -> &str {
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
    pub(super) fn deciding(&self, edge: Edge<'_>) -> Vec<ComponentIx> {
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

    pub(super) fn words(&self, edge: Edge<'_>) -> String {
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
