//! The verdict on a member and on its cluster. Pure.

use super::Limits;
use super::answer::{Alarm, AskError, Health, MemberStatus};
use super::observe::{LoginError, Peer, Seen, Silence};
use crate::net::connect::ConnectFailure;
use crate::net::http::HttpFailure;
use crate::observation::Finding;

/// etcd refuses proposals when this many committed entries wait to be applied (`maxGapBetweenApplyAndCommitIndex`).
const APPLY_LAG_FAIL: u64 = 5_000;

/// A fifth of that: a healthy member is a handful behind.
const APPLY_LAG_WARN: u64 = 1_000;

/// Room for an operator to compact and defragment before writes are refused.
const QUOTA_WARN: f64 = 0.8;

/// What is said of the member itself.
pub(super) fn member(seen: &Seen, limits: &Limits, discovered: bool) -> Finding {
    let health = match &seen.health {
        Ok(health) => health,
        Err(failure) if discovered && wants_credentials(failure) => return not_configured(),
        Err(failure) => return unanswered(failure, seen.silence.as_ref()),
    };
    if discovered && health.wants_tls {
        return not_configured();
    }
    let Some(healthy) = health.healthy else {
        return Finding::failed(format!(
            "what answers /health is no etcd: HTTP status {}",
            health.status
        ));
    };
    let finding = match &seen.status {
        Ok(status) => with_status(seen, health, healthy, status, limits),
        Err(AskError::Http(failure)) => {
            Finding::failed(format!("/health answers, the status does not: {failure}"))
        }
        Err(reason) if healthy => {
            Finding::ok(format!("healthy; its status is not known: {reason}"))
        }
        Err(_) => Finding::failed(unhealthy(health)),
    };
    with_values(finding, seen, health, limits)
}

fn with_status(
    seen: &Seen,
    health: &Health,
    healthy: bool,
    status: &MemberStatus,
    limits: &Limits,
) -> Finding {
    if let Some(alarm) = alarm(&status.alarms) {
        return Finding::failed(alarm_shown(alarm, seen, status, limits));
    }
    if status.is_learner {
        return Finding::starting("a learner: it follows and has no vote yet", None);
    }
    if status.leader == 0 {
        let reason = if health.reason.is_empty() {
            String::new()
        } else {
            format!(" ({})", health.reason)
        };
        let reads = if seen.serializable_ms.is_ok() {
            "; serializable reads answer, everything else waits"
        } else {
            ""
        };
        return Finding::failed(format!("no leader{reason}{reads}"));
    }
    if status.apply_lag() >= APPLY_LAG_FAIL {
        return Finding::failed(format!(
            "{} committed entries are not applied: proposals are refused",
            status.apply_lag()
        ));
    }
    match &seen.linearizable_ms {
        Err(reason)
            if !reason.is_login() && !matches!(reason, AskError::Skipped | AskError::NoGateway) =>
        {
            return Finding::failed(format!(
                "a leader is known, but a linearizable read fails: {reason}"
            ));
        }
        _ => {}
    }
    if !healthy {
        return Finding::failed(unhealthy(health));
    }
    let role = if status.leader == status.member_id {
        "leader"
    } else {
        "follower"
    };
    let summary = match &seen.peers {
        Ok(peers) => format!(
            "{role}, raft term {}, {}",
            status.raft_term,
            counted(peers.len(), "member")
        ),
        Err(_) => format!("{role}, raft term {}", status.raft_term),
    };
    match complaints(seen, status, limits).as_slice() {
        [] => Finding::ok(summary),
        complaints => Finding::degraded(format!("{}; {summary}", complaints.join("; "))),
    }
}

/// What is wrong with a member that works.
fn complaints(seen: &Seen, status: &MemberStatus, limits: &Limits) -> Vec<String> {
    let mut complaints = Vec::new();
    match &seen.login {
        Ok(()) => {}
        Err(LoginError::Secret(error)) => complaints.push(error.to_string()),
        Err(error) => complaints.push(error.to_string()),
    }
    if let Ok(peers) = &seen.peers {
        let own = peers
            .iter()
            .filter(|peer| peer.is_self)
            .flat_map(|peer| &peer.peer_dials);
        for (dial, failure) in
            own.filter_map(|dial| dial.failure.as_ref().map(|failure| (dial, failure)))
        {
            complaints.push(format!(
                "nobody reaches it at its own peer URL {dial} ({failure}): wrong listen-peer-urls?"
            ));
        }
    }
    if status.apply_lag() >= APPLY_LAG_WARN {
        complaints.push(format!(
            "{} committed entries are not applied",
            status.apply_lag()
        ));
    }
    if let Some(ratio) = quota_ratio(status, limits).filter(|&ratio| ratio >= QUOTA_WARN) {
        complaints.push(format!(
            "the database fills {:.0} % of its quota",
            ratio * 100.0
        ));
    }
    if let Ok(took_ms) = seen.linearizable_ms
        && took_ms > limits.slow_after.as_secs_f64() * 1_000.0
    {
        complaints.push(format!("a linearizable read took {took_ms:.0} ms"));
    }
    complaints
}

