//! Rows 6 and 9: topologies of size: loaded, and their root lost and back.

use std::time::Duration;

use blackstart_proto::v1::{Condition, Status};

use super::{Aggregator, median, status, until};
use crate::Scale;
use crate::figure::{Figure, Goal};
use crate::fleet::{Fleet, hosts};
use crate::process::cpu_of;

/// Components of the tree.
const COMPONENTS: usize = 10_000;

/// Children of each inner one.
const FAN_OUT: usize = 10;

/// Declared checks of the large topology: services, ten on a host.
const SERVICES: usize = 50_000;

/// How often the root is lost.
const REPEATS: usize = 20;

/// What one loss may take until its CPU time is read; far longer than it takes.
const SETTLE: Duration = Duration::from_millis(500);

/// Measures.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let mut figures = Vec::new();
    let idle = load("").await;
    let services = scale.of(SERVICES);
    let cost = load(&fleet_of(services)).await;
    figures.push(Figure::new(
        9,
        format!("start with a topology of {services} services on a tenth as many hosts"),
        (cost.saturating_sub(idle)).as_secs_f64(),
        "CPU-s",
        Goal::AtMost(0.5),
    ));
    let components = scale.of(COMPONENTS);
    let cost = load(&tree_of(components)).await;
    figures.push(Figure::new(
        9,
        format!("start with a tree of {components} components"),
        (cost.saturating_sub(idle)).as_secs_f64(),
        "CPU-s",
        Goal::AtMost(0.1),
    ));
    figures.extend(lose_the_root(components).await);
    figures
}

/// What a start with this topology costs.
async fn load(topology: &str) -> Duration {
    let mut aggregator = Aggregator::start(Some(topology));
    drop(aggregator.operator().await);
    cpu_of(&aggregator.daemon)
}

async fn lose_the_root(components: usize) -> Vec<Figure> {
    let mut aggregator = Aggregator::start(Some(&tree_of(components)));
    let mut operator = aggregator.operator().await;
    let address = aggregator.address();
    let mut fleet = Fleet::gather(&address, hosts(&aggregator.certificates, 1)).await;
    fleet.define_components(&["c-0".to_owned()]).await;
    let last = format!("c-{}", components - 1);

    let (mut lost, mut back) = (Vec::new(), Vec::new());
    let (mut lost_cpu, mut back_cpu) = (Vec::new(), Vec::new());
    for repeat in 0..REPEATS {
        let is_timed = repeat % 2 == 0;
        for (status, wanted, times, costs) in [
            (Status::Failed, Condition::Blocked, &mut lost, &mut lost_cpu),
            (Status::Ok, Condition::Unknown, &mut back, &mut back_cpu),
        ] {
            // Large pictures are published some way apart; one loss is measured, not how fast they can follow each other.
            tokio::time::sleep(SETTLE).await;
            let before = cpu_of(&aggregator.daemon);
            let began = std::time::Instant::now();
            fleet.say(0, status).await;
            if is_timed {
                // Asking costs the aggregator too, so time and CPU are read in turns. A child of the root is never
                // seen itself: while the root is lost it is blocked, and unknown when it is back.
                until(&mut operator, &last, |condition| condition == wanted).await;
                times.push(began.elapsed().as_secs_f64() * 1_000.0);
            } else {
                tokio::time::sleep(SETTLE).await;
                costs.push((cpu_of(&aggregator.daemon) - before).as_secs_f64() * 1_000.0);
            }
        }
    }
    fleet.say(0, Status::Failed).await;
    until(&mut operator, &last, |condition| {
        condition == Condition::Blocked
    })
    .await;
    let blocked = status(&mut operator)
        .await
        .components
        .iter()
        .filter(|component| component.condition() == Condition::Blocked)
        .count();
    assert_eq!(blocked, components - 1, "the whole view is right");
    let row = |what: &str, figures, unit, goal| {
        let what = format!("{what}, {components} components");
        Figure::new(6, what, median(figures), unit, Goal::AtMost(goal))
    };
    vec![
        row("root fails: CPU, session to view", lost_cpu, "ms CPU", 10.0),
        row("root fails: the farthest is seen blocked", lost, "ms", 20.0),
        row(
            "root returns: CPU, session to view",
            back_cpu,
            "ms CPU",
            10.0,
        ),
        row("root returns: the farthest is seen free", back, "ms", 20.0),
    ]
}

/// A tree in which each component needs the one above it.
fn tree_of(components: usize) -> String {
    let mut text = String::new();
    for at in 0..components {
        text.push_str(&format!("[component.c-{at}]\nkind = \"service\"\n"));
        if at > 0 {
            text.push_str(&format!("needs = [\"c-{}\"]\n", (at - 1) / FAN_OUT));
        }
    }
    text
}

/// Hosts in racks, ten services on each.
fn fleet_of(services: usize) -> String {
    let hosts = services.div_ceil(10);
    let racks = hosts.div_ceil(40);
    let mut text = format!("[component.\"rack-{{1..{racks}}}\"]\nkind = \"rack\"\n");
    for rack in 1..=racks {
        let first = (rack - 1) * 40 + 1;
        let last = (rack * 40).min(hosts);
        text.push_str(&format!(
            "[component.\"host-{{{first}..{last}}}\"]\nkind = \"host\"\nin = \"rack-{rack}\"\n"
        ));
    }
    for service in 0..services.div_ceil(hosts) {
        text.push_str(&format!(
            "[component.\"service-{service}-{{1..{hosts}}}\"]\nkind = \"service\"\nin = \"host-{{n}}\"\n"
        ));
    }
    text
}
