//! What impairs the aggregator itself, for `blackstart status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// How long something that happened once is shown: long enough for whoever comes in the morning. A state (a topology that
/// is refused) is shown as long as it lasts.
const EVENT_SHOWN: Duration = Duration::from_secs(12 * 3_600);

/// What a problem is about; each subject has one at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// The journal cannot write.
    Journal,
    /// What a restart found broken.
    Recovery,
    /// An entry that the engine could not apply.
    Engine,
    /// The topology file.
    Topology,
}

/// The problems of now.
#[derive(Debug)]
pub(crate) struct Problems {
    by_subject: Mutex<BTreeMap<Subject, Problem>>,
    changed: watch::Sender<()>,
}

#[derive(Debug)]
struct Problem {
    text: String,
    /// When it happened; `None`: it lasts.
    happened: Option<Instant>,
}

impl Problem {
    fn is_shown(&self) -> bool {
        self.happened
            .is_none_or(|happened| happened.elapsed() < EVENT_SHOWN)
    }
}

impl Problems {
    pub(crate) fn new() -> Self {
        Self {
            by_subject: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// Sets what is wrong with a subject; `None`: nothing is any more.
    pub(crate) fn set(&self, subject: Subject, problem: Option<String>) {
        self.put(subject, problem, None);
    }

    /// Something happened; it is shown for a while, or until something else of this subject does.
    pub(crate) fn happened(&self, subject: Subject, problem: Option<String>) {
        self.put(subject, problem, Some(Instant::now()));
    }

    fn put(&self, subject: Subject, problem: Option<String>, happened: Option<Instant>) {
        let mut by_subject = self
            .by_subject
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = match problem.clone() {
            Some(text) => by_subject.insert(subject, Problem { text, happened }),
            None => by_subject.remove(&subject),
        };
        drop(by_subject);
        if before.map(|before| before.text) != problem {
            match problem {
                Some(problem) => tracing::warn!(?subject, problem, "aggregator impaired"),
                None => tracing::info!(?subject, "aggregator no longer impaired"),
            }
            self.changed.send_replace(());
        }
    }

    /// All problems, sorted.
    pub(crate) fn all(&self) -> Vec<String> {
        let by_subject = self
            .by_subject
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let shown = by_subject.values().filter(|problem| problem.is_shown());
        let mut all: Vec<_> = shown.map(|problem| problem.text.clone()).collect();
        all.sort();
        all
    }

    /// Tells when they change.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_happened_once_is_shown_for_a_while_and_what_lasts_as_long_as_it_does() {
        let problems = Problems::new();
        problems.happened(Subject::Engine, Some("happened".to_owned()));
        problems.set(Subject::Topology, Some("lasts".to_owned()));
        assert_eq!(problems.all(), ["happened", "lasts"]);
        tokio::time::advance(EVENT_SHOWN).await;
        assert_eq!(problems.all(), ["lasts"]);
        problems.set(Subject::Topology, None);
        assert!(problems.all().is_empty());
    }
}
