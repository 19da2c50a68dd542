//! An agent that says exactly what a test wants.

use std::net::SocketAddr;
use std::time::Duration;

use blackstart_aggregator::{Config, Running, start};
use blackstart_proto::v1;
use blackstart_proto::v1::agent_service_client::AgentServiceClient;
use blackstart_proto::v1::operator_service_client::OperatorServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;
use v1::session_request::Kind as Ask;
use v1::session_response::Kind as Said;

/// Whatever takes longer than this does not come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An aggregator of this process, with a folder of its own.
pub(crate) struct Aggregator {
    pub(crate) running: Option<Running>,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
}

impl Aggregator {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(folder.path().join("state"));
        config.listen = "127.0.0.1:0".parse().unwrap();
        change(&mut config);
        let running = start(config).await.unwrap();
        Self {
            address: running.address().unwrap(),
            running: Some(running),
            folder,
        }
    }

    pub(crate) fn state_dir(&self) -> std::path::PathBuf {
        self.folder.path().join("state")
    }

    pub(crate) async fn operator(&self) -> OperatorServiceClient<Channel> {
        operator(self.address).await
    }

    pub(crate) async fn status(&self) -> v1::StatusResponse {
        status(self.address).await
    }

    /// Waits until the picture is as wanted.
    pub(crate) async fn until(
        &self,
        what: &str,
        wanted: impl Fn(&v1::StatusResponse) -> bool,
    ) -> v1::StatusResponse {
        until(self.address, what, wanted).await
    }

    pub(crate) async fn stop(mut self) -> tempfile::TempDir {
        assert!(self.running.take().unwrap().shutdown().await);
        self.folder
    }
}

