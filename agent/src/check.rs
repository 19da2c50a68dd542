//! Every probe once, on the spot, with nothing else up: what `blackstart check` shows.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::config::{AgentConfig, Configured};
use crate::discovery::{discover, join};
use crate::host::HostView;
use crate::observation::Observation;
use crate::run_once::run_once;

/// The most probes that run at a time: quick on a sick host, and no herd for what they ask.
const CONCURRENT_MAX: usize = 16;

/// One answer, and how long its probe took.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The answer.
    pub observation: Observation,
    /// How long the run took that gave it.
    pub elapsed: Duration,
}

/// Runs each configured and discovered probe once. `wanted` names checks, kinds or components; empty: all. Answers are
/// sorted by component and check.
pub async fn check_once(config: &AgentConfig, wanted: &[String]) -> Vec<Checked> {
    let probes = probes_of(config);
    let slots = Arc::new(Semaphore::new(CONCURRENT_MAX));
    let mut runs = JoinSet::new();
    for probe in probes.into_iter().filter(|probe| is_wanted(probe, wanted)) {
        let slots = slots.clone();
        runs.spawn(async move {
            let _slot = slots.acquire_owned().await;
            let started = Instant::now();
            let observations = run_once(&probe).await;
            (observations, started.elapsed())
        });
    }
    let mut answers = Vec::new();
    while let Some(run) = runs.join_next().await {
        let Ok((observations, elapsed)) = run else {
            continue;
        };
        answers.extend(observations.into_iter().map(|observation| Checked {
            observation,
            elapsed,
        }));
    }
    if !wanted.is_empty() {
        answers.retain(|answer| {
            wanted.iter().any(|word| {
                *word == answer.observation.component || *word == answer.observation.check
            })
        });
    }
    answers.sort_by(|a, b| {
        (&a.observation.component, &a.observation.check)
            .cmp(&(&b.observation.component, &b.observation.check))
    });
    answers
}

/// The probes of the configuration and, where it is on, of discovery.
#[must_use]
pub fn probes_of(config: &AgentConfig) -> Vec<Configured> {
    let found = match config.discovery {
        Some(_) => discover(&HostView::read(Path::new("/")), &config.host),
        None => Vec::new(),
    };
    join(&config.probes, found)
}

fn is_wanted(probe: &Configured, wanted: &[String]) -> bool {
    wanted.is_empty()
        || wanted.iter().any(|word| {
            *word == probe.component
                || *word == probe.kind.name
                || probe
                    .probe
                    .targets()
                    .iter()
                    .any(|target| *word == target.check || *word == target.component)
        })
}
