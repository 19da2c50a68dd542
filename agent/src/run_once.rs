//! One run of one probe: its deadline, and what stands in for an answer when it hangs or panics.

use std::time::Duration;

use crate::config::Configured;
use crate::observation::{Finding, Observation};
use crate::probe::Deadline;

/// What a run gets beyond its deadline to put its answer together.
pub(crate) const GRACE: Duration = Duration::from_millis(500);

/// Runs the probe once, in a task of its own, so that a panic in it is an answer too.
///
/// A run that is still there after its deadline and [`GRACE`] is given up: every target of it is `unknown`, for the
/// probe is at fault and says nothing of what it asks.
pub(crate) async fn run_once(configured: &Configured) -> Vec<Observation> {
    let probe = configured.probe.clone();
    let timeout = configured.timeout;
    let mut task = tokio::spawn(async move { probe.run(Deadline::after(timeout)).await });
    match tokio::time::timeout(timeout + GRACE, &mut task).await {
        Ok(Ok(observations)) => observations,
        Ok(Err(_)) => instead(
            configured,
            "the probe panicked; this is a defect of the agent",
        ),
        Err(_) => {
            task.abort();
            instead(configured, "the probe hung: it did not end at its deadline")
        }
    }
}

fn instead(configured: &Configured, detail: &str) -> Vec<Observation> {
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
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::observation::Status;
    use crate::probe::{Probe, Run, Target};
    use crate::registry::KINDS;

    #[derive(Debug)]
    enum Bad {
        Hangs,
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
                Self::Hangs => Box::pin(std::future::pending()),
                Self::Panics => Box::pin(async { panic!("on purpose") }),
            }
        }
    }

    fn configured(probe: Bad) -> Configured {
        Configured {
            kind: KINDS[0],
            component: "c".to_owned(),
            component_kind: "service",
            in_host: false,
            uses: Vec::new(),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            probe: Arc::new(probe),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_hangs_or_panics_is_unknown_never_failed() {
        for (probe, said) in [(Bad::Hangs, "hung"), (Bad::Panics, "panicked")] {
            let observations = run_once(&configured(probe)).await;
            assert_eq!(observations[0].finding.status, Status::Unknown);
            assert!(observations[0].finding.detail.contains(said));
        }
    }
}
