//! What discovery found is asked for after a restart, though it does not run then.

use std::path::Path;

use blackstart_proto::transport::connect_local;
use blackstart_proto::v1::local_service_client::LocalServiceClient;
use blackstart_proto::v1::{LocalResult, ResultsRequest, Status};
use blackstart_tests::TempHome;
use blackstart_tests::servers::etcd::EtcdCluster;

use crate::parts::{START, agent};

/// What the agent says of a component, once it has this status.
async fn wait_status(state_dir: &Path, component: &str, wanted: Status) -> LocalResult {
    blackstart_tests::eventually(&format!("{component} {wanted:?}"), START, async || {
        let channel = connect_local(state_dir)
            .await
            .map_err(|error| error.to_string())?;
        let request = ResultsRequest {
            wanted: vec![component.to_owned()],
        };
        let answer = LocalServiceClient::new(channel).results(request).await;
        let results = answer
            .map_err(|status| status.to_string())?
            .into_inner()
            .results;
        match results.first() {
            Some(result) if result.status() == wanted => Ok(result.clone()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

#[tokio::test]
async fn a_server_that_does_not_start_after_the_boot_is_failed_and_not_forgotten() {
    let home = TempHome::new("remember");
    let mut cluster = EtcdCluster::start(1);
    let port = cluster
        .client_url(0)
        .rsplit(':')
        .next()
        .expect("a port")
        .to_owned();
    let component = format!("h/etcd:{port}");
    let config = home.write(
        "agent.toml",
        "host = \"h\"\nstate_dir = \"agent\"\n[discovery]\ninterval = \"5s\"\n",
    );
    let state_dir = home.join("agent");
    let mut running = agent(home.path(), &config);
    wait_status(&state_dir, &component, Status::Ok).await;
    blackstart_tests::wait_until("it is written down", START, || {
        std::fs::read_to_string(state_dir.join("discovered.json"))
            .is_ok_and(|text| text.contains(&component))
    });
    // As the power goes: both at once, and only the agent comes back.
    running.kill();
    cluster.kill(0);
    let _running = agent(home.path(), &config);
    let result = wait_status(&state_dir, &component, Status::Failed).await;
    assert!(result.detail.contains("refuse"), "{}", result.detail);
    cluster.restart(0);
    wait_status(&state_dir, &component, Status::Ok).await;
}

#[tokio::test]
async fn what_is_ignored_is_not_asked() {
    let home = TempHome::new("ignored");
    let text = |ignored: &str| {
        format!("host = \"h\"\nstate_dir = \"agent\"\n[discovery]\nignore = [{ignored}]\n")
    };
    let config = home.write("agent.toml", &text(""));
    let state_dir = home.join("agent");
    let running = agent(home.path(), &config);
    // A busy host is degraded, so only that it is asked counts here.
    let load = async || {
        let channel = connect_local(&state_dir).await.ok()?;
        let request = ResultsRequest {
            wanted: vec!["host.load".to_owned()],
        };
        let answer = LocalServiceClient::new(channel).results(request).await;
        Some(answer.ok()?.into_inner().results.len())
    };
    let wait_load = async |wanted: usize| {
        let what = format!("{wanted} results of host.load");
        blackstart_tests::eventually(&what, START, async || match load().await {
            Some(count) if count == wanted => Ok(()),
            other => Err(other),
        })
        .await;
    };
    wait_load(1).await;
    home.write("agent.toml", &text("\"h\""));
    running.signal(rustix::process::Signal::HUP);
    wait_load(0).await;
}
