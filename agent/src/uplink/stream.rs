//! One stream: hello, then results until something breaks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use blackstart_proto::limits::{BATCH_RESULTS_MAX, INCARNATIONS_MAX, SILENCE_MAX};
use blackstart_proto::v1::agent_service_client::AgentServiceClient;
use blackstart_proto::v1::session_request::Kind as Request;
use blackstart_proto::v1::session_response::Kind as Response;
use blackstart_proto::v1::{
    Acknowledgement, Hello, Ping, SessionRequest, SessionResponse, Stopping, Welcome,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Channel;
use tracing::{debug, info};

use super::backoff::Backoff;
use super::{Source, UplinkError};
use crate::wire::{Told, batch_length};

/// Messages between this task and the connection: beyond, the connection is the bottleneck, and results wait in the spool.
const OUTGOING_MAX: usize = 4;

/// How long a result without news may wait for others to travel with.
const BATCH_WAIT: Duration = Duration::from_secs(1);

/// How long the aggregator may take to acknowledge the last results at an orderly stop.
const LAST_ACKNOWLEDGEMENT: Duration = Duration::from_secs(1);

pub(super) async fn run(
    mut client: AgentServiceClient<Channel>,
    name: &str,
    source: &Source,
    shutdown: &CancellationToken,
    backoff: &mut Backoff,
) -> Result<(), UplinkError> {
    let (outgoing, requests) = mpsc::channel(OUTGOING_MAX);
    outgoing
        .try_send(request(Request::Hello(hello(name, source))))
        .map_err(|_| UplinkError::Protocol("no room for hello"))?;
    let call = client.session(ReceiverStream::new(requests));
    let answer = timeout(SILENCE_MAX, call)
        .await
        .map_err(|_| UplinkError::Silent)?;
    let mut incoming = answer.map_err(|status| broken(&status))?.into_inner();
    let welcome = match receive(&mut incoming, SILENCE_MAX).await? {
        Some(Response::Welcome(welcome)) => welcome,
        Some(Response::Wait(wait)) => {
            return Err(UplinkError::Wait {
                retry_after_ms: wait.retry_after_ms,
                reason: wait.reason,
            });
        }
        Some(Response::Refusal(refusal)) => {
            return Err(UplinkError::Refused {
                reason: refusal.reason,
            });
        }
        _ => {
            return Err(UplinkError::Protocol(
                "its first message was neither welcome, wait nor refusal",
            ));
        }
    };
    if !source.versions.contains(&welcome.protocol) {
        return Err(UplinkError::Protocol(
            "it chose a version that this agent does not speak",
        ));
    }
    backoff.reset();
    source.board.opened(name, &welcome.aggregator_id);
    info!(
        aggregator = name,
        protocol = welcome.protocol,
        id = welcome.aggregator_id,
        "stream open"
    );
    let mut stream = Stream::new(name, source, outgoing, &welcome);
    stream.talk(incoming, shutdown).await
}

fn hello(name: &str, source: &Source) -> Hello {
    let incarnation = source.spool.incarnation();
    let facts = source.facts.borrow();
    let now = source.surroundings.clock.read();
    Hello {
        protocol_min: *source.versions.start(),
        protocol_max: *source.versions.end(),
        host: source.host.clone(),
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
        boot_id: incarnation.boot_id.clone(),
        incarnation: incarnation.id,
        uptime_ms: now.uptime_ms(),
        clean_shutdown: facts.clean_shutdown,
        spooled_incarnations: source.spool.incarnations(name, INCARNATIONS_MAX),
        dropped_total: source.spool.dropped_total(),
        sent_boottime_us: now.boottime_us(),
        sent_wall_us: now.wall_us,
        spooled_results: source.spool.waiting(name),
    }
}

const fn request(kind: Request) -> SessionRequest {
    SessionRequest { kind: Some(kind) }
}

fn broken(status: &tonic::Status) -> UplinkError {
    UplinkError::Broken(format!("{}: {}", status.code(), status.message()))
}

/// The next message; `None` for a kind that this version does not know.
async fn receive(
    incoming: &mut Streaming<SessionResponse>,
    within: Duration,
) -> Result<Option<Response>, UplinkError> {
    match timeout(within, incoming.message()).await {
        Err(_) => Err(UplinkError::Silent),
        Ok(Err(status)) => Err(broken(&status)),
        Ok(Ok(None)) => Err(UplinkError::Broken("it closed the stream".to_owned())),
        Ok(Ok(Some(message))) => Ok(message.kind),
    }
}

/// When a stream has something to do even if nothing happens. With nothing to send, a batch that is due must not wake
/// it: that would be a busy loop.
fn next_wake(timers: Instant, batch_due: Option<Instant>, may_send: bool) -> Instant {
    match batch_due {
        Some(due) if may_send => timers.min(due),
        _ => timers,
    }
}

/// A batch on its way.
struct Sent {
    incarnation: u64,
    last_sequence: u64,
    /// Everything before this position is in it or before it.
    until: u64,
    results: usize,
}

struct Stream<'a> {
    name: &'a str,
    source: &'a Source,
    outgoing: mpsc::Sender<SessionRequest>,
    told: Told,
    /// Results that the aggregator's journal held when it said welcome, by incarnation.
    journaled: BTreeMap<u64, u64>,
    next: u64,
    sent: VecDeque<Sent>,
    unacknowledged: usize,
    batch_max: usize,
    window: usize,
    heartbeat: Duration,
    silence: Duration,
    last_sent: Instant,
    nonce: u64,
}

