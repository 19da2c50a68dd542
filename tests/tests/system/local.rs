//! An agent is asked on its own host, with no aggregator anywhere.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use blackstart_proto::transport::{connect_local, local_socket};
use blackstart_proto::v1::local_service_client::LocalServiceClient;
use blackstart_proto::v1::{ResultsRequest, StateRequest, StateResponse, Status};
use blackstart_tests::{TempHome, binary, free_port, wait_until};
use serde_json::Value;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::parts::{START, agent};

/// A configuration with one probe, `svc`, and no aggregator.
fn configuration(address: &str) -> String {
    format!(
        "host = \"h\"\nstate_dir = \"agent\"\n[discovery]\nenabled = false\n\
         [probe.svc]\nkind = \"tcp.connect\"\ninterval = \"1s\"\naddress = \"{address}\"\n"
    )
}

/// What the agent says of a service; `None` while nobody answers.
async fn health(state_dir: &Path, service: &str) -> Option<Result<ServingStatus, Code>> {
    let channel = connect_local(state_dir).await.ok()?;
    let request = HealthCheckRequest {
        service: service.to_owned(),
    };
    match HealthClient::new(channel).check(request).await {
        Ok(answer) => Some(Ok(answer.into_inner().status())),
        Err(status) => Some(Err(status.code())),
    }
}

async fn wait_health(state_dir: &Path, service: &str, wanted: Result<ServingStatus, Code>) {
    blackstart_tests::eventually(
        &format!("{service:?} to be {wanted:?}"),
        START,
        async || match health(state_dir, service).await {
            Some(found) if found == wanted => Ok(()),
            other => Err(other),
        },
    )
    .await;
}

/// How the agent says that it is.
pub(crate) async fn state(state_dir: &Path) -> Option<StateResponse> {
    let channel = connect_local(state_dir).await.ok()?;
    let answer = LocalServiceClient::new(channel)
        .state(StateRequest {})
        .await;
    Some(answer.ok()?.into_inner())
}

fn check_last(state_dir: &Path, arguments: &[&str]) -> (Value, i32) {
    let output = Command::new(binary("blackstart"))
        .args(["--format", "json", "check", "--last", "--state-dir"])
        .arg(state_dir)
        .args(arguments)
        .output()
        .expect("blackstart runs");
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (value, output.status.code().unwrap_or(-1))
}

#[tokio::test]
async fn health_and_the_last_results_need_no_aggregator() {
    let home = TempHome::new("local");
    let port = free_port();
    let listener = TcpListener::bind(port.address()).expect("the port");
    let config = home.write("agent.toml", &configuration(&port.address().to_string()));
    let state_dir = home.join("agent");
    let mut running = agent(home.path(), &config);
    wait_health(&state_dir, "", Ok(ServingStatus::Serving)).await;
    wait_health(&state_dir, "svc", Ok(ServingStatus::Serving)).await;
    assert_eq!(health(&state_dir, "svcs").await, Some(Err(Code::NotFound)));
    let socket = local_socket(&state_dir).expect("a short path");
    let mode = std::fs::metadata(&socket)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600, "nobody else may ask");
    let (checked, code) = check_last(&state_dir, &["svc"]);
    assert_eq!(
        (&checked["status"], code),
        (&Value::from("ok"), 0),
        "{checked}"
    );

    let channel = connect_local(&state_dir).await.expect("the agent");
    let request = HealthCheckRequest {
        service: "svc".to_owned(),
    };
    let mut watch = HealthClient::new(channel.clone())
        .watch(request)
        .await
        .expect("a stream")
        .into_inner();
    let first = watch.message().await.expect("an answer").expect("one");
    assert_eq!(first.status(), ServingStatus::Serving);
    drop(listener);
    let second = tokio::time::timeout(START, watch.message())
        .await
        .expect("the change is told")
        .expect("an answer")
        .expect("one");
    assert_eq!(second.status(), ServingStatus::NotServing);
    let results = LocalServiceClient::new(channel)
        .results(ResultsRequest::default())
        .await
        .expect("results")
        .into_inner()
        .results;
    let found = results
        .iter()
        .find(|result| result.component == "svc")
        .expect("the probe's result");
    assert_eq!(
        (found.check.as_str(), found.status()),
        ("tcp.connect", Status::Failed)
    );
    let (checked, code) = check_last(&state_dir, &["svc"]);
    assert_eq!(
        (&checked["status"], code),
        (&Value::from("failed"), 2),
        "{checked}"
    );
    assert!(
        checked["checks"][0]["age_ms"].as_u64().is_some(),
        "{checked}"
    );
    assert_eq!(check_last(&state_dir, &["svcs"]).1, 2);

    let said = state(&state_dir).await.expect("the agent's state");
    assert_eq!((said.host.as_str(), said.pid), ("h", running.pid()));
    assert_eq!(said.schedule.unwrap_or_default().probes, 1);
    assert_eq!(said.problems, Vec::<String>::new());

    // Killed, it leaves its socket behind; the next one takes the place.
    running.kill();
    assert!(socket.exists());
    let (gone, code) = check_last(&state_dir, &[]);
    assert_eq!(code, 3);
    let detail = gone["detail"].as_str().unwrap_or_default();
    assert!(detail.contains("the agent ended without a word"), "{gone}");
    let mut running = agent(home.path(), &config);
    wait_health(&state_dir, "svc", Ok(ServingStatus::NotServing)).await;
    assert!(running.terminate(START).success());
    assert!(!socket.exists(), "it takes its socket along");
}

