//! The JSON of a verdict, as docs/json.md has it: the same from `blackstart status`, from a replay and for any other reader.
//!
//! Not here: the JSON of rows and agents, which the command line alone shows.

use std::collections::BTreeMap;

use blackstart_graph::Timestamp;
use blackstart_proto::v1;
use serde_json::{Value, json};

fn rfc3339(us: i64) -> String {
    Timestamp::from_micros(us).to_string()
}

/// The fields of a verdict that a diagnosis gives: `hypotheses`, `not_in_model`, `search`.
#[must_use]
pub fn diagnosis(diagnosis: Option<&v1::Diagnosis>) -> [(&'static str, Value); 3] {
    let hypotheses = diagnosis.iter().flat_map(|diagnosis| &diagnosis.hypotheses);
    let search = diagnosis.map_or("exact", |diagnosis| &diagnosis.search);
    [
        ("hypotheses", hypotheses.map(hypothesis).collect()),
        (
            "not_in_model",
            json!(diagnosis.map_or(0.0, |diagnosis| diagnosis.not_in_model)),
        ),
        ("search", json!(search)),
    ]
}

/// One hypothesis.
#[must_use]
pub fn hypothesis(hypothesis: &v1::Hypothesis) -> Value {
    let faults: BTreeMap<&String, Value> = hypothesis
        .faults
        .iter()
        .map(|(id, known)| (id, fault(known)))
        .collect();
    let rivals = hypothesis.cannot_tell_from.iter();
    let checks = hypothesis.check_next.iter();
    json!({
        "causes": hypothesis.causes,
        "probability": hypothesis.probability,
        "faults": faults,
        "explains": hypothesis.explains,
        "unexplained": hypothesis.unexplained,
        "contradicts": hypothesis.contradicts,
        "evidence": hypothesis.evidence,
        "cannot_tell_from": rivals.map(|set| &set.causes).collect::<Vec<_>>(),
        "check_next": checks.map(|next| json!({
            "component": next.component, "check": next.check, "why": next.why,
        })).collect::<Vec<_>>(),
    })
}

fn fault(fault: &v1::Fault) -> Value {
    let kind: BTreeMap<&String, &f64> = fault.kind.iter().collect();
    json!({ "since": rfc3339(fault.since_us), "kind": kind })
}

/// The incident; where there never was one, its state alone.
#[must_use]
pub fn incident(incident: Option<&v1::Incident>) -> Value {
    let Some(incident) = incident else {
        return json!({ "state": "none" });
    };
    json!({
        "id": incident.id, "state": incident.state, "opened": rfc3339(incident.opened_us),
        "resolved": incident.resolved_us.map(rfc3339), "failed": incident.failed,
        "story": incident.story.iter().map(finding).collect::<Vec<_>>(),
    })
}

fn finding(finding: &v1::Finding) -> Value {
    let kinds: BTreeMap<&String, &String> = finding.kinds.iter().collect();
    json!({
        "at": rfc3339(finding.at_us), "causes": finding.causes, "probability": finding.probability, "kinds": kinds,
    })
}
