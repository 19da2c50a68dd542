//! A database killed under load: `down`, then `starting` with its progress for as long as it recovers, then `up`.

use blackstart_tests::servers::postgres::{Postgres, signal};
use rustix::process::Signal;

use crate::parts::ask;
use crate::platform::{Platform, probe, quoted};

const TOPOLOGY: &str = r#"
[component.h]
kind = "host"
[component.db]
kind = "database"
in = "h"
[component.shop]
kind = "app"
needs = ["db"]
"#;

#[test]
fn a_database_killed_under_load_recovers_before_the_operators_eyes() {
    let mut postgres = Postgres::start();
    let probes = probe(
        "db",
        "postgres.ready",
        &format!(
            "address = \"127.0.0.1:{}\"\nuser = \"postgres\"\ndata_dir = {}\nlog_file = {}",
            postgres.port(),
            quoted(&postgres.data()),
            quoted(&postgres.log_path()),
        ),
    );
    let platform = Platform::up("postgres-up", TOPOLOGY, &probes);
    let up = platform.shows("db", "up", "primary*");
    assert_eq!(up["progress"], serde_json::Value::Null, "{up}");
    assert!(
        up["values"]["postgres.ready/connections"].as_f64() >= Some(1.0),
        "{up}"
    );

    // Much is written that no checkpoint covers, and more is being written when the power goes.
    postgres.write_wal(300);
    let writer = postgres.write_load();
    postgres.kill();
    drop(writer);
    platform.shows(
        "db",
        "down",
        "127.0.0.1:*: connection refused, nothing listens there",
    );
    platform.explains(
        "shop",
        &[
            "shop is blocked since *: nobody observes it, and something that it needs is lost",
            "needs db: lost",
            "because db is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by postgres.ready from h, *: 127.0.0.1:*: connection refused, nothing listens there",
        ],
    );

    let startup = postgres.launch_and_freeze_redo();
    let first = platform.shows("db", "starting", "crash recovery: redo at 0/*, * %");
    let redone = first["progress"].as_f64().expect("a progress");
    assert!((0.0..0.9).contains(&redone), "{first}");
    platform.explains(
        "db",
        &[
            "db is starting since *: it is on its way up",
            "seen starting by postgres.ready from h, *: crash recovery: redo at 0/*, * %",
        ],
    );
    // Frozen, it gets no further, and nobody says that it does.
    assert_eq!(platform.component("db")["progress"].as_f64(), Some(redone));
    let (ready, code) = ask(platform.port(), &["ready", "db"]);
    assert_eq!((code, &ready["ready"]), (1, &false.into()), "{ready}");
    let shown = platform.run(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    let percent = format!("{:.0} % · crash recovery: redo at 0/", redone * 100.0);
    assert!(shown.contains(&percent), "{percent:?} not in\n{shown}");

    let checkpointer = postgres.freeze_last_checkpoint(startup);
    let last = platform.shows(
        "db",
        "starting",
        "crash recovery: redo is done, checkpoint at its end",
    );
    let done = last["progress"].as_f64().expect("a progress");
    assert!(done > redone && done < 1.0, "{redone} then {done}");
    signal(checkpointer, Signal::CONT);
    let healed = platform.shows("db", "up", "primary*");
    assert_eq!(healed["progress"], serde_json::Value::Null, "{healed}");
    assert_eq!(ask(platform.port(), &["ready", "db"]).1, 0);
    platform.stop();
}
