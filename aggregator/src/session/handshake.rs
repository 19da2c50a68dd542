//! The first message of a stream: who is it, may it, and now?

use std::sync::Arc;
use std::time::Duration;

use blackstart_graph::EventKind;
use blackstart_proto::transport::Peer;
use blackstart_proto::version::negotiate;
use futures::StreamExt;
use futures::stream::BoxStream;

use super::shared::{SessionHandle, Shared, Why};
use super::{End, FromStream};
use crate::admission::Admitted;
use crate::claims::Claim;
use crate::clock::Moment;
use crate::dating::Offsets;
use crate::roster::AgentRecord;
use crate::sequences::HostSequences;
use crate::wire::{FromAgent, Hello, Invalid, RefusalKind, Welcome};

/// How long an open stream may take to say its first word.
pub(super) const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// When agents come back that found no room, at the earliest: a backlog is not gone in a moment.
const RETRY_WITHOUT_ROOM: Duration = Duration::from_millis(500);

/// What an agent is told that claims a host another one holds.
pub(super) const CLAIMED_TWICE_HELP: &str = "another agent that is alive reports for this host; \
    give one of the two another `host` in its configuration, or stop it";

/// An agent that was welcomed.
pub(super) struct Greeting {
    pub(super) hello: Hello,
    pub(super) offsets: Offsets,
    pub(super) handle: SessionHandle,
    pub(super) welcome: Welcome,
    pub(super) sequences: Arc<HostSequences>,
}

/// Waits for the first message and judges it.
pub(super) async fn greet(
    shared: &Arc<Shared>,
    peer: Option<&Peer>,
    inbound: &mut BoxStream<'static, FromStream>,
) -> Result<Greeting, End> {
    let Ok(_unwelcomed) = shared.unwelcomed.try_acquire() else {
        return Err(End::Wait {
            retry_after: shared.later(Duration::ZERO),
            reason: "too many agents are at the door".to_owned(),
        });
    };
    let first = tokio::select! {
        first = tokio::time::timeout(HELLO_TIMEOUT, inbound.next()) => first,
        () = shared.shutdown.cancelled() => return Err(End::Gone),
    };
    let received = shared.clock.now();
    let hello = match first {
        Err(_) => return Err(End::NoHello),
        Ok(None) => return Err(End::Gone),
        Ok(Some(Err(status))) => return Err(End::Failed(status)),
        Ok(Some(Ok(message))) => match message? {
            FromAgent::Hello(hello) => hello,
            _ => return Err(Invalid::new("first message", "something else", "a hello").into()),
        },
    };
    let protocol = check_version(shared, &hello)?;
    check_certificate(peer, &hello.host)?;
    admit(shared, &hello.host)?;
    let handle = claim(shared, &hello)?;
    Ok(welcome(shared, hello, protocol, received, handle))
}

fn check_version(shared: &Shared, hello: &Hello) -> Result<u32, End> {
    negotiate(&shared.protocol, &hello.protocol).ok_or_else(|| End::Refused {
        kind: RefusalKind::Protocol,
        reason: format!(
            "the agent speaks protocol {}, this aggregator speaks {}; upgrade the older of the two",
            show_range(&hello.protocol),
            show_range(&shared.protocol),
        ),
    })
}

fn show_range(range: &std::ops::RangeInclusive<u32>) -> String {
    if range.start() == range.end() {
        range.start().to_string()
    } else {
        format!("{} to {}", range.start(), range.end())
    }
}

fn check_certificate(peer: Option<&Peer>, host: &str) -> Result<(), End> {
    let Some(peer) = peer else {
        return Ok(());
    };
    if peer.may_report_for(host) {
        return Ok(());
    }
    let names = peer.names().unwrap_or_default().join(", ");
    Err(End::Refused {
        kind: RefusalKind::HostNotInCertificate,
        reason: format!(
            "the agent reports for host {host:?}, its certificate names {}; \
             set `host` in its configuration, or give it a certificate for that name",
            if names.is_empty() { "nobody" } else { &names }
        ),
    })
}

