//! An incident is recorded, as it happens and afterwards, and its replay says what operators were told.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use blackstart_tests::servers::nginx::Nginx;
use blackstart_tests::{Daemon, TempHome, binary, free_port, wait_for, wait_until};
use serde_json::Value;

use crate::parts::{START, ask, err, out, run};
use crate::platform::{Platform, probe};

const TOPOLOGY: &str = r#"
# Kept as it is, comments too.
[component.room]
kind = "room"
[component."h{1..3}"]
kind = "host"
in = "room"
[component.web]
kind = "service"
in = "h1"
[component."shop-{1..3}"]
kind = "app"
in = "h{n}"
needs = ["web"]
"#;

/// How long the verdict may take to settle: an incident opens after 15 s, and machines are busy.
const SETTLES: Duration = Duration::from_secs(240);

/// What is said of the whole: the condition of each component, and the first causes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Said {
    conditions: BTreeMap<String, String>,
    causes: Value,
}

fn live(port: u16) -> Said {
    let (status, _) = ask(port, &["status"]);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let components = status["components"].as_array().cloned();
    let components = components.unwrap_or_default();
    Said {
        conditions: components
            .iter()
            .map(|one| (word(&one["id"]), word(&one["condition"])))
            .collect(),
        causes: status["hypotheses"][0]["causes"].clone(),
    }
}

/// The last line of a replay.
fn replayed(folder: &str) -> (Said, Value) {
    let arguments = ["replay", folder, "--conditions", "--format", "json"];
    let output = run("blackstart", &arguments);
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let lines = out(&output);
    let last: Value = serde_json::from_str(lines.lines().last().unwrap_or_default())
        .expect("a line is an object");
    let conditions = serde_json::from_value(last["components"].clone());
    let said = Said {
        conditions: conditions.expect("conditions by component"),
        causes: last["hypotheses"][0]["causes"].clone(),
    };
    (said, last)
}

