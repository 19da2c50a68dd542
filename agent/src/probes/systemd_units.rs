//! `systemd.units`: has this host finished its boot, and did all its units come up?
//!
//! One component for the whole of it, `HOST/systemd`; always on where systemd is the init. Told apart: booting (and how far, and what
//! it waits for), failed units by name, units that restart again and again or never finish starting, rescue mode, shutting down,
//! and a systemd that does not answer.
//!
//! ```toml
//! [probe.boot]
//! kind = "systemd.units"
//! stuck_after = "2m"        # a unit that is still starting after that is a finding
//! ```

mod verdict;

use std::path::PathBuf;
use std::time::Duration;

use blackstart_config::Section;

use super::systemd::{ListedUnit, Session, Systemd, SystemdError, UNIT, seconds_since};
use crate::host::HostView;
use crate::observation::Observation;
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

const NAME: &str = "systemd.units";

/// systemd itself gives a service 90 seconds to start.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// The most units whose time in their state is asked for in a run: more are not shown either.
const ASKED_MAX: usize = 8;

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "service",
    summary: "the host has finished its boot and all its systemd units came up",
    privilege: Privilege::Helps(
        "asking systemd while the system bus is down; run the agent as root",
    ),
    interval: Duration::from_secs(15),
    timeout: Duration::from_secs(5),
    configure,
    discover,
    recall: None,
};

#[derive(Debug)]
struct SystemdUnits {
    component: String,
    systemd: Systemd,
    stuck_after: Duration,
}

/// What systemd says of the host.
#[derive(Debug, Clone, Default, PartialEq)]
struct Seen {
    /// `SystemState`: starting, running, degraded, …
    state: String,
    failed: Vec<String>,
    /// Units that wait before they are started once more.
    restarting: Vec<String>,
    /// Units that are starting, with the seconds since when where it was asked for.
    starting: Vec<(String, Option<u64>)>,
    /// From 0 to 1 while booting.
    progress: Option<f64>,
    jobs: u32,
    /// Units whose start others wait for, while booting.
    awaited: Vec<String>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    const BOUNDS: std::ops::RangeInclusive<Duration> =
        Duration::from_secs(1)..=Duration::from_secs(86_400);
    let stuck_after = section
        .duration("stuck_after", BOUNDS)
        .unwrap_or(STUCK_AFTER);
    let socket: Option<PathBuf> = section.path("socket");
    Some(Box::new(SystemdUnits {
        component: identity.component.clone(),
        systemd: Systemd::at(socket),
        stuck_after,
    }))
}

fn discover(host: &HostView, id: &str) -> Vec<Discovered> {
    if !host.systemd {
        return Vec::new();
    }
    let component = format!("{id}/systemd");
    let probe = SystemdUnits {
        component: component.clone(),
        systemd: Systemd::default(),
        stuck_after: STUCK_AFTER,
    };
    vec![Discovered {
        component,
        component_kind: "service",
        in_host: true,
        uses: Vec::new(),
        trace: None,
        probe: Box::new(probe),
    }]
}

impl SystemdUnits {
    async fn observe(&self, deadline: Deadline) -> Result<Seen, SystemdError> {
        let mut session = self.systemd.session(deadline).await?;
        let state: String = session.manager_property("SystemState").await?;
        let booting = matches!(state.as_str(), "initializing" | "starting");
        let mut seen = Seen {
            state,
            ..Seen::default()
        };
        for unit in session.units(&["failed", "activating"]).await? {
            seen.sort_in(&mut session, unit).await;
        }
        // systemd lists them in no order.
        seen.failed.sort_unstable();
        seen.restarting.sort_unstable();
        seen.jobs = session.manager_property("NJobs").await?;
        if booting {
            seen.progress = session.manager_property("Progress").await.ok();
            seen.awaited = session.running_jobs().await.unwrap_or_default();
        }
        Ok(seen)
    }
}

impl Seen {
    async fn sort_in(&mut self, session: &mut Session, unit: ListedUnit) {
        // A device that a mount names and udev has not announced: nothing starts there.
        if unit.sub == "tentative" {
            return;
        }
        if unit.active == "failed" {
            self.failed.push(unit.name);
        } else if unit.sub.starts_with("auto-restart") {
            self.restarting.push(unit.name);
        } else {
            let since_s = if self.starting.len() < ASKED_MAX {
                let changed = session
                    .property(&unit.path, UNIT, "StateChangeTimestampMonotonic")
                    .await;
                changed.ok().and_then(seconds_since)
            } else {
                None
            };
            self.starting.push((unit.name, since_s));
        }
    }
}

impl Probe for SystemdUnits {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let finding = match self.observe(deadline).await {
                Ok(seen) => verdict::judge(&seen, self.stuck_after),
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
