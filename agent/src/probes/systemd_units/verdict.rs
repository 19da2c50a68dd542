//! What the state of all units says of a host. Pure.

use std::time::Duration;

use super::Seen;
use crate::observation::Finding;

/// The most units that a detail names.
const NAMED_MAX: usize = 5;

/// The whole decision.
pub(super) fn judge(seen: &Seen, stuck_after: Duration) -> Finding {
    #[expect(clippy::cast_precision_loss, reason = "a host has some hundred units")]
    let count = |units: usize| units as f64;
    verdict(seen, stuck_after)
        .with("failed_units", count(seen.failed.len()))
        .with("restarting_units", count(seen.restarting.len()))
        .with("starting_units", count(seen.starting.len()))
        .with("jobs", f64::from(seen.jobs))
}

fn verdict(seen: &Seen, stuck_after: Duration) -> Finding {
    match seen.state.as_str() {
        "initializing" | "starting" => {
            let waits = if seen.awaited.is_empty() {
                String::new()
            } else {
                format!(", waits for {}", name(&seen.awaited))
            };
            let failed = if seen.failed.is_empty() {
                String::new()
            } else {
                format!("; failed: {}", name(&seen.failed))
            };
            #[expect(clippy::cast_possible_truncation, reason = "a share from 0 to 1")]
            let progress = seen.progress.map(|progress| progress as f32);
            Finding::starting(
                format!("booting: {} jobs left{waits}{failed}", seen.jobs),
                progress,
            )
        }
        "stopping" => Finding::degraded("shutting down"),
        "maintenance" => Finding::failed("in rescue or emergency mode: somebody has to come"),
        "running" | "degraded" => settled(seen, stuck_after),
        other => Finding::unknown(format!("in a state that this agent does not know: {other}")),
    }
}

fn settled(seen: &Seen, stuck_after: Duration) -> Finding {
    let mut words = Vec::new();
    if !seen.failed.is_empty() {
        words.push(format!("failed: {}", name(&seen.failed)));
    }
    if !seen.restarting.is_empty() {
        words.push(format!(
            "restarting again and again: {}",
            name(&seen.restarting)
        ));
    }
    let stuck: Vec<String> = seen
        .starting
        .iter()
        .filter(|(_, since_s)| since_s.is_some_and(|since_s| since_s > stuck_after.as_secs()))
        .map(|(name, _)| name.clone())
        .collect();
    if !stuck.is_empty() {
        words.push(format!("still starting: {}", name(&stuck)));
    }
    if words.is_empty() {
        return Finding::ok("running, no failed units");
    }
    Finding::degraded(words.join("; "))
}

fn name(units: &[String]) -> String {
    let mut shown = units
        .iter()
        .take(NAMED_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if units.len() > NAMED_MAX {
        shown.push_str(&format!(" and {} more", units.len() - NAMED_MAX));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Status::{self, Degraded, Failed, Ok, Starting};

    fn units(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn every_state_has_its_verdict() {
        let state = |state: &str| Seen {
            state: state.to_owned(),
            ..Seen::default()
        };
        let starting = |since_s| vec![("slow.service".to_owned(), since_s)];
        let table: Vec<(Seen, Status, &str)> = vec![
            (state("running"), Ok, "running, no failed units"),
            (
                Seen {
                    starting: starting(Some(120)),
                    ..state("running")
                },
                Ok,
                "running, no failed units",
            ),
            (
                Seen {
                    starting: starting(Some(121)),
                    ..state("running")
                },
                Degraded,
                "still starting: slow.service",
            ),
            (
                Seen {
                    failed: units(&["a", "b", "c", "d", "e", "f"]),
                    restarting: units(&["x"]),
                    ..state("degraded")
                },
                Degraded,
                "failed: a, b, c, d, e and 1 more; restarting again and again: x",
            ),
            (
                Seen {
                    jobs: 7,
                    awaited: units(&["db.service"]),
                    progress: Some(0.4),
                    ..state("starting")
                },
                Starting,
                "booting: 7 jobs left, waits for db.service",
            ),
            (
                state("maintenance"),
                Failed,
                "in rescue or emergency mode: somebody has to come",
            ),
            (state("stopping"), Degraded, "shutting down"),
        ];
        for (seen, status, detail) in table {
            let finding = judge(&seen, Duration::from_secs(120));
            assert_eq!(
                (finding.status, finding.detail.as_str()),
                (status, detail),
                "{seen:?}"
            );
        }
        let booting = Seen {
            progress: Some(0.4),
            ..state("starting")
        };
        assert_eq!(judge(&booting, Duration::ZERO).progress, Some(0.4));
    }
}
