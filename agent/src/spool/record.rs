//! A result as it lies on disk, and back.

use std::collections::BTreeMap;

use super::store::Lived;
use crate::observation::{Finding, Observation, Status};
use crate::result::{Numbered, StoredResult};

/// The statuses by the number that stands for each on disk.
const STATUSES: [Status; 5] = [
    Status::Ok,
    Status::Degraded,
    Status::Starting,
    Status::Failed,
    Status::Unknown,
];

/// A result as it lies on disk.
pub(super) fn stored(result: &Numbered) -> StoredResult {
    let finding = &result.observation.finding;
    StoredResult {
        incarnation: result.incarnation.id,
        sequence: result.sequence,
        sampled_boottime_us: result.sampled_boottime_us,
        ttl_ms: result.ttl_ms,
        component: result.observation.component.clone(),
        check: result.observation.check.clone().into_owned(),
        status: STATUSES
            .iter()
            .position(|status| *status == finding.status)
            .and_then(|at| u32::try_from(at).ok())
            .unwrap_or(4),
        progress: finding.progress,
        detail: finding.detail.clone(),
        value_names: finding
            .values
            .iter()
            .map(|(name, _)| name.clone().into_owned())
            .collect(),
        values: finding.values.iter().map(|(_, value)| *value).collect(),
    }
}

/// `None` when its incarnation is not known: it cannot be dated or counted.
pub(super) fn numbered(
    position: u64,
    stored: StoredResult,
    incarnations: &BTreeMap<u64, Lived>,
) -> Option<Numbered> {
    let status = STATUSES
        .get(stored.status as usize)
        .copied()
        .unwrap_or(Status::Unknown);
    let values = stored
        .value_names
        .into_iter()
        .map(Into::into)
        .zip(stored.values)
        .collect();
    Some(Numbered {
        position,
        incarnation: incarnations.get(&stored.incarnation)?.incarnation.clone(),
        sequence: stored.sequence,
        sampled_boottime_us: stored.sampled_boottime_us,
        ttl_ms: stored.ttl_ms,
        observation: Observation {
            component: stored.component,
            check: stored.check.into(),
            finding: Finding {
                progress: stored.progress,
                values,
                ..Finding::new(status, stored.detail)
            },
        },
    })
}
