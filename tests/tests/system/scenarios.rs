//! `blackstart test` and `blackstart replay`: real outages, and what is said of folders that are none.

use std::path::{Path, PathBuf};
use std::process::Output;

use blackstart_tests::TempHome;

use crate::parts::{err, out, run};

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace")
        .to_path_buf()
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(parent)
        .unwrap_or_else(|error| panic!("scenarios are expected in {}: {error}", parent.display()));
    let mut found: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.join("expect.toml").exists())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no scenario in {}", parent.display());
    found
}

/// Runs `blackstart` with a command, its options and folders.
fn blackstart(arguments: &[&str], folders: &[PathBuf]) -> Output {
    let folders = folders.iter().map(|folder| folder.display().to_string());
    let folders: Vec<String> = folders.collect();
    let folders = folders.iter().map(String::as_str);
    let all: Vec<&str> = arguments.iter().copied().chain(folders).collect();
    run("blackstart", &all)
}

#[test]
fn every_outage_is_as_expected() {
    let project = project();
    let beside = project.parent().expect("a folder").join("shared/scenarios");
    let mut all = folders(&project.join("tests/scenarios"));
    all.extend(folders(&beside));
    // At once: one after the other would take the sum of their times.
    let unmet: Vec<String> = std::thread::scope(|threads| {
        let test = |folder| move || blackstart(&["test"], &[folder]);
        let running: Vec<_> = all
            .into_iter()
            .map(|one| threads.spawn(test(one)))
            .collect();
        let outputs = running
            .into_iter()
            .map(|one| one.join().expect("a test of a scenario ends"));
        outputs
            .filter(|output| output.status.code() != Some(0))
            .map(|output| out(&output) + &err(&output))
            .collect()
    });
    assert!(unmet.is_empty(), "{}", unmet.concat());
}

#[test]
fn a_replay_of_the_same_folder_gives_the_same_bytes() {
    let folder = [project().join("tests/scenarios/cloud-iam-2024")];
    let arguments = [
        "replay",
        "--format",
        "json",
        "--every",
        "10m",
        "--conditions",
    ];
    let replay = || blackstart(&arguments, &folder);
    let (first, again) = std::thread::scope(|threads| {
        let other = threads.spawn(replay);
        (replay(), other.join().expect("a replay ends"))
    });
    assert_eq!(first.status.code(), Some(0), "{}", err(&first));
    assert!(first.stdout == again.stdout, "two replays differ");
    let last = out(&first).lines().last().unwrap_or_default().to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).expect("a line is an object");
    assert!(last["components"]["dhcp"].is_string(), "{last}");
    for key in ["at", "incident", "hypotheses", "conditions", "recovery"] {
        assert!(!last[key].is_null(), "{key} of {last}");
    }
}

#[test]
fn a_replay_tells_what_changed_between_two_periods_and_the_end() {
    let home = TempHome::new("replay");
    let seen = |at: &str, status: &str| {
        format!(
            r#"{{"at":"2019-01-24T{at}Z","type":"observation","agent":"h","check":"x","status":"{status}","ttl_s":3600}}"#
        )
    };
    // Blank lines are nothing, wherever they stand.
    let events = [
        "",
        &seen("12:00:00", "ok"),
        "",
        &seen("12:01:03", "failed"),
        r#"{"at":"2019-01-24T12:11:00Z","type":"tick"}"#,
    ]
    .join("\n");
    let folder = scenario(&home, "one", TOPOLOGY, &events, "");
    let said = |arguments: &[&str]| -> Vec<(String, String)> {
        let output = blackstart(arguments, std::slice::from_ref(&folder));
        assert_eq!(output.status.code(), Some(0), "{}", err(&output));
        let lines = out(&output);
        let lines = lines.lines().map(|line| {
            let line: serde_json::Value = serde_json::from_str(line).expect("an object a line");
            let word = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            (
                word(&line["at"])[11..19].to_owned(),
                word(&line["incident"]["state"]),
            )
        });
        lines.collect()
    };
    let pair = |(at, state): (&str, &str)| (at.to_owned(), state.to_owned());
    // What fails has a cause at once; an incident opens when it stays so.
    let changes = [
        ("12:00:00", "none"),
        ("12:01:10", "none"),
        ("12:01:20", "open"),
        ("12:11:00", "open"),
    ];
    assert_eq!(said(&["replay", "--format", "json"]), changes.map(pair));
    let with_periods = [
        ("12:00:00", "none"),
        ("12:01:10", "none"),
        ("12:01:20", "open"),
        ("12:04:05", "open"),
        ("12:08:10", "open"),
        ("12:11:00", "open"),
    ];
    assert_eq!(
        said(&["replay", "--format", "json", "--every", "245s"]),
        with_periods.map(pair)
    );
}

const TOPOLOGY: &str = "[component.h]\nkind = \"host\"\n";
const TICK: &str = r#"{"at":"2019-01-24T12:00:00Z","type":"tick"}"#;

fn scenario(home: &TempHome, name: &str, topology: &str, events: &str, expect: &str) -> PathBuf {
    let folder = home.join(name);
    std::fs::create_dir_all(&folder).expect("a test can write its own folder");
    for (name, text) in [
        ("topology.toml", topology),
        ("events.jsonl", events),
        ("expect.toml", expect),
    ] {
        std::fs::write(folder.join(name), text).expect("a test can write its own folder");
    }
    folder
}

#[test]
fn what_is_not_met_or_wrong_is_named_and_ends_with_its_code() {
    let home = TempHome::new("scenarios");
    let unmet = "[[expect]]\nat = \"2019-01-24T12:00:00Z\"\ncondition = { h = \"up\" }\n";
    let typo = "[[expect]]\nat = \"2019-01-24T12:00:00Z\"\nroot_cuase = [\"h\"]\n";
    let stranger = r#"{"at":"2019-01-24T12:00:00Z","type":"gone","component":"nobody"}"#;
    let cases = [
        (
            "unmet",
            TOPOLOGY,
            TICK,
            unmet,
            1,
            "condition of h: expected up, found unknown",
        ),
        (
            "typo",
            TOPOLOGY,
            TICK,
            typo,
            78,
            "unknown field `root_cuase`",
        ),
        ("cut", TOPOLOGY, "{\"at\":", "", 78, "events.jsonl line 1: "),
        (
            "stranger",
            TOPOLOGY,
            &format!("{TICK}\n{stranger}"),
            unmet,
            78,
            "events.jsonl line 2: no component \"nobody\"",
        ),
        (
            "kind",
            "[component.h]\nkind = \"hots\"\n",
            TICK,
            "",
            78,
            "topology.toml",
        ),
    ];
    for (name, topology, events, expect, code, words) in cases {
        let folder = scenario(&home, name, topology, events, expect);
        let output = blackstart(&["test"], &[folder]);
        let said = out(&output) + &err(&output);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
    }
    let nowhere = blackstart(&["replay"], &[home.join("nowhere")]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", err(&nowhere));
    assert!(err(&nowhere).contains("a scenario is a folder with topology.toml and events.jsonl"));
}
