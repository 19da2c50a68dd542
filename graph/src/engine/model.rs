//! The graph as the engine walks it: nodes with their edges, who depends on whom, and paths.
//!
//! **Invariant:** indices of nodes never change as long as the model lives; what discovery finds is appended.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::evidence::SlotId;
use crate::{
    Component, ComponentIx, Condition, Kind, Need, Relation, Requirement, Status, Timestamp,
    Topology,
};

/// What the aggregator knows of an agent on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) connected: bool,
    /// An orderly stop of the host was announced.
    pub(super) stopping: bool,
    pub(super) boot_id: String,
}

/// What a diagnosis holds, with at least nine in ten, of a component that nobody observes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Verdict {
    /// It, or a container of it, is without power or gone.
    WithoutPower,
    /// The path to it is lost.
    PathLost,
}

/// A path that is interned: the requirements that stand on it. 0 is the empty one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(super) struct PathId(u32);

/// A need with the paths to its members.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) relation: Relation,
    pub(super) requirement: Requirement,
    /// One per member; empty when every path is.
    pub(super) paths: Box<[PathId]>,
}

impl Edge {
    pub(super) fn members(&self) -> impl Iterator<Item = (ComponentIx, PathId)> + '_ {
        let path = |at: usize| self.paths.get(at).copied().unwrap_or_default();
        self.requirement
            .of
            .iter()
            .enumerate()
            .map(move |(at, member)| (*member, path(at)))
    }
}

#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) component: Component,
    pub(super) content: Vec<ComponentIx>,
    pub(super) edges: Vec<Edge>,
    /// Whose condition mentions this one: as a member of a need, or on a path.
    pub(super) dependents: Vec<ComponentIx>,
    /// Slots about this component.
    pub(super) slots: Vec<SlotId>,
    /// Slots whose vantage is this component.
    pub(super) seen_from_here: Vec<SlotId>,
    pub(super) evidence: Option<Status>,
    /// In its run phase: it was ok since its host's last boot and has not been starting since.
    pub(super) running: bool,
    pub(super) agent: Option<Agent>,
    pub(super) gone: bool,
    pub(super) maintenance_until: Option<Timestamp>,
    pub(super) verdict: Option<Verdict>,
    pub(super) lost: bool,
    pub(super) there: bool,
    pub(super) condition: Condition,
    pub(super) since: Timestamp,
    /// What blocked it is back; its old failure does not count before a fresh look.
    pub(super) held: bool,
    /// When a need of it was last lost.
    pub(super) blocked_until: Timestamp,
    /// It worked in the last stable time.
    pub(super) ran: bool,
    /// It worked in the last stable time and does not now.
    pub(super) missing: bool,
}

impl Node {
    pub(super) fn is_stopped(&self) -> bool {
        self.agent
            .as_ref()
            .is_some_and(|agent| agent.stopping && !agent.connected)
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) nodes: Vec<Node>,
    by_id: BTreeMap<Arc<str>, ComponentIx>,
    paths: Vec<Arc<[Requirement]>>,
    path_ids: BTreeMap<Arc<[Requirement]>, PathId>,
}

impl Model {
    pub(super) fn new(topology: &Topology, at: Timestamp) -> Self {
        let mut model = Self::default();
        model.intern(Vec::new());
        for component in topology.components() {
            model.push(component.clone(), at);
        }
        for at in 0..model.nodes.len() {
            model.connect(index(at));
        }
        model
    }

    pub(super) fn find(&self, id: &str) -> Option<ComponentIx> {
        self.by_id.get(id).copied()
    }

    pub(super) fn node(&self, ix: ComponentIx) -> &Node {
        &self.nodes[ix.index()]
    }

    pub(super) fn node_mut(&mut self, ix: ComponentIx) -> &mut Node {
        &mut self.nodes[ix.index()]
    }

    /// Appends a component with its edges.
    pub(super) fn append(&mut self, component: Component, at: Timestamp) -> ComponentIx {
        let ix = self.push(component, at);
        self.connect(ix);
        ix
    }

    /// What an inferred component turned out to be.
    pub(super) fn redefine(&mut self, ix: ComponentIx, component: Component) {
        self.node_mut(ix).component = component;
        self.connect(ix);
    }

