//! What operators are told, as messages.

use blackstart_graph::{
    CheckNext, Condition, Diagnosis, EvidenceItem, Fault, Finding, Hypothesis, Incident, Search,
    Timestamp,
};
use blackstart_proto::v1;
use tonic::Status;

use crate::capture::live::Piece;
use crate::engine::answers::{NeedAnswer, TopologyAnswer, TopologyRow, WhyAnswer, WhyStep};
use crate::health::v1::health_check_response::ServingStatus;
use crate::roster::{AgentRecord, Roster};
use crate::view::{ComponentRow, Counts, View};

/// The aggregator's own state.
#[derive(Debug, Clone)]
pub(crate) struct OwnState {
    pub(crate) id: String,
    pub(crate) started_us: i64,
    pub(crate) problems: Vec<String>,
    pub(crate) journal_entries: u64,
    pub(crate) topology_file: String,
}

/// The whole picture.
pub(crate) fn status(
    view: &View,
    at_us: i64,
    roster: &Roster,
    own: OwnState,
    problems_only: bool,
) -> v1::StatusResponse {
    let mut agents = Vec::with_capacity(roster.count());
    roster.each(|host, agent| agents.push(agent_state(host, agent)));
    let is_shown = |row: &&ComponentRow| !problems_only || row.condition != Condition::Up;
    v1::StatusResponse {
        at_us,
        incident: view.incident.as_deref().map(incident),
        conditions: Some(view.counts.into()),
        components: view.rows().filter(is_shown).map(Into::into).collect(),
        agents,
        aggregator: Some(v1::AggregatorState {
            id: own.id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started_us: own.started_us,
            problems: own.problems,
            journal_entries: own.journal_entries,
            topology_file: own.topology_file,
        }),
        diagnosis: view.diagnosis.as_deref().map(diagnosis),
    }
}

/// What really broke, as a message.
#[must_use]
pub fn diagnosis(diagnosis: &Diagnosis) -> v1::Diagnosis {
    v1::Diagnosis {
        hypotheses: diagnosis.hypotheses.iter().map(hypothesis).collect(),
        not_in_model: diagnosis.not_in_model,
        search: match diagnosis.search {
            Search::Exact => "exact",
            Search::Bounded => "bounded",
        }
        .to_owned(),
    }
}

fn hypothesis(hypothesis: &Hypothesis) -> v1::Hypothesis {
    let faults = hypothesis.faults.iter();
    let rivals = hypothesis.cannot_tell_from.iter().cloned();
    v1::Hypothesis {
        causes: hypothesis.causes.clone(),
        probability: hypothesis.probability,
        faults: faults
            .map(|(id, known)| (id.clone(), fault(known)))
            .collect(),
        explains: hypothesis.explains as u64,
        unexplained: hypothesis.unexplained as u64,
        contradicts: hypothesis.contradicts as u64,
        evidence: hypothesis.evidence.clone(),
        cannot_tell_from: rivals.map(|causes| v1::CauseSet { causes }).collect(),
        check_next: hypothesis.check_next.iter().map(check_next).collect(),
    }
}

fn fault(fault: &Fault) -> v1::Fault {
    let kinds = fault.kind.iter();
    v1::Fault {
        since_us: fault.since.as_micros(),
        kind: kinds
            .map(|(kind, share)| (kind.as_str().to_owned(), *share))
            .collect(),
    }
}

fn check_next(check: &CheckNext) -> v1::CheckNext {
    v1::CheckNext {
        component: check.component.clone(),
        check: check.check.clone(),
        why: check.why.clone(),
    }
}

/// The chain of evidence behind a condition, and the hypotheses that name somebody in it.
pub(crate) fn why(why: WhyAnswer, diagnosis: Option<&Diagnosis>) -> v1::WhyResponse {
    let is_step = |cause: &String| why.steps.iter().any(|step| *step.component.id == **cause);
    let hypotheses = diagnosis.iter().flat_map(|diagnosis| &diagnosis.hypotheses);
    let naming = hypotheses.filter(|hypothesis| hypothesis.causes.iter().any(is_step));
    v1::WhyResponse {
        hypotheses: naming.map(hypothesis).collect(),
        steps: why.steps.into_iter().map(Into::into).collect(),
    }
}

/// A piece of a recording.
pub(crate) fn recorded(piece: Piece) -> Result<v1::RecordResponse, Status> {
    Ok(match piece {
        Piece::Topology(topology, at_us) => v1::RecordResponse {
            topology: topology.to_string(),
            at_us,
            ..v1::RecordResponse::default()
        },
        Piece::Lines(events, at_us) => v1::RecordResponse {
            events,
            at_us,
            ..v1::RecordResponse::default()
        },
        Piece::End(why, at_us) => v1::RecordResponse {
            at_us,
            end: why.to_owned(),
            ..v1::RecordResponse::default()
        },
        Piece::Dropped => {
            return Err(Status::resource_exhausted(
                "the reader did not keep up with what happens and was dropped",
            ));
        }
    })
}

