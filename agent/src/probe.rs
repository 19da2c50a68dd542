//! What a probe is: the trait, its deadline, and the description of a kind of probe.
//!
//! A probe only asks. When it runs, how often, how many at a time and what happens to one that
//! hangs is decided by the scheduler.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use blackstart_config::Section;
use tokio::time::Instant;

use crate::host::HostView;
use crate::observation::Observation;

/// The answers of one run; boxed, so that probes of every kind stand in one list.
pub type Run<'a> = Pin<Box<dyn Future<Output = Vec<Observation>> + Send + 'a>>;

/// Asks one thing, again and again.
///
/// A run that is dropped at its deadline must leave nothing behind: no lock, no half-open
/// transaction, no child process.
pub trait Probe: Send + Sync + fmt::Debug {
    /// The components and checks that a run answers for, in the order of importance. The scheduler
    /// reports these as `unknown` when a run hangs or panics.
    fn targets(&self) -> Vec<Target>;

    /// Asks once. Every wait in it ends by `deadline`, with a finding that says which step did not
    /// answer: a server that accepts and stays silent is told apart from one that is not there.
    fn run(&self, deadline: Deadline) -> Run<'_>;
}

/// A component and a check that a probe answers for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// The component's id.
    pub component: String,
    /// The check.
    pub check: &'static str,
}

/// The moment by which a run has to have its answer.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    budget: Duration,
}

/// A step of a run that was still waiting at the deadline.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: no answer within {}", show_budget(*budget))]
pub struct TimedOut {
    /// What was waited for: `connecting`, `waiting for the answer to /health`.
    pub step: &'static str,
    /// The time that the whole run had.
    pub budget: Duration,
}

fn show_budget(budget: Duration) -> String {
    if budget.subsec_millis() == 0 {
        format!("{} s", budget.as_secs())
    } else {
        format!("{} ms", budget.as_millis())
    }
}

impl Deadline {
    /// A deadline that many from now.
    #[must_use]
    pub fn after(budget: Duration) -> Self {
        Self {
            at: Instant::now() + budget,
            budget,
        }
    }

    /// The time left; zero when it is over.
    #[must_use]
    pub fn remaining(self) -> Duration {
        self.at.saturating_duration_since(Instant::now())
    }

    /// An earlier deadline for one step, so that a fallback still has time: `share` of what is
    /// left, from 0 to 1.
    #[must_use]
    pub fn share(self, share: f64) -> Self {
        Self::after(self.remaining().mul_f64(share.clamp(0.0, 1.0)))
    }

    /// Waits for `future`, at the longest until the deadline.
    ///
    /// # Errors
    /// [`TimedOut`] with the name of the step.
    pub async fn limit<T>(
        self,
        step: &'static str,
        future: impl Future<Output = T>,
    ) -> Result<T, TimedOut> {
        tokio::time::timeout_at(self.at, future)
            .await
            .map_err(|_| TimedOut {
                step,
                budget: self.budget,
            })
    }
}

/// What a kind of probe needs beyond an ordinary user's rights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Privilege {
    /// Nothing.
    None,
    /// Works as any user, sees more as this one; the text says what.
    Helps(&'static str),
    /// Does not work without; the text says what is needed and how to grant it.
    Required(&'static str),
}

/// A probe's place in the schedule and the graph, read from its configuration table before its
/// own keys.
#[derive(Debug, Clone)]
pub struct ProbeIdentity {
    /// The name of its table, `[probe.NAME]`, or the component's id for a discovered one.
    pub name: String,
    /// The component that it asks.
    pub component: String,
    /// The component id of this host.
    pub host: String,
}

/// A kind of probe: everything the registry needs to know of it. One line in
/// [`crate::registry::KINDS`].
pub struct ProbeKind {
    /// Its name in configuration, `kind = "etcd.member"`; its main check has the same name.
    pub name: &'static str,
    /// The kind of component that it asks, of the closed list of the topology file.
    pub component_kind: &'static str,
    /// One line for `blackstart-agent probes`.
    pub summary: &'static str,
    /// What it needs.
    pub privilege: Privilege,
    /// How often it runs when all is well, unless configured.
    pub interval: Duration,
    /// The deadline of a run, unless configured.
    pub timeout: Duration,
    /// Reads the keys that are its own. `None` when one of them was refused; the problem is then
    /// noted in the section.
    pub configure: fn(&mut Section<'_>, &ProbeIdentity) -> Option<Box<dyn Probe>>,
    /// What there is of it on this host.
    pub discover: fn(&HostView, host: &str) -> Vec<Discovered>,
    /// Makes what was found once again from its [`Discovered::trace`], for a host with this id; `None` for a trace that it does
    /// not understand.
    pub recall: Option<Recall>,
}

/// From a trace and the id of the host to what was found there.
pub type Recall = fn(&str, &str) -> Option<Discovered>;

impl fmt::Debug for ProbeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeKind")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Something on this host that is worth a probe.
#[derive(Debug)]
pub struct Discovered {
    /// The component, `HOST/etcd:2379`; or the host itself.
    pub component: String,
    /// Its kind, of the closed list of the topology file.
    pub component_kind: &'static str,
    /// Whether it is in this host (as opposed to something elsewhere that the host uses).
    pub in_host: bool,
    /// Components that it is seen to use.
    pub uses: Vec<String>,
    /// What to find it again by when it is not there: a server that died listens nowhere. Kept on disk, so no secret is in it. `None` for what is found whether
    /// it works or not, or is gone on purpose when it is gone.
    pub trace: Option<String>,
    /// The probe that asks it.
    pub probe: Box<dyn Probe>,
}
