//! The probes of etcd, PostgreSQL and RabbitMQ against real servers, with every fault that these are known to have.
//!
//! Each test configures a probe from TOML, as a user would, breaks the server, and looks at status and detail; then
//! heals it and sees it ok.

#![expect(clippy::expect_used, reason = "a failure here is a failed test")]

mod etcd;
mod postgres;
mod rabbitmq;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use blackstart_agent::observation::{Finding, Status};
use blackstart_agent::probe::{Deadline, Probe, ProbeIdentity};
use blackstart_agent::registry;
use blackstart_tests::eventually;

/// How long a probe has: the default of most kinds.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How long a server may take until it shows what was done to it.
const CHANGE_MAX: Duration = Duration::from_secs(90);

/// How long behind its deadline a run hangs, rather than being held up by a busy machine.
const HANGS_MAX: Duration = Duration::from_secs(60);

/// A probe that was configured by TOML.
fn probe(toml: &str) -> Box<dyn Probe> {
    let identity = ProbeIdentity {
        name: "x".into(),
        component: "x".into(),
        host: "h".into(),
    };
    let read = blackstart_config::read(Path::new("agent.toml"), toml, |root| {
        let kind = registry::find(&root.required_string("kind")?).expect("a kind of probe");
        (kind.configure)(root, &identity)
    });
    read.unwrap_or_else(|report| panic!("{report}"))
}

/// Runs it once: the findings by check.
async fn run(probe: &dyn Probe, timeout: Duration) -> BTreeMap<String, Finding> {
    let observations =
        tokio::time::timeout(timeout + HANGS_MAX, probe.run(Deadline::after(timeout)))
            .await
            .unwrap_or_else(|_| panic!("a run that has {timeout:?} hangs"));
    let promised: Vec<_> = probe
        .targets()
        .iter()
        .map(|target| target.check.to_owned())
        .collect();
    let kept: Vec<_> = observations
        .iter()
        .map(|seen| seen.check.to_string())
        .collect();
    assert_eq!(promised, kept, "a run answers for what was promised");
    observations
        .into_iter()
        .map(|seen| (seen.check.into_owned(), seen.finding))
        .collect()
}

/// Runs it until a check has this status and a detail that contains the text, and gives that finding.
async fn until(probe: &dyn Probe, check: &str, status: Status, detail: &str) -> Finding {
    until_within(probe, TIMEOUT, check, status, detail).await
}

/// The same with another timeout of the probe.
async fn until_within(
    probe: &dyn Probe,
    timeout: Duration,
    check: &str,
    status: Status,
    detail: &str,
) -> Finding {
    eventually(
        &format!("{check} {status:?} {detail:?}"),
        CHANGE_MAX,
        async || {
            let finding = run(probe, timeout)
                .await
                .remove(check)
                .expect("the check was asked for");
            if finding.status == status && finding.detail.contains(detail) {
                Ok(finding)
            } else {
                Err(finding)
            }
        },
    )
    .await
}

fn value(finding: &Finding, name: &str) -> f64 {
    let value = finding.values.iter().find(|(known, _)| known == name);
    value
        .unwrap_or_else(|| panic!("no {name} in {finding:?}"))
        .1
}
