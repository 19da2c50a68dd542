//! From messages to our own types, and back: the only files that name both.
//!
//! What comes in is checked field by field. A message that breaks the protocol becomes an
//! [`Invalid`] that names the field, what was found and what was expected; nothing half-valid gets
//! past here. Control characters in texts for people become spaces: a probe that quotes a server
//! literally must not cost its agent the session.

pub(crate) mod batch;
pub(crate) mod operator;
pub mod shape;

use std::collections::BTreeMap;
use std::fmt::Debug;

use blackstart_proto::limits::{
    COMPONENT_ID_BYTES_MAX, DETAIL_BYTES_MAX, DISCOVERED_COMPONENTS_MAX, INCARNATIONS_MAX,
    NAME_BYTES_MAX,
};
use blackstart_proto::v1;
use v1::session_request::Kind as Asked;
use v1::session_response::Kind as Said;

use self::batch::Batch;

/// The most labels of a host or component.
const LABELS_MAX: usize = 64;

/// The most components that one component is seen to use.
const USES_MAX: usize = 1_000;

/// What of a broken field is shown, in characters.
const SHOWN_MAX: usize = 60;

/// A field that breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}, expected {expected}")]
pub(crate) struct Invalid {
    field: String,
    found: String,
    expected: String,
}

impl Invalid {
    /// A field with what was found there and what was expected.
    pub(crate) fn new(
        field: impl Into<String>,
        found: impl Debug,
        expected: impl Into<String>,
    ) -> Self {
        let mut found = format!("{found:?}");
        if found.chars().count() > SHOWN_MAX {
            found = found.chars().take(SHOWN_MAX).chain("…".chars()).collect();
        }
        Self {
            field: field.into(),
            found,
            expected: expected.into(),
        }
    }
}

/// What an agent says.
#[derive(Debug)]
pub(crate) enum FromAgent {
    Hello(Hello),
    Batch(Batch),
    Facts(BTreeMap<String, String>),
    Discovery(Vec<Discovered>),
    Stopping {
        reason: String,
        host: bool,
    },
    Ping {
        nonce: u64,
        sent_boottime_us: u64,
    },
    /// A kind that this release does not know; ignored.
    Unknown,
}

/// The first message of a stream.
#[derive(Debug, Clone)]
pub(crate) struct Hello {
    pub(crate) protocol: std::ops::RangeInclusive<u32>,
    pub(crate) host: String,
    pub(crate) agent_version: String,
    pub(crate) boot_id: String,
    pub(crate) incarnation: u64,
    pub(crate) uptime_ms: u64,
    pub(crate) clean_shutdown: Option<bool>,
    pub(crate) spooled_incarnations: Vec<u64>,
    pub(crate) dropped_total: u64,
    pub(crate) sent_boottime_us: u64,
    pub(crate) sent_wall_us: i64,
    pub(crate) spooled_results: u64,
}

/// A component that discovery found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Discovered {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) container: Option<String>,
    pub(crate) uses: Vec<String>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl TryFrom<v1::SessionRequest> for FromAgent {
    type Error = Invalid;

    fn try_from(message: v1::SessionRequest) -> Result<Self, Invalid> {
        Ok(match message.kind {
            Some(Asked::Hello(hello)) => Self::Hello(hello.try_into()?),
            Some(Asked::Batch(batch)) => Self::Batch(batch.try_into()?),
            Some(Asked::Facts(facts)) => Self::Facts(labels("facts.labels", facts.labels)?),
            Some(Asked::Discovery(discovery)) => Self::Discovery(discovered(discovery)?),
            Some(Asked::Stopping(stopping)) => Self::Stopping {
                reason: line("stopping.reason", stopping.reason, DETAIL_BYTES_MAX)?,
                host: stopping.host,
            },
            Some(Asked::Ping(ping)) => Self::Ping {
                nonce: ping.nonce,
                sent_boottime_us: ping.sent_boottime_us,
            },
            None => Self::Unknown,
        })
    }
}

impl TryFrom<v1::Hello> for Hello {
    type Error = Invalid;

    fn try_from(hello: v1::Hello) -> Result<Self, Invalid> {
        let count = hello.spooled_incarnations.len();
        if count > INCARNATIONS_MAX {
            return Err(Invalid::new(
                "hello.spooled_incarnations",
                count,
                format!("{INCARNATIONS_MAX} entries at most"),
            ));
        }
        Ok(Self {
            protocol: hello.protocol_min..=hello.protocol_max,
            host: id("hello.host", hello.host)?,
            agent_version: line("hello.agent_version", hello.agent_version, NAME_BYTES_MAX)?,
            boot_id: name("hello.boot_id", hello.boot_id)?,
            incarnation: hello.incarnation,
            uptime_ms: hello.uptime_ms,
            clean_shutdown: hello.clean_shutdown,
            spooled_incarnations: hello.spooled_incarnations,
            dropped_total: hello.dropped_total,
            sent_boottime_us: hello.sent_boottime_us,
            sent_wall_us: hello.sent_wall_us,
            spooled_results: hello.spooled_results,
        })
    }
}

fn discovered(discovery: v1::Discovery) -> Result<Vec<Discovered>, Invalid> {
    let count = discovery.components.len();
    if count > DISCOVERED_COMPONENTS_MAX {
        return Err(Invalid::new(
            "discovery.components",
            count,
            format!("{DISCOVERED_COMPONENTS_MAX} entries at most"),
        ));
    }
    let components = discovery.components.into_iter().enumerate();
    components
        .map(|(index, component)| {
            let field = |name| format!("discovery.components[{index}].{name}");
            if component.uses.len() > USES_MAX {
                let expected = format!("{USES_MAX} entries at most");
                return Err(Invalid::new(field("uses"), component.uses.len(), expected));
            }
            let container = (!component.container.is_empty())
                .then(|| id(&field("container"), component.container))
                .transpose()?;
            let uses = component.uses.into_iter();
            Ok(Discovered {
                id: id(&field("id"), component.id)?,
                kind: name(&field("kind"), component.kind)?,
                container,
                uses: uses
                    .map(|used| id(&field("uses"), used))
                    .collect::<Result<_, _>>()?,
                labels: labels(&field("labels"), component.labels)?,
            })
        })
        .collect()
}

