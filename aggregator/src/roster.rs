//! The agents that are known: who is connected, who is lost, and what they said of themselves.
//!
//! A stream that ends does not make an agent lost: it has a grace to come back. After a restart of the aggregator
//! nobody is lost either: who was connected has the time to return that admission needs for all
//! of them. Only then the engine is told `agent_lost`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// What is shown of an agent that has not come back since the aggregator's restart.
const NOT_YET_RETURNED: &str = "has not returned since the aggregator's restart";

/// What an agent said of itself, and what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct AgentRecord {
    /// Whether its stream is open.
    #[serde(skip)]
    pub(crate) connected: bool,
    /// Since when it is connected or not, microseconds since the Unix epoch.
    pub(crate) since_us: i64,
    /// Its release.
    pub(crate) version: String,
    /// The protocol version of its session.
    #[serde(skip)]
    pub(crate) protocol: u32,
    /// Results that its full spool dropped, as it says.
    pub(crate) dropped_total: u64,
    /// Its wall clock minus ours, in milliseconds.
    pub(crate) clock_offset_ms: i64,
    /// The boot it reported last.
    pub(crate) boot_id: String,
    /// The incarnation it reported last.
    pub(crate) incarnation: u64,
    /// Results that wait in its spool, as it said last.
    pub(crate) spooled_results: u64,
    /// What is wrong with the session.
    #[serde(skip)]
    pub(crate) problem: String,
    /// Facts.
    pub(crate) labels: BTreeMap<String, String>,
    /// Whether the engine was told that it is lost.
    pub(crate) lost: bool,
}

/// The agents that are known.
#[derive(Debug)]
pub(crate) struct Roster {
    inner: Mutex<Inner>,
    changed: watch::Sender<()>,
    grace_changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    agents: BTreeMap<Box<str>, AgentRecord>,
    /// Agents that are lost unless they return before.
    graces: BTreeSet<(Instant, Box<str>)>,
    /// The deadline of each of them.
    deadlines: HashMap<Box<str>, Instant>,
}

impl Inner {
    fn begin_grace(&mut self, host: Box<str>, deadline: Instant) {
        self.end_grace(&host);
        self.deadlines.insert(host.clone(), deadline);
        self.graces.insert((deadline, host));
    }

    fn end_grace(&mut self, host: &str) {
        if let Some((host, deadline)) = self.deadlines.remove_entry(host) {
            self.graces.remove(&(deadline, host));
        }
    }
}

impl Roster {
    pub(crate) fn new() -> Self {
        Self {
            inner: Mutex::default(),
            changed: watch::Sender::new(()),
            grace_changed: Notify::new(),
        }
    }

    /// Shows every agent, sorted by host.
    pub(crate) fn each(&self, mut show: impl FnMut(&str, &AgentRecord)) {
        for (host, agent) in &self.lock().agents {
            show(host, agent);
        }
    }

    /// How many agents are known.
    pub(crate) fn count(&self) -> usize {
        self.lock().agents.len()
    }

    /// Changes what is known of an agent, if anything.
    pub(crate) fn update(&self, host: &str, change: impl FnOnce(&mut AgentRecord)) {
        if let Some(agent) = self.lock().agents.get_mut(host) {
            change(agent);
        }
        self.changed.send_replace(());
    }

    /// An agent's session opened. Returns what was known of it.
    pub(crate) fn connected(&self, host: &str, agent: AgentRecord) -> Option<AgentRecord> {
        let mut inner = self.lock();
        inner.end_grace(host);
        let before = inner.agents.insert(host.into(), agent);
        drop(inner);
        self.changed.send_replace(());
        before
    }

    /// An agent's session ended; it is lost unless it returns before `deadline`.
    pub(crate) fn disconnected(&self, host: &str, at_us: i64, deadline: Instant, problem: String) {
        let mut inner = self.lock();
        let Some(agent) = inner.agents.get_mut(host) else {
            return;
        };
        agent.connected = false;
        agent.protocol = 0;
        agent.since_us = at_us;
        agent.problem = problem;
        inner.begin_grace(host.into(), deadline);
        drop(inner);
        self.changed.send_replace(());
        self.grace_changed.notify_one();
    }

