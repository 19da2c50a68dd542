//! A fleet of agents made by hand: each a connection of its own under mutual TLS that speaks the agent's protocol and
//! nothing more, so that thousands fit into one process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use blackstart_agent::clock::HostClock;
use blackstart_proto::limits::HEARTBEAT_INTERVAL;
use blackstart_proto::transport::{ClientTls, HostPort, Timeouts, connect};
use blackstart_proto::v1::agent_service_client::AgentServiceClient;
use blackstart_proto::v1::session_request::Kind as Request;
use blackstart_proto::v1::session_response::Kind as Response;
use blackstart_proto::v1::{
    Batch, Hello, Ping, Result as ResultMessage, SessionRequest, SessionResponse, Status,
    TargetDefinition,
};
use blackstart_tests::Certificates;
use futures::StreamExt;
use futures::stream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::rows::{PATIENCE, client_tls};

/// Hosts that share a certificate: a certificate for each of ten thousand takes long to make, and its names are few
/// enough to cost a handshake nothing.
const HOSTS_PER_CERTIFICATE: usize = 10;

/// Connections that are opened at a time, where it is not the herd that is measured.
const OPENING: usize = 64;

/// How long the results of a fleet hold: nothing expires while it is measured.
const TTL_MS: u32 = 3_600_000;

/// The boot of every host.
const BOOT_ID: &str = "11111111-2222-4333-8444-555555555555";

/// A host that has a certificate and no connection.
#[derive(Clone)]
pub(crate) struct Host {
    pub(crate) name: String,
    tls: ClientTls,
    incarnation: u64,
    next: u64,
}

/// How a fleet is doing.
#[derive(Debug, Default)]
struct Progress {
    acknowledged: AtomicU64,
    waits: AtomicUsize,
}

/// An agent with an open stream.
pub(crate) struct Member {
    host: Host,
    welcomed: Instant,
    requests: mpsc::Sender<SessionRequest>,
    reader: JoinHandle<()>,
}

/// The fleet.
pub(crate) struct Fleet {
    members: Vec<Member>,
    progress: Arc<Progress>,
    sent: u64,
}

/// Names that many hosts and makes their certificates.
pub(crate) fn hosts(certificates: &Certificates, count: usize) -> Vec<Host> {
    let names: Vec<String> = (0..count).map(|at| format!("host-{at:05}")).collect();
    let mut hosts = Vec::with_capacity(count);
    for group in names.chunks(HOSTS_PER_CERTIFICATE) {
        let alternatives: Vec<&str> = group.iter().map(String::as_str).collect();
        let tls = client_tls(&certificates.issue(&group[0], &alternatives));
        for name in group {
            hosts.push(Host {
                name: name.clone(),
                tls: tls.clone(),
                incarnation: 1 + hosts.len() as u64,
                next: 1,
            });
        }
    }
    hosts
}

impl Fleet {
    /// Opens a stream for each host, `at_once` of them at a time; each comes back when it is told to.
    pub(crate) async fn connect(address: &HostPort, hosts: Vec<Host>, at_once: usize) -> Self {
        let progress = Arc::new(Progress::default());
        let members = stream::iter(hosts)
            .map(|host| open(address.clone(), host, progress.clone()))
            .buffer_unordered(at_once)
            .collect()
            .await;
        Self {
            members,
            progress,
            sent: 0,
        }
    }

    /// Like [`Fleet::connect`], gently.
    pub(crate) async fn gather(address: &HostPort, hosts: Vec<Host>) -> Self {
        Self::connect(address, hosts, OPENING).await
    }

    /// How many streams were asked to come back later.
    pub(crate) fn waits(&self) -> usize {
        self.progress.waits.load(Ordering::Relaxed)
    }

    /// How long all streams together have been open.
    pub(crate) fn open_for(&self) -> Duration {
        self.members
            .iter()
            .map(|member| member.welcomed.elapsed())
            .sum()
    }

    /// Each agent defines these checks on components of its own and sends a first result of each.
    pub(crate) async fn define(&mut self, checks: std::ops::Range<u32>) {
        for member in &mut self.members {
            let definitions = checks.clone().map(|target| TargetDefinition {
                target,
                component: format!("{}/service-{target:02}", member.host.name),
                check: "tcp.connect".to_owned(),
                value_names: vec!["rtt_ms".to_owned()],
                ttl_ms: TTL_MS,
            });
            let results = checks.clone().map(|target| result(target, Status::Ok, 0.3));
            let (definitions, results) = (definitions.collect(), results.collect());
            self.sent += member.send(definitions, results).await;
        }
        self.wait_acknowledged().await;
    }

    /// One message of each agent with a result of each check, evenly over `spread`; nothing changes but the values.
    pub(crate) async fn report(&mut self, checks: u32, round: usize, spread: Duration) {
        let began = Instant::now();
        let pause = spread / u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        for (at, member) in self.members.iter_mut().enumerate() {
            let value = crate::rows::float(round) / 10.0;
            let results = (0..checks).map(|target| result(target, Status::Ok, value));
            self.sent += member.send(Vec::new(), results.collect()).await;
            let due = pause * u32::try_from(at + 1).unwrap_or(u32::MAX);
            if let Some(early) = due.checked_sub(began.elapsed())
                && early > Duration::from_millis(1)
            {
                tokio::time::sleep(early).await;
            }
        }
    }

    /// One result of the first agent.
    pub(crate) async fn say(&mut self, target: u32, status: Status) {
        self.sent += self.members[0]
            .send(Vec::new(), vec![result(target, status, 0.3)])
            .await;
    }

