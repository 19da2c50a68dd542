//! What is missed is asked for, within bounds.

use tempfile::TempDir;

use super::*;
use crate::host::{HostView, Listener};

const WEEK: Duration = Duration::from_secs(7 * 86_400);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);

/// What a look at a host finds on which these processes listen.
fn look(processes: &[(&str, u16)]) -> Vec<Configured> {
    let view = HostView {
        root: "/nonexistent".into(),
        listening: processes
            .iter()
            .map(|(process, port)| Listener {
                address: ([127, 0, 0, 1], *port).into(),
                process: Some((*process).to_owned()),
                pid: Some(7),
                arguments: Vec::new(),
            })
            .collect(),
        ..HostView::default()
    };
    super::super::discover(&view, "h")
}

fn components(memory: &Memory) -> Vec<String> {
    let probes = memory.probes();
    probes.into_iter().map(|probe| probe.component).collect()
}

#[test]
fn a_server_that_died_is_asked_for_over_a_restart_and_not_for_ever() {
    let folder = TempDir::new().unwrap();
    let mut memory = Memory::default();
    let servers = [("etcd", 2379), ("postgres", 5432), ("beam.smp", 5672)];
    assert!(memory.learn(look(&servers), Duration::ZERO, WEEK));
    assert!(!memory.learn(look(&servers), MINUTE, WEEK), "nothing new");
    memory.snapshot(folder.path()).write().unwrap();

    let mut memory = Memory::load(folder.path(), "h").unwrap();
    let all = ["h", "h/etcd:2379", "h/postgres:5432", "h/rabbitmq:5672"];
    assert_eq!(
        components(&memory),
        all[1..],
        "what leaves a trace is known before any look"
    );
    memory.learn(look(&[]), Duration::ZERO, WEEK);
    assert_eq!(
        (components(&memory).as_slice(), memory.missed()),
        (&all.map(str::to_owned)[..], 3)
    );
    for _ in 0..24 {
        assert!(!memory.learn(look(&[]), HOUR, WEEK));
    }
    assert!(
        memory.learn(look(&[]), HOUR, WEEK),
        "it was seen for a minute and missed for a day"
    );
    assert_eq!(components(&memory), ["h"]);
}

#[test]
fn what_was_there_for_long_is_missed_for_long_and_at_most_as_configured() {
    for (seen_h, forget_after, missed_h) in [
        (1, WEEK, 24),
        (48, WEEK, 48),
        (999, WEEK, 168),
        (999, HOUR * 2, 2),
    ] {
        let mut memory = Memory::default();
        memory.learn(look(&[("etcd", 2379)]), Duration::ZERO, forget_after);
        for _ in 0..seen_h {
            memory.learn(look(&[("etcd", 2379)]), HOUR, forget_after);
        }
        let mut missed = 0;
        while components(&memory).len() > 1 {
            memory.learn(look(&[]), HOUR, forget_after);
            missed += 1;
        }
        assert_eq!(missed, missed_h + 1, "seen for {seen_h} h");
    }
}

#[test]
fn a_server_that_returns_is_the_same_probe_and_counts_anew() {
    let mut memory = Memory::default();
    memory.learn(look(&[("etcd", 2379)]), Duration::ZERO, WEEK);
    memory.learn(look(&[]), HOUR, WEEK);
    let before = memory.probes();
    assert!(!memory.learn(look(&[("etcd", 2379)]), HOUR, WEEK));
    assert_eq!(memory.missed(), 0);
    for (old, new) in before.iter().zip(memory.probes()) {
        assert!(
            std::sync::Arc::ptr_eq(&old.probe, &new.probe),
            "{old:?} goes on"
        );
    }
}

#[test]
fn what_leaves_no_trace_is_gone_when_it_is_gone() {
    let resolver = |resolvers: &[&str]| {
        let view = HostView {
            root: "/nonexistent".into(),
            resolvers: resolvers.iter().map(|text| text.parse().unwrap()).collect(),
            ..HostView::default()
        };
        super::super::discover(&view, "h")
    };
    let mut memory = Memory::default();
    memory.learn(resolver(&["10.0.0.2"]), Duration::ZERO, WEEK);
    assert_eq!(components(&memory), ["h", "resolver:10.0.0.2"]);
    for _ in 1..LOOKS_MISSED_MAX {
        memory.learn(resolver(&[]), MINUTE, WEEK);
        assert_eq!(components(&memory), ["h", "resolver:10.0.0.2"]);
    }
    memory.learn(resolver(&[]), MINUTE, WEEK);
    assert_eq!(components(&memory), ["h"]);
}

#[test]
fn what_is_ignored_is_forgotten_at_once() {
    let mut memory = Memory::default();
    memory.learn(look(&[("etcd", 2379)]), Duration::ZERO, WEEK);
    memory.forget(&["h/etcd:2379".to_owned()]);
    assert_eq!(components(&memory), ["h"]);
}

#[test]
fn a_file_that_is_no_memory_is_told_and_forgotten_names_are_found_anew() {
    let folder = TempDir::new().unwrap();
    assert!(components(&Memory::load(folder.path(), "h").unwrap()).is_empty());
    fs::write(folder.path().join(NAME), "{\"components\": 7}").unwrap();
    let error = Memory::load(folder.path(), "h").unwrap_err().to_string();
    assert!(
        error.contains("discovered.json is not what an agent wrote there"),
        "{error}"
    );
    let strange = r#"{"components":[
        {"component":"x","kind":"no.such","trace":"a","seen_s":1,"missed_s":0,"last_seen_us":0},
        {"component":"x","kind":"etcd.member","trace":"not a url","seen_s":1,"missed_s":0,"last_seen_us":0}]}"#;
    fs::write(folder.path().join(NAME), strange).unwrap();
    assert!(components(&Memory::load(folder.path(), "h").unwrap()).is_empty());
}

#[test]
fn every_trace_makes_the_probe_that_left_it() {
    let servers = [
        ("etcd", 2379),
        ("etcd", 12379),
        ("postgres", 5432),
        ("beam.smp", 5672),
    ];
    for found in look(&servers)
        .into_iter()
        .filter(|found| found.trace.is_some())
    {
        let trace = found.trace.clone().unwrap();
        let again = found.kind.recall.unwrap()(&trace, "h").unwrap();
        let again = Configured::discovered(found.kind, again);
        assert!(again.is_same(&found), "{trace}: {again:?}");
    }
}
