//! What the management API answers, read into plain values. Nothing here does I/O.

use serde_json::Value as Json;

use crate::net::http::{HttpAnswer, HttpFailure};

/// What one run saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) alarms: Answer,
    pub(super) nodes: Answer,
    pub(super) virtual_hosts: Answer,
    pub(super) critical: Answer,
    pub(super) queues: Answer,
}

/// An answer of the API.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Answer {
    /// It was not asked, or did not answer; why.
    #[default]
    NotAsked,
    Failed(String),
    /// The user and the password, or the user's tags, are not good enough.
    LoginRefused,
    /// No such check in this version (before 3.8.10).
    Missing,
    /// The check passes, or the data are here.
    Good(Json),
    /// The check does not pass (503).
    Bad(Json),
    /// Something else answers.
    Other(u16),
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    pub(super) name: String,
    pub(super) running: bool,
    /// Nodes that it has lost.
    pub(super) partitions: Vec<String>,
}

/// A queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Queue {
    pub(super) name: String,
    pub(super) messages: Option<u64>,
    pub(super) unacknowledged: Option<u64>,
    /// Members of a quorum queue: all, and those that are there.
    pub(super) members: Option<(usize, usize)>,
}

impl Answer {
    pub(super) fn read(answer: &HttpAnswer) -> Self {
        let json = || serde_json::from_slice::<Json>(&answer.body).ok();
        match answer.status {
            200 => json().map_or(Self::Other(200), Self::Good),
            503 => json().map_or(Self::Other(503), Self::Bad),
            401 | 403 => Self::LoginRefused,
            404 => Self::Missing,
            other => Self::Other(other),
        }
    }

    pub(super) fn failed(failure: &HttpFailure) -> Self {
        Self::Failed(failure.to_string())
    }

    /// Whether it says yes, no, or that it does not know this check.
    pub(super) const fn is_whole(&self) -> bool {
        matches!(self, Self::Good(_) | Self::Bad(_) | Self::Missing)
    }

    const fn good(&self) -> Option<&Json> {
        match self {
            Self::Good(json) => Some(json),
            _ => None,
        }
    }

    const fn bad(&self) -> Option<&Json> {
        match self {
            Self::Bad(json) => Some(json),
            _ => None,
        }
    }
}

impl Seen {
    /// Alarms in effect: `memory on rab1@localhost`.
    pub(super) fn alarms(&self) -> Vec<String> {
        let Some(json) = self.alarms.bad() else {
            return Vec::new();
        };
        let alarms = list(json.get("alarms"))
            .map(|alarm| format!("{} on {}", text(alarm, "resource"), text(alarm, "node")));
        let alarms: Vec<_> = alarms.collect();
        if alarms.is_empty() {
            vec![text(json, "reason")]
        } else {
            alarms
        }
    }

    /// Virtual hosts that are down on the node.
    pub(super) fn dead_virtual_hosts(&self) -> Option<String> {
        let json = self.virtual_hosts.bad()?;
        Some(text(json, "reason")).filter(|reason| !reason.is_empty())
    }

    /// Queues that would lose their majority with this node.
    pub(super) fn critical_queues(&self) -> Vec<String> {
        let Some(json) = self.critical.bad() else {
            return Vec::new();
        };
        list(json.get("queues"))
            .map(|queue| text(queue, "name"))
            .collect()
    }

    /// The nodes, those too that do not run.
    pub(super) fn nodes(&self) -> Vec<Node> {
        list(self.nodes.good())
            .map(|node| Node {
                name: text(node, "name"),
                running: node.get("running") == Some(&Json::Bool(true)),
                partitions: list(node.get("partitions"))
                    .filter_map(Json::as_str)
                    .map(str::to_owned)
                    .collect(),
            })
            .collect()
    }

    /// The queues with the most messages.
    pub(super) fn queues(&self) -> Vec<Queue> {
        let items = self.queues.good().and_then(|json| json.get("items"));
        list(items)
            .map(|queue| Queue {
                name: text(queue, "name"),
                messages: queue.get("messages").and_then(Json::as_u64),
                unacknowledged: queue.get("messages_unacknowledged").and_then(Json::as_u64),
                members: (text(queue, "type") == "quorum").then(|| {
                    (
                        list(queue.get("members")).count(),
                        list(queue.get("online")).count(),
                    )
                }),
            })
            .collect()
    }

    /// How many queues there are, with those that are not among [`Seen::queues`].
    pub(super) fn queues_total(&self) -> Option<u64> {
        self.queues.good()?.get("total_count")?.as_u64()
    }
}

fn list(json: Option<&Json>) -> impl Iterator<Item = &Json> {
    json.and_then(Json::as_array).into_iter().flatten()
}

fn text(json: &Json, key: &str) -> String {
    json.get(key)
        .and_then(Json::as_str)
        .unwrap_or_default()
        .to_owned()
}
