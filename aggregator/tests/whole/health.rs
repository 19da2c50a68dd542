//! The health protocol, over components.

use blackstart_aggregator::health::v1::health_check_response::ServingStatus;
use blackstart_aggregator::health::v1::health_client::HealthClient;
use blackstart_aggregator::health::v1::{HealthCheckRequest, HealthListRequest};
use blackstart_proto::v1;

use crate::agent::{Agent, Aggregator, batch, channel, definition, hello, result};

fn ask(service: &str) -> HealthCheckRequest {
    HealthCheckRequest {
        service: service.to_owned(),
    }
}

#[tokio::test]
async fn a_watcher_sees_a_component_appear_and_fail() {
    let aggregator = Aggregator::start().await;
    let mut health = HealthClient::new(channel(aggregator.address).await);
    let whole = health.check(ask("")).await.unwrap().into_inner();
    assert_eq!(whole.status(), ServingStatus::Serving);
    let status = health.check(ask("etcd-1")).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::NotFound);

    let mut watched = health.watch(ask("etcd-1")).await.unwrap().into_inner();
    let mut expect = async |expected| {
        let next = watched.message().await.unwrap().unwrap();
        assert_eq!(next.status(), expected);
    };
    expect(ServingStatus::ServiceUnknown).await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    expect(ServingStatus::Serving).await;
    let failed = result(v1::Status::Failed, "gone");
    agent.send(batch(7, 2, "etcd-1", vec![failed])).await;
    expect(ServingStatus::NotServing).await;
    aggregator.stop().await;
}

#[tokio::test]
async fn a_list_of_more_than_a_hundred_is_refused() {
    let aggregator = Aggregator::start().await;
    let mut health = HealthClient::new(channel(aggregator.address).await);
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "c-0", vec![good.clone()])).await;
    agent.acknowledged(7, 1).await;
    // Acknowledged does not mean visible: the journal may be ahead of the engine.
    let seen = |least| move |status: &v1::StatusResponse| status.components.len() >= least;
    aggregator.until("the component to be seen", seen(2)).await;
    let list = health.list(HealthListRequest {}).await.unwrap();
    let statuses = list.into_inner().statuses;
    assert_eq!(statuses.len(), 3, "{statuses:?}");
    assert_eq!(statuses["c-0"].status(), ServingStatus::Serving);

    let mut many = batch(7, 2, "c-0", Vec::new());
    for target in 1..=100 {
        many.definitions
            .push(definition(target, &format!("c-{target}")));
        many.results.push(v1::Result {
            target,
            ..good.clone()
        });
    }
    agent.send(many).await;
    agent.acknowledged(7, 101).await;
    aggregator.until("all of them to be seen", seen(102)).await;
    let status = health.list(HealthListRequest {}).await.unwrap_err();
    assert_eq!(status.code(), tonic::Code::ResourceExhausted);
    aggregator.stop().await;
}
