//! The topology is read again while everything runs: a bad file leaves the old one in force and is shown, a good one counts,
//! and what is known of the components survives both.

use std::net::TcpListener;
use std::time::Duration;

use blackstart_tests::{free_port, wait_until};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::parts::ask;
use crate::platform::{Platform, probe};

/// How long a change of the file may take until it counts.
const SEEN: Duration = Duration::from_secs(60);

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

/// Three problems, on lines 5, 8 and 10.
const BAD: &str = r#"
[component.h]
kind = "host"
[component.db]
kind = "databse"
[component.shop]
kind = "app"
needs = ["db2", "h"]
[component.cache]
kind = "cash"
"#;

const NEXT: &str = r#"
[component.h]
kind = "host"
[component.db]
kind = "database"
in = "h"
class = "ledgers"
[component.mail]
kind = "app"
needs = ["db"]
"#;

fn status(platform: &Platform) -> Value {
    ask(platform.port(), &["status"]).0
}

fn problems(platform: &Platform) -> Vec<String> {
    let status = status(platform);
    let all = status["aggregator"]["problems"].as_array();
    all.into_iter()
        .flatten()
        .filter_map(|problem| problem.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn a_bad_topology_leaves_the_old_one_in_force_and_a_good_one_keeps_what_is_known() {
    let port = free_port();
    let probes = probe(
        "db",
        "tcp.connect",
        &format!("address = \"{}\"", port.address()),
    );
    let platform = Platform::start("reload", TOPOLOGY, &probes);
    let listener = TcpListener::bind(port.address()).expect("a free port");
    platform.shows("db", "up", "*");
    drop(listener);
    platform.shows("db", "down", "*connection refused, nothing listens there");
    platform.shows("shop", "blocked", "needs db, which is down");
    let incident = platform.incident("open");

    // By a change of the file alone.
    let file = platform.home.write("topology.toml", BAD);
    let name = file.display().to_string();
    wait_until("the bad file to be shown", SEEN, || {
        problems(&platform).len() == 1
    });
    let shown = &problems(&platform)[0];
    assert_eq!(
        *shown,
        format!(
            "topology file {name} refused, the one before it stays in force: line 5: component \"db\" kind = \"databse\", no such kind; \
             did you mean \"database\"? (and 2 more); all of them: blackstart topology validate {name}"
        )
    );
    let output = platform.run(&["status"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("aggregator: topology file /"), "{text}");
    // The log has all of them at once, with their lines.
    let log = platform.aggregating.log();
    for problem in [
        "line 5   component \"db\" kind = \"databse\"   no such kind; did you mean \"database\"?",
        "line 8   component \"shop\" needs \"db2\"   no such component",
        "line 10  component \"cache\" kind = \"cash\"   no such kind",
        "3 problems",
    ] {
        assert!(log.contains(problem), "{problem} not in\n{log}");
    }
    platform.shows("shop", "blocked", "needs db, which is down");
    let goes_on = status(&platform)["incident"].take();
    for key in ["id", "state", "opened", "failed"] {
        assert_eq!(goes_on[key], incident[key], "{key} of {goes_on}");
    }

    // Read again on SIGHUP it is as bad as before; the message does not come twice.
    let refusals = || platform.aggregating.log().matches("3 problems").count();
    let before = refusals();
    platform.aggregating.signal(Signal::HUP);
    wait_until("the file to be read again", SEEN, || refusals() > before);
    assert_eq!(problems(&platform), [shown.as_str()]);

    // A good one clears the message; what is known of db, and the incident, survive.
    let since = platform.component("db")["since"].clone();
    platform.home.write("topology.toml", NEXT);
    platform.shows("mail", "blocked", "needs db, which is down");
    wait_until("no problem to be shown", SEEN, || {
        problems(&platform).is_empty()
    });
    let now = status(&platform);
    assert_eq!(now["incident"]["id"], incident["id"]);
    assert_eq!(now["incident"]["state"], "open");
    let db = platform.component("db");
    assert_eq!(
        (&db["condition"], &db["since"], &db["class"]),
        (&json!("down"), &since, &json!("ledgers")),
        "{db}"
    );
    assert_eq!(platform.component("shop"), Value::Null, "{now}");
    let (topology, _) = ask(platform.port(), &["topology", "show"]);
    let ids: Vec<&str> = topology["components"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|component| component["provenance"] == "declared")
        .filter_map(|component| component["id"].as_str())
        .collect();
    assert_eq!(ids, ["db", "h", "mail"]);

    let _listener = TcpListener::bind(port.address()).expect("the port is ours");
    platform.shows("db", "up", "*");
    let over = platform.incident("resolved");
    assert_eq!(over["id"], incident["id"]);
    platform.stop();
}

#[test]
fn a_half_written_file_at_a_restart_does_not_cost_the_topology() {
    let mut platform = Platform::start("reload-restart", TOPOLOGY, "");
    platform.shows("h", "up", "*");
    platform
        .home
        .write("topology.toml", "[component.h]\nkind = \"ho");
    platform.restart_aggregator();
    wait_until("the bad file to be shown", SEEN, || {
        problems(&platform).iter().any(|problem| {
            problem.contains("refused, the one before it stays in force: line 2: not TOML")
        })
    });
    assert_eq!(
        platform.component("shop")["id"],
        "shop",
        "what was accepted last is in force"
    );
    // A file that is gone is as bad as a broken one.
    let file = platform.home.join("topology.toml");
    std::fs::remove_file(&file).expect("it was there");
    wait_until("the missing file to be shown", SEEN, || {
        problems(&platform)
            .iter()
            .any(|problem| problem.contains("cannot be read: No such file or directory"))
    });
    platform.home.write("topology.toml", NEXT);
    platform.shows("mail", "unknown", "*");
    wait_until("no problem to be shown", SEEN, || {
        problems(&platform).is_empty()
    });
    platform.stop();
}
