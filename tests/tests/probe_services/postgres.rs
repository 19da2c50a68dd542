//! `postgres.ready` against a real PostgreSQL.

use blackstart_agent::observation::Status;
use blackstart_agent::probe::Probe;
use blackstart_tests::TempHome;
use blackstart_tests::servers::postgres::{Postgres, signal};
use rustix::process::Signal;

use super::{probe, until, value};

const CHECK: &str = "postgres.ready";

/// A probe that logs in as the superuser unless `extra` says otherwise, and may read the data folder.
fn ready(postgres: &Postgres, extra: &str) -> Box<dyn Probe> {
    let user = if extra.contains("user =") {
        ""
    } else {
        "user = 'postgres'"
    };
    probe(&format!(
        "kind = 'postgres.ready'\naddress = '127.0.0.1:{}'\ndata_dir = '{}'\nlog_file = '{}'\n{user}\n{extra}",
        postgres.port(),
        postgres.data().display(),
        postgres.log_path().display(),
    ))
}

/// A probe without a login.
fn knock(postgres: &Postgres) -> Box<dyn Probe> {
    probe(&format!(
        "kind = 'postgres.ready'\naddress = '127.0.0.1:{}'",
        postgres.port()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_recovery_is_seen_with_its_progress() {
    let mut postgres = Postgres::start();
    let ready = ready(&postgres, "");
    let knock = knock(&postgres);
    let found = until(&*ready, CHECK, Status::Ok, "primary").await;
    assert!(value(&found, "connections") >= 1.0 && value(&found, "login_ms") > 0.0);
    until(
        &*knock,
        CHECK,
        Status::Ok,
        "accepts connections; nobody logged in",
    )
    .await;

    postgres.write_wal(400);
    postgres.kill();
    until(
        &*ready,
        CHECK,
        Status::Failed,
        "connection refused, nothing listens there",
    )
    .await;
    let startup = postgres.launch_and_freeze_redo();
    let first = until(
        &*ready,
        CHECK,
        Status::Starting,
        "crash recovery: redo at 0/",
    )
    .await;
    let progress = first.progress.expect("a progress");
    assert!((0.0..0.9).contains(&progress), "{first:?}");
    assert!(first.detail.ends_with(" %"), "{}", first.detail);
    until(&*knock, CHECK, Status::Starting, "the database system is ").await;

    // It goes on, and is seen to.
    let checkpointer = postgres.freeze_last_checkpoint(startup);
    let last = until(
        &*ready,
        CHECK,
        Status::Starting,
        "crash recovery: redo is done, checkpoint at its end",
    )
    .await;
    assert!(last.progress > Some(progress), "{last:?}");
    signal(checkpointer, Signal::CONT);
    until(&*ready, CHECK, Status::Ok, "primary").await;
    until(&*knock, CHECK, Status::Ok, "accepts connections").await;

    postgres.freeze();
    until(
        &*ready,
        CHECK,
        Status::Failed,
        "stalled: connects, but is silent: logging in",
    )
    .await;
    until(
        &*knock,
        CHECK,
        Status::Failed,
        "stalled: connects, but is silent",
    )
    .await;
    postgres.thaw();
    until(&*ready, CHECK, Status::Ok, "primary").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_are_turned_away_are_told_apart() {
    let mut postgres = Postgres::prepare();
    postgres.set("max_connections = 5");
    postgres.set("superuser_reserved_connections = 2");
    postgres.launch();
    postgres.wait_ready();
    postgres.sql("create role app login password 'hunter2'");
    let home = TempHome::new("postgres-login");
    let as_app = |postgres: &Postgres, password: &str, extra: &str| {
        let file = home.write(
            if password == "wrong" {
                "wrong"
            } else {
                "right"
            },
            &format!("{password}\n"),
        );
        ready(
            postgres,
            &format!(
                "user = 'app'\npassword_file = '{}'\n{extra}",
                file.display()
            ),
        )
    };
    postgres.set_access(
        "host all postgres 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256",
    );
    postgres.reload();
    let app = as_app(&postgres, "hunter2", "");
    until(&*app, CHECK, Status::Ok, "primary").await;
    until(
        &*as_app(&postgres, "wrong", ""),
        CHECK,
        Status::Failed,
        "locked out: password authentication failed for user \"app\"",
    )
    .await;
    until(
        &*as_app(&postgres, "hunter2", "database = 'nowhere'"),
        CHECK,
        Status::Failed,
        "database \"nowhere\" does not exist",
    )
    .await;
    assert!(!format!("{app:?}").contains("hunter2"));

    postgres.set_access("host all postgres 127.0.0.1/32 trust");
    postgres.reload();
    until(
        &*app,
        CHECK,
        Status::Failed,
        "locked out: no pg_hba.conf entry for host \"127.0.0.1\", user \"app\"",
    )
    .await;
    let knock = knock(&postgres);
    until(
        &*knock,
        CHECK,
        Status::Ok,
        "accepts connections; nobody logged in",
    )
    .await;
    postgres.set_access("host all all 127.0.0.1/32 scram-sha-256");
    postgres.reload();
    until(&*app, CHECK, Status::Ok, "primary").await;
    let said_before = postgres.log().len();
    until(
        &*knock,
        CHECK,
        Status::Ok,
        "accepts connections; nobody logged in",
    )
    .await;
    until(&*app, CHECK, Status::Ok, "primary").await;
    let said = postgres.log().split_off(said_before);
    assert!(
        !said.contains("FATAL"),
        "a knock leaves nothing in the log: {said}"
    );
    postgres.set_access("host all all 127.0.0.1/32 trust");
    postgres.reload();
    until(&*app, CHECK, Status::Ok, "primary").await;

    let superuser = ready(&postgres, "");
    let mut held = Vec::new();
    postgres.hold_connections("postgres", 3, &mut held);
    until(
        &*app,
        CHECK,
        Status::Failed,
        "connections exhausted: remaining connection slots are reserved",
    )
    .await;
    until(&*superuser, CHECK, Status::Degraded, "connections in use").await;
    postgres.hold_connections("postgres", 5, &mut held);
    until(
        &*superuser,
        CHECK,
        Status::Failed,
        "connections exhausted: sorry, too many clients already",
    )
    .await;
    until(
        &*knock,
        CHECK,
        Status::Failed,
        "connections exhausted: sorry, too many clients already",
    )
    .await;
    drop(held);
    // What held them waits in the server, not in the client.
    postgres.shut_down();
    postgres.launch();
    postgres.wait_ready();
    until(&*app, CHECK, Status::Ok, "primary").await;

    postgres.set("default_transaction_read_only = on");
    postgres.reload();
    until(
        &*app,
        CHECK,
        Status::Degraded,
        "read-only: default_transaction_read_only is on; primary",
    )
    .await;
    until(
        &*as_app(&postgres, "hunter2", "role = 'standby'"),
        CHECK,
        Status::Degraded,
        "it is a primary, a standby is expected",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standby_behind_paused_or_alone_is_degraded() {
    let mut primary = Postgres::start();
    let mut standby = primary.standby();
    let follower = ready(&standby, "role = 'standby'\nlag_warn = '100ms'");
    until(&*follower, CHECK, Status::Ok, "standby").await;
    until(
        &*ready(&primary, ""),
        CHECK,
        Status::Ok,
        "primary, 1 connected for replication",
    )
    .await;
    let expects_primary = ready(&standby, "role = 'primary'");
    until(
        &*expects_primary,
        CHECK,
        Status::Failed,
        "read-only: it is a standby, a primary is expected",
    )
    .await;

    standby.set("recovery_min_apply_delay = '1h'");
    standby.reload();
    primary.write_wal(10);
    let behind = until(
        &*follower,
        CHECK,
        Status::Degraded,
        "bytes are not replayed; standby",
    )
    .await;
    assert!(value(&behind, "lag_bytes") > 1e6, "{behind:?}");
    standby.set("recovery_min_apply_delay = 0");
    standby.reload();
    until(&*follower, CHECK, Status::Ok, "standby").await;

    standby.sql("select pg_wal_replay_pause()");
    until(&*follower, CHECK, Status::Degraded, "replay is paused").await;
    standby.sql("select pg_wal_replay_resume()");
    until(&*follower, CHECK, Status::Ok, "standby").await;

    primary.kill();
    until(
        &*follower,
        CHECK,
        Status::Degraded,
        "not connected to its primary; standby",
    )
    .await;
    primary.launch();
    primary.wait_ready();
    until(&*follower, CHECK, Status::Ok, "standby").await;
    standby.shut_down();
    until(&*follower, CHECK, Status::Failed, "connection refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_and_damaged_pages_are_told() {
    let mut postgres = Postgres::prepare();
    postgres.set("restart_after_crash = off");
    postgres.launch();
    postgres.wait_ready();
    let ready = ready(&postgres, "");
    until(&*ready, CHECK, Status::Ok, "primary").await;

    // A page on disk changes while nobody looks.
    postgres.sql("create table damaged as select n from generate_series(1, 10000) n");
    let file = postgres
        .data()
        .join(postgres.sql("select pg_relation_filepath('damaged')"));
    postgres.shut_down();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[8_192 + 100..8_192 + 200].fill(0xAA);
    std::fs::write(&file, &bytes).unwrap();
    postgres.launch();
    postgres.wait_ready();
    let error = postgres
        .try_sql("select count(*) from damaged")
        .unwrap_err();
    assert!(error.contains("invalid page"), "{error}");
    until(
        &*ready,
        CHECK,
        Status::Degraded,
        "1 checksum failures: pages are damaged; primary",
    )
    .await;

    postgres.fill_disk_of_wal();
    until(
        &*ready,
        CHECK,
        Status::Failed,
        "connection refused, nothing listens there; last words: PANIC:  could not write to",
    )
    .await;
    let found = until(&*ready, CHECK, Status::Failed, "No space left on device").await;
    assert!(found.values.is_empty(), "{found:?}");
}
