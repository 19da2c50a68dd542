//! One agent's stream, from its first message to its end.
//!
//! The session is the stream of its own answers: it moves when the connection asks for the next one, so an
//! agent that reads no answers is not read from either, and no task or queue stands between the
//! two. Dropping it ends the session, however the connection came to its end.
//!
//! **Invariant:** an acknowledgement says only what the journal holds.

mod end;
pub(crate) mod handshake;
pub(crate) mod shared;
pub(crate) mod targets;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use blackstart_graph::{DiscoveredComponent, EventKind};
use blackstart_proto::limits::{HEARTBEAT_INTERVAL, SILENCE_MAX};
use blackstart_proto::transport::Peer;
use futures::stream::BoxStream;
use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

pub(crate) use self::end::End;
use self::handshake::Greeting;
use self::shared::{SessionHandle, Shared, Why};
use self::targets::Targets;
use crate::dating::Offsets;
use crate::entry::ResultsHead;
use crate::journal::writer::JournalProgress;
use crate::sequences::HostSequences;
use crate::wire::batch::Batch;
use crate::wire::{Discovered, FromAgent, Invalid, RefusalKind, ToAgent};

/// When agents come back whose results could not be kept, at the earliest.
const RETRY_AFTER_FAILURE: Duration = Duration::from_millis(200);

/// What comes from an agent: a message, one that breaks the protocol, or the end of the stream
/// with its cause.
pub(crate) type FromStream = Result<Result<FromAgent, Invalid>, tonic::Status>;

/// An agent's stream.
pub(crate) struct Session {
    shared: Arc<Shared>,
    peer: Option<Peer>,
    inbound: BoxStream<'static, FromStream>,
    outbox: VecDeque<ToAgent>,
    phase: Phase,
}

enum Phase {
    New,
    Open(Box<Open>),
    /// What is in the outbox is said, then the stream ends.
    Ended(Option<tonic::Status>),
}

/// A session that was welcomed.
pub(crate) struct Open {
    hold: Hold,
    boot_id: String,
    offsets: Offsets,
    targets: Targets,
    sequences: Arc<HostSequences>,
    kept: watch::Receiver<()>,
    progress: watch::Receiver<JournalProgress>,
    /// Incarnations with results on this stream, and what of them was acknowledged on it.
    acknowledged: Vec<(u64, u64)>,
    /// Results went to the engine alone: none behind them can be acknowledged on this stream.
    is_unkept: bool,
    dropped_total: u64,
    heard: Instant,
    said: Instant,
    timer: Pin<Box<Sleep>>,
}

/// The claim of a session on its host; dropping it ends the claim.
struct Hold {
    shared: Arc<Shared>,
    host: Box<str>,
    handle: SessionHandle,
    problem: String,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.shared
            .ended(&self.host, &self.handle, std::mem::take(&mut self.problem));
    }
}

impl Session {
    /// The answers to an agent's stream.
    pub(crate) fn answers(
        shared: Arc<Shared>,
        peer: Option<Peer>,
        inbound: BoxStream<'static, FromStream>,
    ) -> impl Stream<Item = Result<ToAgent, tonic::Status>> + Send + 'static {
        let session = Self {
            shared,
            peer,
            inbound,
            outbox: VecDeque::new(),
            phase: Phase::New,
        };
        futures::stream::unfold(session, |mut session| async move {
            let answer = session.next().await?;
            Some((answer, session))
        })
    }

    async fn next(&mut self) -> Option<Result<ToAgent, tonic::Status>> {
        loop {
            if let Some(answer) = self.outbox.pop_front() {
                return Some(Ok(answer));
            }
            match &mut self.phase {
                Phase::Ended(status) => return status.take().map(Err),
                Phase::New => self.begin().await,
                Phase::Open(open) => {
                    let step = open.step(&self.shared, &mut self.inbound, &mut self.outbox);
                    if let Err(end) = step.await {
                        self.end(end);
                    } else if !self.outbox.is_empty()
                        && let Phase::Open(open) = &mut self.phase
                    {
                        open.said = Instant::now();
                    }
                }
            }
        }
    }

    async fn begin(&mut self) {
        let greeted = handshake::greet(&self.shared, self.peer.as_ref(), &mut self.inbound).await;
        match greeted {
            Ok(Greeting {
                hello,
                offsets,
                handle,
                welcome,
                sequences,
            }) => {
                self.outbox.push_back(ToAgent::Welcome(welcome));
                let now = Instant::now();
                self.phase = Phase::Open(Box::new(Open {
                    offsets,
                    targets: Targets::new(&hello.host),
                    kept: sequences.watch(),
                    progress: self.shared.ingest.progress(),
                    sequences,
                    acknowledged: Vec::new(),
                    is_unkept: false,
                    dropped_total: hello.dropped_total,
                    heard: now,
                    said: now,
                    timer: Box::pin(tokio::time::sleep(HEARTBEAT_INTERVAL)),
                    boot_id: hello.boot_id,
                    hold: Hold {
                        shared: self.shared.clone(),
                        host: hello.host.into(),
                        handle,
                        problem: String::new(),
                    },
                }));
            }
            Err(end) => self.end(end),
        }
    }

    fn end(&mut self, end: End) {
        let problem = end.problem();
        if let Phase::Open(open) = &mut self.phase {
            tracing::info!(host = &*open.hold.host, reason = %end, "agent session ended");
            open.hold.problem = problem;
        } else {
            tracing::info!(peer = ?self.peer.as_ref().map(Peer::address), reason = %end, "agent not welcomed");
        }
        let status = match end {
            End::Wait {
                retry_after,
                reason,
            } => {
                self.outbox.push_back(ToAgent::Wait {
                    retry_after,
                    reason,
                });
                None
            }
            End::Refused { kind, reason } => {
                self.outbox.push_back(ToAgent::Refusal { kind, reason });
                None
            }
            End::Failed(status) => Some(status),
            End::Gone | End::Silent | End::NoHello | End::Superseded => None,
        };
        self.phase = Phase::Ended(status);
    }
}

