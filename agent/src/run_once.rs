//! One run of one probe: its deadline, and what stands in for an answer when it hangs or panics.

use std::time::Duration;

use tokio::task::JoinHandle;

use crate::config::Configured;
use crate::observation::{Finding, Observation};
use crate::probe::Deadline;

/// What a run gets beyond its deadline to put its answer together.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// With answers, or with what stands in for them after a panic.
    Answered(Vec<Observation>),
    /// Not at all: the run is still there after its deadline and [`GRACE`]. It is left alone in its task.
    Hung(JoinHandle<Vec<Observation>>),
}

/// Runs the probe once, in a task of its own, so that a panic in it is an answer too.
pub(crate) async fn start(configured: &Configured) -> Ended {
    let probe = configured.probe.clone();
    let timeout = configured.timeout;
    let mut task = tokio::spawn(async move { probe.run(Deadline::after(timeout)).await });
    match tokio::time::timeout(timeout + GRACE, &mut task).await {
        Ok(Ok(observations)) => Ended::Answered(observations),
        Ok(Err(_)) => Ended::Answered(instead(
            configured,
            "the probe panicked; this is a defect of the agent",
        )),
        Err(_) => Ended::Hung(task),
    }
}

/// Runs the probe once where nothing comes after it: a run that hangs is given up.
pub(crate) async fn run_once(configured: &Configured) -> Vec<Observation> {
    match start(configured).await {
        Ended::Answered(observations) => observations,
        Ended::Hung(task) => {
            task.abort();
            instead(configured, "the probe hung: it did not end at its deadline")
        }
    }
}

/// Every target of the probe as `unknown`: the probe is at fault, and that says nothing of what it asks.
pub(crate) fn instead(configured: &Configured, detail: &str) -> Vec<Observation> {
    let targets = configured.probe.targets();
    targets
        .into_iter()
        .map(|target| Observation {
            component: target.component,
            check: target.check.into(),
            finding: Finding::unknown(detail),
        })
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use tokio::sync::Semaphore;

    use super::*;
    use crate::observation::Status;
    use crate::probe::{Probe, Run, Target};
    use crate::registry::KINDS;

    /// A probe that misbehaves.
    #[derive(Debug, Clone)]
    pub(crate) enum Bad {
        /// Counts its runs, and each ends when it is given a permit, whatever the deadline.
        Hangs(Arc<Semaphore>, Arc<std::sync::atomic::AtomicUsize>),
        Panics,
    }

    impl Probe for Bad {
        fn targets(&self) -> Vec<Target> {
            vec![Target {
                component: "c".to_owned(),
                check: "bad",
            }]
        }

        fn run(&self, _: Deadline) -> Run<'_> {
            match self {
                Self::Hangs(permits, runs) => Box::pin(async {
                    runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    permits.acquire().await.unwrap().forget();
                    Vec::new()
                }),
                Self::Panics => Box::pin(async { panic!("on purpose") }),
            }
        }
    }

    pub(crate) fn configured(probe: impl Probe + 'static) -> Configured {
        Configured {
            kind: KINDS[0],
            component: "c".to_owned(),
            component_kind: "service",
            in_host: false,
            uses: Vec::new(),
            trace: None,
            fingerprint: 0,
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            probe: Arc::new(probe),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_or_panics_is_unknown_never_failed() {
        let hangs = Bad::Hangs(Arc::new(Semaphore::new(0)), Arc::default());
        for (probe, said) in [(hangs, "hung"), (Bad::Panics, "panicked")] {
            let observations = run_once(&configured(probe)).await;
            assert_eq!(observations[0].finding.status, Status::Unknown);
            assert!(observations[0].finding.detail.contains(said));
        }
    }
}
