//! Every verdict, and every threshold below, at and above it.

use std::time::Duration;

use super::super::SLOW_AFTER;
use super::super::answer::Member;
use super::super::observe::Dial;
use super::*;
use crate::observation::Status;
use crate::probe::TimedOut;

const LIMITS: Limits = Limits {
    slow_after: SLOW_AFTER,
    quota_bytes: Some(1_000),
};

fn dial(url: &str, accepts: bool) -> Vec<Dial> {
    let failure = (!accepts).then(|| "connection refused".to_owned());
    vec![Dial {
        url: url.to_owned(),
        failure,
    }]
}

fn peer(id: u64, peer_accepts: bool, client_accepts: bool) -> Peer {
    Peer {
        member: Member {
            id,
            name: format!("m{id}"),
            ..Member::default()
        },
        is_self: id == 1,
        peer_dials: dial(&format!("http://p{id}"), peer_accepts),
        client_dials: dial(&format!("http://c{id}"), client_accepts),
        cluster_id: None,
    }
}

fn healthy() -> Seen {
    Seen {
        health: Ok(Health {
            status: 200,
            healthy: Some(true),
            reason: String::new(),
            total_ms: 1.0,
            wants_tls: false,
        }),
        silence: None,
        status: Ok(MemberStatus {
            member_id: 1,
            leader: 2,
            raft_term: 7,
            raft_index: 100,
            raft_applied_index: 100,
            db_bytes: 10,
            ..MemberStatus::default()
        }),
        linearizable_ms: Ok(2.0),
        serializable_ms: Ok(1.0),
        peers: Ok((1..=3).map(|id| peer(id, true, true)).collect()),
        login: Ok(()),
    }
}

fn with_status(change: impl FnOnce(&mut MemberStatus)) -> Seen {
    let mut seen = healthy();
    change(seen.status.as_mut().unwrap());
    seen
}

fn silent(silence: Silence) -> Seen {
    let timed_out = TimedOut {
        step: "waiting for the answer",
        budget: Duration::from_secs(2),
    };
    let failure = HttpFailure::Silent {
        peer: ([127, 0, 0, 1], 2379).into(),
        asked: "GET /health".to_owned(),
        timed_out,
    };
    Seen {
        health: Err(failure),
        silence: Some(silence),
        status: Err(AskError::Skipped),
        linearizable_ms: Err(AskError::Skipped),
        serializable_ms: Err(AskError::Skipped),
        peers: Err(AskError::Skipped),
        login: Ok(()),
    }
}

#[track_caller]
fn assert_finding(finding: &Finding, status: Status, detail: &str) {
    assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
}

#[test]
fn a_healthy_member_says_its_role() {
    let leader = with_status(|status| status.leader = 1);
    assert_finding(
        &member(&leader, &LIMITS, false),
        Status::Ok,
        "leader, raft term 7, 3 members",
    );
    assert_finding(
        &member(&healthy(), &LIMITS, false),
        Status::Ok,
        "follower, raft term 7, 3 members",
    );
    assert_finding(&cluster(&healthy()), Status::Ok, "3 members, leader m2");
}

#[test]
fn lag_is_noticed_before_proposals_are_refused() {
    for (lag, expected) in [
        (999, Status::Ok),
        (1_000, Status::Degraded),
        (4_999, Status::Degraded),
        (5_000, Status::Failed),
    ] {
        let seen = with_status(|status| status.raft_index = status.raft_applied_index + lag);
        assert_eq!(member(&seen, &LIMITS, false).status, expected, "{lag}");
    }
}

#[test]
fn the_quota_warns_at_four_fifths() {
    for (db_bytes, expected) in [(799, Status::Ok), (800, Status::Degraded)] {
        let seen = with_status(|status| status.db_bytes = db_bytes);
        assert_eq!(member(&seen, &LIMITS, false).status, expected, "{db_bytes}");
    }
}

#[test]
fn a_slow_read_begins_above_the_limit() {
    for (took_ms, expected) in [(1_000.0, Status::Ok), (1_000.1, Status::Degraded)] {
        let seen = Seen {
            linearizable_ms: Ok(took_ms),
            ..healthy()
        };
        assert_eq!(member(&seen, &LIMITS, false).status, expected, "{took_ms}");
    }
}

#[test]
fn without_a_leader_both_have_failed() {
    let mut seen = with_status(|status| status.leader = 0);
    seen.peers = Ok(vec![
        peer(1, true, true),
        peer(2, false, false),
        peer(3, false, false),
    ]);
    assert_finding(
        &member(&seen, &LIMITS, false),
        Status::Failed,
        "no leader; serializable reads answer, everything else waits",
    );
    assert_finding(
        &cluster(&seen),
        Status::Failed,
        "no leader: 1 of 3 members there, 2 are needed (m2: connection refused, m3: connection refused)",
    );
}

