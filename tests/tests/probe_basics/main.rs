//! The probes of every host against real servers and real faults: TCP, HTTP, DNS, the host itself, systemd.
//!
//! Each test configures a probe from TOML, as a user would, runs it and looks at the exact status and detail.
#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "what cannot be done fails the test, with the reason"
)]

mod dns;
mod filesystem;
mod http;
mod systemd;
mod tcp;

use std::path::Path;
use std::time::Duration;

use blackstart_agent::observation::{Finding, Observation, Status};
use blackstart_agent::probe::{Deadline, Probe, ProbeIdentity};
use blackstart_agent::registry;

/// Long enough for a busy machine; a test that waits for a timeout sets its own.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Configures a probe, or says why it is refused.
fn configure(toml: &str) -> Result<Box<dyn Probe>, String> {
    let identity = ProbeIdentity {
        name: "x".into(),
        component: "x".into(),
        host: "h".into(),
    };
    blackstart_config::read(Path::new("/etc/blackstart/agent.toml"), toml, |root| {
        let kind = registry::find(&root.required_string("kind")?).expect("a kind of probe");
        (kind.configure)(root, &identity)
    })
    .map_err(|report| report.to_string())
}

fn probe(toml: &str) -> Box<dyn Probe> {
    configure(toml).unwrap_or_else(|report| panic!("{report}"))
}

/// Runs it and returns the one finding of a probe of one target.
async fn finding(probe: &dyn Probe, timeout: Duration) -> Finding {
    let mut observations: Vec<Observation> = probe.run(Deadline::after(timeout)).await;
    let named: Vec<_> = observations
        .iter()
        .map(|o| (o.component.clone(), o.check.to_string()))
        .collect();
    let promised: Vec<_> = probe
        .targets()
        .into_iter()
        .map(|t| (t.component, t.check.to_owned()))
        .collect();
    assert_eq!(
        named, promised,
        "a run answers for the targets that were promised"
    );
    observations.remove(0).finding
}

/// Configures and runs a probe once.
async fn once(toml: &str) -> Finding {
    finding(&*probe(toml), TIMEOUT).await
}

/// Status and detail, which is what most tests look at.
async fn seen(toml: &str) -> (Status, String) {
    let finding = once(toml).await;
    (finding.status, finding.detail)
}

fn value(finding: &Finding, name: &str) -> f64 {
    finding
        .values
        .iter()
        .find(|(known, _)| known == name)
        .unwrap_or_else(|| panic!("no {name} in {finding:?}"))
        .1
}

fn failed(detail: &str) -> (Status, String) {
    (Status::Failed, detail.to_owned())
}

fn ok(detail: &str) -> (Status, String) {
    (Status::Ok, detail.to_owned())
}

fn degraded(detail: &str) -> (Status, String) {
    (Status::Degraded, detail.to_owned())
}
