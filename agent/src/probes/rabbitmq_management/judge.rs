//! The verdict on what RabbitMQ says of itself. Pure.

use super::answer::{Answer, Queue, Seen};
use crate::net::http::HttpFailure;
use crate::observation::Finding;

/// How many names a detail shows: a line has room for no more.
const NAMES_SHOWN_MAX: usize = 4;

/// The limits of the verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Messages in one queue.
    pub(super) messages_warn: Option<u64>,
    pub(super) messages_fail: Option<u64>,
}

pub(super) fn judge(seen: &Result<Seen, HttpFailure>, limits: Limits) -> Finding {
    let seen = match seen {
        Ok(seen) => seen,
        Err(failure) => return failure.finding(),
    };
    match &seen.alarms {
        Answer::LoginRefused => {
            return Finding::unknown(
                "the login is refused: the user needs a tag, `monitoring`, and the right password",
            );
        }
        Answer::Other(status) => {
            return Finding::failed(format!(
                "what answers is no management API: HTTP status {status}"
            ));
        }
        _ => {}
    }
    let (mut failed, mut degraded) = (failures(seen), complaints(seen));
    let queues = seen.queues();
    add_depths(&queues, limits, &mut failed, &mut degraded);
    let finding = if !failed.is_empty() {
        failed.append(&mut degraded);
        Finding::failed(failed.join("; "))
    } else if !degraded.is_empty() {
        Finding::degraded(degraded.join("; "))
    } else {
        Finding::ok(summary(seen))
    };
    with_values(finding, seen, &queues)
}

fn failures(seen: &Seen) -> Vec<String> {
    let mut failures = Vec::new();
    let alarms = seen.alarms();
    if !alarms.is_empty() {
        failures.push(format!("publishers are blocked: {}", shown(&alarms)));
    }
    for node in seen
        .nodes()
        .into_iter()
        .filter(|node| !node.partitions.is_empty())
    {
        failures.push(format!(
            "network partition: {} has lost {}",
            node.name,
            shown(&node.partitions)
        ));
    }
    let lost: Vec<String> = seen.queues().iter().filter_map(without_majority).collect();
    if !lost.is_empty() {
        failures.push(format!(
            "quorum queues without their majority take no messages: {}",
            shown(&lost)
        ));
    }
    if let Some(reason) = seen.dead_virtual_hosts() {
        failures.push(reason);
    }
    failures
}

/// `orders (1 of 3 members)`; RabbitMQ calls such a queue `running`.
fn without_majority(queue: &Queue) -> Option<String> {
    let (members, online) = queue.members?;
    (online < members / 2 + 1).then(|| format!("{} ({online} of {members} members)", queue.name))
}

fn complaints(seen: &Seen) -> Vec<String> {
    let mut complaints = Vec::new();
    let nodes = seen.nodes();
    let gone: Vec<String> = nodes
        .iter()
        .filter(|node| !node.running)
        .map(|node| node.name.clone())
        .collect();
    if !gone.is_empty() {
        complaints.push(format!(
            "{} of {} nodes run, not {}",
            nodes.len() - gone.len(),
            nodes.len(),
            shown(&gone)
        ));
    }
    let critical = seen.critical_queues();
    if !critical.is_empty() {
        complaints.push(format!(
            "{} without a majority if this node goes, too: {}",
            counted(critical.len(), "queue"),
            shown(&critical)
        ));
    }
    for answer in [
        &seen.nodes,
        &seen.virtual_hosts,
        &seen.critical,
        &seen.queues,
    ] {
        if let Answer::Failed(reason) = answer {
            complaints.push(reason.clone());
            break;
        }
    }
    complaints
}

fn add_depths(
    queues: &[Queue],
    limits: Limits,
    failed: &mut Vec<String>,
    degraded: &mut Vec<String>,
) {
    let above = |limit: Option<u64>, queue: &Queue| {
        limit
            .zip(queue.messages)
            .is_some_and(|(limit, messages)| messages > limit)
    };
    for (list, limit, other) in [
        (failed, limits.messages_fail, None),
        (degraded, limits.messages_warn, limits.messages_fail),
    ] {
        let deep: Vec<String> = queues
            .iter()
            .filter(|queue| above(limit, queue) && !above(other, queue))
            .map(|queue| {
                format!(
                    "{} ({} messages)",
                    queue.name,
                    queue.messages.unwrap_or_default()
                )
            })
            .collect();
        if !deep.is_empty() {
            list.push(format!("too full: {}", shown(&deep)));
        }
    }
}

fn summary(seen: &Seen) -> String {
    let nodes = counted(seen.nodes().len(), "node");
    match seen.queues_total() {
        Some(queues) => format!(
            "{nodes}, {}",
            counted(usize::try_from(queues).unwrap_or(usize::MAX), "queue")
        ),
        None => nodes,
    }
}

