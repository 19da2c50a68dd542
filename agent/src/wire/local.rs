//! What the local socket answers, as messages.

use std::time::Duration;

use blackstart_proto::v1::{
    LocalResult, LocalSchedule, LocalSpool, LocalUplink, ResultsResponse, StateResponse,
};
use prost::Message;

use crate::clock::HostClock;
use crate::local::Local;
use crate::result::Numbered;

/// The last results that are wanted, as many as fit into `room` bytes.
pub(crate) fn results(latest: Vec<Numbered>, wanted: &[String], room: usize) -> ResultsResponse {
    let now = HostClock::kernel().read();
    let (now_us, at_us) = (now.boottime_us(), now.wall_us);
    let mut response = ResultsResponse {
        at_us,
        ..ResultsResponse::default()
    };
    let mut bytes = 0;
    for result in latest {
        let observation = &result.observation;
        let is_wanted = wanted.is_empty()
            || wanted
                .iter()
                .any(|word| *word == observation.component || *word == observation.check);
        if !is_wanted {
            continue;
        }
        let message = local_result(result, now_us, at_us);
        bytes += message.encoded_len();
        if bytes > room {
            response.left_out += 1;
        } else {
            response.results.push(message);
        }
    }
    response
}

fn local_result(result: Numbered, now_us: u64, wall_us: i64) -> LocalResult {
    let finding = result.observation.finding;
    let age_us = now_us.saturating_sub(result.sampled_boottime_us);
    LocalResult {
        component: result.observation.component,
        check: result.observation.check.into_owned(),
        status: super::status(finding.status).into(),
        progress: finding.progress,
        detail: finding.detail,
        values: finding
            .values
            .into_iter()
            .map(|(name, value)| (name.into_owned(), value))
            .collect(),
        sampled_us: wall_us.saturating_sub(i64::try_from(age_us).unwrap_or(i64::MAX)),
        age_ms: age_us / 1_000,
        ttl_ms: result.ttl_ms,
    }
}

/// How the agent is.
pub(crate) fn state(local: &Local) -> StateResponse {
    let links = local.board.links();
    let aggregators = links
        .into_iter()
        .map(|(address, link)| LocalUplink {
            connected: link.is_open,
            for_ms: ms(link.since.elapsed()),
            aggregator_id: link.aggregator_id,
            problem: link.problem,
            waiting_results: local.spool.waiting(&address),
            address,
        })
        .collect();
    let mut problems = local.board.problems();
    problems.extend(local.spool.problem());
    problems.sort();
    let size = local.spool.size();
    let schedule = local.board.schedule();
    StateResponse {
        host: local.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        running_ms: ms(local.started.elapsed()),
        state_dir: local.state_dir.display().to_string(),
        configuration_file: local.configuration_file.clone(),
        problems,
        aggregators,
        spool: Some(LocalSpool {
            memory_results: size.memory_results,
            disk_bytes: size.disk_bytes,
            disk_bytes_max: size.disk_bytes_max,
            dropped_total: local.spool.dropped_total(),
        }),
        schedule: Some(LocalSchedule {
            probes: schedule.probes as u64,
            running: schedule.running as u64,
            waiting: schedule.waiting as u64,
            late_ms: ms(schedule.late),
            hung: schedule.hung as u64,
        }),
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observation::{Finding, Observation};
    use crate::result::Incarnation;

    fn latest(component: &str) -> Numbered {
        let incarnation = Incarnation {
            id: 1,
            boot_id: String::new(),
            wall_offset_us: 0,
        };
        Numbered {
            position: 0,
            incarnation: Arc::new(incarnation),
            sequence: 1,
            sampled_boottime_us: HostClock::kernel()
                .read()
                .boottime_us()
                .saturating_sub(2_000_000),
            ttl_ms: 1_000,
            observation: Observation {
                component: component.to_owned(),
                check: "k".into(),
                finding: Finding::ok("fine").with("rtt_ms", 1.5),
            },
        }
    }

    #[test]
    fn a_result_is_dated_by_its_age_whatever_the_wall_clock_says() {
        let response = results(vec![latest("c")], &[], 10_000);
        let result = &response.results[0];
        assert!(result.age_ms >= 1_999, "{result:?}");
        assert_eq!(
            response.at_us - result.sampled_us,
            i64::try_from(result.age_ms).unwrap() * 1_000
                + (response.at_us - result.sampled_us) % 1_000
        );
        assert_eq!(result.values["rtt_ms"], 1.5);
    }

    #[test]
    fn only_what_is_wanted_and_only_what_fits() {
        let all = || vec![latest("a"), latest("b"), latest("c")];
        let ids = |response: &ResultsResponse| -> Vec<String> {
            response
                .results
                .iter()
                .map(|result| result.component.clone())
                .collect()
        };
        let some = results(all(), &["b".to_owned()], 10_000);
        assert_eq!((ids(&some), some.left_out), (vec!["b".to_owned()], 0));
        let by_check = results(all(), &["k".to_owned()], 10_000);
        assert_eq!(by_check.results.len(), 3);
        let room = by_check.results[0].encoded_len();
        let first = results(all(), &[], room);
        assert_eq!((ids(&first), first.left_out), (vec!["a".to_owned()], 2));
    }
}
