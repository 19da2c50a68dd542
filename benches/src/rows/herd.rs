//! Row 10: all agents lose the aggregator at once and come back at once, each with a full handshake.

use std::time::{Duration, Instant};

use super::{Aggregator, float};
use crate::Scale;
use crate::figure::{Figure, Goal};
use crate::fleet::{Fleet, hosts};
use crate::process::cpu_of;

/// Agents of the herd.
const AGENTS: usize = 10_000;

/// How long the heartbeats are watched: some of each agent.
const WATCHED: Duration = Duration::from_secs(20);

/// Measures.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let agents = scale.of(AGENTS);
    let mut aggregator = Aggregator::start(None);
    drop(aggregator.operator().await);
    let address = aggregator.address();
    let fleet = Fleet::gather(&address, hosts(&aggregator.certificates, agents)).await;
    aggregator.daemon.kill();
    let hosts = fleet.disperse();
    aggregator.start_again();
    drop(aggregator.operator().await);

    let before = cpu_of(&aggregator.daemon);
    let began = Instant::now();
    let fleet = Fleet::connect(&address, hosts, agents).await;
    let took = began.elapsed();
    let spent = cpu_of(&aggregator.daemon) - before;
    let open_for = fleet.open_for().as_secs_f64();
    // What streams cost that are open already: their heartbeats.
    let before = cpu_of(&aggregator.daemon);
    tokio::time::sleep(WATCHED).await;
    let steady = (cpu_of(&aggregator.daemon) - before).as_secs_f64();
    let heartbeats = steady / (WATCHED.as_secs_f64() * float(agents)) * open_for;
    let per_ten_thousand = (spent.as_secs_f64() - heartbeats) * float(AGENTS) / float(agents);
    vec![
        Figure::new(
            10,
            format!("{agents} mTLS agents return at once, heartbeats apart, as for 10,000"),
            per_ten_thousand,
            "CPU-s",
            Goal::AtMost(4.5),
        ),
        Figure::new(
            10,
            "heartbeats of 10,000 open streams",
            steady / WATCHED.as_secs_f64() * float(AGENTS) / float(agents) * 100.0,
            "% CPU of a core",
            Goal::None,
        ),
        Figure::new(
            10,
            "until the last is welcomed",
            took.as_secs_f64(),
            "s",
            Goal::None,
        ),
        Figure::new(
            10,
            "told to come back later, per agent",
            float(fleet.waits()) / float(agents),
            "times",
            Goal::None,
        ),
    ]
}