/// A member whose `/health` gave no answer.
fn unanswered(failure: &HttpFailure, silence: Option<&Silence>) -> Finding {
    let Some(silence) = silence else {
        return failure.finding();
    };
    match silence {
        Silence::NoPeerUrl => Finding::failed(format!(
            "{failure}; it waits for a quorum, or is stalled: with peer_url this probe can tell"
        )),
        Silence::PeerPortSilent => Finding::failed(format!(
            "stalled: TCP connects on both ports and neither answers: {failure}"
        )),
        Silence::PeerPortUnclear(reason) => Finding::failed(format!(
            "{failure}; its peer port does not tell why: {reason}"
        )),
        Silence::PeerPortAnswers { cluster_id, peers } => {
            if let Some((other, theirs)) = stranger(cluster_id.as_deref(), peers) {
                let ours = cluster_id.as_deref().unwrap_or_default();
                return Finding::failed(format!(
                    "cluster id mismatch: it believes in {ours}, {} in {theirs}; TCP connects, but HTTP is silent",
                    other.member.shown()
                ));
            }
            let count = Count::of(peers);
            let waits = if count.there < count.quorum {
                "waits for a quorum to start"
            } else {
                "waits to join its cluster, whose quorum can be reached"
            };
            Finding::starting(
                format!(
                    "{waits}: TCP connects, HTTP is silent; {}",
                    count.shown(peers)
                ),
                None,
            )
        }
    }
}

/// What is said of the cluster, as this member sees it.
pub(super) fn cluster(seen: &Seen) -> Finding {
    if let Some(Silence::PeerPortAnswers { cluster_id, peers }) = &seen.silence {
        let count = Count::of(peers);
        if stranger(cluster_id.as_deref(), peers).is_none() && count.there < count.quorum {
            return count.add_to(Finding::failed(format!(
                "no quorum: {}",
                count.shown(peers)
            )));
        }
    }
    if let Err(failure) = &seen.health {
        return Finding::unknown(format!("this member cannot tell: {failure}"));
    }
    let status = match &seen.status {
        Ok(status) => status,
        Err(reason) => return Finding::unknown(format!("this member cannot tell: {reason}")),
    };
    let peers = match &seen.peers {
        Ok(peers) => peers.as_slice(),
        Err(_) => &[],
    };
    let count = Count::of(peers);
    let finding = if status.leader == 0 {
        let known = if peers.is_empty() {
            String::new()
        } else {
            format!(": {}", count.shown(peers))
        };
        Finding::failed(format!("no leader{known}"))
    } else if let Some(alarm) = alarm(&status.alarms) {
        let meaning = if alarm.kind == "NOSPACE" {
            ": writes are refused"
        } else {
            ""
        };
        Finding::failed(format!(
            "alarm {} of {}{meaning}",
            alarm.kind,
            name_of(alarm.member_id, peers)
        ))
    } else if peers.is_empty() {
        match &seen.peers {
            Err(reason) => {
                Finding::ok(format!("has a leader; its members are not known: {reason}"))
            }
            Ok(_) => Finding::ok("has a leader"),
        }
    } else {
        match unreached(peers).as_slice() {
            [] => Finding::ok(format!(
                "{}, leader {}",
                counted(peers.len(), "member"),
                name_of(status.leader, peers)
            )),
            complaints => Finding::degraded(format!(
                "{}, leader {}; {}",
                count.summary(),
                name_of(status.leader, peers),
                complaints.join("; ")
            )),
        }
    };
    count.add_to(finding)
}

/// Members that are not reached where the list says they are.
fn unreached(peers: &[Peer]) -> Vec<String> {
    let mut complaints = Vec::new();
    for peer in peers {
        let Some((dial, failure)) = peer
            .peer_dials
            .iter()
            .find_map(|dial| Some((dial, dial.failure.as_ref()?)))
        else {
            if peer.peer_dials.is_empty() {
                complaints.push(format!("{} has no peer URL", peer.member.shown()));
            }
            continue;
        };
        let serves = peer.client_dials.iter().any(|dial| dial.failure.is_none());
        complaints.push(if serves {
            format!(
                "{} serves clients, but nobody reaches its peer URL {dial} ({failure}): wrong listen-peer-urls?",
                peer.member.shown()
            )
        } else {
            format!("{} is not reached at {dial} ({failure})", peer.member.shown())
        });
    }
    complaints
}

/// How many members with a vote are there, of how many.
struct Count {
    voters: usize,
    there: usize,
    quorum: usize,
}

impl Count {
    fn of(peers: &[Peer]) -> Self {
        let voters = || peers.iter().filter(|peer| !peer.member.is_learner);
        let there = voters()
            .filter(|peer| peer.is_self || peer.answers())
            .count();
        Self {
            voters: voters().count(),
            there,
            quorum: voters().count() / 2 + 1,
        }
    }

    fn summary(&self) -> String {
        format!("{} of {} members there", self.there, self.voters)
    }

