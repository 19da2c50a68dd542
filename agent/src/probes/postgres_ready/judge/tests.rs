//! Every verdict, and every threshold below, at and above it.

use super::super::recovery::{LogTail, Titles};
use super::super::wal::Lsn;
use super::*;
use crate::observation::Status;

const LIMITS: Limits = Limits {
    role: Role::Any,
    lag_warn: Duration::from_secs(60),
    lag_fail: Some(Duration::from_secs(600)),
};

fn session() -> Session {
    Session {
        connections: 10.0,
        connections_max: 103.0,
        connections_reserved: 3.0,
        standbys: Some(0.0),
        ..Session::default()
    }
}

fn following() -> Standby {
    Standby {
        receivers: 1.0,
        received: Some(5e6),
        replayed: Some(5e6),
        last_replay_s: Some(9_999.0),
        ..Standby::default()
    }
}

fn standby(standby: Standby) -> Session {
    Session {
        standby: Some(standby),
        standbys: None,
        ..session()
    }
}

fn verdict(session: Session) -> (Status, String) {
    let finding = judge(&Attempt::Session(session), None, &LIMITS);
    (finding.status, finding.detail)
}

fn says_no(code: &str, message: &str) -> Attempt {
    Attempt::Refused(ServerError {
        code: code.to_owned(),
        message: message.to_owned(),
        detail: String::new(),
    })
}

#[track_caller]
fn assert_verdict(seen: (Status, String), status: Status, detail: &str) {
    assert_eq!((seen.0, seen.1.as_str()), (status, detail));
}

#[test]
fn a_session_says_what_the_server_is() {
    assert_verdict(verdict(session()), Status::Ok, "primary");
    assert_verdict(
        verdict(Session {
            standbys: Some(2.0),
            ..session()
        }),
        Status::Ok,
        "primary, 2 connected for replication",
    );
    // All is replayed: the age of the last transaction says nothing.
    assert_verdict(verdict(standby(following())), Status::Ok, "standby");
}

#[test]
fn connections_warn_at_nine_tenths_of_what_ordinary_users_get() {
    for (connections, expected) in [(89.0, Status::Ok), (90.0, Status::Degraded)] {
        assert_eq!(
            verdict(Session {
                connections,
                ..session()
            })
            .0,
            expected,
            "{connections}"
        );
    }
    let full = Session {
        connections: 95.0,
        ..session()
    };
    assert_verdict(
        verdict(full),
        Status::Degraded,
        "95 of 100 connections in use; primary",
    );
}

#[test]
fn transaction_ids_warn_and_then_fail() {
    for (age, expected) in [
        (1_599_999_999.0, Status::Ok),
        (1_600_000_000.0, Status::Degraded),
        (2_144_483_646.0, Status::Degraded),
        (2_144_483_647.0, Status::Failed),
    ] {
        assert_eq!(
            verdict(Session {
                oldest_transaction_age: age,
                ..session()
            })
            .0,
            expected,
            "{age}"
        );
    }
}

#[test]
fn a_standby_is_behind_above_the_limits() {
    for (seconds, expected) in [
        (60.0, Status::Ok),
        (60.1, Status::Degraded),
        (600.0, Status::Degraded),
        (600.1, Status::Failed),
    ] {
        let behind = Standby {
            replayed: Some(5e6 - 16.0),
            last_replay_s: Some(seconds),
            ..following()
        };
        assert_eq!(verdict(standby(behind)).0, expected, "{seconds}");
    }
    let behind = Standby {
        replayed: Some(5e6 - 2_944_080.0),
        last_replay_s: Some(75.5),
        ..following()
    };
    assert_verdict(
        verdict(standby(behind)),
        Status::Degraded,
        "75 s behind, 2944080 bytes are not replayed; standby",
    );
}

#[test]
fn log_that_has_just_come_in_is_no_lag() {
    let idle_for_long = |earlier| Standby {
        replayed: Some(4e6),
        last_replay_s: Some(3_600.0),
        earlier,
        ..following()
    };
    assert_eq!(
        verdict(standby(idle_for_long(Earlier::Replayed))).0,
        Status::Ok
    );
    assert_eq!(
        verdict(standby(idle_for_long(Earlier::Unknown))).0,
        Status::Failed
    );
    let waits = Earlier::WaitsFor(Duration::from_secs(10));
    assert_eq!(verdict(standby(idle_for_long(waits))).0, Status::Failed);
    // Nothing was replayed since its start.
    let never = Standby {
        last_replay_s: None,
        ..idle_for_long(Earlier::WaitsFor(Duration::from_secs(61)))
    };
    assert_eq!(verdict(standby(never)).0, Status::Degraded);
}

#[test]
fn a_standby_that_does_not_follow_is_degraded() {
    let alone = Standby {
        receivers: 0.0,
        ..following()
    };
    assert_verdict(
        verdict(standby(alone)),
        Status::Degraded,
        "not connected to its primary; standby",
    );
    let paused = Standby {
        replay_paused: true,
        ..following()
    };
    assert_verdict(
        verdict(standby(paused)),
        Status::Degraded,
        "replay is paused; standby",
    );
}