fn admit(shared: &Shared, host: &str) -> Result<(), End> {
    let has_room = shared.ingest.has_room_for_sessions();
    let now = shared.elapsed();
    match shared.admission().ask(host, now, has_room) {
        Admitted::Now => Ok(()),
        Admitted::After(retry_after) if has_room => Err(End::Wait {
            retry_after,
            reason: "many agents return at once; each has its time".to_owned(),
        }),
        Admitted::After(retry_after) => Err(End::Wait {
            retry_after: retry_after.max(RETRY_WITHOUT_ROOM),
            reason: "the aggregator is still taking in what others report".to_owned(),
        }),
    }
}

fn claim(shared: &Shared, hello: &Hello) -> Result<SessionHandle, End> {
    let handle = shared.new_session();
    let now = shared.elapsed();
    let claim = shared
        .claims()
        .claim(&hello.host, hello.incarnation, handle.clone(), now);
    match claim {
        Claim::Granted => {}
        Claim::Supersedes(older) => older.end(Why::Superseded),
        Claim::Refuses(newer) => newer.end(Why::ClaimedTwice),
        Claim::Refused => {
            let quarrel = shared.quarrel(&hello.host);
            shared
                .roster
                .update(&hello.host, |agent| agent.problem = quarrel);
            return Err(End::Refused {
                kind: RefusalKind::HostClaimedTwice,
                reason: CLAIMED_TWICE_HELP.to_owned(),
            });
        }
    }
    Ok(handle)
}

fn welcome(
    shared: &Shared,
    hello: Hello,
    protocol: u32,
    received: Moment,
    handle: SessionHandle,
) -> Greeting {
    let sequences = shared.sequences.host(&hello.host);
    let mut kept = hello.spooled_incarnations.clone();
    kept.push(hello.incarnation);
    kept.sort_unstable();
    kept.dedup();
    sequences.forget_all_but(&kept);
    let journaled = kept
        .into_iter()
        .map(|incarnation| (incarnation, sequences.journaled(incarnation)))
        .filter(|(_, sequence)| *sequence > 0)
        .collect();
    let offsets = Offsets::new(received, hello.sent_boottime_us, hello.sent_wall_us);
    introduce(shared, &hello, protocol, received, &offsets);
    Greeting {
        welcome: Welcome {
            protocol,
            aggregator_id: shared.aggregator_id.clone(),
            journaled,
            sent_wall_us: shared.clock.now().wall_us,
        },
        hello,
        offsets,
        handle,
        sequences,
    }
}

/// Notes who is there, and tells the engine where that is news.
fn introduce(shared: &Shared, hello: &Hello, protocol: u32, received: Moment, offsets: &Offsets) {
    let mut labels = std::collections::BTreeMap::new();
    shared.roster.update(&hello.host, |agent| {
        labels = std::mem::take(&mut agent.labels);
    });
    let before = shared.roster.connected(
        &hello.host,
        AgentRecord {
            connected: true,
            since_us: received.wall_us,
            version: hello.agent_version.clone(),
            protocol,
            dropped_total: hello.dropped_total,
            clock_offset_ms: offsets.agent_ahead_ms(),
            boot_id: hello.boot_id.clone(),
            incarnation: hello.incarnation,
            spooled_results: hello.spooled_results,
            problem: shared.quarrel(&hello.host),
            labels,
            lost: false,
        },
    );
    let is_news = before.is_none_or(|before| {
        before.lost || before.incarnation != hello.incarnation || before.boot_id != hello.boot_id
    });
    if !is_news {
        return;
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds of uptime are far below the precision of f64"
    )]
    let uptime_s = hello.uptime_ms as f64 / 1_000.0;
    let connected = EventKind::AgentConnected {
        agent: hello.host.clone(),
        boot_id: hello.boot_id.clone(),
        uptime_s,
        clean_shutdown: hello.clean_shutdown,
    };
    if shared.ingest.event(true, connected).is_err() {
        tracing::debug!(host = hello.host, "connected during shutdown");
    }
}
