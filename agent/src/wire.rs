//! From the agent's words to the protocol's: the only place that names both.

pub(crate) mod local;

use std::collections::BTreeMap;

use blackstart_proto::v1::{
    Batch, DiscoveredComponent, Discovery, Result as ResultMessage, Status as StatusMessage,
    TargetDefinition,
};
pub(crate) use blackstart_proto::v1::{Discovery as DiscoveryMessage, Facts as FactsMessage};

use crate::clock::Reading;
use crate::config::Configured;
use crate::facts::Facts;
use crate::observation::Status;
use crate::result::Numbered;

/// What one stream has been told already, so that it is told once.
#[derive(Debug, Default)]
pub(crate) struct Told {
    targets: BTreeMap<(String, String), Target>,
}

#[derive(Debug)]
struct Target {
    id: u32,
    value_names: Vec<String>,
    ttl_ms: u32,
    detail: Option<String>,
}

impl Told {
    /// A batch of results that are consecutive in one incarnation. `None` for no results.
    pub(crate) fn batch(
        &mut self,
        results: &[Numbered],
        boot_id: &str,
        now: Reading,
        dropped_total: u64,
    ) -> Option<Batch> {
        let first = results.first()?;
        let mut definitions = Vec::new();
        let messages = results
            .iter()
            .map(|result| self.result(result, &mut definitions))
            .collect();
        Some(Batch {
            incarnation: first.incarnation.id,
            boot_id: first.incarnation.boot_id.clone(),
            first_sequence: first.sequence,
            sent_boottime_us: if first.incarnation.boot_id == boot_id {
                now.boottime_us()
            } else {
                0
            },
            wall_offset_us: first.incarnation.wall_offset_us,
            definitions,
            results: messages,
            dropped_total,
        })
    }

    fn result(
        &mut self,
        result: &Numbered,
        definitions: &mut Vec<TargetDefinition>,
    ) -> ResultMessage {
        let observation = &result.observation;
        let finding = &observation.finding;
        let key = (
            observation.component.clone(),
            observation.check.clone().into_owned(),
        );
        let next_id = u32::try_from(self.targets.len()).unwrap_or(u32::MAX);
        let target = self.targets.entry(key).or_insert(Target {
            id: next_id,
            value_names: Vec::new(),
            ttl_ms: 0,
            detail: None,
        });
        let same_names = target
            .value_names
            .iter()
            .eq(finding.values.iter().map(|(name, _)| name));
        if target.detail.is_none() || target.ttl_ms != result.ttl_ms || !same_names {
            target.value_names = finding
                .values
                .iter()
                .map(|(name, _)| name.clone().into_owned())
                .collect();
            target.ttl_ms = result.ttl_ms;
            definitions.push(TargetDefinition {
                target: target.id,
                component: observation.component.clone(),
                check: observation.check.clone().into_owned(),
                value_names: target.value_names.clone(),
                ttl_ms: result.ttl_ms,
            });
            // A target that is defined anew starts anew.
            target.detail = None;
        }
        let detail = (target.detail.as_deref() != Some(finding.detail.as_str()))
            .then(|| finding.detail.clone());
        if let Some(detail) = &detail {
            target.detail = Some(detail.clone());
        }
        ResultMessage {
            target: target.id,
            sampled_boottime_us: result.sampled_boottime_us,
            status: status(finding.status).into(),
            progress: finding.progress,
            detail,
            values: finding.values.iter().map(|(_, value)| *value).collect(),
        }
    }
}

const fn status(status: Status) -> StatusMessage {
    match status {
        Status::Ok => StatusMessage::Ok,
        Status::Degraded => StatusMessage::Degraded,
        Status::Starting => StatusMessage::Starting,
        Status::Failed => StatusMessage::Failed,
        Status::Unknown => StatusMessage::Unknown,
    }
}

/// How many of these results one batch may hold: consecutive ones of one incarnation and boot that define a target at most once.
pub(crate) fn batch_length(results: &[Numbered], most: usize) -> usize {
    let Some(first) = results.first() else {
        return 0;
    };
    let mut names: BTreeMap<(&str, &str), (Vec<&str>, u32)> = BTreeMap::new();
    let mut length = 0;
    for (expected, result) in (first.sequence..).zip(results).take(most) {
        if result.incarnation.id != first.incarnation.id || result.sequence != expected {
            break;
        }
        // Definitions come before all results of a batch: a target that changes its names ends it.
        let observation = &result.observation;
        let own: Vec<&str> = observation
            .finding
            .values
            .iter()
            .map(|(name, _)| &**name)
            .collect();
        let key = (observation.component.as_str(), &*observation.check);
        let known = names
            .entry(key)
            .or_insert_with(|| (own.clone(), result.ttl_ms));
        if known.0 != own || known.1 != result.ttl_ms {
            break;
        }
        length += 1;
    }
    length
}