pub(crate) async fn channel(address: SocketAddr) -> Channel {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    let endpoint = Channel::from_shared(format!("http://{address}")).unwrap();
    loop {
        match endpoint.connect().await {
            Ok(channel) => return channel,
            Err(error) if tokio::time::Instant::now() > deadline => panic!("{address}: {error}"),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

pub(crate) async fn operator(address: SocketAddr) -> OperatorServiceClient<Channel> {
    OperatorServiceClient::new(channel(address).await).max_decoding_message_size(64 << 20)
}

pub(crate) async fn status(address: SocketAddr) -> v1::StatusResponse {
    let request = v1::StatusRequest::default();
    let answer = operator(address).await.status(request).await;
    answer.unwrap().into_inner()
}

pub(crate) async fn until(
    address: SocketAddr,
    what: &str,
    wanted: impl Fn(&v1::StatusResponse) -> bool,
) -> v1::StatusResponse {
    let mut pictures = operator(address)
        .await
        .watch_status(v1::WatchStatusRequest::default())
        .await
        .unwrap()
        .into_inner();
    let mut last = None;
    let found = tokio::time::timeout(PATIENCE, async {
        while let Some(picture) = pictures.message().await.unwrap() {
            let picture = picture.status.unwrap();
            if wanted(&picture) {
                return Some(picture);
            }
            last = Some(picture);
        }
        None
    });
    match found.await {
        Ok(Some(picture)) => picture,
        _ => panic!("never came: {what}; last picture: {last:#?}"),
    }
}

pub(crate) fn component<'a>(
    picture: &'a v1::StatusResponse,
    id: &str,
) -> Option<&'a v1::ComponentState> {
    picture
        .components
        .iter()
        .find(|component| component.id == id)
}

pub(crate) fn condition(picture: &v1::StatusResponse, id: &str) -> Option<v1::Condition> {
    component(picture, id).map(v1::ComponentState::condition)
}

/// The stream of an agent.
pub(crate) struct Agent {
    say: mpsc::Sender<v1::SessionRequest>,
    answers: Streaming<v1::SessionResponse>,
    boottime_us: u64,
}

pub(crate) fn hello(host: &str, incarnation: u64) -> v1::Hello {
    v1::Hello {
        protocol_min: 1,
        protocol_max: 1,
        host: host.to_owned(),
        agent_version: "test".to_owned(),
        boot_id: "boot-1".to_owned(),
        incarnation,
        uptime_ms: 5_000,
        sent_boottime_us: 5_000_000,
        sent_wall_us: 1_700_000_000_000_000,
        ..v1::Hello::default()
    }
}

pub(crate) fn definition(target: u32, component: &str) -> v1::TargetDefinition {
    v1::TargetDefinition {
        target,
        component: component.to_owned(),
        check: "tcp.connect".to_owned(),
        value_names: vec!["rtt_ms".to_owned()],
        ttl_ms: 60_000,
    }
}

pub(crate) fn result(status: v1::Status, detail: &str) -> v1::Result {
    v1::Result {
        target: 0,
        sampled_boottime_us: 5_000_000,
        status: status.into(),
        progress: None,
        detail: Some(detail.to_owned()),
        values: vec![0.5],
    }
}

/// A batch about `component` that defines its target.
pub(crate) fn batch(
    incarnation: u64,
    first_sequence: u64,
    component: &str,
    results: Vec<v1::Result>,
) -> v1::Batch {
    v1::Batch {
        incarnation,
        boot_id: "boot-1".to_owned(),
        first_sequence,
        sent_boottime_us: 5_000_000,
        definitions: vec![definition(0, component)],
        results,
        ..v1::Batch::default()
    }
}

impl Agent {
    /// Opens a stream and says hello.
    pub(crate) async fn open(address: SocketAddr, hello: v1::Hello) -> Self {
        Self::open_on(channel(address).await, hello).await
    }

    pub(crate) async fn open_on(channel: Channel, hello: v1::Hello) -> Self {
        let (say, said) = mpsc::channel(64);
        say.send(v1::SessionRequest {
            kind: Some(Ask::Hello(hello)),
        })
        .await
        .unwrap();
        let answers = AgentServiceClient::new(channel)
            .session(ReceiverStream::new(said))
            .await
            .unwrap()
            .into_inner();
        Self {
            say,
            answers,
            boottime_us: 5_000_000,
        }
    }

    /// Opens a stream that is welcomed.
    pub(crate) async fn welcomed(address: SocketAddr, hello: v1::Hello) -> (Self, v1::Welcome) {
        let mut agent = Self::open(address, hello).await;
        match agent.next().await {
            Some(Said::Welcome(welcome)) => (agent, welcome),
            other => panic!("not welcomed: {other:?}"),
        }
    }

    /// Opens a stream, and again when it is told to wait, until it is welcomed.
    pub(crate) async fn returning(address: SocketAddr, hello: v1::Hello) -> (Self, v1::Welcome) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while tokio::time::Instant::now() < deadline {
            let mut agent = Self::open(address, hello.clone()).await;
            match agent.next().await {
                Some(Said::Welcome(welcome)) => return (agent, welcome),
                Some(Said::Wait(wait)) => {
                    let time = Duration::from_millis(u64::from(wait.retry_after_ms));
                    tokio::time::sleep(time).await;
                }
                other => panic!("{other:?}"),
            }
        }
        panic!("told to wait for ever")
    }

    /// Says something; the aggregator may have closed the stream.
    pub(crate) async fn say(&self, kind: Ask) {
        let _ = self.say.send(v1::SessionRequest { kind: Some(kind) }).await;
    }

    /// Sends a batch made just now.
    pub(crate) async fn send(&mut self, mut batch: v1::Batch) {
        self.boottime_us += 1_000;
        batch.sent_boottime_us = self.boottime_us;
        for result in &mut batch.results {
            result.sampled_boottime_us = self.boottime_us;
        }
        self.say(Ask::Batch(batch)).await;
    }

    /// The next answer; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<Said> {
        let next = tokio::time::timeout(PATIENCE, self.answers.message()).await;
        let message = next.expect("no answer").expect("stream broke")?;
        Some(message.kind.expect("an answer without a kind"))
    }

    /// The status that ends the stream.
    pub(crate) async fn broken(&mut self) -> tonic::Status {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.answers.message()).await;
            match next.expect("no answer") {
                Ok(Some(_)) => {}
                Ok(None) => panic!("ended in order"),
                Err(status) => return status,
            }
        }
    }

    /// Waits for an acknowledgement of this sequence or a later one.
    pub(crate) async fn acknowledged(&mut self, incarnation: u64, sequence: u64) {
        loop {
            match self.next().await {
                Some(Said::Acknowledgement(acknowledgement))
                    if acknowledgement.incarnation == incarnation
                        && acknowledgement.sequence >= sequence =>
                {
                    return;
                }
                Some(Said::Acknowledgement(_) | Said::Pong(_)) => {}
                other => panic!("not acknowledged: {other:?}"),
            }
        }
    }

    /// Waits for a refusal.
    pub(crate) async fn refused(&mut self) -> v1::Refusal {
        loop {
            match self.next().await {
                Some(Said::Refusal(refusal)) => {
                    assert!(self.next().await.is_none(), "goes on after a refusal");
                    return refusal;
                }
                Some(Said::Acknowledgement(_) | Said::Pong(_)) => {}
                other => panic!("not refused: {other:?}"),
            }
        }
    }
}

/// What the journal holds: (host, incarnation, sequence) of every result, in its order.
pub(crate) fn journaled(state_dir: &std::path::Path) -> Vec<(String, u64, u64)> {
    let mut lines = Vec::new();
    let broken = blackstart_aggregator::export(state_dir, &mut lines).unwrap();
    assert_eq!(broken, 0);
    String::from_utf8(lines)
        .unwrap()
        .lines()
        .filter_map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let incarnation = line["incarnation"].as_str()?;
            Some((
                line["host"].as_str()?.to_owned(),
                u64::from_str_radix(incarnation, 16).unwrap(),
                line["sequence"].as_u64()?,
            ))
        })
        .collect()
}
