//! What the parts of the agent say of themselves: for the local socket, and for what the agent reports of itself.
//!
//! Parts write here, nobody decides by it. One lock, held for as long as it takes to copy a few words.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

/// Without a turn of the scheduler for so long, it does not run: it turns at least every [`crate::scheduler::TURN_MAX`].
const TURNS_WITHIN: Duration = crate::scheduler::TURN_MAX.saturating_mul(3);

/// What a problem of the agent is about; each subject has one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The local socket.
    Socket,
    /// The configuration file.
    Configuration,
    /// The files of mutual TLS.
    Tls,
    /// What of the configuration waits for a restart.
    Restart,
    /// What discovery found before.
    Memory,
}

/// Where the scheduler is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Schedule {
    pub(crate) probes: usize,
    pub(crate) running: usize,
    pub(crate) waiting: usize,
    pub(crate) late: Duration,
    pub(crate) hung: usize,
}

/// The way to one aggregator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Whether a stream is open.
    pub(crate) is_open: bool,
    /// Since when that is so.
    pub(crate) since: Instant,
    /// Which aggregator answered last; empty when none did.
    pub(crate) aggregator_id: String,
    /// Why there is no stream; empty while there is one.
    pub(crate) problem: String,
}

/// What the parts said last.
#[derive(Debug, Default)]
pub(crate) struct Board {
    said: Mutex<Said>,
    problems_changed: Notify,
}

#[derive(Debug, Default)]
struct Said {
    schedule: Schedule,
    turned: Option<Instant>,
    components: BTreeSet<String>,
    links: BTreeMap<String, Link>,
    problems: BTreeMap<Subject, String>,
}

impl Board {
    fn said(&self) -> MutexGuard<'_, Said> {
        // Every change below is one assignment: a panic elsewhere leaves nothing half done.
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The scheduler turned.
    pub(crate) fn turned(&self, schedule: Schedule) {
        let mut said = self.said();
        said.schedule = schedule;
        said.turned = Some(Instant::now());
    }

    /// Where the scheduler is.
    pub(crate) fn schedule(&self) -> Schedule {
        self.said().schedule
    }

    /// Whether the scheduler turns.
    pub(crate) fn is_turning(&self) -> bool {
        let turned = self.said().turned;
        turned.is_some_and(|at| at.elapsed() <= TURNS_WITHIN)
    }

    /// These are the components that probes answer for.
    pub(crate) fn set_components(&self, components: BTreeSet<String>) {
        self.said().components = components;
    }

    /// Whether some probe answers for this component.
    pub(crate) fn has_component(&self, id: &str) -> bool {
        self.said().components.contains(id)
    }

    /// A stream to an aggregator is open.
    pub(crate) fn opened(&self, address: &str, aggregator_id: &str) {
        let link = Link {
            is_open: true,
            since: Instant::now(),
            aggregator_id: aggregator_id.to_owned(),
            problem: String::new(),
        };
        self.said().links.insert(address.to_owned(), link);
    }

    /// There is no stream to an aggregator, and why.
    pub(crate) fn closed(&self, address: &str, problem: String) {
        let mut said = self.said();
        let link = said.links.entry(address.to_owned()).or_insert(Link {
            is_open: true,
            since: Instant::now(),
            aggregator_id: String::new(),
            problem: String::new(),
        });
        if link.is_open {
            link.is_open = false;
            link.since = Instant::now();
        }
        link.problem = problem;
    }

    /// An aggregator is reported to no longer.
    pub(crate) fn forget_link(&self, address: &str) {
        self.said().links.remove(address);
    }

    /// The ways to the aggregators, by address.
    pub(crate) fn links(&self) -> BTreeMap<String, Link> {
        self.said().links.clone()
    }

    /// Sets what is wrong with a subject; `None`: nothing is any more.
    pub(crate) fn set_problem(&self, subject: Subject, problem: Option<String>) {
        let mut said = self.said();
        let before = match &problem {
            Some(problem) => said.problems.insert(subject, problem.clone()),
            None => said.problems.remove(&subject),
        };
        drop(said);
        if before == problem {
            return;
        }
        if let Some(problem) = problem {
            tracing::warn!(problem, "agent impaired");
        } else {
            tracing::info!(?subject, "agent no longer impaired");
        }
        self.problems_changed.notify_one();
    }

    /// What is wrong, in the order of the subjects.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.said().problems.values().cloned().collect()
    }

    /// Waits until problems came or went. One waits at a time: the scheduler.
    pub(crate) async fn problems_changed(&self) {
        self.problems_changed.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_scheduler_that_stands_still_is_seen() {
        let board = Board::default();
        assert!(!board.is_turning(), "it has not begun");
        board.turned(Schedule::default());
        tokio::time::advance(TURNS_WITHIN).await;
        assert!(board.is_turning());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!board.is_turning());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_stream_keeps_its_moment_and_its_aggregator() {
        let board = Board::default();
        board.opened("a:1", "one");
        tokio::time::advance(Duration::from_secs(5)).await;
        board.closed("a:1", "refused".to_owned());
        tokio::time::advance(Duration::from_secs(5)).await;
        board.closed("a:1", "timed out".to_owned());
        let link = board.links()["a:1"].clone();
        assert_eq!(link.since.elapsed(), Duration::from_secs(5));
        assert_eq!(
            (link.is_open, &*link.aggregator_id, &*link.problem),
            (false, "one", "timed out")
        );
    }
}