/// Expects of a recording what was told live, and runs it as a test.
fn passes_as_a_test(folder: &str, said: &Said, last: &Value) {
    let conditions = said.conditions.iter();
    let conditions: Vec<String> = conditions
        .map(|(id, condition)| format!("{id:?} = {condition:?}"))
        .collect();
    let expect = format!(
        "[[expect]]\nat = {}\nroot_cause = {}\ncondition = {{ {} }}\n",
        last["at"],
        said.causes,
        conditions.join(", ")
    );
    std::fs::write(Path::new(folder).join("expect.toml"), expect)
        .expect("a test can write its own folder");
    let output = run("blackstart", &["test", folder]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
}

fn recorder(home: &TempHome, port: u16, folder: &str) -> Daemon {
    let mut command = Command::new(binary("blackstart"));
    command
        .args(["--aggregator", &format!("127.0.0.1:{port}"), "record"])
        .arg(folder);
    let log = format!("{}.log", folder.rsplit('/').next().unwrap_or("record"));
    let recorder = Daemon::spawn("record", &mut command, &home.join(log));
    recorder.wait_log("Recording ", START);
    recorder
}

#[test]
fn a_recorded_incident_replays_to_what_operators_were_told() {
    let nginx = Nginx::start("location / { return 200; }", None);
    let shops = [free_port(), free_port(), free_port()];
    let listeners: Vec<TcpListener> = shops
        .iter()
        .map(|port| TcpListener::bind(port.address()).expect("a free port"))
        .collect();
    let web = probe(
        "web",
        "http.get",
        &format!("url = \"{}\"", nginx.http_url()),
    );
    let probes: Vec<(String, String)> = (1..)
        .zip(&shops)
        .map(|(n, port)| {
            let address = format!("address = \"{}\"", port.address());
            let shop = probe(&format!("shop-{n}"), "tcp.connect", &address);
            (format!("h{n}"), format!("{web}{shop}"))
        })
        .collect();
    let agents: Vec<(&str, &str)> = probes
        .iter()
        .map(|(host, probes)| (host.as_str(), probes.as_str()))
        .collect();
    let mut platform = Platform::start_agents("record", TOPOLOGY, &agents);
    for id in ["web", "shop-1", "shop-2", "shop-3", "h3"] {
        platform.shows(id, "up", "*");
    }
    let port = platform.port();
    let name = |name: &str| platform.home.join(name).display().to_string();
    let (early, middle, journal, late) =
        (name("early"), name("middle"), name("journal"), name("late"));
    let state_dir = name("aggregator");
    let mut recording = recorder(&platform.home, port, &early);

    drop(nginx);
    platform.shows("web", "down", "*");
    drop(listeners);
    for id in ["shop-1", "shop-2", "shop-3"] {
        platform.shows(id, "blocked", "needs web, which is down");
    }
    platform.probing[2].kill();
    platform.incident("open");
    let told = wait_for("the verdict to settle on recordings of it", SETTLES, || {
        for folder in [&middle, &journal, &late] {
            // There is none the first time.
            let _ = std::fs::remove_dir_all(folder);
        }
        let before = live(port);
        let is_silent = before.conditions.get("h3").is_some_and(|h3| h3 != "up");
        if !is_silent || before.causes.is_null() {
            return None;
        }
        let address = format!("127.0.0.1:{port}");
        for arguments in [
            &["record", &*middle, "--duration", "2s"][..],
            &["record", &*journal, "--state-dir", &*state_dir],
            &["record", &*late, "--state-dir", &*state_dir, "--from", "2s"],
        ] {
            let arguments = [&["--aggregator", &*address], arguments].concat();
            let output = run("blackstart", &arguments);
            assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        }
        (live(port) == before).then_some(before)
    });
    let ended = recording.terminate(START);
    assert_eq!(ended.code(), Some(0), "{}", recording.log());
    for (command, words) in [
        ("status", &["web"][..]),
        ("why", &["web", "Who was named when:"]),
    ] {
        let said = out(&platform.run(&[command]));
        let is_narrow = |line: &str| line.chars().count() <= 80;
        assert!(said.lines().all(is_narrow), "{said}");
        let mut lines = said
            .lines()
            .filter(|line| line.contains("Cause") || line.starts_with("Most likely"));
        assert!(lines.next().is_some(), "{said}");
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }
    for folder in [&early, &middle, &journal, &late] {
        let (said, last) = replayed(folder);
        assert_eq!(said, told, "{folder}");
        assert_eq!(last["incident"]["state"], "open", "{folder}: {last}");
        passes_as_a_test(folder, &told, &last);
        let topology = std::fs::read_to_string(Path::new(folder).join("topology.toml"));
        assert_eq!(topology.expect("a topology"), TOPOLOGY, "{folder}");
    }
    // After it happened, from an aggregator that is not there any more, and to the same end.
    let (_, before) = replayed(&journal);
    let ended = platform.aggregating.terminate(START);
    assert_eq!(ended.code(), Some(0), "{}", platform.aggregating.log());
    let afterwards = name("afterwards");
    let output = run(
        "blackstart",
        &["record", &afterwards, "--state-dir", &state_dir],
    );
    assert_eq!(output.status.code(), Some(0), "{}", err(&output));
    let (said, last) = replayed(&afterwards);
    assert_eq!(said, told);
    assert_eq!(last["incident"]["id"], before["incident"]["id"]);
}

#[test]
fn what_cannot_be_recorded_is_said_and_leaves_no_half_recording() {
    let mut platform = Platform::start("record-bad", TOPOLOGY, "");
    platform.shows("h", "up", "*");
    let home = TempHome::new("record-folders");
    let name = |name: &str| home.join(name).display().to_string();
    let address = format!("127.0.0.1:{}", platform.port());
    let state_dir = platform.home.join("aggregator").display().to_string();
    let nobody = free_port();
    let nobody = nobody.address().to_string();
    home.write("full/file", "x");
    let none = name("none");
    // What is shown may not be on the disk yet.
    wait_until("a journal that holds something", START, || {
        let folder = name("first");
        let output = run(
            "blackstart",
            &["record", &folder, "--state-dir", &state_dir],
        );
        output.status.success()
    });
    let cases: [(&[&str], i32, &str); 6] = [
        (
            &["--aggregator", &address, "record", &name("full")],
            2,
            "there is something in this folder; name a folder that is new or empty",
        ),
        (
            &["--aggregator", &nobody, "record", &none],
            3,
            "refuses connections: nothing listens there",
        ),
        (
            &["record", &none, "--state-dir", &name("nowhere")],
            2,
            "no journal in ",
        ),
        (
            &[
                "record",
                &none,
                "--state-dir",
                &state_dir,
                "--from",
                "2999-01-01T00:00:00Z",
            ],
            2,
            "the journal holds nothing from then on: it goes from ",
        ),
        (
            &["record", &none, "--state-dir", &state_dir, "--from", "noon"],
            2,
            "expected a time, like 2019-01-24T12:55:00Z, or how long before the end, like 2h",
        ),
        (&["record", &none, "--from", "2h"], 2, "--state-dir <DIR>"),
    ];
    for (arguments, code, words) in cases {
        let output = run("blackstart", arguments);
        let said = err(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {said}");
        assert!(said.contains(words), "{arguments:?}: {said}");
        assert!(!Path::new(&none).exists(), "{arguments:?}");
    }
    assert!(home.join("full/file").exists());

    // An aggregator that is killed takes the rest of the recording with it.
    let cut = name("cut");
    let mut recording = recorder(&home, platform.port(), &cut);
    platform.aggregating.kill();
    let ended = recording.wait_exit(START);
    let said = recording.log();
    assert_eq!(ended.code(), Some(3), "{said}");
    assert!(said.contains("the recording is not complete: "), "{said}");
    assert!(home.join("cut/events.jsonl.unfinished").exists());
    assert!(!home.join("cut/events.jsonl").exists());

    // One that stops in order ends it in order.
    platform.start_aggregator();
    platform.shows("web", "unknown", "*");
    let whole = name("whole");
    let mut recording = recorder(&home, platform.port(), &whole);
    platform.aggregating.terminate(START);
    let ended = recording.wait_exit(START);
    let said = recording.log();
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(said.contains("the aggregator stopped"), "{said}");
    assert!(home.join("whole/events.jsonl").exists());
}
