//! Runs each probe when it is due: with jitter, a deadline, few at a time, and none twice at once.
//!
//! Sleeps until something is due; there is no tick. When more is due than may run, probes wait: that is a state of
//! the agent, reported as `agent.scheduler`, and never a failure of what they ask.

mod pace;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::boottime_us;
use crate::config::Configured;
use crate::observation::{Finding, Observation, Status};
use crate::run_once::run_once;
use crate::spool::Spool;
use pace::Pace;

/// The most probes that run at a time. Sixteen waits of a few milliseconds each cover hundreds of probes in ten seconds; more at once would only be felt.
const RUNNING_MAX: usize = 16;

/// First runs are spread over this time, so that a start is no burst and still quick.
const START_SPREAD: Duration = Duration::from_secs(1);

/// How often the agent reports on itself.
const SELF_REPORT: Duration = Duration::from_secs(30);

/// Each wait varies by this share in both directions, so that no two hosts stay in step.
const JITTER: f64 = 0.1;

struct Entry {
    configured: Arc<Configured>,
    pace: Pace,
    /// The status that each target had last.
    last: BTreeMap<(String, String), Status>,
}

struct Done {
    id: usize,
    sampled_boottime_us: u64,
    observations: Vec<Observation>,
}

/// Runs probes until it is told to stop. A list that arrives on `lists` adds the probes in it that are not
/// there yet: what was found once is asked for ever, for a server that died is not found any more.
pub(crate) async fn run(
    host: String,
    mut lists: mpsc::Receiver<Vec<Configured>>,
    spool: Arc<Spool>,
    shutdown: CancellationToken,
) {
    let mut scheduler = Scheduler {
        host,
        spool,
        entries: Vec::new(),
        known: BTreeMap::new(),
        due: BinaryHeap::new(),
        waiting: VecDeque::new(),
        runs: JoinSet::new(),
        said: None,
    };
    let mut report_at = Instant::now() + START_SPREAD;
    loop {
        scheduler.start_waiting();
        let next = scheduler
            .due
            .peek()
            .map_or(report_at, |Reverse((at, _))| (*at).min(report_at));
        tokio::select! {
            () = shutdown.cancelled() => return,
            list = lists.recv() => match list {
                Some(list) => scheduler.add(list),
                None => return,
            },
            Some(run) = scheduler.runs.join_next(), if !scheduler.runs.is_empty() => {
                if let Ok(done) = run {
                    scheduler.finish(done);
                }
            }
            () = sleep_until(next) => {
                let now = Instant::now();
                scheduler.collect_due(now);
                if now >= report_at {
                    scheduler.report(now);
                    report_at = now + SELF_REPORT;
                }
            }
        }
    }
}

struct Scheduler {
    host: String,
    spool: Arc<Spool>,
    entries: Vec<Entry>,
    known: BTreeMap<(String, &'static str), usize>,
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Due, and waiting for a slot: since when.
    waiting: VecDeque<(Instant, usize)>,
    runs: JoinSet<Done>,
    said: Option<Status>,
}

impl Scheduler {
    fn add(&mut self, list: Vec<Configured>) {
        for configured in list {
            let key = (configured.component.clone(), configured.kind.name);
            if self.known.contains_key(&key) {
                continue;
            }
            let id = self.entries.len();
            self.known.insert(key, id);
            let spread = START_SPREAD
                .min(configured.interval)
                .mul_f64(rand::rng().random_range(0.0..1.0));
            self.due.push(Reverse((Instant::now() + spread, id)));
            let pace = Pace::new(configured.interval);
            self.entries.push(Entry {
                configured: Arc::new(configured),
                pace,
                last: BTreeMap::new(),
            });
        }
    }

    fn collect_due(&mut self, now: Instant) {
        while let Some(Reverse((at, id))) = self
            .due
            .peek()
            .copied()
            .filter(|Reverse((at, _))| *at <= now)
        {
            self.due.pop();
            self.waiting.push_back((at, id));
        }
    }

    fn start_waiting(&mut self) {
        while self.runs.len() < RUNNING_MAX {
            let Some((_, id)) = self.waiting.pop_front() else {
                return;
            };
            let configured = self.entries[id].configured.clone();
            self.runs.spawn(async move {
                let sampled_boottime_us = boottime_us();
                Done {
                    id,
                    sampled_boottime_us,
                    observations: run_once(&configured).await,
                }
            });
        }
    }

    fn finish(&mut self, done: Done) {
        let entry = &mut self.entries[done.id];
        let mut urgent = false;
        for observation in &done.observations {
            let key = (
                observation.component.clone(),
                observation.check.clone().into_owned(),
            );
            urgent |= entry.last.insert(key, observation.finding.status)
                != Some(observation.finding.status);
        }
        let worst = done
            .observations
            .iter()
            .map(|observation| observation.finding.status)
            .filter(|status| *status != Status::Unknown)
            .max();
        entry.pace.saw(worst.unwrap_or(Status::Unknown));
        let ttl_ms =
            u32::try_from(entry.pace.ttl(entry.configured.timeout).as_millis()).unwrap_or(u32::MAX);
        let wait = entry
            .pace
            .wait()
            .mul_f64(1.0 + rand::rng().random_range(-JITTER..JITTER));
        self.due.push(Reverse((Instant::now() + wait, done.id)));
        self.spool
            .push(done.observations, done.sampled_boottime_us, ttl_ms, urgent);
    }

    /// What the agent says of itself: whether its probes keep up, and its spool.
    fn report(&mut self, now: Instant) {
        let late = self
            .waiting
            .front()
            .map(|(since, _)| now.saturating_duration_since(*since));
        let finding = judge(
            self.entries.len(),
            self.waiting.len(),
            late.unwrap_or_default(),
            self.spool.problem(),
        );
        let finding = finding
            .with("probes", count(self.entries.len()))
            .with("waiting", count(self.waiting.len()))
            .with(
                "dropped_total",
                count(usize::try_from(self.spool.dropped_total()).unwrap_or(usize::MAX)),
            );
        let urgent = self.said.replace(finding.status) != Some(finding.status);
        let observation = Observation {
            component: format!("{}/agent", self.host),
            check: "agent.scheduler".into(),
            finding,
        };
        let ttl_ms = u32::try_from((SELF_REPORT * 3).as_millis()).unwrap_or(u32::MAX);
        self.spool
            .push(vec![observation], boottime_us(), ttl_ms, urgent);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Later than this, probes no longer keep up.
const LATE: Duration = Duration::from_secs(5);

fn judge(probes: usize, waiting: usize, late: Duration, spool_problem: Option<String>) -> Finding {
    if let Some(problem) = spool_problem {
        Finding::degraded(problem)
    } else if late > LATE {
        Finding::degraded(format!(
            "{waiting} of {probes} probes wait for a free slot, the first for {} s",
            late.as_secs()
        ))
    } else {
        Finding::ok(format!("{probes} probes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saturated_agent_says_so_of_itself() {
        assert_eq!(
            judge(20, 3, Duration::from_secs(5), None).status,
            Status::Ok
        );
        let late = judge(20, 3, Duration::from_secs(6), None);
        assert_eq!(
            (late.status, late.detail.as_str()),
            (
                Status::Degraded,
                "3 of 20 probes wait for a free slot, the first for 6 s"
            )
        );
        assert_eq!(
            judge(1, 0, Duration::ZERO, Some("disk full".to_owned())).detail,
            "disk full"
        );
    }
}