    /// The first agent defines a check of each of these components and says `ok` once.
    pub(crate) async fn define_components(&mut self, components: &[String]) {
        let definitions = components
            .iter()
            .zip(0..)
            .map(|(component, target)| TargetDefinition {
                target,
                component: component.clone(),
                check: "tcp.connect".to_owned(),
                value_names: vec!["rtt_ms".to_owned()],
                ttl_ms: TTL_MS,
            })
            .collect();
        let results = (0..components.len())
            .map(|target| result(u32::try_from(target).unwrap_or(0), Status::Ok, 0.3))
            .collect();
        self.sent += self.members[0].send(definitions, results).await;
        self.wait_acknowledged().await;
    }

    /// Waits until the journal holds everything that was sent.
    pub(crate) async fn wait_acknowledged(&self) {
        let began = Instant::now();
        while self.progress.acknowledged.load(Ordering::Relaxed) < self.sent {
            assert!(
                began.elapsed() < PATIENCE,
                "{} of {} results acknowledged",
                self.progress.acknowledged.load(Ordering::Relaxed),
                self.sent
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends every connection and gives the hosts back.
    pub(crate) fn disperse(self) -> Vec<Host> {
        self.members
            .into_iter()
            .map(|member| {
                member.reader.abort();
                member.host.clone()
            })
            .collect()
    }
}

impl Member {
    async fn send(
        &mut self,
        definitions: Vec<TargetDefinition>,
        results: Vec<ResultMessage>,
    ) -> u64 {
        let count = results.len() as u64;
        let batch = Batch {
            incarnation: self.host.incarnation,
            boot_id: BOOT_ID.to_owned(),
            first_sequence: self.host.next,
            sent_boottime_us: boottime_us(),
            definitions,
            results,
            ..Batch::default()
        };
        self.host.next += count;
        self.requests
            .send(request(Request::Batch(batch)))
            .await
            .expect("the stream is open");
        count
    }
}

async fn open(address: HostPort, host: Host, progress: Arc<Progress>) -> Member {
    let end = Instant::now() + PATIENCE;
    let mut held: Option<Channel> = None;
    loop {
        assert!(Instant::now() < end, "{} is never welcomed", host.name);
        let channel = match held.take() {
            Some(channel) => channel,
            None => match connect(&address, Some(&host.tls), Timeouts::default()).await {
                Ok(channel) => channel,
                Err(_) => {
                    // What the real agent waits at the least after a failure.
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    continue;
                }
            },
        };
        let (requests, outgoing) = mpsc::channel(4);
        let hello = Hello {
            protocol_min: 1,
            protocol_max: 1,
            host: host.name.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            boot_id: BOOT_ID.to_owned(),
            incarnation: host.incarnation,
            uptime_ms: boottime_us() / 1_000,
            spooled_incarnations: vec![host.incarnation],
            sent_boottime_us: boottime_us(),
            ..Hello::default()
        };
        requests
            .send(request(Request::Hello(hello)))
            .await
            .expect("the receiver is here");
        let answers = AgentServiceClient::new(channel.clone())
            .session(ReceiverStream::new(outgoing))
            .await;
        let Ok(answers) = answers else { continue };
        let mut answers = answers.into_inner();
        match answers.message().await {
            Ok(Some(SessionResponse {
                kind: Some(Response::Welcome(_)),
            })) => {
                let reader = tokio::spawn(read(answers, requests.clone(), host.next, progress));
                return Member {
                    host,
                    welcomed: Instant::now(),
                    requests,
                    reader,
                };
            }
            Ok(Some(SessionResponse {
                kind: Some(Response::Wait(wait)),
            })) => {
                progress.waits.fetch_add(1, Ordering::Relaxed);
                held = Some(channel);
                drop(answers);
                drop(requests);
                tokio::time::sleep(Duration::from_millis(u64::from(wait.retry_after_ms))).await;
            }
            Ok(Some(other)) => panic!("{} is answered {other:?}", host.name),
            Ok(None) | Err(_) => {}
        }
    }
}

/// Counts acknowledgements and keeps the stream alive.
async fn read(
    mut answers: Streaming<SessionResponse>,
    requests: mpsc::Sender<SessionRequest>,
    next: u64,
    progress: Arc<Progress>,
) {
    let mut held = next - 1;
    let mut heartbeat = tokio::time::interval(HEARTBEAT_INTERVAL);
    loop {
        tokio::select! {
            answer = answers.message() => match answer {
                Ok(Some(SessionResponse { kind: Some(Response::Acknowledgement(held_now)) })) => {
                    let new = held_now.sequence.saturating_sub(held);
                    held = held.max(held_now.sequence);
                    progress.acknowledged.fetch_add(new, Ordering::Relaxed);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => return,
            },
            _ = heartbeat.tick() => {
                let ping = Ping { nonce: 1, sent_boottime_us: boottime_us() };
                if requests.send(request(Request::Ping(ping))).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn result(target: u32, status: Status, value: f64) -> ResultMessage {
    ResultMessage {
        target,
        sampled_boottime_us: boottime_us(),
        status: status.into(),
        values: vec![value],
        ..ResultMessage::default()
    }
}

const fn request(kind: Request) -> SessionRequest {
    SessionRequest { kind: Some(kind) }
}

fn boottime_us() -> u64 {
    HostClock::kernel().read().boottime_us()
}