/// Whether a component can be relied upon.
pub(crate) fn readiness(view: &View, component: String) -> v1::ComponentReadiness {
    match view.get(&component) {
        Some(row) => v1::ComponentReadiness {
            ready: row.condition.is_there(),
            known: true,
            condition: condition_code(row.condition),
            reason: row.reason.to_string(),
            component,
        },
        None => v1::ComponentReadiness {
            ready: false,
            known: false,
            condition: v1::Condition::Unspecified.into(),
            reason: "the topology has no such component".to_owned(),
            component,
        },
    }
}

/// A condition in the words of the health protocol.
pub(crate) const fn serving(condition: Condition) -> ServingStatus {
    match condition {
        Condition::Up | Condition::Degraded => ServingStatus::Serving,
        Condition::Unknown => ServingStatus::Unknown,
        Condition::Starting | Condition::Blocked | Condition::Down | Condition::Unreachable => {
            ServingStatus::NotServing
        }
    }
}

const fn condition_code(condition: Condition) -> i32 {
    let message = match condition {
        Condition::Up => v1::Condition::Up,
        Condition::Degraded => v1::Condition::Degraded,
        Condition::Starting => v1::Condition::Starting,
        Condition::Blocked => v1::Condition::Blocked,
        Condition::Down => v1::Condition::Down,
        Condition::Unreachable => v1::Condition::Unreachable,
        Condition::Unknown => v1::Condition::Unknown,
    };
    message as i32
}

impl From<Counts> for v1::ConditionCounts {
    fn from(counts: Counts) -> Self {
        Self {
            up: counts.up,
            degraded: counts.degraded,
            starting: counts.starting,
            blocked: counts.blocked,
            down: counts.down,
            unreachable: counts.unreachable,
            unknown: counts.unknown,
        }
    }
}

/// An incident as a message.
#[must_use]
pub fn incident(incident: &Incident) -> v1::Incident {
    v1::Incident {
        id: incident.id.clone(),
        state: incident.state.as_str().to_owned(),
        opened_us: incident.opened.as_micros(),
        resolved_us: incident.resolved.map(Timestamp::as_micros),
        failed: incident.failed.iter().cloned().collect(),
        story: incident.story.iter().map(finding).collect(),
    }
}

fn finding(finding: &Finding) -> v1::Finding {
    let kinds = finding.kinds.iter();
    v1::Finding {
        at_us: finding.at.as_micros(),
        causes: finding.causes.clone(),
        probability: finding.probability,
        kinds: kinds
            .map(|(id, kind)| (id.clone(), kind.as_str().to_owned()))
            .collect(),
    }
}

impl From<&ComponentRow> for v1::ComponentState {
    fn from(row: &ComponentRow) -> Self {
        Self {
            id: row.id.to_string(),
            kind: row.kind.to_owned(),
            condition: condition_code(row.condition),
            reason: row.reason.to_string(),
            since_us: row.since_us,
            class: row.class.to_string(),
            provenance: row.provenance.to_owned(),
            container: row.container.as_deref().unwrap_or_default().to_owned(),
            progress: row.progress.map(f64::from),
            values: row
                .values
                .iter()
                .map(|(name, value)| (name.to_string(), *value))
                .collect(),
            maintenance_until_us: row.maintenance_until_us,
        }
    }
}

fn agent_state(host: &str, agent: &AgentRecord) -> v1::AgentState {
    v1::AgentState {
        host: host.to_owned(),
        connected: agent.connected,
        since_us: agent.since_us,
        version: agent.version.clone(),
        protocol: agent.protocol,
        dropped_total: agent.dropped_total,
        clock_offset_ms: agent.clock_offset_ms,
        boot_id: agent.boot_id.clone(),
        spooled_results: agent.spooled_results,
        problem: agent.problem.clone(),
        labels: agent.labels.clone().into_iter().collect(),
    }
}

impl From<WhyStep> for v1::WhyStep {
    fn from(step: WhyStep) -> Self {
        Self {
            depth: step.depth,
            component: Some((&step.component).into()),
            rule: step.rule.to_owned(),
            evidence: step.evidence.into_iter().map(evidence).collect(),
            needs: step.needs.into_iter().map(Into::into).collect(),
        }
    }
}

fn evidence(evidence: EvidenceItem) -> v1::Evidence {
    v1::Evidence {
        vantage: evidence.vantage,
        check: evidence.check,
        status: evidence.status.as_str().to_owned(),
        detail: evidence.detail,
        sampled_us: evidence.sampled_at.as_micros(),
        fresh: evidence.fresh,
        values: evidence.values.into_iter().collect(),
    }
}

impl From<NeedAnswer> for v1::NeedState {
    fn from(need: NeedAnswer) -> Self {
        Self {
            need: need.need,
            relation: need.relation.to_owned(),
            state: need.state.to_owned(),
            components: need.components,
        }
    }
}

impl From<TopologyAnswer> for v1::TopologyResponse {
    fn from(topology: TopologyAnswer) -> Self {
        Self {
            components: topology.components.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<TopologyRow> for v1::TopologyComponent {
    fn from(row: TopologyRow) -> Self {
        Self {
            id: row.id,
            kind: row.kind.to_owned(),
            container: row.container.unwrap_or_default(),
            provenance: row.provenance.to_owned(),
            needs: row.needs.into_iter().map(Into::into).collect(),
        }
    }
}