impl Open {
    /// Waits for the next thing that happens to the session.
    async fn step(
        &mut self,
        shared: &Shared,
        inbound: &mut BoxStream<'static, FromStream>,
        outbox: &mut VecDeque<ToAgent>,
    ) -> Result<(), End> {
        tokio::select! {
            biased;
            why = self.hold.handle.told_to_end() => return Err(told_to_end(shared, why)),
            // The sender lives as long as `sequences`.
            _ = self.kept.changed() => self.acknowledge(outbox),
            message = inbound.next() => {
                self.heard = Instant::now();
                let message = message.ok_or(End::Gone)?.map_err(End::Failed)?;
                self.take(shared, message?, outbox).await?;
            }
            () = &mut self.timer => self.tick(outbox)?,
            () = writes_again(&mut self.progress), if self.is_unkept => {
                return Err(End::Wait {
                    retry_after: shared.later(RETRY_AFTER_FAILURE),
                    reason: "the journal writes again; send what was not acknowledged".to_owned(),
                });
            }
        }
        Ok(())
    }

    /// Ends a silent stream; says something on one that would be silent itself.
    fn tick(&mut self, outbox: &mut VecDeque<ToAgent>) -> Result<(), End> {
        let now = Instant::now();
        if now >= self.heard + SILENCE_MAX {
            return Err(End::Silent);
        }
        if now >= self.said + HEARTBEAT_INTERVAL {
            // No ping asked for it: nonce 0.
            outbox.push_back(ToAgent::Pong { nonce: 0 });
            self.said = now;
        }
        let next = (self.heard + SILENCE_MAX).min(self.said + HEARTBEAT_INTERVAL);
        self.timer.as_mut().reset(next);
        Ok(())
    }

    async fn take(
        &mut self,
        shared: &Shared,
        message: FromAgent,
        outbox: &mut VecDeque<ToAgent>,
    ) -> Result<(), End> {
        match message {
            FromAgent::Batch(batch) => self.batch(shared, batch, outbox).await?,
            FromAgent::Ping {
                nonce,
                sent_boottime_us,
            } => {
                self.offsets.heard(shared.clock.now(), sent_boottime_us);
                outbox.push_back(ToAgent::Pong { nonce });
            }
            FromAgent::Facts(labels) => {
                shared.roster.update(&self.hold.host, |agent| {
                    agent.labels.clone_from(&labels);
                });
                let agent = self.hold.host.to_string();
                self.event(shared, EventKind::Facts { agent, labels })
                    .await?;
            }
            FromAgent::Discovery(components) => {
                let agent = self.hold.host.to_string();
                let components = components.into_iter().map(discovered).collect();
                self.event(shared, EventKind::Discovered { agent, components })
                    .await?;
            }
            FromAgent::Stopping { reason, host } => {
                tracing::info!(
                    host = &*self.hold.host,
                    reason,
                    whole_host = host,
                    "agent stops"
                );
                // That an agent stops says nothing of its host.
                if host {
                    let agent = self.hold.host.to_string();
                    self.event(shared, EventKind::AgentStopping { agent, reason })
                        .await?;
                }
            }
            FromAgent::Hello(_) => {
                return Err(Invalid::new("message", "a second hello", "one a stream").into());
            }
            FromAgent::Unknown => {}
        }
        Ok(())
    }

    async fn event(&self, shared: &Shared, kind: EventKind) -> Result<(), End> {
        // As large as what an agent may say of itself as a rule; the room is given back at once.
        const EVENT_BYTES: usize = 16 * 1_024;
        let room = shared.ingest.room(EVENT_BYTES).await?;
        shared.ingest.give_back(&room);
        shared.ingest.event(room.is_kept(), kind)?;
        Ok(())
    }

