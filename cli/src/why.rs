//! `blackstart why`: what is held to be the cause, or the chain of evidence behind a component's condition.

use blackstart_proto::v1::{StatusRequest, StatusResponse, WhyRequest, WhyResponse, WhyStep};
use serde_json::{Value, json};

use crate::clock::{ago, now_us, rfc3339, when};
use crate::exit::Exit;
use crate::output::{paint, size, write};
use crate::text::{cut, wrap};
use crate::{Connection, Format, client, json, verdict};

pub(crate) async fn run(connection: &Connection, component: Option<&str>, format: Format) -> Exit {
    let mut client = match client::open(connection).await {
        Ok(client) => client,
        Err(error) => return error.show(),
    };
    let Some(component) = component else {
        let request = StatusRequest {
            problems_only: true,
        };
        return match client::answer(client.status(request)).await {
            Ok(status) => write(&match format {
                Format::Json => json::line(&json::verdict(&status)),
                _ => causes(&status, size().0),
            }),
            Err(status) => client::answered(connection, &status).show(),
        };
    };
    let request = WhyRequest {
        component: component.to_owned(),
    };
    match client::answer(client.why(request)).await {
        Ok(why) => write(&match format {
            Format::Json => json::line(&object(&why)),
            _ => text(&why, now_us(), size().0),
        }),
        Err(status) if status.code() == tonic::Code::NotFound => {
            let hint = client::did_you_mean(&mut client, component).await;
            client::ClientError::Usage(format!("{}{hint}", status.message())).show()
        }
        Err(status) => client::answered(connection, &status).show(),
    }
}

/// What is held to be the cause, all that speaks for it, and who was named when.
fn causes(status: &StatusResponse, width: usize) -> String {
    let at_us = status.at_us;
    let mut text = match &status.incident {
        Some(incident) => verdict::incident_line(incident, at_us) + "\n",
        None => "No incident so far.\n".to_owned(),
    };
    match &status.diagnosis {
        Some(diagnosis) => text.push_str(&verdict::all(diagnosis, at_us, width)),
        None => text.push_str("Nothing is seen to be wrong now.\n"),
    }
    if let Some(incident) = &status.incident {
        text.push_str(&verdict::story(incident, at_us, width));
    }
    text
}

fn text(why: &WhyResponse, now_us: i64, width: usize) -> String {
    let mut text = String::new();
    for step in &why.steps {
        let Some(component) = &step.component else {
            continue;
        };
        let depth = (step.depth as usize).min(8);
        let indent = "  ".repeat(depth);
        let room = width.saturating_sub(indent.len() + 4);
        let condition = json::condition(component.condition).as_str();
        let arrow = if depth > 0 { "because " } else { "" };
        text.push_str(&format!(
            "{indent}{arrow}{} is {}\n",
            cut(&component.id, room.saturating_sub(24)),
            paint(condition)
        ));
        let mut say = |line: &str| {
            for line in wrap(line, room) {
                text.push_str(&format!("{indent}  {line}\n"));
            }
        };
        say(&format!(
            "since {}: {}",
            when(component.since_us, now_us),
            step.rule
        ));
        for evidence in &step.evidence {
            let fresh = if evidence.fresh {
                ""
            } else {
                ", no longer counted"
            };
            let detail = if evidence.detail.is_empty() {
                String::new()
            } else {
                format!(": {}", evidence.detail)
            };
            say(&format!(
                "seen {} by {} from {}, {}{fresh}{detail}",
                evidence.status,
                evidence.check,
                evidence.vantage,
                ago(evidence.sampled_us, now_us)
            ));
        }
        for need in step.needs.iter().filter(|need| need.state != "there") {
            say(&format!("{} {}: {}", need.relation, need.need, need.state));
        }
    }
    text.push_str(&verdict::named(&why.hypotheses, now_us, width));
    text
}

fn object(why: &WhyResponse) -> Value {
    json!({
        "steps": why.steps.iter().map(step).collect::<Vec<_>>(),
        "hypotheses": why.hypotheses.iter().map(blackstart_aggregator::shape::hypothesis).collect::<Vec<_>>(),
    })
}

fn step(step: &WhyStep) -> Value {
    json!({
        "depth": step.depth,
        "component": step.component.as_ref().map(json::component),
        "rule": step.rule,
        "evidence": step.evidence.iter().map(|evidence| json!({
            "vantage": evidence.vantage, "check": evidence.check, "status": evidence.status, "detail": evidence.detail,
            "sampled_at": rfc3339(evidence.sampled_us), "fresh": evidence.fresh,
            "values": evidence.values.iter().collect::<std::collections::BTreeMap<_, _>>(),
        })).collect::<Vec<_>>(),
        "needs": step.needs.iter().map(|need| json!({
            "need": need.need, "relation": need.relation, "state": need.state, "components": need.components,
        })).collect::<Vec<_>>(),
    })
}