#[test]
fn an_alarm_fails_the_member_and_its_cluster() {
    let alarms = |kind: &str, member_id| {
        vec![Alarm {
            member_id,
            kind: kind.to_owned(),
        }]
    };
    let seen = with_status(|status| status.alarms = alarms("NOSPACE", 1));
    assert_finding(
        &member(&seen, &LIMITS, false),
        Status::Failed,
        "alarm NOSPACE, its own: writes are refused until space is made and the alarm is disarmed; the database holds 0 MiB, 1 % of its quota",
    );
    assert_finding(
        &cluster(&seen),
        Status::Failed,
        "alarm NOSPACE of m1: writes are refused",
    );
    let seen = with_status(|status| status.alarms = alarms("CORRUPT", 3));
    assert!(
        member(&seen, &LIMITS, false)
            .detail
            .starts_with("alarm CORRUPT, of m3: its data differ")
    );
}

#[test]
fn a_learner_is_starting() {
    let seen = with_status(|status| status.is_learner = true);
    assert_finding(
        &member(&seen, &LIMITS, false),
        Status::Starting,
        "a learner: it follows and has no vote yet",
    );
}

#[test]
fn a_peer_that_is_gone_is_told_from_one_that_listens_elsewhere() {
    let seen = Seen {
        peers: Ok(vec![
            peer(1, true, true),
            peer(2, true, true),
            peer(3, false, false),
        ]),
        ..healthy()
    };
    assert_finding(
        &cluster(&seen),
        Status::Degraded,
        "2 of 3 members there, leader m2; m3 is not reached at http://p3 (connection refused)",
    );
    assert_eq!(member(&seen, &LIMITS, false).status, Status::Ok);
    let seen = Seen {
        peers: Ok(vec![
            peer(1, false, true),
            peer(2, true, true),
            peer(3, false, true),
        ]),
        ..healthy()
    };
    assert_finding(
        &cluster(&seen),
        Status::Degraded,
        "3 of 3 members there, leader m2; \
         m1 serves clients, but nobody reaches its peer URL http://p1 (connection refused): wrong listen-peer-urls?; \
         m3 serves clients, but nobody reaches its peer URL http://p3 (connection refused): wrong listen-peer-urls?",
    );
    assert_finding(
        &member(&seen, &LIMITS, false),
        Status::Degraded,
        "nobody reaches it at its own peer URL http://p1 (connection refused): wrong listen-peer-urls?; follower, raft term 7, 3 members",
    );
}

#[test]
fn silence_has_many_causes() {
    let answers = |peers, cluster_id: &str| Silence::PeerPortAnswers {
        cluster_id: Some(cluster_id.to_owned()),
        peers,
    };
    let cold = silent(answers(
        vec![
            peer(1, true, true),
            peer(2, false, false),
            peer(3, false, false),
        ],
        "a",
    ));
    assert_finding(
        &member(&cold, &LIMITS, false),
        Status::Starting,
        "waits for a quorum to start: TCP connects, HTTP is silent; \
         1 of 3 members there, 2 are needed (m2: connection refused, m3: connection refused)",
    );
    assert_finding(
        &cluster(&cold),
        Status::Failed,
        "no quorum: 1 of 3 members there, 2 are needed (m2: connection refused, m3: connection refused)",
    );
    let stranger = Peer {
        cluster_id: Some("b".to_owned()),
        ..peer(2, true, true)
    };
    let mismatch = silent(answers(vec![peer(1, true, true), stranger], "a"));
    assert_finding(
        &member(&mismatch, &LIMITS, false),
        Status::Failed,
        "cluster id mismatch: it believes in a, m2 in b; TCP connects, but HTTP is silent",
    );
    assert_eq!(cluster(&mismatch).status, Status::Unknown);
    let stalled = member(&silent(Silence::PeerPortSilent), &LIMITS, false);
    assert_eq!(stalled.status, Status::Failed);
    assert!(
        stalled.detail.starts_with("stalled: "),
        "{}",
        stalled.detail
    );
    assert_eq!(
        member(&silent(Silence::NoPeerUrl), &LIMITS, false).status,
        Status::Failed
    );
    assert_eq!(cluster(&silent(Silence::NoPeerUrl)).status, Status::Unknown);
}

#[test]
fn a_refused_login_is_no_failure_of_the_member() {
    let refused = || AskError::Refused {
        message: "etcdserver: user name is empty".to_owned(),
    };
    let seen = Seen {
        linearizable_ms: Err(refused()),
        serializable_ms: Err(refused()),
        peers: Err(refused()),
        ..healthy()
    };
    assert_finding(
        &member(&seen, &LIMITS, false),
        Status::Ok,
        "follower, raft term 7",
    );
    let wrong = AskError::Refused {
        message: "authentication failed".to_owned(),
    };
    let seen = Seen {
        login: Err(LoginError::Refused(wrong)),
        ..seen
    };
    assert_finding(
        &member(&seen, &LIMITS, false),
        Status::Degraded,
        "the login is refused: authentication failed; follower, raft term 7",
    );
}

#[test]
fn what_was_only_found_is_not_blamed_for_wanting_credentials() {
    let failure = || HttpFailure::Closed {
        peer: ([127, 0, 0, 1], 2379).into(),
        asked: "GET /health".to_owned(),
    };
    let seen = Seen {
        health: Err(failure()),
        silence: None,
        ..healthy()
    };
    assert_eq!(member(&seen, &LIMITS, true).status, Status::Ok);
    assert_eq!(member(&seen, &LIMITS, false).status, Status::Failed);
}