impl<'a> Stream<'a> {
    fn new(
        name: &'a str,
        source: &'a Source,
        outgoing: mpsc::Sender<SessionRequest>,
        welcome: &Welcome,
    ) -> Self {
        let bounded = |number: u32, most: usize| (number as usize).clamp(1, most);
        let duration = |ms: u32| Duration::from_millis(u64::from(ms.clamp(100, 600_000)));
        Self {
            name,
            source,
            outgoing,
            told: Told::default(),
            journaled: welcome
                .journaled
                .iter()
                .map(|held| (held.incarnation, held.sequence))
                .collect(),
            next: source.spool.cursor(name, &welcome.aggregator_id),
            sent: VecDeque::new(),
            unacknowledged: 0,
            batch_max: bounded(welcome.batch_results_max, BATCH_RESULTS_MAX),
            window: bounded(welcome.unacknowledged_results_max, 100_000),
            heartbeat: duration(welcome.heartbeat_interval_ms),
            silence: duration(welcome.silence_max_ms),
            last_sent: Instant::now(),
            nonce: 0,
        }
    }

    async fn talk(
        &mut self,
        mut incoming: Streaming<SessionResponse>,
        shutdown: &CancellationToken,
    ) -> Result<(), UplinkError> {
        let mut filled = self.source.spool.watch();
        let mut facts = self.source.facts.clone();
        let mut discovery = self.source.discovery.clone();
        let first = facts.borrow_and_update().clone();
        self.send(Request::Facts(first)).await?;
        let first = discovery.borrow_and_update().clone();
        self.send(Request::Discovery(first)).await?;
        let mut heard = Instant::now();
        let mut batch_due: Option<Instant> = Some(Instant::now());
        loop {
            let state = *filled.borrow_and_update();
            if state.next > self.next && self.unacknowledged < self.window {
                let now = Instant::now();
                let due = *batch_due.get_or_insert(now + BATCH_WAIT);
                if state.urgent > self.next || due <= now {
                    self.send_results().await?;
                    batch_due = None;
                    continue;
                }
            }
            let heartbeat = self.last_sent + self.heartbeat;
            let silence = heard + self.silence;
            let may_send = state.next > self.next && self.unacknowledged < self.window;
            let wake = heartbeat.min(silence);
            let wake = next_wake(wake, batch_due, may_send);
            // In a fixed order, so that a simulation runs the same way twice.
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return self.goodbye(&mut incoming).await,
                message = incoming.message() => {
                    heard = Instant::now();
                    match message.map_err(|status| broken(&status))?.map(|message| message.kind) {
                        None => return Err(UplinkError::Broken("it closed the stream".to_owned())),
                        Some(Some(Response::Acknowledgement(held))) => self.acknowledged(&held),
                        Some(Some(Response::Refusal(refusal))) => return Err(UplinkError::Refused { reason: refusal.reason }),
                        Some(Some(Response::Wait(wait))) => {
                            return Err(UplinkError::Wait { retry_after_ms: wait.retry_after_ms, reason: wait.reason });
                        }
                        Some(_) => {}
                    }
                }
                () = sleep_until(wake) => {
                    let now = Instant::now();
                    if now >= silence {
                        return Err(UplinkError::Silent);
                    }
                    if now >= heartbeat {
                        self.nonce += 1;
                        let now = self.source.surroundings.clock.read();
                        let ping = Ping { nonce: self.nonce, sent_boottime_us: now.boottime_us() };
                        self.send(Request::Ping(ping)).await?;
                    }
                }
                changed = filled.changed() => if changed.is_err() { return Ok(()) },
                Ok(()) = facts.changed() => {
                    let message = facts.borrow_and_update().clone();
                    self.send(Request::Facts(message)).await?;
                }
                Ok(()) = discovery.changed() => {
                    let message = discovery.borrow_and_update().clone();
                    self.send(Request::Discovery(message)).await?;
                }
            }
        }
    }

    async fn send(&mut self, kind: Request) -> Result<(), UplinkError> {
        self.last_sent = Instant::now();
        match timeout(self.silence, self.outgoing.send(request(kind))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(UplinkError::Broken("it closed the stream".to_owned())),
            // Its receive window stayed full: nobody reads on the other side.
            Err(_) => Err(UplinkError::Silent),
        }
    }

    /// Sends the next batch, if anything is left that the aggregator has not got.
    async fn send_results(&mut self) -> Result<(), UplinkError> {
        let room = self.batch_max.min(self.window - self.unacknowledged);
        let mut results = self.source.spool.read(self.next, room);
        let Some(last) = results.last().map(|result| result.position + 1) else {
            // Gaps at the end of what is kept: nothing is there any more.
            self.next = self.source.spool.watch().borrow().next;
            return Ok(());
        };
        results.retain(|result| {
            self.journaled
                .get(&result.incarnation.id)
                .is_none_or(|held| result.sequence > *held)
        });
        let length = batch_length(&results, room);
        let Some(newest) = length.checked_sub(1).and_then(|at| results.get(at)) else {
            self.next = last;
            if self.sent.is_empty() {
                self.source.spool.acknowledge(self.name, self.next);
            }
            return Ok(());
        };
        let until = if length == results.len() {
            last
        } else {
            newest.position + 1
        };
        self.sent.push_back(Sent {
            incarnation: newest.incarnation.id,
            last_sequence: newest.sequence,
            until,
            results: length,
        });
        self.unacknowledged += length;
        self.next = until;
        let boot_id = self.source.spool.incarnation().boot_id.clone();
        let batch = self.told.batch(
            &results[..length],
            &boot_id,
            self.source.surroundings.clock.read(),
            self.source.spool.dropped_total(),
        );
        debug!(aggregator = self.name, results = length, "batch");
        match batch {
            Some(batch) => self.send(Request::Batch(batch)).await,
            None => Ok(()),
        }
    }

    fn acknowledged(&mut self, held: &Acknowledgement) {
        while let Some(first) = self.sent.front() {
            if first.incarnation != held.incarnation || first.last_sequence > held.sequence {
                break;
            }
            self.unacknowledged -= first.results;
            self.source.spool.acknowledge(self.name, first.until);
            self.sent.pop_front();
        }
    }

    /// Sends what is left, says that the agent stops, and waits a moment for the last acknowledgement.
    async fn goodbye(
        &mut self,
        incoming: &mut Streaming<SessionResponse>,
    ) -> Result<(), UplinkError> {
        if self.unacknowledged < self.window {
            self.send_results().await?;
        }
        self.send(Request::Stopping(Stopping {
            reason: "agent stopped".to_owned(),
            host: false,
        }))
        .await?;
        let until = Instant::now() + LAST_ACKNOWLEDGEMENT;
        while !self.sent.is_empty() {
            match receive(incoming, until.saturating_duration_since(Instant::now())).await {
                Ok(Some(Response::Acknowledgement(held))) => self.acknowledged(&held),
                Ok(_) => {}
                // What was not acknowledged stays in the spool.
                Err(_) => break,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_that_is_due_wakes_nobody_while_nothing_may_be_sent() {
        let due = Instant::now();
        let heartbeat = due + Duration::from_secs(5);
        assert_eq!(next_wake(heartbeat, Some(due), false), heartbeat);
        assert_eq!(next_wake(heartbeat, Some(due), true), due);
        assert_eq!(next_wake(heartbeat, None, true), heartbeat);
    }
}
