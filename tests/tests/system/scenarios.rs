//! `blackstart test` and `blackstart replay`: real outages, and what is said of folders that are none.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use blackstart_tests::{TempHome, binary};

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

fn run(command: &str, arguments: &[&str], folders: &[PathBuf]) -> Output {
    Command::new(binary("blackstart"))
        .arg(command)
        .args(folders)
        .args(arguments)
        .output()
        .expect("our own program runs")
}

fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn every_outage_that_we_come_from_is_as_expected() {
    let output = run("test", &[], &folders(&project().join("tests/scenarios")));
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
}

#[test]
fn every_shared_outage_is_as_expected() {
    let beside = project()
        .parent()
        .expect("a folder")
        .join("shared/scenarios");
    let output = run("test", &[], &folders(&beside));
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        out(&output),
        err(&output)
    );
}

#[test]
fn a_replay_of_the_same_folder_gives_the_same_bytes() {
    let folder = [project().join("tests/scenarios/scalingo-2019")];
    let arguments = ["--format", "json", "--every", "10m", "--conditions"];
    let (first, again) = (
        run("replay", &arguments, &folder),
        run("replay", &arguments, &folder),
    );
    assert_eq!(first.status.code(), Some(0), "{}", err(&first));
    assert!(first.stdout == again.stdout, "two replays differ");
    let last = out(&first).lines().last().unwrap_or_default().to_owned();
    let last: serde_json::Value = serde_json::from_str(&last).expect("a line is an object");
    assert!(last["components"]["feed-a"].is_string(), "{last}");
    for key in ["at", "incident", "hypotheses", "conditions", "recovery"] {
        assert!(!last[key].is_null(), "{key} of {last}");
    }
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
        let output = run("test", &[], &[folder]);
        let said = out(&output) + &err(&output);
        assert_eq!(output.status.code(), Some(code), "{name}: {said}");
        assert!(said.contains(words), "{name}: {said}");
    }
    let nowhere = run("replay", &[], &[home.join("nowhere")]);
    assert_eq!(nowhere.status.code(), Some(2), "{}", err(&nowhere));
    assert!(err(&nowhere).contains("a scenario is a folder with topology.toml and events.jsonl"));
}
