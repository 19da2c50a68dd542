//! Many agents at once.

use std::time::{Duration, Instant};

use blackstart_proto::v1;
use v1::session_response::Kind as Said;

use crate::agent::{Agent, Aggregator, channel, hello};

#[tokio::test(flavor = "multi_thread")]
async fn a_herd_that_obeys_comes_in_at_the_admitted_rate_and_nobody_is_refused_for_good() {
    const HOSTS: u64 = 200;
    const RATE: u32 = 100;
    let aggregator = Aggregator::start_with(|config| config.sessions_per_second = RATE).await;
    let address = aggregator.address;
    let began = Instant::now();
    let mut herd = tokio::task::JoinSet::new();
    for host in 0..HOSTS {
        herd.spawn(async move {
            let channel = channel(address).await;
            let mut waits = 0;
            loop {
                let name = format!("h{host}");
                let mut agent = Agent::open_on(channel.clone(), hello(&name, host + 1)).await;
                match agent.next().await {
                    Some(Said::Welcome(_)) => return (agent, waits, began.elapsed()),
                    Some(Said::Wait(wait)) => {
                        waits += 1;
                        let time = u64::from(wait.retry_after_ms);
                        tokio::time::sleep(Duration::from_millis(time)).await;
                    }
                    other => panic!("{other:?}"),
                }
            }
        });
    }
    let mut welcomed: Vec<_> = herd.join_all().await;
    welcomed.sort_by_key(|(_, _, at)| *at);
    let last = welcomed.last().unwrap().2;
    // A quarter of a second's worth comes in at once, the rest at the rate.
    let least = (HOSTS as f64 - 0.25 * f64::from(RATE)) / f64::from(RATE);
    assert!(last.as_secs_f64() >= least * 0.95, "{last:?}");
    for (_, waits, at) in &welcomed {
        assert!(*waits <= 4, "waited {waits} times, welcomed after {at:?}");
    }
    let picture = aggregator.status().await;
    assert!(picture.agents.iter().all(|agent| agent.connected));
    drop(welcomed);
    aggregator.stop().await;
}
