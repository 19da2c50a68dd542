//! What the engine takes: one thing that happened, as a line of JSON.
//!
//! Unknown fields are ignored; an unknown `type` is an error.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Status, Timestamp};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When it arrived at the aggregator; events are in this order.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum EventKind {
    /// A probe answered.
    Observation {
        /// The host component of the agent that asked.
        agent: String,
        /// The component that was asked; the agent's own host when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        component: Option<String>,
        /// The check.
        check: String,
        /// The answer.
        status: Status,
        /// 0 to 1, while starting.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        progress: Option<f32>,
        /// One line for people.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
        /// Measured values.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        values: BTreeMap<String, f64>,
        /// When the probe ran; `at` when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sampled_at: Option<Timestamp>,
        /// How long it holds, in seconds; 60 when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        ttl_s: Option<f64>,
    },
    /// An agent's stream opened.
    AgentConnected {
        /// Its host.
        agent: String,
        /// The kernel's boot id.
        #[serde(default)]
        boot_id: String,
        /// How long the host has been up.
        #[serde(default)]
        uptime_s: f64,
        /// Whether the boot before ended in order; means something only when `boot_id` is new.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clean_shutdown: Option<bool>,
    },
    /// An agent's stream is gone.
    AgentLost {
        /// Its host.
        agent: String,
    },
    /// An orderly stop of a host was announced.
    AgentStopping {
        /// Its host.
        agent: String,
        /// Why.
        #[serde(default)]
        reason: String,
    },
    /// What an agent found on its host.
    Discovered {
        /// Its host.
        agent: String,
        /// The components.
        components: Vec<DiscoveredComponent>,
    },
    /// What an agent knows of its host.
    Facts {
        /// Its host.
        agent: String,
        /// What hosts may share.
        #[serde(default)]
        labels: BTreeMap<String, String>,
    },
    /// What a provider says of itself.
    ProviderStatus {
        /// The provider's component.
        component: String,
        /// `none`, `minor`, `major` or `critical`.
        indicator: String,
        /// What it says.
        #[serde(default)]
        detail: String,
    },
    /// Somebody did something.
    Action {
        /// Who.
        #[serde(default)]
        by: String,
        /// What.
        #[serde(default)]
        detail: String,
        /// Its id, as a cause: `action:<id>`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What it touched.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        affects: Vec<String>,
    },
    /// A component is destroyed and will not return.
    Gone {
        /// The component.
        component: String,
    },
    /// The total of a counted class was corrected.
    Baseline {
        /// The class.
        class: String,
        /// Its total.
        total: u64,
    },
    /// Work on a component is planned until then.
    Maintenance {
        /// The component.
        component: String,
        /// Until when.
        until: Timestamp,
    },
    /// The aggregator was not there for a while: nobody watched between `watched_until` and now. Whose stream was open
    /// then is neither connected nor lost before it returns or is given up.
    AggregatorRestarted {
        /// The last moment at which it is known to have watched.
        watched_until: Timestamp,
    },
    /// Time goes on.
    Tick,
}

/// A component that discovery found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiscoveredComponent {
    /// Its id.
    pub id: String,
    /// Its kind.
    pub kind: String,
    /// What it is in.
    #[serde(default, rename = "in", skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// What it is seen to use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub uses: Vec<String>,
    /// Labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_observation_reads_as_the_design_writes_it() {
        let line = r#"{"at":"2019-01-24T12:55:58.120Z","type":"observation","agent":"host-7-01","component":"etcd-1","check":"etcd.member","status":"failed","detail":"connection refused","values":{"rtt_ms":0.3},"future":1}"#;
        let event: Event = serde_json::from_str(line).unwrap();
        assert!(matches!(
            &event.kind,
            EventKind::Observation {
                status: Status::Failed,
                ..
            }
        ));
        let again: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
        assert_eq!(again, event);
    }

    #[test]
    fn an_unknown_type_is_an_error() {
        let line = r#"{"at":"2019-01-24T12:55:58.120Z","type":"eclipse"}"#;
        assert!(
            serde_json::from_str::<Event>(line)
                .unwrap_err()
                .to_string()
                .contains("eclipse")
        );
    }
}
