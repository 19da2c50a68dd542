//! One component with its edges and with everything that is known of it.

use super::crowd::Crowd;
use super::evidence::SlotId;
use super::symptom::{Return, View};
use crate::{Component, ComponentIx, Condition, Relation, Status, Timestamp};

/// What is known of an agent's stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Stream {
    /// Gone, and the grace to come back is over.
    #[default]
    Lost,
    /// It was open when the aggregator last looked, and the aggregator has not been there since.
    Awaited,
    /// Open: somebody on the host is alive.
    Open,
}

/// What the aggregator knows of an agent on a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Agent {
    pub(super) stream: Stream,
    /// An orderly stop of the host was announced.
    pub(super) stopping: bool,
    pub(super) boot_id: String,
    /// How it came back the last time.
    pub(super) came_back: Option<Return>,
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
pub(super) struct PathId(pub(super) u32);

/// A need with the paths to its members.
#[derive(Debug, Clone, Copy)]
pub(super) struct Edge<'a> {
    pub(super) relation: Relation,
    pub(super) at_least: u32,
    pub(super) of: &'a [ComponentIx],
    /// One per member; empty when every path of the component is.
    paths: &'a [PathId],
}

impl<'a> Edge<'a> {
    pub(super) fn members(self) -> impl Iterator<Item = (ComponentIx, PathId)> + 'a {
        let path = move |at: usize| self.paths.get(at).copied().unwrap_or_default();
        self.of
            .iter()
            .enumerate()
            .map(move |(at, member)| (*member, path(at)))
    }
}

/// No entry of the instant stands for this node.
pub(super) const UNMARKED: u32 = u32::MAX;

/// A component with everything that is known of it.
///
/// What its past decides (`running`, `ran`, `start_lost`…) is as it was when the present instant began:
/// see [`super::instant`].
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) component: Component,
    /// The paths to the members of its needs, one need after the other; empty when every one is.
    pub(super) paths: Box<[PathId]>,
    /// What is in it; sorted.
    pub(super) content: Vec<ComponentIx>,
    /// Whose condition mentions this one: as a member of a need, or on a path; sorted.
    pub(super) dependents: Vec<ComponentIx>,
    /// Slots about this component, by check and vantage.
    pub(super) slots: Vec<SlotId>,
    /// What they say, counted, where there are very many.
    pub(super) crowd: Option<Box<Crowd>>,
    /// Slots whose vantage is this component.
    pub(super) seen_from_here: Vec<SlotId>,
    pub(super) agent: Option<Box<Agent>>,
    pub(super) since: Timestamp,
    /// When a need to start was last lost and then back.
    pub(super) start_lost_until: Timestamp,
    /// When a need to run was last lost and then back.
    pub(super) run_lost_until: Timestamp,
    /// How it looked when the present instant began.
    pub(super) view: View,
    /// Since when it is seen to work without a break; never, if it is not.
    pub(super) well_since: Timestamp,
    /// Its place among those that the present instant touched.
    pub(super) mark: u32,
    pub(super) evidence: Option<Status>,
    pub(super) verdict: Option<Verdict>,
    pub(super) condition: Condition,
    pub(super) gone: bool,
    pub(super) lost: bool,
    pub(super) there: bool,
    /// What blocked it is back; its old failure does not count before a fresh look.
    pub(super) held: bool,
    /// In its run phase: it was ok since its host's last boot and has not been starting since.
    pub(super) running: bool,
    /// A need to start was lost.
    pub(super) start_lost: bool,
    /// A need to run was lost.
    pub(super) run_lost: bool,
    /// A need to start is lost now.
    pub(super) start_is_lost: bool,
    /// A need to run is lost now.
    pub(super) run_is_lost: bool,
    /// It worked in the last stable time.
    pub(super) ran: bool,
    /// It worked in the last stable time and does not now.
    pub(super) missing: bool,
}

impl Node {
    pub(super) fn new(component: Component, at: Timestamp) -> Self {
        Self {
            component,
            paths: Box::default(),
            content: Vec::new(),
            dependents: Vec::new(),
            slots: Vec::new(),
            crowd: None,
            seen_from_here: Vec::new(),
            agent: None,
            since: at,
            start_lost_until: Timestamp::NEVER,
            run_lost_until: Timestamp::NEVER,
            view: View::default(),
            well_since: Timestamp::FAR,
            mark: UNMARKED,
            evidence: None,
            verdict: None,
            condition: Condition::Unknown,
            gone: false,
            lost: false,
            there: false,
            held: false,
            running: false,
            start_lost: false,
            run_lost: false,
            start_is_lost: false,
            run_is_lost: false,
            ran: false,
            missing: false,
        }
    }

    /// Its container, then its needs.
    pub(super) fn edges(&self) -> impl Iterator<Item = Edge<'_>> + Clone {
        let container = self.component.container.iter().map(|outer| Edge {
            relation: Relation::Container,
            at_least: 1,
            of: std::slice::from_ref(outer),
            paths: &[],
        });
        let mut rest = &*self.paths;
        let needs = self.component.needs.iter().map(move |need| {
            let of = &*need.requirement.of;
            let (paths, others) = rest.split_at(of.len().min(rest.len()));
            rest = others;
            Edge {
                relation: need.relation,
                at_least: need.requirement.at_least,
                of,
                paths,
            }
        });
        container.chain(needs)
    }

    /// Whether the stream of an agent on it is open.
    pub(super) fn has_open_stream(&self) -> bool {
        self.stream() == Some(Stream::Open)
    }

    pub(super) fn stream(&self) -> Option<Stream> {
        self.agent.as_ref().map(|agent| agent.stream)
    }

    /// It went down in order: that was announced, and its agent is lost.
    pub(super) fn is_stopped(&self) -> bool {
        self.agent
            .as_ref()
            .is_some_and(|agent| agent.stopping && agent.stream == Stream::Lost)
    }

    /// Whether it is in its run phase, the present instant included.
    pub(super) const fn is_running(&self) -> bool {
        match self.evidence {
            Some(Status::Ok | Status::Degraded) => true,
            Some(Status::Starting) => false,
            Some(Status::Failed | Status::Unknown) | None => self.running,
        }
    }
}
