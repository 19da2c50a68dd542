//! What impairs the aggregator itself, for `blackstart status`.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

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
    by_subject: Mutex<BTreeMap<Subject, String>>,
    changed: watch::Sender<()>,
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
        let mut by_subject = self
            .by_subject
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let before = match &problem {
            Some(problem) => by_subject.insert(subject, problem.clone()),
            None => by_subject.remove(&subject),
        };
        drop(by_subject);
        if before != problem {
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
        let mut all: Vec<_> = by_subject.values().cloned().collect();
        all.sort();
        all
    }

    /// Tells when they change.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
