//! Row 7: from the end of a probe's run in an agent to the answer of the aggregator that shows it.
//!
//! The agent is the real one, in this process, so that the moment a run ends is known; the aggregator is a process of its own.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blackstart_agent::agent::{self, Service};
use blackstart_agent::config::{AgentConfig, Configured};
use blackstart_agent::observation::{Finding, Observation};
use blackstart_agent::probe::{Deadline, Probe, Run, Target};
use blackstart_agent::registry;
use blackstart_proto::transport::TlsFiles;
use blackstart_proto::v1::{Condition, ReadyRequest};
use blackstart_tests::TempHome;
use tokio_util::sync::CancellationToken;

use super::{Aggregator, PATIENCE, percentile_ms};
use crate::Scale;
use crate::figure::{Figure, Goal};

/// Changes that are measured.
const CHANGES: usize = 300;

/// Components that change, each every second.
const COMPONENTS: usize = 10;

/// A component that fails at every second run, and remembers when.
#[derive(Debug)]
struct Toggle {
    component: String,
    last: Arc<Mutex<Option<Last>>>,
}

/// The last run that ended.
#[derive(Debug, Clone, Copy)]
struct Last {
    ended: Instant,
    failed: bool,
}

impl Probe for Toggle {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: "tcp.connect",
        }]
    }

    fn run(&self, _: Deadline) -> Run<'_> {
        Box::pin(async {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let failed = !last.is_some_and(|last| last.failed);
            let finding = if failed {
                Finding::failed("refused")
            } else {
                Finding::ok("connected")
            };
            *last = Some(Last {
                ended: Instant::now(),
                failed,
            });
            vec![Observation {
                component: self.component.clone(),
                check: "tcp.connect".into(),
                finding,
            }]
        })
    }
}

/// Measures.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let mut aggregator = Aggregator::start(None);
    let mut operator = aggregator.operator().await;
    let home = TempHome::new("bench-latency");
    let files = aggregator.certificates.issue("web-1", &["web-1"]);
    let names: Vec<String> = (0..COMPONENTS).map(|at| format!("web-1/s-{at}")).collect();
    let lasts: Vec<_> = names.iter().map(|_| Arc::default()).collect();
    let probes = names
        .iter()
        .zip(&lasts)
        .map(|(component, last)| Configured {
            kind: registry::find("tcp.connect").expect("there is such a kind"),
            component: component.clone(),
            component_kind: "service",
            in_host: true,
            fingerprint: 0,
            trace: None,
            uses: Vec::new(),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(1),
            probe: Arc::new(Toggle {
                component: component.clone(),
                last: Arc::clone(last),
            }),
        });
    let config = AgentConfig {
        host: "web-1".to_owned(),
        state_dir: home.join("state"),
        aggregators: vec![aggregator.address()],
        tls: Some(TlsFiles {
            ca_file: files.ca_file,
            certificate_file: files.certificate_file,
            key_file: files.key_file,
        }),
        discovery: None,
        probes: probes.collect(),
        ..AgentConfig::defaults()
    };
    let stop = CancellationToken::new();
    let agent = tokio::spawn(agent::run(config, Service::default(), stop.clone()));

    let wanted = scale.of(CHANGES);
    let mut latencies = Vec::new();
    let mut shown = [None; COMPONENTS];
    let began = Instant::now();
    while latencies.len() < wanted {
        assert!(began.elapsed() < PATIENCE, "changes are shown");
        let request = ReadyRequest {
            components: names.clone(),
        };
        let Ok(answer) = operator.ready(request).await else {
            continue;
        };
        let now = Instant::now();
        for (at, component) in answer.into_inner().components.iter().enumerate() {
            let failed = match component.condition() {
                Condition::Up => false,
                Condition::Down => true,
                _ => continue,
            };
            if shown[at].replace(failed) == Some(!failed) {
                let last: &Mutex<Option<Last>> = &lasts[at];
                let last = *last.lock().unwrap_or_else(PoisonError::into_inner);
                // Where it has run again meanwhile, the moment of this change is not known any more.
                if let Some(last) = last
                    && last.failed == failed
                {
                    latencies.push(now - last.ended);
                }
            }
        }
    }
    stop.cancel();
    agent
        .await
        .expect("the agent ends in order")
        .expect("the agent starts");
    latencies.sort();
    let what = "probe ends to visible at the aggregator";
    vec![
        Figure::new(
            7,
            format!("{what}, p50 of {wanted} changes"),
            percentile_ms(&latencies, 0.5),
            "ms",
            Goal::AtMost(2.0),
        ),
        Figure::new(
            7,
            format!("{what}, p99"),
            percentile_ms(&latencies, 0.99),
            "ms",
            Goal::AtMost(20.0),
        ),
    ]
}