    fn push(&mut self, component: Component, at: Timestamp) -> ComponentIx {
        let ix = index(self.nodes.len());
        self.by_id.insert(component.id.clone(), ix);
        let is_empty_group = component.kind == Kind::Group && component.needs.is_empty();
        self.nodes.push(Node {
            component,
            content: Vec::new(),
            edges: Vec::new(),
            dependents: Vec::new(),
            slots: Vec::new(),
            seen_from_here: Vec::new(),
            evidence: None,
            running: false,
            agent: None,
            gone: false,
            maintenance_until: None,
            verdict: None,
            lost: false,
            there: is_empty_group,
            condition: Condition::Unknown,
            since: at,
            held: false,
            blocked_until: Timestamp::default(),
            ran: false,
            missing: false,
        });
        ix
    }

    fn connect(&mut self, ix: ComponentIx) {
        let component = self.node(ix).component.clone();
        let mut edges = Vec::new();
        if let Some(container) = component.container {
            let requirement = Requirement {
                at_least: 1,
                of: Box::new([container]),
            };
            edges.push(Edge {
                relation: Relation::Container,
                requirement,
                paths: Box::default(),
            });
            self.node_mut(container).content.push(ix);
        }
        for Need {
            relation,
            requirement,
        } in component.needs
        {
            let paths: Box<[PathId]> = requirement
                .of
                .iter()
                .map(|member| self.path(ix, *member))
                .collect();
            let paths = if paths.iter().all(|path| path.0 == 0) {
                Box::default()
            } else {
                paths
            };
            edges.push(Edge {
                relation,
                requirement,
                paths,
            });
        }
        for edge in &edges {
            for (member, path) in edge.members() {
                self.depend(ix, member);
                self.depend_on_path(ix, path);
            }
        }
        self.node_mut(ix).edges = edges;
    }

    /// Notes that the condition of `dependent` mentions `on`.
    fn depend(&mut self, dependent: ComponentIx, on: ComponentIx) {
        let dependents = &mut self.node_mut(on).dependents;
        if dependents.last() != Some(&dependent) {
            dependents.push(dependent);
        }
    }

    /// Notes that the condition of `dependent` mentions what stands on the path.
    pub(super) fn depend_on_path(&mut self, dependent: ComponentIx, path: PathId) {
        for requirement in self.requirements(path).iter() {
            for member in &requirement.of {
                self.depend(dependent, *member);
            }
        }
    }

    pub(super) fn requirements(&self, path: PathId) -> Arc<[Requirement]> {
        self.paths[path.0 as usize].clone()
    }

    /// Whether the path is lost: one of its requirements is.
    pub(super) fn path_is_lost(&self, path: PathId) -> bool {
        path.0 != 0
            && self.paths[path.0 as usize].iter().any(|requirement| {
                let lost = requirement
                    .of
                    .iter()
                    .filter(|member| self.node(**member).lost)
                    .count();
                requirement.of.len() - lost < requirement.at_least as usize
            })
    }

    /// Whether `inner` is in `outer`, or is it.
    pub(super) fn is_inside(&self, inner: ComponentIx, outer: ComponentIx) -> bool {
        self.chain(inner).any(|step| step == outer)
    }

    /// The component, its container, and so on outwards.
    pub(super) fn chain(&self, ix: ComponentIx) -> impl Iterator<Item = ComponentIx> + '_ {
        std::iter::successors(Some(ix), |step| self.node(*step).component.container)
    }

    /// What stands between two components: the union of `reached_via` of everything that holds one of them and not both.
    pub(super) fn path(&mut self, from: ComponentIx, to: ComponentIx) -> PathId {
        let (a, b): (Vec<_>, Vec<_>) = (self.chain(from).collect(), self.chain(to).collect());
        let mut requirements: Vec<Requirement> = a
            .iter()
            .filter(|step| !b.contains(step))
            .chain(b.iter().filter(|step| !a.contains(step)))
            .flat_map(|step| self.node(*step).component.reached_via.iter())
            // What stands on the path is not in its own way.
            .filter(|requirement| !requirement.of.contains(&from) && !requirement.of.contains(&to))
            .cloned()
            .collect();
        requirements.sort();
        requirements.dedup();
        self.intern(requirements)
    }

    fn intern(&mut self, requirements: Vec<Requirement>) -> PathId {
        let key: Arc<[Requirement]> = requirements.into();
        if let Some(id) = self.path_ids.get(&key) {
            return *id;
        }
        let id = PathId(u32::try_from(self.paths.len()).unwrap_or(u32::MAX));
        self.paths.push(key.clone());
        self.path_ids.insert(key, id);
        id
    }
}

/// The index of a place in the table; the topology's bound keeps it far below the limit.
pub(super) fn index(at: usize) -> ComponentIx {
    ComponentIx(u32::try_from(at).unwrap_or(u32::MAX))
}
