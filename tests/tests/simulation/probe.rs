//! A probe that answers what the test says and remembers every answer it gave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use blackstart_agent::config::Configured;
use blackstart_agent::observation::{Finding, Observation, Status};
use blackstart_agent::probe::{Deadline, Probe, Run, Target};
use blackstart_agent::registry;

/// What the probe's results are reported under.
pub(crate) const CHECK: &str = "simulated.counter";

/// The measured value that numbers the answers, from 1.
pub(crate) const NUMBER: &str = "number";

/// What the probe answers, and when it answered: shared by the test and every start of the agent.
#[derive(Debug)]
pub(crate) struct Script {
    pub(crate) component: String,
    status: Mutex<Status>,
    /// The true time of each answer, microseconds since the Unix epoch.
    answered_us: Mutex<Vec<i64>>,
}

impl Script {
    pub(crate) fn new(component: &str) -> Arc<Self> {
        Arc::new(Self {
            component: component.to_owned(),
            status: Mutex::new(Status::Ok),
            answered_us: Mutex::default(),
        })
    }

    /// From now on the answer is this.
    pub(crate) fn say(&self, status: Status) {
        *self.status.lock().unwrap() = status;
    }

    /// The true times of all answers so far; the answer with the number n is the (n-1)th.
    pub(crate) fn answered_us(&self) -> Vec<i64> {
        self.answered_us.lock().unwrap().clone()
    }

    /// The probe as an agent runs it.
    pub(crate) fn configured(self: &Arc<Self>, host: &str, interval: Duration) -> Configured {
        Configured {
            trace: None,
            fingerprint: 0,
            kind: registry::find("tcp.connect").unwrap(),
            component: self.component.clone(),
            component_kind: "service",
            in_host: self.component.starts_with(&format!("{host}/")),
            uses: Vec::new(),
            interval,
            timeout: Duration::from_secs(1),
            probe: Arc::new(Counter(self.clone())),
        }
    }
}

#[derive(Debug)]
struct Counter(Arc<Script>);

impl Probe for Counter {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.0.component.clone(),
            check: CHECK,
        }]
    }

    fn run(&self, _: Deadline) -> Run<'_> {
        Box::pin(async {
            let status = *self.0.status.lock().unwrap();
            let mut answered = self.0.answered_us.lock().unwrap();
            answered.push(crate::world::true_us());
            let number = answered.len();
            let finding = Finding::new(status, format!("answer {number}"))
                .with(NUMBER, f64::from(u32::try_from(number).unwrap()));
            vec![Observation {
                component: self.0.component.clone(),
                check: CHECK.into(),
                finding,
            }]
        })
    }
}
