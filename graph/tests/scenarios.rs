//! Real outages, replayed: at the moments that their expectations name, the engine has the conditions that they name.
//!
//! The scenarios are data: ours in `tests/scenarios`, and others beside the checkout, in `../shared/scenarios`. Each is a folder
//! with `topology.toml`, `events.jsonl` and `expect.toml`. What else an expectation asks for (root causes, recovery) is not looked at here.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on ends"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use blackstart_graph::{Changes, Engine, Event, Timestamp, Topology};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expectations {
    expect: Vec<Expectation>,
}

#[derive(Deserialize)]
struct Expectation {
    at: String,
    #[serde(default)]
    condition: BTreeMap<String, String>,
}

fn scenarios() -> Vec<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let beside = project.parent().unwrap().join("shared/scenarios");
    let mut found = in_folder(&project.join("tests/scenarios"));
    found.extend(in_folder(&beside));
    found
}

fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("scenarios are expected in {}: {error}", folder.display()));
    let mut found: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("expect.toml").exists())
        .collect();
    found.sort();
    assert!(!found.is_empty(), "no scenario in {}", folder.display());
    found
}

fn read(folder: &Path, name: &str) -> String {
    let path = folder.join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// How many conditions were looked at, and those that are not as expected.
fn replay(folder: &Path) -> (usize, Vec<String>) {
    let name = folder.file_name().unwrap().to_string_lossy();
    let topology = read(folder, "topology.toml");
    let topology = Topology::parse("topology.toml", &topology).unwrap();
    let expectations: Expectations = toml::from_str(&read(folder, "expect.toml")).unwrap();
    let events = read(folder, "events.jsonl");
    let mut events = events
        .lines()
        .enumerate()
        .map(|(line, text)| match serde_json::from_str::<Event>(text) {
            Ok(event) => event,
            Err(error) => panic!("{name} line {}: {error}", line + 1),
        })
        .peekable();
    let mut engine = Engine::new(topology, events.peek().unwrap().at);
    let (mut looked, mut wrong) = (0, Vec::new());
    for expectation in &expectations.expect {
        let at = Timestamp::parse(&expectation.at).unwrap();
        while let Some(event) = events.next_if(|event| event.at <= at) {
            let refused = engine.apply(&event, &mut Changes::default());
            assert_eq!(refused, Ok(()), "{name}: {event:?}");
        }
        engine.advance(at);
        for (id, expected) in &expectation.condition {
            looked += 1;
            let component = engine.find(id).unwrap();
            let found = component.condition().as_str();
            if found != expected {
                let reason = component.reason();
                wrong.push(format!(
                    "{name} at {at}: {id} is expected to be {expected}, is {found}: {reason}"
                ));
            }
        }
    }
    (looked, wrong)
}

#[test]
fn every_condition_is_as_the_scenarios_expect() {
    let (mut looked, mut wrong) = (0, Vec::new());
    for folder in scenarios() {
        let (count, unmet) = replay(&folder);
        looked += count;
        wrong.extend(unmet);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(looked > 0, "no scenario expects a condition");
}
