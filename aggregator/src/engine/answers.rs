//! What the engine answers, free of its indices.

use blackstart_graph::EvidenceItem;

use crate::view::ComponentRow;

/// The chain of evidence behind a condition.
#[derive(Debug, Clone)]
pub(crate) struct WhyAnswer {
    pub(crate) steps: Vec<WhyStep>,
}

/// One component of the chain.
#[derive(Debug, Clone)]
pub(crate) struct WhyStep {
    pub(crate) depth: u32,
    pub(crate) component: ComponentRow,
    pub(crate) rule: &'static str,
    pub(crate) evidence: Vec<EvidenceItem>,
    pub(crate) needs: Vec<NeedAnswer>,
}

/// One need and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct NeedAnswer {
    pub(crate) need: String,
    pub(crate) relation: &'static str,
    pub(crate) state: &'static str,
    pub(crate) components: Vec<String>,
}

/// The topology in force.
#[derive(Debug, Clone)]
pub(crate) struct TopologyAnswer {
    pub(crate) components: Vec<TopologyRow>,
}

/// A component and its edges.
#[derive(Debug, Clone)]
pub(crate) struct TopologyRow {
    pub(crate) id: String,
    pub(crate) kind: &'static str,
    pub(crate) container: Option<String>,
    pub(crate) provenance: &'static str,
    pub(crate) needs: Vec<NeedAnswer>,
}