    /// Waits until the grace of some agents is over, and returns them; each is returned once.
    pub(crate) async fn next_lost(&self) -> Vec<Box<str>> {
        loop {
            let changed = self.grace_changed.notified();
            let next = self.lock().graces.first().map(|(deadline, _)| *deadline);
            match next {
                Some(deadline) if deadline <= Instant::now() => return self.take_lost(),
                Some(deadline) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(deadline) => {}
                        () = changed => {}
                    }
                }
                None => changed.await,
            }
        }
    }

    fn take_lost(&self) -> Vec<Box<str>> {
        let now = Instant::now();
        let mut inner = self.lock();
        let mut lost = Vec::new();
        while let Some((deadline, _)) = inner.graces.first()
            && *deadline <= now
        {
            let Some((_, host)) = inner.graces.pop_first() else {
                break;
            };
            inner.deadlines.remove(&host);
            if let Some(agent) = inner.agents.get_mut(&host)
                && !agent.connected
                && !agent.lost
            {
                agent.lost = true;
                if agent.problem == NOT_YET_RETURNED {
                    agent.problem.clear();
                }
                lost.push(host);
            }
        }
        drop(inner);
        self.changed.send_replace(());
        lost
    }

    /// Tells when anything changes.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// What is known, for a snapshot.
    pub(crate) fn save(&self) -> Vec<u8> {
        // Plain data with text keys always serializes.
        serde_json::to_vec(&self.lock().agents).unwrap_or_default()
    }

    /// Takes what a snapshot holds; what the journal has behind it follows.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<(), serde_json::Error> {
        self.lock().agents = serde_json::from_slice(bytes)?;
        Ok(())
    }

    /// The journal says that an agent connected.
    pub(crate) fn replay_connected(&self, host: &str, boot_id: &str, at_us: i64) {
        let mut inner = self.lock();
        let agent = inner.agents.entry(host.into()).or_default();
        boot_id.clone_into(&mut agent.boot_id);
        agent.since_us = at_us;
        agent.lost = false;
    }

    /// The journal says that an agent was lost.
    pub(crate) fn replay_lost(&self, host: &str, at_us: i64) {
        let mut inner = self.lock();
        let agent = inner.agents.entry(host.into()).or_default();
        agent.since_us = at_us;
        agent.lost = true;
    }

    /// After a restart: who is not lost may return within `grace`.
    pub(crate) fn expect_all(&self, now: Instant, grace: Duration, at_us: i64) {
        let mut inner = self.lock();
        let mut expected = Vec::new();
        for (host, agent) in &mut inner.agents {
            if !agent.lost {
                agent.since_us = at_us;
                NOT_YET_RETURNED.clone_into(&mut agent.problem);
                expected.push(host.clone());
            }
        }
        for host in expected {
            inner.begin_grace(host, now + grace);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(5);

    fn connected() -> AgentRecord {
        AgentRecord {
            connected: true,
            ..AgentRecord::default()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_returns_within_the_grace_is_not_lost() {
        let roster = Roster::new();
        roster.connected("a", connected());
        roster.connected("b", connected());
        for host in ["a", "b"] {
            roster.disconnected(host, 1, Instant::now() + GRACE, String::new());
        }
        roster.connected("a", connected());
        assert_eq!(roster.next_lost().await, ["b".into()]);
        roster.connected("b", connected());
        roster.disconnected("b", 2, Instant::now() + GRACE, String::new());
        assert_eq!(roster.next_lost().await, ["b".into()]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_restart_nobody_is_lost_before_the_grace_and_the_lost_are_not_lost_again() {
        let before = Roster::new();
        before.connected("a", connected());
        before.connected("b", connected());
        let roster = Roster::new();
        roster.load(&before.save()).unwrap();
        roster.replay_lost("b", 7);
        let start = Instant::now();
        roster.expect_all(start, GRACE, 9);
        roster.each(|host, agent| {
            assert_eq!(agent.problem == NOT_YET_RETURNED, host == "a", "{host}");
            assert!(!agent.connected);
        });
        assert_eq!(roster.next_lost().await, ["a".into()]);
        assert_eq!(start.elapsed(), GRACE);
    }
}
