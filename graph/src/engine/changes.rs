//! What an event changed, for whoever keeps a picture of the engine up to date.

use crate::ComponentIx;

/// What an event changed.
///
/// Whoever keeps rows made of [`crate::ComponentRef`]s has them right when it makes those anew that are named
/// here: condition, since when, reason, progress, maintenance, whether it is gone, and *which* measured values it has.
/// One thing is left to the caller, because it knows it: a new *number* of a measured value, which every
/// [`crate::Engine::observe`] may bring. What [`crate::Engine::slot`] changed is told by the next call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Components that may look different, in no order, some perhaps twice: see [`Changes::settle`].
    pub components: Vec<ComponentIx>,
    /// The incident changed.
    pub incident: bool,
    /// What the engine holds to be the cause changed.
    pub diagnosis: bool,
    /// The topology was replaced: every index may mean another component. Those that join without it come behind all
    /// others, and are named like any that looks different.
    pub topology: bool,
}

impl Changes {
    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.components.is_empty() && !self.incident && !self.diagnosis && !self.topology
    }

    /// Adds what another event changed. The cost is that of the other.
    pub fn absorb(&mut self, other: Self) {
        if self.components.is_empty() {
            self.components = other.components;
        } else {
            self.components.extend(other.components);
        }
        self.incident |= other.incident;
        self.diagnosis |= other.diagnosis;
        self.topology |= other.topology;
    }

    /// Sorts the components and names each once.
    pub fn settle(&mut self) {
        self.components.sort_unstable();
        self.components.dedup();
    }
}
