//! An incident: from the first unexplained failure to the return of everything that ran before.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Finding, Timestamp};

/// How far an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncidentState {
    /// Something is broken on its own.
    Open,
    /// Nothing is broken on its own any more; not everything is back.
    Recovering,
    /// Everything that ran before is back.
    Resolved,
}

impl IncidentState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Recovering => "recovering",
            Self::Resolved => "resolved",
        }
    }
}

/// An incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id: the moment of the first failure and the component, so that it is the same on every replica and after a restart.
    pub id: String,
    /// How far it is.
    pub state: IncidentState,
    /// When the first failure was seen.
    pub opened: Timestamp,
    /// When the last component was back.
    pub resolved: Option<Timestamp>,
    /// The components that failed on their own, or fell silent, in its course.
    pub failed: BTreeSet<String>,
    /// Who was held to be the cause at which moment, the first first: each entry differs from the one before in its causes or in
    /// the likeliest kind of one of them. No more than 100; then the first and the last ones are kept.
    #[serde(default)]
    pub story: Vec<Finding>,
}
