//! Two streams for one host.

use blackstart_proto::v1;

use crate::agent::{Agent, Aggregator, batch, hello, result};

#[tokio::test]
async fn the_newest_stream_of_an_agent_goes_on_where_the_old_one_was() {
    let aggregator = Aggregator::start().await;
    let (mut old, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let (mut new, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    assert!(old.next().await.is_none());
    let good = result(v1::Status::Ok, "fine");
    new.send(batch(7, 1, "etcd-1", vec![good])).await;
    new.acknowledged(7, 1).await;
    assert!(aggregator.status().await.agents[0].connected);
    aggregator.stop().await;
}

#[tokio::test]
async fn of_two_live_agents_the_newer_one_is_refused_and_that_is_shown() {
    let aggregator = Aggregator::start().await;
    let (mut first, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let (mut second, _) = Agent::welcomed(aggregator.address, hello("web-1", 8)).await;
    assert!(first.next().await.is_none());
    // The first one lives and comes back.
    let (mut first, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let refusal = second.refused().await;
    assert_eq!(refusal.code(), v1::RefusalCode::HostClaimedTwice);
    assert_eq!(
        refusal.reason,
        "another agent that is alive reports for this host; give one of the two another `host` in \
         its configuration, or stop it"
    );
    let mut second = Agent::open(aggregator.address, hello("web-1", 8)).await;
    assert_eq!(
        second.refused().await.code(),
        v1::RefusalCode::HostClaimedTwice
    );
    let picture = aggregator.status().await;
    assert_eq!(picture.agents[0].problem, "two agents claim this host");
    assert!(picture.agents[0].connected);
    let good = result(v1::Status::Ok, "fine");
    first.send(batch(7, 1, "etcd-1", vec![good])).await;
    first.acknowledged(7, 1).await;
    aggregator.stop().await;
}