fn shown(names: &[String]) -> String {
    let shown = names.get(..NAMES_SHOWN_MAX).unwrap_or(names).join(", ");
    match names.len().saturating_sub(NAMES_SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("{count} {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of messages stay below 2^53"
)]
fn with_values(mut finding: Finding, seen: &Seen, queues: &[Queue]) -> Finding {
    let nodes = seen.nodes();
    if !nodes.is_empty() {
        let running = nodes.iter().filter(|node| node.running).count();
        finding = finding
            .with("nodes", nodes.len() as f64)
            .with("nodes_running", running as f64);
    }
    if let Some(total) = seen.queues_total() {
        finding = finding.with("queues", total as f64);
    }
    let sum = |of: fn(&Queue) -> Option<u64>| {
        queues
            .iter()
            .filter_map(of)
            .fold(0_u64, u64::saturating_add) as f64
    };
    if queues.iter().any(|queue| queue.messages.is_some()) {
        finding = finding
            .with("messages", sum(|queue| queue.messages))
            .with("messages_unacknowledged", sum(|queue| queue.unacknowledged));
    }
    finding
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::observation::Status;

    const LIMITS: Limits = Limits {
        messages_warn: Some(100),
        messages_fail: Some(1_000),
    };

    fn node(name: &str, running: bool, partitions: &[&str]) -> Json {
        json!({ "name": name, "running": running, "partitions": partitions })
    }

    fn queue(messages: u64, members: usize, online: usize) -> Json {
        json!({
            "name": "q", "type": "quorum", "state": "running", "messages": messages,
            "members": vec!["x"; members], "online": vec!["x"; online],
        })
    }

    fn queues(queues: &[Json]) -> Answer {
        Answer::Good(json!({ "items": queues, "total_count": queues.len() }))
    }

    fn healthy() -> Seen {
        let passes = || Answer::Good(json!({ "status": "ok" }));
        Seen {
            alarms: passes(),
            nodes: Answer::Good(json!([node("a", true, &[]), node("b", true, &[])])),
            virtual_hosts: passes(),
            critical: passes(),
            queues: queues(&[queue(5, 3, 3)]),
        }
    }

    #[track_caller]
    fn assert_verdict(seen: Seen, status: Status, detail: &str) {
        let finding = judge(&Ok(seen), LIMITS);
        assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
    }

    #[test]
    fn each_fault_has_its_words() {
        assert_verdict(healthy(), Status::Ok, "2 nodes, 1 queue");
        let alarms = json!({ "status": "failed", "reason": "r", "alarms": [{ "node": "a", "resource": "memory" }] });
        assert_verdict(
            Seen {
                alarms: Answer::Bad(alarms),
                ..healthy()
            },
            Status::Failed,
            "publishers are blocked: memory on a",
        );
        let nodes = json!([node("a", true, &[]), node("b", false, &[])]);
        assert_verdict(
            Seen {
                nodes: Answer::Good(nodes),
                ..healthy()
            },
            Status::Degraded,
            "1 of 2 nodes run, not b",
        );
        let nodes = json!([node("a", true, &["b"]), node("b", true, &[])]);
        assert_verdict(
            Seen {
                nodes: Answer::Good(nodes),
                ..healthy()
            },
            Status::Failed,
            "network partition: a has lost b",
        );
        let critical = json!({ "status": "failed", "queues": [{ "name": "q" }] });
        assert_verdict(
            Seen {
                critical: Answer::Bad(critical),
                ..healthy()
            },
            Status::Degraded,
            "1 queue without a majority if this node goes, too: q",
        );
        let virtual_hosts = json!({ "status": "failed", "reason": "Some virtual hosts are down" });
        assert_verdict(
            Seen {
                virtual_hosts: Answer::Bad(virtual_hosts),
                ..healthy()
            },
            Status::Failed,
            "Some virtual hosts are down",
        );
    }

    #[test]
    fn a_quorum_queue_needs_more_than_half_of_its_members() {
        for (members, online, status) in [
            (3, 2, Status::Ok),
            (3, 1, Status::Failed),
            (5, 2, Status::Failed),
            (1, 1, Status::Ok),
            (4, 2, Status::Failed),
        ] {
            let seen = Seen {
                queues: queues(&[queue(0, members, online)]),
                ..healthy()
            };
            assert_eq!(
                judge(&Ok(seen), LIMITS).status,
                status,
                "{online} of {members}"
            );
        }
        assert_verdict(
            Seen {
                queues: queues(&[queue(0, 3, 1)]),
                ..healthy()
            },
            Status::Failed,
            "quorum queues without their majority take no messages: q (1 of 3 members)",
        );
    }

    #[test]
    fn a_queue_is_too_full_above_the_limits() {
        for (messages, status) in [
            (100, Status::Ok),
            (101, Status::Degraded),
            (1_000, Status::Degraded),
            (1_001, Status::Failed),
        ] {
            let seen = Seen {
                queues: queues(&[queue(messages, 3, 3)]),
                ..healthy()
            };
            assert_eq!(judge(&Ok(seen), LIMITS).status, status, "{messages}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_unknown_and_what_is_garbage_is_ignored() {
        let seen = Seen {
            alarms: Answer::LoginRefused,
            ..Seen::default()
        };
        assert_eq!(judge(&Ok(seen), LIMITS).status, Status::Unknown);
        let seen = Seen {
            alarms: Answer::Other(500),
            ..Seen::default()
        };
        assert_verdict(
            seen,
            Status::Failed,
            "what answers is no management API: HTTP status 500",
        );
        for garbage in [
            json!(null),
            json!(7),
            json!([[]]),
            json!({ "items": [1, null], "total_count": "x" }),
        ] {
            let good = || Answer::Good(garbage.clone());
            let seen = Seen {
                alarms: good(),
                nodes: good(),
                virtual_hosts: good(),
                critical: good(),
                queues: good(),
            };
            let _ = judge(&Ok(seen), LIMITS);
        }
    }
}