#[tokio::test]
async fn any_stock_client_finds_out_what_may_be_asked() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    let home = TempHome::new("local-reflection");
    let config = home.write("agent.toml", &configuration("127.0.0.1:1"));
    let state_dir = home.join("agent");
    let _running = agent(home.path(), &config);
    wait_health(&state_dir, "", Ok(ServingStatus::Serving)).await;
    let channel = connect_local(&state_dir).await.expect("the agent");
    let question = tonic_reflection::pb::v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let answer = ServerReflectionClient::new(channel)
        .server_reflection_info(tokio_stream::iter([question]))
        .await
        .expect("a stream")
        .into_inner()
        .message()
        .await
        .expect("an answer")
        .expect("one");
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<&str> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    for name in ["blackstart.v1.LocalService", "grpc.health.v1.Health"] {
        assert!(names.contains(&name), "{names:?}");
    }
}

#[tokio::test]
async fn an_aggregator_that_cannot_be_reached_is_told_on_the_host() {
    let home = TempHome::new("local-uplink");
    let (port, nobody) = (free_port(), free_port());
    let text = format!(
        "aggregators = [\"{}\"]\n{}",
        nobody.address(),
        configuration(&port.address().to_string())
    );
    let config = home.write("agent.toml", &text);
    let _running = agent(home.path(), &config);
    let problem = blackstart_tests::eventually("a problem of the uplink", START, async || {
        let said = state(&home.join("agent")).await.ok_or_else(String::new)?;
        let uplink = said.aggregators.first().ok_or_else(String::new)?;
        if uplink.problem.contains("refuses connections") && uplink.waiting_results > 0 {
            Ok(uplink.problem.clone())
        } else {
            Err(uplink.problem.clone())
        }
    })
    .await;
    assert!(problem.contains(&nobody.address().to_string()), "{problem}");
}

#[test]
fn a_state_folder_with_too_long_a_path_has_no_socket_and_the_agent_says_so() {
    let home = TempHome::new("local-long");
    let folder = "f".repeat(100);
    let text = configuration("127.0.0.1:1").replace("\"agent\"", &format!("\"{folder}\""));
    let config = home.write("agent.toml", &text);
    let mut running = agent(home.path(), &config);
    running.wait_log("nobody can ask this agent on its host", START);
    running.wait_log("choose a shorter state_dir", START);
    wait_until("it probes all the same", START, || {
        std::fs::metadata(home.join(&folder).join("spool.redb")).is_ok()
    });
    assert!(running.is_running());
    assert!(running.terminate(START).success());
}
