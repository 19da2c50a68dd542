//! The graph as the engine walks it: nodes with their edges, who depends on whom, and paths.
//!
//! **Invariant:** indices of nodes never change as long as the model lives; what discovery finds is appended.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use super::node::{Edge, Node, PathId};
use crate::{Component, ComponentIx, Kind, Requirement, Timestamp, Topology};

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub(super) nodes: Vec<Node>,
    /// How many of the nodes, the first ones, were declared.
    pub(super) declared: usize,
    by_id: BTreeMap<Arc<str>, ComponentIx>,
    /// What stands on the path to the inside of which containers; sorted.
    behind: BTreeMap<ComponentIx, Vec<ComponentIx>>,
    aggregators: Vec<ComponentIx>,
    paths: Vec<Arc<[Requirement]>>,
    path_ids: BTreeMap<Arc<[Requirement]>, PathId>,
}

impl Model {
    pub(super) fn new(topology: Topology, at: Timestamp) -> Self {
        let mut model = Self::default();
        model.intern(Vec::new());
        let components = topology.into_components();
        model.declared = components.len();
        model.nodes.reserve_exact(components.len());
        for component in components {
            model.push(component, at);
        }
        for at in 0..model.nodes.len() {
            model.connect(index(at));
        }
        for node in &mut model.nodes {
            node.content.shrink_to_fit();
            node.dependents.shrink_to_fit();
        }
        model
    }

    pub(super) fn find(&self, id: &str) -> Option<ComponentIx> {
        self.by_id.get(id).copied()
    }

    /// The components whose id begins like this, sorted by id.
    pub(super) fn with_prefix(&self, prefix: &str) -> Vec<ComponentIx> {
        let from = (Bound::Included(prefix), Bound::Unbounded);
        self.by_id
            .range::<str, _>(from)
            .take_while(|(id, _)| id.starts_with(prefix))
            .map(|(_, ix)| *ix)
            .collect()
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

    /// Puts another description of a component in place, with its edges.
    pub(super) fn redefine(&mut self, ix: ComponentIx, component: Component) {
        let node = self.node(ix);
        let moved = node.component.container != component.container;
        let before: Vec<ComponentIx> = node
            .edges()
            .flat_map(Edge::members)
            .map(|(member, _)| member)
            .collect();
        for member in before {
            remove(&mut self.node_mut(member).dependents, ix);
        }
        let path = self.node(ix).component.reached_via.iter();
        let path: Vec<ComponentIx> = path
            .flat_map(|requirement| requirement.of.to_vec())
            .collect();
        for member in path {
            if let Some(behind) = self.behind.get_mut(&member) {
                remove(behind, ix);
            }
        }
        if let Some(outer) = self.node(ix).component.container {
            remove(&mut self.node_mut(outer).content, ix);
        }
        self.node_mut(ix).component = component;
        self.connect(ix);
        if moved {
            self.find_paths_again(ix);
        }
    }

    fn push(&mut self, component: Component, at: Timestamp) -> ComponentIx {
        let ix = index(self.nodes.len());
        self.by_id.insert(component.id.clone(), ix);
        if component.kind == Kind::Aggregator {
            self.aggregators.push(ix);
        }
        self.nodes.push(Node::new(component, at));
        ix
    }

    /// How many components have, or had, an agent on them.
    pub(super) fn agents(&self) -> usize {
        let nodes = self.nodes.iter();
        nodes.filter(|node| node.agent.is_some()).count()
    }

    /// The containers that a component stands on the path to.
    pub(super) fn behind(&self, ix: ComponentIx) -> Option<&Vec<ComponentIx>> {
        self.behind.get(&ix)
    }

    /// The aggregator, if the topology has one; of several, the first by id.
    pub(super) fn aggregator(&self) -> Option<ComponentIx> {
        let all = self.aggregators.iter().copied();
        all.min_by(|a, b| self.node(*a).component.id.cmp(&self.node(*b).component.id))
    }

    fn connect(&mut self, ix: ComponentIx) {
        if let Some(container) = self.node(ix).component.container {
            insert(&mut self.node_mut(container).content, ix);
        }
        let members: Vec<ComponentIx> = self
            .node(ix)
            .edges()
            .flat_map(|edge| edge.of.iter().copied())
            .collect();
        for member in members {
            insert(&mut self.node_mut(member).dependents, ix);
        }
        let node = &self.nodes[ix.index()];
        for requirement in &node.component.reached_via {
            for member in &requirement.of {
                insert(self.behind.entry(*member).or_default(), ix);
            }
        }
        self.find_paths(ix);
    }

    /// Finds the paths to what a component needs.
    fn find_paths(&mut self, ix: ComponentIx) {
        let members: Vec<ComponentIx> = self
            .node(ix)
            .component
            .needs
            .iter()
            .flat_map(|need| need.requirement.of.iter().copied())
            .collect();
        let paths: Vec<PathId> = members
            .into_iter()
            .map(|member| self.path(ix, member))
            .collect();
        if paths.iter().all(|path| path.0 == 0) {
            self.node_mut(ix).paths = Box::default();
            return;
        }
        for path in &paths {
            self.depend_on_path(ix, *path);
        }
        self.node_mut(ix).paths = paths.into();
    }

    /// After a component moved: the paths to it and to all that is in it, and from there, may be others.
    fn find_paths_again(&mut self, ix: ComponentIx) {
        let mut touched = self.inside(ix);
        touched.push(ix);
        for at in 0..touched.len() {
            let dependents = self.node(touched[at]).dependents.clone();
            touched.extend(dependents);
        }
        touched.sort_unstable();
        touched.dedup();
        for ix in touched {
            self.find_paths(ix);
        }
    }

    /// Everything in a component, at any depth.
    pub(super) fn inside(&self, ix: ComponentIx) -> Vec<ComponentIx> {
        let mut found = Vec::new();
        let mut open = self.node(ix).content.clone();
        while let Some(ix) = open.pop() {
            found.push(ix);
            open.extend_from_slice(&self.node(ix).content);
        }
        found
    }

    /// Notes that the condition of `dependent` mentions what stands on the path.
    pub(super) fn depend_on_path(&mut self, dependent: ComponentIx, path: PathId) {
        for requirement in self.requirements(path).iter() {
            for member in &requirement.of {
                insert(&mut self.node_mut(*member).dependents, dependent);
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
        let stands_somewhere = |end| {
            self.chain(end)
                .any(|step| !self.node(step).component.reached_via.is_empty())
        };
        if !stands_somewhere(from) && !stands_somewhere(to) {
            return PathId::default();
        }
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

/// Puts an index where it belongs; nearly always that is the end.
fn insert(sorted: &mut Vec<ComponentIx>, ix: ComponentIx) {
    match sorted.last() {
        Some(last) if *last < ix => sorted.push(ix),
        None => sorted.push(ix),
        Some(_) => {
            if let Err(at) = sorted.binary_search(&ix) {
                sorted.insert(at, ix);
            }
        }
    }
}

fn remove(sorted: &mut Vec<ComponentIx>, ix: ComponentIx) {
    if let Ok(at) = sorted.binary_search(&ix) {
        sorted.remove(at);
    }
}

/// The index of a place in the table; the topology's bound keeps it far below the limit.
pub(super) fn index(at: usize) -> ComponentIx {
    ComponentIx(u32::try_from(at).unwrap_or(u32::MAX))
}