    fn shown(&self, peers: &[Peer]) -> String {
        let missing: Vec<String> = peers
            .iter()
            .filter(|peer| !peer.is_self && !peer.answers())
            .map(|peer| {
                let failure = peer
                    .peer_dials
                    .iter()
                    .find_map(|dial| dial.failure.as_deref());
                format!(
                    "{}: {}",
                    peer.member.shown(),
                    failure.unwrap_or("no peer URL")
                )
            })
            .collect();
        let missing = if missing.is_empty() {
            String::new()
        } else {
            format!(" ({})", missing.join(", "))
        };
        format!("{}, {} are needed{missing}", self.summary(), self.quorum)
    }

    #[expect(clippy::cast_precision_loss, reason = "a handful of members")]
    fn add_to(&self, finding: Finding) -> Finding {
        if self.voters == 0 {
            return finding;
        }
        finding
            .with("voters", self.voters as f64)
            .with("voters_there", self.there as f64)
    }
}

impl Peer {
    fn answers(&self) -> bool {
        self.peer_dials
            .iter()
            .chain(&self.client_dials)
            .any(|dial| dial.failure.is_none())
    }
}

/// A peer that belongs to another cluster than ours.
fn stranger<'a>(ours: Option<&str>, peers: &'a [Peer]) -> Option<(&'a Peer, &'a str)> {
    let ours = ours?;
    peers.iter().find_map(|peer| {
        let theirs = peer.cluster_id.as_deref()?;
        (theirs != ours).then_some((peer, theirs))
    })
}

fn alarm(alarms: &[Alarm]) -> Option<&Alarm> {
    // A corrupt member is the worse of the two.
    alarms
        .iter()
        .find(|alarm| alarm.kind == "CORRUPT")
        .or_else(|| alarms.first())
}

fn alarm_shown(alarm: &Alarm, seen: &Seen, status: &MemberStatus, limits: &Limits) -> String {
    let peers = match &seen.peers {
        Ok(peers) => peers.as_slice(),
        Err(_) => &[],
    };
    let whose = if alarm.member_id == status.member_id {
        "its own".to_owned()
    } else {
        format!("of {}", name_of(alarm.member_id, peers))
    };
    let meaning = match alarm.kind.as_str() {
        "NOSPACE" => "writes are refused until space is made and the alarm is disarmed",
        "CORRUPT" => "its data differ from those of the others",
        _ => "see etcd's manual",
    };
    let quota =
        quota_ratio(status, limits).map(|ratio| format!(", {:.0} % of its quota", ratio * 100.0));
    format!(
        "alarm {}, {whose}: {meaning}; the database holds {} MiB{}",
        alarm.kind,
        status.db_bytes >> 20,
        quota.unwrap_or_default()
    )
}

fn name_of(id: u64, peers: &[Peer]) -> String {
    let member = peers.iter().find(|peer| peer.member.id == id);
    member.map_or_else(|| format!("{id:x}"), |peer| peer.member.shown())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio of sizes needs no more than six digits"
)]
fn quota_ratio(status: &MemberStatus, limits: &Limits) -> Option<f64> {
    let quota = status.db_quota_bytes.or(limits.quota_bytes)?;
    Some(status.db_bytes as f64 / quota as f64)
}

fn unhealthy(health: &Health) -> String {
    let reason = if health.reason.is_empty() {
        String::new()
    } else {
        format!(": {}", health.reason)
    };
    format!(
        "/health says that it is not healthy (HTTP status {}){reason}",
        health.status
    )
}

/// Whether a member that was merely found refuses because nobody told the probe how to speak TLS to it.
fn wants_credentials(failure: &HttpFailure) -> bool {
    matches!(
        failure,
        HttpFailure::Tls { .. }
            | HttpFailure::NotHttp { .. }
            | HttpFailure::Closed { .. }
            | HttpFailure::Connect(ConnectFailure::Tls { .. } | ConnectFailure::Reset { .. })
    )
}

fn not_configured() -> Finding {
    Finding::ok("accepts connections and wants TLS; more is not asked until a probe is configured")
}

#[expect(
    clippy::cast_precision_loss,
    reason = "indices and sizes stay below 2^53"
)]
fn with_values(mut finding: Finding, seen: &Seen, health: &Health, limits: &Limits) -> Finding {
    finding = finding.with("health_ms", health.total_ms);
    for (name, read) in [
        ("linearizable_read_ms", &seen.linearizable_ms),
        ("serializable_read_ms", &seen.serializable_ms),
    ] {
        if let Ok(took_ms) = read {
            finding = finding.with(name, *took_ms);
        }
    }
    let Ok(status) = &seen.status else {
        return finding;
    };
    finding = finding
        .with(
            "is_leader",
            f64::from(status.leader != 0 && status.leader == status.member_id),
        )
        .with("raft_term", status.raft_term as f64)
        .with("raft_index", status.raft_index as f64)
        .with("apply_lag", status.apply_lag() as f64)
        .with("db_bytes", status.db_bytes as f64)
        .with("db_in_use_bytes", status.db_in_use_bytes as f64);
    match quota_ratio(status, limits) {
        Some(ratio) => finding.with("quota_used_ratio", ratio),
        None => finding,
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 {
        format!("{count} {noun}")
    } else {
        format!("{count} {noun}s")
    }
}

#[cfg(test)]
mod tests;
