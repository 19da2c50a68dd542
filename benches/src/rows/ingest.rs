//! Rows 4, 5, 8 and 9: a fleet under mutual TLS, 20 checks an agent; the aggregator keeps the journal, the conditions and the
//! graph. Then it is killed and comes back.

use std::time::{Duration, Instant};

use super::{Aggregator, PATIENCE, float, status};
use crate::Scale;
use crate::figure::{Figure, Goal};
use crate::fleet::{Fleet, hosts};
use crate::process::{cpu_of, pss_kib};

/// Checks of an agent, and results of a message.
const CHECKS: u32 = 20;

/// Agents: 50,000 checks.
const AGENTS: usize = 2_500;

/// Messages of each agent that are measured.
const ROUNDS: usize = 30;

/// Time for what was sent before to settle, so that it does not count for what comes.
const SETTLE: Duration = Duration::from_secs(2);

/// Measures.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let mut figures = Vec::new();
    let agents = scale.of(AGENTS);
    let checks = agents * CHECKS as usize;
    let mut aggregator = Aggregator::start(None);
    drop(aggregator.operator().await);
    let empty = pss_kib(&aggregator.daemon);
    let hosts = hosts(&aggregator.certificates, agents);

    let address = aggregator.address();
    let mut fleet = Fleet::gather(&address, hosts).await;
    fleet.define(0..1).await;
    tokio::time::sleep(SETTLE).await;
    let connected = pss_kib(&aggregator.daemon);
    figures.push(Figure::new(
        5,
        format!("memory of an agent's session, {agents} of them"),
        (connected - empty) / float(agents),
        "KiB/agent",
        Goal::AtMost(45.0),
    ));

    let before = cpu_of(&aggregator.daemon);
    fleet.define(1..CHECKS).await;
    tokio::time::sleep(SETTLE).await;
    let spent = cpu_of(&aggregator.daemon) - before;
    figures.push(Figure::new(
        9,
        format!("agents define {checks} checks and say each once"),
        spent.as_secs_f64(),
        "CPU-s",
        Goal::None,
    ));
    let defined = pss_kib(&aggregator.daemon);
    figures.push(Figure::new(
        5,
        format!("memory of a check, a component each, {checks} of them"),
        (defined - connected) / float(checks - agents),
        "KiB/check",
        Goal::AtMost(1.0),
    ));

    let rounds = scale.of(ROUNDS).max(5);
    for (spread, how, goal) in [
        (
            Duration::ZERO,
            "all in the same moment, each second",
            Goal::AtLeast(400_000.0),
        ),
        (
            Duration::from_secs(1),
            "spread evenly over each second",
            Goal::None,
        ),
    ] {
        let before = cpu_of(&aggregator.daemon);
        for round in 0..rounds {
            let next = Instant::now() + Duration::from_secs(1);
            fleet.report(CHECKS, round, spread).await;
            fleet.wait_acknowledged().await;
            tokio::time::sleep_until(next.into()).await;
        }
        let spent = cpu_of(&aggregator.daemon) - before;
        figures.push(Figure::new(
            4,
            format!("ingest, {CHECKS} results a message, {agents} mTLS agents, journal; {how}"),
            float(rounds * checks) / spent.as_secs_f64(),
            "results/CPU-s",
            goal,
        ));
    }
    figures.push(Figure::new(
        5,
        "the whole aggregator after that",
        pss_kib(&aggregator.daemon) / 1_024.0,
        "MiB",
        Goal::None,
    ));

    figures.extend(restart(&mut aggregator, fleet, checks).await);
    figures
}

async fn restart(aggregator: &mut Aggregator, fleet: Fleet, checks: usize) -> Vec<Figure> {
    aggregator.daemon.kill();
    drop(fleet.disperse());
    let began = Instant::now();
    aggregator.start_again();
    let mut operator = aggregator.operator().await;
    let ready = began.elapsed();
    let spent = cpu_of(&aggregator.daemon);
    let known = status(&mut operator)
        .await
        .components
        .iter()
        .filter(|component| component.id.contains("/service-"))
        .count();
    assert_eq!(
        known, checks,
        "every acknowledged check is there after a kill"
    );
    assert!(ready < PATIENCE, "it came back");
    let what = format!("kill -9 with {checks} checks, every one back and answers ready");
    vec![
        Figure::new(8, what, ready.as_secs_f64(), "s", Goal::AtMost(1.0)),
        Figure::new(8, "CPU of that", spent.as_secs_f64(), "CPU-s", Goal::None),
    ]
}
