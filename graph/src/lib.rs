//! The engine of Blackstart: from events to conditions and incidents.
//!
//! Takes a [`Topology`] and [`Event`]s, gives [`Changes`]. Nothing here asks the time, opens a
//! socket, starts a thread or draws a random number: the same events give the same bytes.
//!
//! **Invariant:** silence is never failure. A component nobody reported on is `unknown`; a lost agent is evidence about
//! the agent, its host and the path, not about what it watched.
//!
//! Not here: recovery, plans.

mod diagnosis;
mod engine;
mod event;
mod incident;
mod kind;
mod status;
mod time;
mod topology;

pub use diagnosis::{CheckNext, Diagnosis, Fault, FaultKind, Finding, Hypothesis, Search};
pub use engine::{
    ApplyError, Changes, ClassProgress, ComponentRef, ConditionCounts, Engine, EvidenceItem,
    Explanation, LoadError, NeedReport, NeedState, Sample, SlotId, Step, TopologyEntry, Verdict,
};
pub use event::{DiscoveredComponent, Event, EventKind};
pub use incident::{Incident, IncidentState};
pub use kind::Kind;
pub use status::{Condition, Status};
pub use time::{TimeError, Timestamp};
pub use topology::{Component, ComponentIx, Need, Provenance, Relation, Requirement, Topology};
