//! The objects of `--format json`; their shapes are public (docs/json.md).

use blackstart_aggregator::shape;
use blackstart_graph::Condition;
use blackstart_proto::v1::{self, AgentState, ComponentState, StatusResponse};
use serde_json::{Value, json};

use crate::clock::rfc3339;

/// The condition that a message carries; `Unknown` for one that this version does not know.
pub(crate) fn condition(number: i32) -> Condition {
    match v1::Condition::try_from(number) {
        Ok(v1::Condition::Up) => Condition::Up,
        Ok(v1::Condition::Degraded) => Condition::Degraded,
        Ok(v1::Condition::Starting) => Condition::Starting,
        Ok(v1::Condition::Blocked) => Condition::Blocked,
        Ok(v1::Condition::Down) => Condition::Down,
        Ok(v1::Condition::Unreachable) => Condition::Unreachable,
        _ => Condition::Unknown,
    }
}

/// The whole picture: the verdict, then what it rests on.
pub(crate) fn status(status: &StatusResponse) -> Value {
    let counts = status.conditions.unwrap_or_default();
    let aggregator = status.aggregator.clone().unwrap_or_default();
    let mut object = verdict(status);
    let rest = json!({
        "conditions": {
            "up": counts.up, "degraded": counts.degraded, "starting": counts.starting, "blocked": counts.blocked,
            "down": counts.down, "unreachable": counts.unreachable, "unknown": counts.unknown,
        },
        "recovery": null,
        "components": status.components.iter().map(component).collect::<Vec<_>>(),
        "agents": status.agents.iter().map(agent).collect::<Vec<_>>(),
        "aggregator": {
            "id": aggregator.id, "version": aggregator.version, "started": rfc3339(aggregator.started_us),
            "problems": aggregator.problems, "journal_entries": aggregator.journal_entries,
            "topology_file": aggregator.topology_file,
        },
    });
    if let (Value::Object(object), Value::Object(rest)) = (&mut object, rest) {
        object.extend(rest);
    }
    object
}

/// The incident and what is held to be its cause.
pub(crate) fn verdict(status: &StatusResponse) -> Value {
    let mut object = json!({
        "at": rfc3339(status.at_us),
        "incident": shape::incident(status.incident.as_ref()),
    });
    for (name, value) in shape::diagnosis(status.diagnosis.as_ref()) {
        object[name] = value;
    }
    object
}

/// One component.
pub(crate) fn component(state: &ComponentState) -> Value {
    let values: std::collections::BTreeMap<&String, &f64> = state.values.iter().collect();
    json!({
        "id": state.id, "kind": state.kind, "condition": condition(state.condition).as_str(), "reason": state.reason,
        "since": rfc3339(state.since_us), "class": state.class, "provenance": state.provenance, "in": state.container,
        "progress": state.progress, "values": values,
        "maintenance_until": state.maintenance_until_us.map(rfc3339),
    })
}

/// One agent.
pub(crate) fn agent(state: &AgentState) -> Value {
    let labels: std::collections::BTreeMap<&String, &String> = state.labels.iter().collect();
    json!({
        "host": state.host, "connected": state.connected, "since": rfc3339(state.since_us), "version": state.version,
        "protocol": state.protocol, "dropped_total": state.dropped_total, "clock_offset_ms": state.clock_offset_ms,
        "boot_id": state.boot_id, "spooled_results": state.spooled_results, "problem": state.problem, "labels": labels,
    })
}

/// An object as a line.
pub(crate) fn line(value: &Value) -> String {
    let mut text = String::new();
    for c in value.to_string().chars() {
        // JSON lets the controls above U+001F stand as they are (RFC 8259, 7); a terminal takes some of them as escapes.
        if c.is_control() {
            text.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            text.push(c);
        }
    }
    text.push('\n');
    text
}
