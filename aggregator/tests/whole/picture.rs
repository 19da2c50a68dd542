//! From a batch to what an operator sees.

use blackstart_proto::v1;
use v1::session_request::Kind as Ask;

use crate::agent::{Agent, Aggregator, batch, component, condition, hello, result};

#[tokio::test]
async fn a_result_is_acknowledged_and_seen_with_its_values() {
    let aggregator = Aggregator::start().await;
    let (mut agent, welcome) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    assert_eq!(welcome.protocol, 1);
    assert!(welcome.journaled.is_empty());
    let failed = result(v1::Status::Failed, "connection refused");
    agent.send(batch(7, 1, "etcd-1", vec![failed])).await;
    agent.acknowledged(7, 1).await;

    let picture = aggregator
        .until("etcd-1 down", |picture| {
            condition(picture, "etcd-1") == Some(v1::Condition::Down)
        })
        .await;
    let etcd = component(&picture, "etcd-1").unwrap();
    assert_eq!(etcd.reason, "connection refused");
    assert_eq!(etcd.values.get("tcp.connect/rtt_ms"), Some(&0.5));
    assert_eq!(condition(&picture, "web-1"), Some(v1::Condition::Up));
    let known = &picture.agents[0];
    assert!(known.connected && known.host == "web-1" && known.version == "test");
    // Its clock is in 2023.
    assert!(known.clock_offset_ms < -1_000_000_000);
    assert!(etcd.since_us > 1_750_000_000_000_000);

    let request = v1::WhyRequest {
        component: "etcd-1".to_owned(),
    };
    let why = aggregator.operator().await.why(request).await.unwrap();
    let why = why.into_inner();
    assert_eq!(why.steps[0].component.as_ref().unwrap().id, "etcd-1");
    let evidence = &why.steps[0].evidence[0];
    assert_eq!((&*evidence.vantage, &*evidence.status), ("web-1", "failed"));
    aggregator.stop().await;
}

#[tokio::test]
async fn values_that_change_alone_are_in_the_next_picture() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let mut first = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![first.clone()])).await;
    aggregator
        .until("etcd-1 up", |picture| {
            condition(picture, "etcd-1") == Some(v1::Condition::Up)
        })
        .await;
    first.values = vec![17.0];
    first.detail = None;
    agent.send(batch(7, 2, "etcd-1", vec![first])).await;
    agent.acknowledged(7, 2).await;
    let picture = aggregator.status().await;
    let etcd = component(&picture, "etcd-1").unwrap();
    assert_eq!(etcd.values.get("tcp.connect/rtt_ms"), Some(&17.0));
    assert_eq!(etcd.reason, "fine");
    aggregator.stop().await;
}

#[tokio::test]
async fn a_lost_agent_is_lost_after_its_grace_and_what_it_watched_is_unknown() {
    let aggregator = Aggregator::start_with(|config| {
        config.lost_after = std::time::Duration::from_millis(50);
    })
    .await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    agent.acknowledged(7, 1).await;
    drop(agent);
    let picture = aggregator
        .until("etcd-1 unknown", |picture| {
            condition(picture, "etcd-1") == Some(v1::Condition::Unknown)
        })
        .await;
    assert!(!picture.agents[0].connected);
    aggregator.stop().await;
}

#[tokio::test]
async fn what_discovery_and_facts_say_is_shown() {
    let aggregator = Aggregator::start().await;
    let (agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let found = v1::DiscoveredComponent {
        id: "web-1/postgres:5432".to_owned(),
        kind: "database".to_owned(),
        container: "web-1".to_owned(),
        ..v1::DiscoveredComponent::default()
    };
    agent
        .say(Ask::Discovery(v1::Discovery {
            components: vec![found],
        }))
        .await;
    let labels = [("os".to_owned(), "Debian 12".to_owned())].into();
    agent
        .say(Ask::Facts(v1::Facts {
            boot_id: "boot-1".to_owned(),
            labels,
            ..v1::Facts::default()
        }))
        .await;
    let picture = aggregator
        .until("facts and discovery", |picture| {
            component(picture, "web-1/postgres:5432").is_some()
                && picture.agents[0].labels.contains_key("os")
        })
        .await;
    let database = component(&picture, "web-1/postgres:5432").unwrap();
    assert_eq!(database.kind, "database");
    assert_eq!(database.provenance, "discovered");
    assert_eq!(database.container, "web-1");
    aggregator.stop().await;
}

#[tokio::test]
async fn a_ping_is_answered() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    agent
        .say(Ask::Ping(v1::Ping {
            nonce: 99,
            sent_boottime_us: 5_000_000,
        }))
        .await;
    let answer = agent.next().await;
    assert!(
        matches!(&answer, Some(v1::session_response::Kind::Pong(pong)) if pong.nonce == 99),
        "{answer:?}"
    );
    aggregator.stop().await;
}

#[tokio::test]
async fn readiness_and_the_unknown_component() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    aggregator
        .until("etcd-1 up", |picture| {
            condition(picture, "etcd-1") == Some(v1::Condition::Up)
        })
        .await;
    let mut operator = aggregator.operator().await;
    let ask = |components: &[&str]| v1::ReadyRequest {
        components: components.iter().map(|id| (*id).to_owned()).collect(),
    };
    let ready = operator.ready(ask(&["etcd-1"])).await.unwrap().into_inner();
    assert!(ready.ready && ready.components[0].known);
    let ready = operator.ready(ask(&["etcd-1", "etcd-9"])).await.unwrap();
    let ready = ready.into_inner();
    assert!(!ready.ready && !ready.components[1].known);
    assert_eq!(
        operator.ready(ask(&[])).await.unwrap_err().code(),
        tonic::Code::InvalidArgument
    );
    let request = v1::WhyRequest {
        component: "etcd-9".to_owned(),
    };
    let status = operator.why(request).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);
    assert_eq!(status.message(), "the topology has no component \"etcd-9\"");
    aggregator.stop().await;
}
