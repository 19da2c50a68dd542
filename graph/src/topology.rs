//! The declared topology: what is in what and what needs what, proven to be sound.
//!
//! **Invariant:** components are sorted by id, every reference points at one of them, and
//! containment has no cycle. Cycles among needs are real and accepted.

mod build;
mod parse;
mod range;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Kind;

/// The ids that an entry stands for, if it is one or a range of them.
pub(crate) fn expand(entry: &str) -> Option<Vec<String>> {
    let expanded = range::expand(entry).ok()?;
    Some(expanded.names.into_iter().map(|(name, _)| name).collect())
}

/// A component's place in the engine's tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ComponentIx(pub u32);

impl ComponentIx {
    /// As an index of a slice.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where the knowledge of a component comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Provenance {
    /// From the topology file.
    Declared,
    /// An agent found it.
    Discovered,
    /// Somebody reported on it, or an agent runs on it.
    Inferred,
}

impl Provenance {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Declared => "declared",
            Self::Discovered => "discovered",
            Self::Inferred => "inferred",
        }
    }
}

/// How a component relates to something that it needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It is in it.
    Container,
    /// Hard, in both phases.
    Needs,
    /// Hard, while starting.
    NeedsToStart,
    /// Hard, while running.
    NeedsToRun,
    /// Soft, in both phases.
    Uses,
    /// Soft, while starting.
    UsesToStart,
    /// Soft, while running.
    UsesToRun,
}

impl Relation {
    /// The key of the topology file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Container => "in",
            Self::Needs => "needs",
            Self::NeedsToStart => "needs_to_start",
            Self::NeedsToRun => "needs_to_run",
            Self::Uses => "uses",
            Self::UsesToStart => "uses_to_start",
            Self::UsesToRun => "uses_to_run",
        }
    }

    /// Without it: lost, not merely degraded.
    #[must_use]
    pub const fn is_hard(self) -> bool {
        !matches!(self, Self::Uses | Self::UsesToStart | Self::UsesToRun)
    }

    /// Whether it counts in the phase.
    #[must_use]
    pub const fn counts_while(self, running: bool) -> bool {
        match self {
            Self::NeedsToStart | Self::UsesToStart => !running,
            Self::NeedsToRun | Self::UsesToRun => running,
            _ => true,
        }
    }
}

/// What is asked for: at least so many of these. One component is one of one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// How many must be there; from 1 to the number of members.
    pub at_least: u32,
    /// Of which; sorted, each once.
    pub of: Box<[ComponentIx]>,
}

/// A need of a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Hard or soft, and in which phase.
    pub relation: Relation,
    /// What is asked for.
    pub requirement: Requirement,
}

/// A component as it was declared or discovered.
#[derive(Debug, Clone, PartialEq)]
pub struct Component {
    /// Its id.
    pub id: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// What it is in.
    pub container: Option<ComponentIx>,
    /// The class that it is counted in.
    pub class: Arc<str>,
    /// Its weight in overall progress.
    pub weight: f64,
    /// The line of the public status page that it counts in.
    pub public: Option<Arc<str>>,
    /// How many things may start on it at once.
    pub start_slots: Option<u32>,
    /// What it shares with others beside containers and needs.
    pub labels: BTreeMap<String, String>,
    /// Its needs, without the container.
    pub needs: Vec<Need>,
    /// What stands between its inside and the outside; all entries are needed.
    pub reached_via: Vec<Requirement>,
    /// What it is a copy of.
    pub backs_up: Vec<ComponentIx>,
    /// Where it is known from.
    pub provenance: Provenance,
}

impl Component {
    /// A component that nobody declared.
    pub(crate) fn joined(
        id: &str,
        kind: Kind,
        container: Option<ComponentIx>,
        provenance: Provenance,
    ) -> Self {
        Self {
            id: Arc::from(id),
            kind,
            container,
            class: Arc::from(kind.default_class()),
            weight: 1.0,
            public: None,
            start_slots: None,
            labels: BTreeMap::new(),
            needs: Vec::new(),
            reached_via: Vec::new(),
            backs_up: Vec::new(),
            provenance,
        }
    }
}

/// The declared topology.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Topology {
    components: Vec<Component>,
}

impl Topology {
    /// No component at all.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Reads a topology file.
    ///
    /// # Errors
    /// Every problem of the file at once.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, blackstart_config::Report> {
        parse::parse(file_name, text)
    }

    /// The components, sorted by id; a [`ComponentIx`] in them is an index of this slice.
    #[must_use]
    pub fn components(&self) -> &[Component] {
        &self.components
    }

    /// The components themselves.
    pub(crate) fn into_components(self) -> Vec<Component> {
        self.components
    }

    /// The component of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<ComponentIx> {
        let at = self
            .components
            .binary_search_by(|component| (*component.id).cmp(id))
            .ok()?;
        u32::try_from(at).ok().map(ComponentIx)
    }
}

#[cfg(test)]
mod tests;
