//! Row 3: the CPU time of one run of a probe, 64 in flight, against nginx and unbound on loopback; theirs is not counted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_agent::probe::{Deadline, Probe, ProbeIdentity};
use blackstart_agent::registry;
use blackstart_tests::servers::dns::NameServer;
use blackstart_tests::servers::nginx::Nginx;

use tokio::net::TcpStream;

use super::{float, median};
use crate::Scale;
use crate::figure::{Figure, Goal};
use crate::process::own_cpu;

/// Runs of each probe.
const RUNS: usize = 20_000;

/// Runs at a time.
const IN_FLIGHT: usize = 64;

/// Measurements, of which the middle one counts.
const REPEATS: usize = 3;

/// What a bare connect of tokio to nginx costs, in microseconds of CPU time: the limit of any probe.
pub(crate) async fn bare_connect_us(scale: Scale) -> f64 {
    let nginx = Nginx::start("location / { return 200 'ready'; }", None);
    let address = ("127.0.0.1", nginx.http_port());
    let mut best = f64::INFINITY;
    for _ in 0..REPEATS_OF_REFERENCE {
        let connect = move || async move {
            drop(TcpStream::connect(address).await.expect("nginx accepts"));
        };
        best = best.min(cost(connect, scale.of(RUNS)).await);
    }
    best
}

/// Measurements of the reference, of which the best counts: to call this machine slower than it is would flatter us.
const REPEATS_OF_REFERENCE: usize = 9;

/// Measures.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let nginx = Nginx::start("location / { return 200 'ready'; }", None);
    let unbound = NameServer::unbound(&[], "local-data: \"db.corp.test. A 10.0.1.10\"");
    let (web, dns) = (nginx.http_port(), unbound.address());
    let kinds = [
        (
            "TCP",
            format!("kind = \"tcp.connect\"\naddress = \"127.0.0.1:{web}\""),
            32.0,
        ),
        (
            "HTTP",
            format!(
                "kind = \"http.get\"\nurl = \"http://127.0.0.1:{web}/\"\nexpect_body = \"ready\""
            ),
            48.0,
        ),
        (
            "DNS",
            format!(
                "kind = \"dns.answer\"\nserver = \"{dns}\"\nname = \"db.corp.test\"\nexpect = [\"10.0.1.10\"]"
            ),
            60.0,
        ),
    ];
    let mut figures = Vec::new();
    for (name, toml, goal) in kinds {
        let probe: Arc<dyn Probe> = Arc::from(configure(&toml));
        let mut costs = Vec::new();
        for _ in 0..REPEATS {
            let probe = probe.clone();
            let run = move || {
                let probe = probe.clone();
                async move {
                    let found = probe.run(Deadline::after(Duration::from_secs(20))).await;
                    let finding = &found[0].finding;
                    assert_eq!(finding.status, Status::Ok, "{}", finding.detail);
                }
            };
            costs.push(cost(run, scale.of(RUNS)).await);
        }
        let what = format!("{name} probe");
        figures.push(Figure::new(
            3,
            what,
            median(costs),
            "µs CPU",
            Goal::AtMost(goal),
        ));
    }
    figures
}

/// Microseconds of CPU time of a run.
async fn cost<F>(run: impl Fn() -> F + Clone + Send + 'static, runs: usize) -> f64
where
    F: Future<Output = ()> + Send,
{
    let left = Arc::new(AtomicUsize::new(runs));
    let before = own_cpu();
    let workers: Vec<_> = (0..IN_FLIGHT)
        .map(|_| {
            let (run, left) = (run.clone(), left.clone());
            tokio::spawn(async move {
                let take = |left: usize| left.checked_sub(1);
                while left
                    .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                    .is_ok()
                {
                    run().await;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.await.expect("every run succeeds");
    }
    (own_cpu() - before).as_secs_f64() * 1e6 / float(runs)
}

fn configure(toml: &str) -> Box<dyn Probe> {
    let identity = ProbeIdentity {
        name: "x".into(),
        component: "x".into(),
        host: "h".into(),
    };
    blackstart_config::read(Path::new("agent.toml"), toml, |root| {
        let kind = root.required_string("kind")?;
        (registry::find(&kind)?.configure)(root, &identity)
    })
    .unwrap_or_else(|report| panic!("{report}"))
}