#[test]
fn the_role_that_is_expected_counts() {
    let primary = Limits {
        role: Role::Primary,
        ..LIMITS
    };
    let finding = judge(&Attempt::Session(standby(following())), None, &primary);
    assert_eq!(
        (finding.status, finding.detail.as_str()),
        (
            Status::Failed,
            "read-only: it is a standby, a primary is expected"
        )
    );
    let follower = Limits {
        role: Role::Standby,
        ..LIMITS
    };
    assert_eq!(
        judge(&Attempt::Session(session()), None, &follower).status,
        Status::Degraded
    );
    let read_only = Session {
        read_only: true,
        ..session()
    };
    assert_verdict(
        verdict(read_only),
        Status::Degraded,
        "read-only: default_transaction_read_only is on; primary",
    );
    let damaged = Session {
        checksum_failures: 3.0,
        ..session()
    };
    assert_verdict(
        verdict(damaged),
        Status::Degraded,
        "3 checksum failures: pages are damaged; primary",
    );
}

#[test]
fn each_refusal_has_its_own_words() {
    for (code, message, status, detail) in [
        (
            "53300",
            "sorry, too many clients already",
            Status::Failed,
            "connections exhausted: sorry, too many clients already",
        ),
        (
            "53100",
            "could not extend file",
            Status::Failed,
            "disk full: could not extend file",
        ),
        (
            "28P01",
            "password authentication failed for user \"x\"",
            Status::Failed,
            "locked out: password authentication failed for user \"x\"",
        ),
        (
            "28000",
            "no pg_hba.conf entry",
            Status::Failed,
            "locked out: no pg_hba.conf entry",
        ),
        (
            "3D000",
            "database \"x\" does not exist",
            Status::Failed,
            "database \"x\" does not exist",
        ),
        (
            "XX001",
            "invalid page in block 1",
            Status::Failed,
            "data damaged: invalid page in block 1",
        ),
        (
            "57P03",
            "the database system is starting up",
            Status::Starting,
            "the database system is starting up",
        ),
        (
            "57P03",
            "the database system is shutting down",
            Status::Failed,
            "the database system is shutting down",
        ),
        (
            "42000",
            "something else",
            Status::Failed,
            "something else (SQLSTATE 42000)",
        ),
    ] {
        let finding = judge(&says_no(code, message), None, &LIMITS);
        assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
    }
}

#[test]
fn a_crash_recovery_shows_how_far_it_is() {
    let starting = says_no(
        "57P03",
        "the database system is not yet accepting connections",
    );
    let at = |at| Recovery {
        redo_start: Some(Lsn(0x1000_0000)),
        redo_at: Some(Lsn(at)),
        end: Some(Lsn(0x2000_0000)),
        ..Recovery::default()
    };
    for (recovery, detail, progress) in [
        (
            Recovery::default(),
            "the database system is not yet accepting connections",
            None,
        ),
        (
            Recovery {
                log: LogTail {
                    syncing: true,
                    ..LogTail::default()
                },
                ..Recovery::default()
            },
            "the database system is not yet accepting connections: making sure that its files are on disk",
            None,
        ),
        (
            at(0x1000_0000),
            "crash recovery: redo at 0/10000000, 0 %",
            Some(0.0),
        ),
        (
            at(0x1940_0000),
            "crash recovery: redo at 0/19400000, 57 %",
            Some(0.578_125),
        ),
        (
            at(0x2000_0000),
            "crash recovery: redo at 0/20000000, 99 %",
            Some(0.99),
        ),
        (
            Recovery {
                is_standby: true,
                ..at(0x1940_0000)
            },
            "recovery: redo at 0/19400000",
            None,
        ),
        (
            Recovery {
                titles: Titles {
                    end_of_recovery_checkpoint: true,
                    ..Titles::default()
                },
                ..at(0x1940_0000)
            },
            "crash recovery: redo is done, checkpoint at its end",
            Some(0.99),
        ),
    ] {
        let finding = judge(&starting, Some(&recovery), &LIMITS);
        assert_eq!(
            (finding.status, finding.detail.as_str(), finding.progress),
            (Status::Starting, detail, progress)
        );
    }
}

#[test]
fn a_dead_server_is_found_with_its_last_words() {
    let words = "PANIC:  could not write to file \"pg_wal/xlogtemp.7\": No space left on device";
    let recovery = Recovery {
        log: LogTail {
            last_words: Some(words.to_owned()),
            ..LogTail::default()
        },
        ..Recovery::default()
    };
    let refused = || {
        Attempt::Unreached(ConnectFailure::Refused {
            peer: ([127, 0, 0, 1], 5432).into(),
        })
    };
    let finding = judge(&refused(), Some(&recovery), &LIMITS);
    assert_eq!(finding.status, Status::Failed);
    assert_eq!(
        finding.detail,
        format!("127.0.0.1:5432: connection refused, nothing listens there; last words: {words}")
    );
    assert!(
        !judge(&refused(), None, &LIMITS)
            .detail
            .contains("last words")
    );
}

#[test]
fn what_the_probe_cannot_do_says_nothing_of_the_server() {
    assert_eq!(
        judge(&Attempt::Local("no secret".to_owned()), None, &LIMITS).status,
        Status::Unknown
    );
    assert_eq!(judge(&Attempt::Greeted, None, &LIMITS).status, Status::Ok);
}
