//! What a diagnosis says: which sets of root causes are possible, how likely each is, and what speaks for it.
//!
//! `probability` speaks of *where*; [`Fault::kind`] of *what kind*, apart from it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Timestamp;

/// What kind of fault a cause has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultKind {
    /// No or bad supply.
    Power,
    /// Cut off, or packets are lost.
    Network,
    /// Too hot.
    Cooling,
    /// A machine or a part of it broke.
    Hardware,
    /// A program failed.
    Software,
    /// It was told to do the wrong thing.
    Configuration,
    /// More work than it can do.
    Overload,
    /// Only Blackstart's own agent.
    Agent,
    /// Stopped in order.
    Stopped,
    /// None of these.
    Other,
}

impl FaultKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 10] = [
        Self::Power,
        Self::Network,
        Self::Cooling,
        Self::Hardware,
        Self::Software,
        Self::Configuration,
        Self::Overload,
        Self::Agent,
        Self::Stopped,
        Self::Other,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Power => "power",
            Self::Network => "network",
            Self::Cooling => "cooling",
            Self::Hardware => "hardware",
            Self::Software => "software",
            Self::Configuration => "configuration",
            Self::Overload => "overload",
            Self::Agent => "agent",
            Self::Stopped => "stopped",
            Self::Other => "other",
        }
    }
}

/// One cause of a hypothesis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// Since when, as far as its own symptoms and those of its victims tell.
    pub since: Timestamp,
    /// What kind of fault it is: shares that sum to 1; kinds below one in a hundred are left out.
    pub kind: BTreeMap<FaultKind, f64>,
}

/// What to look at next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckNext {
    /// The component.
    pub component: String,
    /// The check.
    pub check: String,
    /// What the answer would tell.
    pub why: String,
}

/// A set of root causes that explains what is seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hypothesis {
    /// The causes, sorted: ids of components, `label:…`, `action:…`.
    pub causes: Vec<String>,
    /// How likely it is that these and no others are the causes, 0 to 1.
    pub probability: f64,
    /// Each cause with what is known of its fault.
    pub faults: BTreeMap<String, Fault>,
    /// How many components with symptoms follow from it, the causes included.
    pub explains: usize,
    /// How many do not.
    pub unexplained: usize,
    /// How many are seen to work although they should not.
    pub contradicts: usize,
    /// What speaks for it and against it, in words; the weightiest first.
    pub evidence: Vec<String>,
    /// Other sets that nobody who can still look can tell from this one.
    pub cannot_tell_from: Vec<Vec<String>>,
    /// What to look at next.
    pub check_next: Vec<CheckNext>,
}

/// How the hypotheses were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Search {
    /// Every single cause, and every cause that adds to one of the best of them.
    Exact,
    /// The bound on work was reached: better ones may exist.
    Bounded,
}

/// What really broke, as far as the evidence goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// Most likely first; empty when nothing has a symptom.
    pub hypotheses: Vec<Hypothesis>,
    /// How likely it is that the cause is something that the topology does not have.
    pub not_in_model: f64,
    /// How they were found.
    pub search: Search,
}

/// Who was named at which moment of an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Since when they are named.
    pub at: Timestamp,
    /// The causes of the first hypothesis.
    pub causes: Vec<String>,
    /// Its probability at that moment.
    pub probability: f64,
    /// What kind of fault each is held to be: the likeliest.
    pub kinds: BTreeMap<String, FaultKind>,
}