/// The facts as a message.
pub(crate) fn facts(facts: &Facts, now: Reading) -> FactsMessage {
    FactsMessage {
        boot_id: facts.boot_id.clone(),
        uptime_ms: now.uptime_ms(),
        clean_shutdown: facts.clean_shutdown,
        addresses: facts.addresses.clone(),
        routes: facts.routes.clone(),
        resolvers: facts.resolvers.clone(),
        labels: facts.labels.clone().into_iter().collect(),
    }
}

/// What is probed, as components; the agent itself is one of them.
pub(crate) fn discovery(probes: &[Configured], host: &str) -> Discovery {
    let mut components: BTreeMap<&str, DiscoveredComponent> = BTreeMap::new();
    for probe in probes {
        let entry = components
            .entry(&probe.component)
            .or_insert_with(|| DiscoveredComponent {
                id: probe.component.clone(),
                kind: probe.component_kind.to_owned(),
                container: if probe.in_host && probe.component != host {
                    host.to_owned()
                } else {
                    String::new()
                },
                ..DiscoveredComponent::default()
            });
        entry.uses.extend(probe.uses.iter().cloned());
        entry.uses.sort();
        entry.uses.dedup();
    }
    let agent = format!("{host}/agent");
    components
        .entry(&agent)
        .or_insert_with(|| DiscoveredComponent {
            id: agent.clone(),
            kind: "agent".to_owned(),
            container: host.to_owned(),
            ..DiscoveredComponent::default()
        });
    let mut components: Vec<_> = components.into_values().collect();
    components.truncate(blackstart_proto::limits::DISCOVERED_COMPONENTS_MAX);
    Discovery { components }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observation::{Finding, Observation};
    use crate::result::Incarnation;

    fn numbered(incarnation: u64, sequence: u64, finding: Finding) -> Numbered {
        let incarnation = Incarnation {
            id: incarnation,
            boot_id: "b".to_owned(),
            wall_offset_us: 0,
        };
        Numbered {
            position: sequence,
            incarnation: Arc::new(incarnation),
            sequence,
            sampled_boottime_us: 5,
            ttl_ms: 1_000,
            observation: Observation {
                component: "c".to_owned(),
                check: "k".into(),
                finding,
            },
        }
    }

    #[test]
    fn a_stream_is_told_each_text_once() {
        let mut told = Told::default();
        let now = Reading {
            boottime: std::time::Duration::from_secs(7),
            wall_us: 0,
        };
        let results = [
            numbered(1, 1, Finding::ok("fine")),
            numbered(1, 2, Finding::ok("fine")),
            numbered(1, 3, Finding::failed("gone")),
        ];
        let batch = told.batch(&results, "b", now, 0).unwrap();
        assert_eq!(batch.definitions.len(), 1);
        let details: Vec<_> = batch
            .results
            .iter()
            .map(|result| result.detail.as_deref())
            .collect();
        assert_eq!(details, [Some("fine"), None, Some("gone")]);
        assert_eq!(batch.sent_boottime_us, 7_000_000);
        assert_eq!(
            told.batch(&results[2..], "another boot", now, 0)
                .unwrap()
                .sent_boottime_us,
            0
        );
    }

    #[test]
    fn a_batch_ends_where_sequence_incarnation_or_names_break() {
        let ok = || Finding::ok("");
        assert_eq!(
            batch_length(
                &[
                    numbered(1, 1, ok()),
                    numbered(1, 2, ok()),
                    numbered(1, 4, ok())
                ],
                10
            ),
            2
        );
        assert_eq!(
            batch_length(&[numbered(1, 1, ok()), numbered(2, 2, ok())], 10),
            1
        );
        assert_eq!(
            batch_length(
                &[numbered(1, 1, ok()), numbered(1, 2, ok().with("x", 1.0))],
                10
            ),
            1
        );
        assert_eq!(
            batch_length(&[numbered(1, 1, ok()), numbered(1, 2, ok())], 1),
            1
        );
        assert_eq!(batch_length(&[], 1), 0);
    }
}
