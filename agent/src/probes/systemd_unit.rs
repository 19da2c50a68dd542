//! `systemd.unit`: does this unit run?
//!
//! ```toml
//! [probe.postgres-unit]
//! kind = "systemd.unit"
//! unit = "postgresql.service"
//! expect = "active"             # or "done": a oneshot unit that succeeded and is over
//! ```
//!
//! Told apart: active, starting (and since when), restarting again and again with the last exit status, failed with systemd's
//! reason, stopped, waiting for other units, masked, not installed.

mod verdict;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blackstart_config::Section;

use super::recent_growth::RecentGrowth;
use super::systemd::{SERVICE, Systemd, SystemdError, UNIT, seconds_since};
use crate::host::HostView;
use crate::observation::Observation;
use crate::probe::{Deadline, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

const NAME: &str = "systemd.unit";

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "service",
    summary: "a systemd unit runs, or did what it should",
    privilege: Privilege::Helps(
        "asking systemd while the system bus is down; run the agent as root",
    ),
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    configure,
    discover: |_: &HostView, _| Vec::new(),
    recall: None,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Active,
    Done,
}

#[derive(Debug)]
struct SystemdUnit {
    component: String,
    unit: String,
    expected: Expected,
    systemd: Systemd,
    restarts: Mutex<RecentGrowth>,
}

/// What systemd says of a unit.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    load: String,
    active: String,
    sub: String,
    since_s: Option<u64>,
    /// A job is queued for it: it waits for its turn.
    queued: bool,
    /// Of a service only.
    result: Option<String>,
    exit_status: Option<i32>,
    restarts: Option<u32>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let unit = section.required_string("unit");
    let expected = section.string("expect");
    let socket: Option<PathBuf> = section.path("socket");
    let expected = match expected.as_deref() {
        None | Some("active") => Expected::Active,
        Some("done") => Expected::Done,
        Some(_) => {
            section.problem("expect", "expected \"active\" or \"done\"", "");
            return None;
        }
    };
    let unit = unit?;
    if !unit.contains('.') || unit.contains('/') {
        section.problem(
            "unit",
            "expected a unit's whole name, like \"postgresql.service\"",
            "",
        );
        return None;
    }
    Some(Box::new(SystemdUnit {
        component: identity.component.clone(),
        unit,
        expected,
        systemd: Systemd::at(socket),
        restarts: Mutex::default(),
    }))
}

impl SystemdUnit {
    async fn observe(&self, deadline: Deadline) -> Result<Seen, SystemdError> {
        let mut session = self.systemd.session(deadline).await?;
        let path = session.unit(&self.unit).await?;
        let load = session.property(&path, UNIT, "LoadState").await?;
        let active = session.property(&path, UNIT, "ActiveState").await?;
        let sub = session.property(&path, UNIT, "SubState").await?;
        let changed_us = session
            .property(&path, UNIT, "StateChangeTimestampMonotonic")
            .await?;
        let since_s = seconds_since(changed_us);
        let mut seen = Seen {
            load,
            active,
            sub,
            since_s,
            ..Seen::default()
        };
        let job: zbus::OwnedVariant = session.property(&path, UNIT, "Job").await?;
        seen.queued = matches!(
            &*job,
            zbus::Variant::Structure(fields)
                if matches!(fields.fields().first(), Some(zbus::Variant::U32(id)) if *id > 0)
        );
        if self.unit.ends_with(".service") {
            seen.result = session.property(&path, SERVICE, "Result").await.ok();
            seen.exit_status = session
                .property(&path, SERVICE, "ExecMainStatus")
                .await
                .ok();
            seen.restarts = session.property(&path, SERVICE, "NRestarts").await.ok();
        }
        Ok(seen)
    }
}

impl Probe for SystemdUnit {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let finding = match self.observe(deadline).await {
                Ok(seen) => {
                    let restarted = self
                        .restarts
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .count(seen.restarts.map(u64::from), Instant::now());
                    verdict::judge(&seen, restarted, self.expected)
                }
                Err(error) => error.finding(),
            };
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding,
            }]
        })
    }
}
