//! Runs each probe when it is due: with jitter, a deadline, few at a time, and none twice at once.
//!
//! Sleeps until something is due; there is no tick. When more is due than may run, probes wait: that is a state of
//! the agent, reported as `agent.scheduler`, and never a failure of what they ask.

mod pace;
mod plan;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::{Timestamp, Unit};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::board::{Board, Schedule};
use crate::clock::HostClock;
use crate::config::Configured;
use crate::observation::{Finding, Observation, Status};
use crate::run_once::{Ended, instead, start};
use crate::spool::Spool;
use crate::supervisor::Supervisor;
use crate::surroundings::{Draw, Surroundings};
use pace::Pace;
use plan::{Plan, START_SPREAD};

/// How often the agent reports on itself.
const SELF_REPORT: Duration = Duration::from_secs(30);

/// The longest time between two turns, however little there is to do: standing still has to show.
pub(crate) const TURN_MAX: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Entry {
    configured: Arc<Configured>,
    pace: Pace,
    /// The status that each target had last.
    last: BTreeMap<(String, String), Status>,
    /// What is said of its targets while a run of it does not end: it is not run again before that.
    hung: Option<String>,
}

struct Done {
    id: usize,
    sampled_boottime_us: u64,
    ended: Ended,
}

/// Runs probes until it is told to stop. A list that arrives on `lists` is all that there is to run from then on: a probe that is in it
/// as it was goes on undisturbed.
pub(crate) async fn run(
    host: String,
    mut lists: mpsc::Receiver<Vec<Configured>>,
    spool: Arc<Spool>,
    board: Arc<Board>,
    supervisor: Supervisor,
    surroundings: Surroundings,
    shutdown: CancellationToken,
) {
    let mut scheduler = Scheduler {
        host,
        spool,
        board: board.clone(),
        entries: BTreeMap::new(),
        numbers: 0,
        known: BTreeMap::new(),
        plan: Plan::new(surroundings.random(Draw::Schedule)),
        clock: surroundings.clock,
        runs: JoinSet::new(),
        hung: JoinSet::new(),
        said: None,
        supervisor,
        shown: String::new(),
    };
    let mut report_at = Instant::now() + START_SPREAD;
    let feed_interval = supervisor.feed_interval();
    let turn_max = feed_interval.unwrap_or(TURN_MAX).min(TURN_MAX);
    let mut fed = Instant::now();
    supervisor.ready();
    loop {
        scheduler.start_due();
        let now = Instant::now();
        scheduler.show(now);
        if feed_interval.is_some_and(|interval| now.saturating_duration_since(fed) >= interval) {
            supervisor.feed();
            fed = now;
        }
        let idle_until = report_at.min(now + turn_max);
        let next = scheduler
            .plan
            .next_due()
            .map_or(idle_until, |at| at.min(idle_until));
        // In a fixed order, so that a simulation runs the same way twice.
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            list = lists.recv() => match list {
                Some(list) => scheduler.set(list),
                None => return,
            },
            Some(run) = scheduler.runs.join_next(), if !scheduler.runs.is_empty() => {
                if let Ok(done) = run {
                    scheduler.finish(done);
                }
            }
            Some(ended) = scheduler.hung.join_next(), if !scheduler.hung.is_empty() => {
                if let Ok(id) = ended
                    && let Some(entry) = scheduler.entries.get_mut(&id)
                {
                    entry.hung = None;
                }
            }
            () = board.problems_changed() => report_at = Instant::now(),
            () = sleep_until(next) => {
                let now = Instant::now();
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
    board: Arc<Board>,
    /// The probes by number. A number is never used again: a run that ends after its probe was taken out is nobody's.
    entries: BTreeMap<usize, Entry>,
    numbers: usize,
    known: BTreeMap<(String, &'static str), usize>,
    plan: Plan,
    clock: HostClock,
    runs: JoinSet<Done>,
    /// Runs that outlived their deadline; each gives the number of its probe when it ends at last. They hold no slot:
    /// sixteen of them would stop all the others.
    hung: JoinSet<usize>,
    said: Option<Status>,
    supervisor: Supervisor,
    /// What systemd was told last.
    shown: String,
}

impl Scheduler {
    fn set(&mut self, list: Vec<Configured>) {
        let mut leaving = std::mem::take(&mut self.known);
        for configured in list {
            let key = (configured.component.clone(), configured.kind.name);
            if self.known.contains_key(&key) {
                continue;
            }
            let before = leaving.remove(&key);
            let is_same = |id: &usize| {
                let entry = self.entries.get(id);
                entry.is_some_and(|entry| entry.configured.is_same(&configured))
            };
            let id = match before.filter(is_same) {
                Some(id) => id,
                None => self.replace(before, configured),
            };
            self.known.insert(key, id);
        }
        for id in leaving.into_values() {
            self.take_out(id);
        }
        let components: BTreeSet<String> = self
            .entries
            .values()
            .flat_map(|entry| entry.configured.probe.targets())
            .map(|target| target.component)
            .collect();
        self.board.set_components(components);
    }

    /// Puts a probe in, in the place of another if there was one: that it was changed is no news of what it asks.
    fn replace(&mut self, before: Option<usize>, configured: Configured) -> usize {
        let id = self.numbers;
        self.numbers += 1;
        let last = before.and_then(|before| {
            self.plan.remove(before);
            self.entries.remove(&before)
        });
        self.plan.add(id, configured.interval, Instant::now());
        let entry = Entry {
            pace: Pace::new(configured.interval),
            configured: Arc::new(configured),
            last: last.map(|entry| entry.last).unwrap_or_default(),
            hung: None,
        };
        self.entries.insert(id, entry);
        id
    }

    /// Takes a probe out: what it said last is nobody's word any more.
    fn take_out(&mut self, id: usize) {
        self.plan.remove(id);
        if let Some(entry) = self.entries.remove(&id) {
            for (component, check) in entry.last.into_keys() {
                self.spool.forget_latest(component, check);
            }
        }
    }

    fn show(&self, now: Instant) {
        self.board.turned(Schedule {
            probes: self.entries.len(),
            running: self.plan.running(),
            waiting: self.plan.waiting(),
            late: self.plan.late(now),
            hung: self.hung.len(),
        });
    }

    fn start_due(&mut self) {
        while let Some(id) = self.plan.next_start(Instant::now()) {
            let Some(entry) = self.entries.get(&id) else {
                self.plan.left();
                continue;
            };
            let sampled_boottime_us = self.clock.read().boottime_us();
            if let Some(detail) = &entry.hung {
                let observations = instead(&entry.configured, detail);
                self.heard(id, sampled_boottime_us, observations);
                continue;
            }
            let configured = entry.configured.clone();
            self.runs.spawn(async move {
                Done {
                    id,
                    sampled_boottime_us,
                    ended: start(&configured).await,
                }
            });
        }
    }

    fn finish(&mut self, done: Done) {
        let id = done.id;
        let observations = match done.ended {
            Ended::Answered(observations) => observations,
            Ended::Hung(task) => {
                let now = Timestamp::now();
                let since = now.round(Unit::Second).unwrap_or(now);
                let detail =
                    format!("the probe hung at {since} and does not run before that run has ended");
                let observations = self.entries.get_mut(&id).map(|entry| {
                    let configured = &entry.configured;
                    warn!(component = %configured.component, kind = configured.kind.name, "probe hung");
                    let observations = instead(configured, &detail);
                    entry.hung = Some(detail);
                    observations
                });
                self.hung.spawn(async move {
                    // Its answer is too old to be one.
                    drop(task.await);
                    id
                });
                observations.unwrap_or_default()
            }
        };
        self.heard(id, done.sampled_boottime_us, observations);
    }

    /// Keeps what was found, and plans the next run by it.
    fn heard(&mut self, id: usize, sampled_boottime_us: u64, observations: Vec<Observation>) {
        let Some(entry) = self.entries.get_mut(&id) else {
            self.plan.left();
            return;
        };
        let mut urgent = false;
        for observation in &observations {
            let key = (
                observation.component.clone(),
                observation.check.clone().into_owned(),
            );
            urgent |= entry.last.insert(key, observation.finding.status)
                != Some(observation.finding.status);
        }
        let worst = observations
            .iter()
            .map(|observation| observation.finding.status)
            .filter(|status| *status != Status::Unknown)
            .max();
        entry.pace.saw(worst.unwrap_or(Status::Unknown));
        let ttl_ms =
            u32::try_from(entry.pace.ttl(entry.configured.timeout).as_millis()).unwrap_or(u32::MAX);
        self.plan.ended(id, entry.pace.wait(), Instant::now());
        self.spool
            .push(observations, sampled_boottime_us, ttl_ms, urgent);
    }

    /// What is wrong with the agent, beside its schedule.
    fn problem(&self) -> Option<String> {
        let mut problems = self.board.problems();
        problems.extend(self.spool.problem());
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// What the agent says of itself: whether its probes keep up, and its spool.
    fn report(&mut self, now: Instant) {
        let hung = self.hung.len();
        let finding = judge(
            self.entries.len(),
            self.plan.waiting(),
            self.plan.late(now),
            hung,
            self.problem(),
        );
        let finding = finding
            .with("probes", count(self.entries.len()))
            .with("waiting", count(self.plan.waiting()))
            .with("hung", count(hung))
            .with(
                "dropped_total",
                count(usize::try_from(self.spool.dropped_total()).unwrap_or(usize::MAX)),
            );
        if self.shown != finding.detail {
            self.supervisor.show(&finding.detail);
            self.shown.clone_from(&finding.detail);
        }
        let urgent = self.said.replace(finding.status) != Some(finding.status);
        let observation = Observation {
            component: format!("{}/agent", self.host),
            check: "agent.scheduler".into(),
            finding,
        };
        let now_us = self.clock.read().boottime_us();
        let ttl_ms = u32::try_from((SELF_REPORT * 3).as_millis()).unwrap_or(u32::MAX);
        self.spool.push(vec![observation], now_us, ttl_ms, urgent);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count that is shown")]
fn count(number: usize) -> f64 {
    number as f64
}

/// Later than this, probes no longer keep up.
const LATE: Duration = Duration::from_secs(5);

fn judge(
    probes: usize,
    waiting: usize,
    late: Duration,
    hung: usize,
    problem: Option<String>,
) -> Finding {
    if let Some(problem) = problem {
        Finding::degraded(problem)
    } else if late > LATE {
        Finding::degraded(format!(
            "{waiting} of {probes} probes wait for a free slot, the first for {} s",
            late.as_secs()
        ))
    } else if hung > 0 {
        Finding::degraded(format!("{hung} of {probes} probes hang"))
    } else {
        Finding::ok(format!("{probes} probes"))
    }
}

#[cfg(test)]
mod tests;