    async fn batch(
        &mut self,
        shared: &Shared,
        mut batch: Batch,
        outbox: &mut VecDeque<ToAgent>,
    ) -> Result<(), End> {
        let now = shared.clock.now();
        let is_present_boot = batch.boot_id == self.boot_id;
        if is_present_boot && batch.sent_boottime_us != 0 {
            self.offsets.heard(now, batch.sent_boottime_us);
        }
        for definition in std::mem::take(&mut batch.definitions) {
            self.targets
                .define(definition, &shared.series)
                .map_err(|error| End::Refused {
                    kind: RefusalKind::Invalid,
                    reason: error.to_string(),
                })?;
        }
        let bytes_max = self.targets.check(&batch)?;
        if batch.dropped_total != self.dropped_total {
            self.dropped_total = batch.dropped_total;
            shared.roster.update(&self.hold.host, |agent| {
                agent.dropped_total = batch.dropped_total;
            });
        }
        if batch.count() == 0 {
            return Ok(());
        }
        let room = shared.ingest.room(bytes_max).await?;
        self.is_unkept |= !room.is_kept();
        let room = if self.is_unkept {
            shared.ingest.engine_only(room)
        } else {
            room
        };
        let dating = if is_present_boot {
            self.offsets.present_boot(now)
        } else {
            self.offsets.earlier_boot(now, batch.wall_offset_us)
        };
        // From here to the hand-over no other stream of this host may come between.
        let mut incarnations = self.sequences.lock();
        let fresh = incarnations.fresh(batch.incarnation, batch.first_sequence, batch.count());
        let head = ResultsHead {
            host: &self.hold.host,
            incarnation: batch.incarnation,
            first_sequence: batch.first_sequence + fresh.skip as u64,
            count: batch.count() - fresh.skip,
        };
        if head.count == 0 {
            drop(incarnations);
            shared.ingest.give_back(&room);
            self.acknowledge_again(&batch, outbox);
            return Ok(());
        }
        let bytes = self
            .targets
            .write(&batch, fresh.skip, head, dating, bytes_max);
        if room.is_kept() {
            incarnations.take(batch.incarnation, head.last_sequence());
        }
        shared.ingest.results(&room, head, bytes, &self.sequences)?;
        drop(incarnations);
        if fresh.missing > 0 && room.is_kept() {
            tracing::debug!(
                host = &*self.hold.host,
                missing = fresh.missing,
                "results never came"
            );
        }
        let known = |(incarnation, _): &(u64, u64)| *incarnation == batch.incarnation;
        if !self.acknowledged.iter().any(known) {
            self.acknowledged.push((batch.incarnation, 0));
        }
        Ok(())
    }

    /// A batch that was taken before is acknowledged again, if the journal holds it by now.
    fn acknowledge_again(&mut self, batch: &Batch, outbox: &mut VecDeque<ToAgent>) {
        let incarnation = batch.incarnation;
        let sequence = self.sequences.journaled(incarnation);
        if sequence >= batch.first_sequence {
            outbox.push_back(ToAgent::Acknowledgement {
                incarnation,
                sequence,
            });
        }
        match self
            .acknowledged
            .iter_mut()
            .find(|(known, _)| *known == incarnation)
        {
            Some((_, acknowledged)) => *acknowledged = sequence,
            None => self.acknowledged.push((incarnation, sequence)),
        }
    }

    /// Acknowledges what the journal holds more than the agent knows.
    fn acknowledge(&mut self, outbox: &mut VecDeque<ToAgent>) {
        if self.is_unkept {
            return;
        }
        for (incarnation, acknowledged) in &mut self.acknowledged {
            let sequence = self.sequences.journaled(*incarnation);
            if sequence > *acknowledged {
                *acknowledged = sequence;
                outbox.push_back(ToAgent::Acknowledgement {
                    incarnation: *incarnation,
                    sequence,
                });
            }
        }
    }
}

async fn writes_again(progress: &mut watch::Receiver<JournalProgress>) {
    // An error means that the writer has ended; then the session is about to end as well.
    let _ = progress
        .wait_for(|progress| !progress.is_failing)
        .await
        .map(drop);
}

fn told_to_end(shared: &Shared, why: Why) -> End {
    match why {
        Why::Superseded => End::Superseded,
        Why::ClaimedTwice => End::Refused {
            kind: RefusalKind::HostClaimedTwice,
            reason: handshake::CLAIMED_TWICE_HELP.to_owned(),
        },
        Why::Shutdown => End::Wait {
            retry_after: shared.later(Duration::from_secs(1)),
            reason: "the aggregator is shutting down".to_owned(),
        },
    }
}

fn discovered(component: Discovered) -> DiscoveredComponent {
    DiscoveredComponent {
        id: component.id,
        kind: component.kind,
        container: component.container,
        uses: component.uses,
        labels: component.labels,
    }
}