fn labels(
    field: &str,
    labels: std::collections::HashMap<String, String>,
) -> Result<BTreeMap<String, String>, Invalid> {
    if labels.len() > LABELS_MAX {
        let expected = format!("{LABELS_MAX} entries at most");
        return Err(Invalid::new(field, labels.len(), expected));
    }
    labels
        .into_iter()
        .map(|(key, value)| {
            let value = line(&format!("{field}[{key:?}]"), value, COMPONENT_ID_BYTES_MAX)?;
            Ok((name(field, key)?, value))
        })
        .collect()
}

/// The id of a component.
fn id(field: &str, text: String) -> Result<String, Invalid> {
    identifier(field, text, COMPONENT_ID_BYTES_MAX)
}

/// The name of a check, a value, a kind, a label.
fn name(field: &str, text: String) -> Result<String, Invalid> {
    identifier(field, text, NAME_BYTES_MAX)
}

fn identifier(field: &str, text: String, bytes_max: usize) -> Result<String, Invalid> {
    let is_good = !text.is_empty()
        && text.len() <= bytes_max
        && text.trim().len() == text.len()
        && !text.chars().any(char::is_control);
    if is_good {
        Ok(text)
    } else {
        Err(Invalid::new(
            field,
            text,
            format!(
                "1 to {bytes_max} bytes without control characters and without space around them"
            ),
        ))
    }
}

/// One line for people.
fn line(field: &str, text: String, bytes_max: usize) -> Result<String, Invalid> {
    if text.len() > bytes_max {
        return Err(Invalid::new(
            field,
            text,
            format!("{bytes_max} bytes at most"),
        ));
    }
    Ok(match without_controls(&text) {
        Some(clean) => clean,
        None => text,
    })
}

/// The text with spaces for its control characters; `None` if it has none.
fn without_controls(text: &str) -> Option<String> {
    text.chars().any(char::is_control).then(|| {
        let clean = |c: char| if c.is_control() { ' ' } else { c };
        text.chars().map(clean).collect()
    })
}

/// Why an agent is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RefusalKind {
    Protocol,
    HostNotInCertificate,
    HostClaimedTwice,
    Invalid,
}

/// What the aggregator says to an agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToAgent {
    Welcome(Welcome),
    Wait {
        retry_after: std::time::Duration,
        reason: String,
    },
    Refusal {
        kind: RefusalKind,
        reason: String,
    },
    Acknowledgement {
        incarnation: u64,
        sequence: u64,
    },
    Pong {
        nonce: u64,
    },
}

/// The session is open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) protocol: u32,
    pub(crate) aggregator_id: String,
    /// Incarnation and last sequence.
    pub(crate) journaled: Vec<(u64, u64)>,
    pub(crate) sent_wall_us: i64,
}

impl From<ToAgent> for v1::SessionResponse {
    fn from(message: ToAgent) -> Self {
        let kind = match message {
            ToAgent::Welcome(welcome) => Said::Welcome(welcome.into()),
            ToAgent::Wait {
                retry_after,
                reason,
            } => Said::Wait(v1::Wait {
                retry_after_ms: millis(retry_after),
                reason,
            }),
            ToAgent::Refusal { kind, reason } => Said::Refusal(v1::Refusal {
                code: i32::from(v1::RefusalCode::from(kind)),
                reason,
            }),
            ToAgent::Acknowledgement {
                incarnation,
                sequence,
            } => Said::Acknowledgement(v1::Acknowledgement {
                incarnation,
                sequence,
            }),
            ToAgent::Pong { nonce } => Said::Pong(v1::Pong { nonce }),
        };
        Self { kind: Some(kind) }
    }
}

impl From<Welcome> for v1::Welcome {
    fn from(welcome: Welcome) -> Self {
        use blackstart_proto::limits::{
            BATCH_RESULTS_MAX, HEARTBEAT_INTERVAL, SILENCE_MAX, UNACKNOWLEDGED_RESULTS_MAX,
        };
        let journaled = welcome.journaled.into_iter();
        Self {
            protocol: welcome.protocol,
            aggregator_id: welcome.aggregator_id,
            journaled: journaled
                .map(|(incarnation, sequence)| v1::Acknowledgement {
                    incarnation,
                    sequence,
                })
                .collect(),
            heartbeat_interval_ms: millis(HEARTBEAT_INTERVAL),
            silence_max_ms: millis(SILENCE_MAX),
            batch_results_max: u32::try_from(BATCH_RESULTS_MAX).unwrap_or(u32::MAX),
            unacknowledged_results_max: u32::try_from(UNACKNOWLEDGED_RESULTS_MAX)
                .unwrap_or(u32::MAX),
            sent_wall_us: welcome.sent_wall_us,
        }
    }
}

impl From<RefusalKind> for v1::RefusalCode {
    fn from(kind: RefusalKind) -> Self {
        match kind {
            RefusalKind::Protocol => Self::Protocol,
            RefusalKind::HostNotInCertificate => Self::HostNotInCertificate,
            RefusalKind::HostClaimedTwice => Self::HostClaimedTwice,
            RefusalKind::Invalid => Self::Invalid,
        }
    }
}

fn millis(duration: std::time::Duration) -> u32 {
    u32::try_from(duration.as_millis()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
