//! What the engine decides, from events as a capture holds them.

use super::*;
use std::time::Duration;

use crate::{Event, EventKind, IncidentState, Status};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn engine(topology: &str) -> Engine {
    Engine::new(Topology::parse("t.toml", topology).unwrap(), at(0))
}

fn see(engine: &mut Engine, seconds: i64, vantage: &str, component: &str, status: Status) {
    let slot = engine.slot(component, "test", vantage).unwrap();
    let sample = Sample {
        sampled_at: at(seconds),
        status,
        progress: None,
        detail: Some("said so"),
        values: &[],
    };
    engine.observe(at(seconds), slot, &sample, &mut Changes::default());
}

fn happen(engine: &mut Engine, seconds: i64, kind: EventKind) -> Changes {
    let mut changes = Changes::default();
    let event = Event {
        at: at(seconds),
        kind,
    };
    engine.apply(&event, &mut changes).unwrap();
    changes
}

fn condition(engine: &Engine, id: &str) -> Condition {
    engine.find(id).unwrap().condition()
}

const CHAIN: &str = r#"
[component.h]
kind = "host"
[component.h2]
kind = "host"
[component.db]
kind = "database"
in = "h"
[component.app]
kind = "app"
in = "h2"
needs = ["db"]
uses = ["cache"]
[component.cache]
kind = "cache"
in = "h2"
"#;

#[test]
fn what_needs_something_broken_is_blocked_and_says_by_what() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 1, "h", "db", Status::Failed);
    see(&mut engine, 1, "h2", "app", Status::Failed);
    assert_eq!(condition(&engine, "db"), Condition::Down);
    assert_eq!(condition(&engine, "app"), Condition::Blocked);
    assert_eq!(
        engine.find("app").unwrap().reason(),
        "needs db, which is down"
    );
    let why = engine.why("app").unwrap();
    let chain: Vec<_> = why
        .steps
        .iter()
        .map(|step| (step.depth, engine.component(step.component).unwrap().id()))
        .collect();
    assert_eq!(chain, [(0, "app"), (1, "db")]);
}

#[test]
fn a_lost_use_degrades_and_does_not_block() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 1, "h2", "app", Status::Ok);
    see(&mut engine, 1, "h2", "cache", Status::Failed);
    assert_eq!(condition(&engine, "app"), Condition::Degraded);
    assert_eq!(
        engine.find("app").unwrap().reason(),
        "uses cache, which is down"
    );
}

#[test]
fn silence_turns_dependants_unknown_not_down() {
    let mut engine = engine(CHAIN);
    happen(
        &mut engine,
        0,
        EventKind::AgentConnected {
            agent: "h".into(),
            boot_id: "b".into(),
            uptime_s: 1.0,
            clean_shutdown: None,
        },
    );
    see(&mut engine, 1, "h", "db", Status::Ok);
    assert_eq!(condition(&engine, "h"), Condition::Up);
    happen(&mut engine, 2, EventKind::AgentLost { agent: "h".into() });
    assert_eq!(condition(&engine, "h"), Condition::Unknown);
    assert_eq!(condition(&engine, "db"), Condition::Unknown);
    assert_eq!(condition(&engine, "app"), Condition::Unknown);
    assert_eq!(engine.find("h").unwrap().reason(), "its agent is silent");
}

#[test]
fn an_observation_ends_with_its_time_to_live() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 0, "h", "db", Status::Ok);
    assert_eq!(engine.next_deadline(), Some(at(60)));
    engine.advance(at(59));
    assert_eq!(condition(&engine, "db"), Condition::Up);
    engine.advance(at(60));
    assert_eq!(condition(&engine, "db"), Condition::Unknown);
}

#[test]
fn late_news_never_overrides_newer() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 10, "h", "db", Status::Ok);
    let slot = engine.slot("db", "test", "h").unwrap();
    let late = Sample {
        sampled_at: at(5),
        status: Status::Failed,
        progress: None,
        detail: None,
        values: &[],
    };
    engine.observe(at(11), slot, &late, &mut Changes::default());
    assert_eq!(condition(&engine, "db"), Condition::Up);
}

#[test]
fn a_group_is_lost_only_when_too_few_can_be_left() {
    let mut engine = engine(
        r#"
[component."m-{1..3}"]
kind = "etcd-member"
[component.c]
kind = "etcd-cluster"
needs = [{ at_least = 2, of = ["m-{1..3}"] }]
[component.v]
kind = "host"
"#,
    );
    see(&mut engine, 1, "v", "c", Status::Failed);
    see(&mut engine, 1, "v", "m-1", Status::Failed);
    assert_eq!(
        condition(&engine, "c"),
        Condition::Down,
        "one lost, two not known: two may be there"
    );
    see(&mut engine, 1, "v", "m-2", Status::Failed);
    assert_eq!(condition(&engine, "c"), Condition::Blocked);
    see(&mut engine, 1, "v", "m-3", Status::Failed);
    assert_eq!(condition(&engine, "c"), Condition::Blocked);
    assert_eq!(condition(&engine, "m-3"), Condition::Down);
}

const TWO_SIDES: &str = r#"
[component.dc-1]
kind = "datacenter"
reached_via = ["uplink-1"]
[component.dc-2]
kind = "datacenter"
[component.uplink-1]
kind = "link"
in = "dc-1"
[component.a]
kind = "host"
in = "dc-1"
[component.b]
kind = "host"
in = "dc-2"
[component.svc]
kind = "service"
in = "dc-1"
[component.far]
kind = "app"
in = "dc-2"
needs = ["svc"]
"#;

#[test]
fn what_fails_only_through_a_lost_path_is_unreachable() {
    let mut engine = engine(TWO_SIDES);
    see(&mut engine, 1, "b", "svc", Status::Failed);
    assert_eq!(condition(&engine, "svc"), Condition::Down);
    see(&mut engine, 2, "a", "uplink-1", Status::Failed);
    assert_eq!(condition(&engine, "svc"), Condition::Unreachable);
    see(&mut engine, 3, "b", "far", Status::Failed);
    assert_eq!(condition(&engine, "far"), Condition::Blocked);
}

#[test]
fn a_need_elsewhere_includes_the_path_to_it() {
    let mut engine = engine(TWO_SIDES);
    see(&mut engine, 1, "a", "uplink-1", Status::Failed);
    see(&mut engine, 1, "a", "svc", Status::Failed);
    assert_eq!(
        condition(&engine, "svc"),
        Condition::Down,
        "seen from inside: no path in the way"
    );
    see(&mut engine, 2, "a", "svc", Status::Ok);
    see(&mut engine, 2, "b", "far", Status::Failed);
    assert_eq!(condition(&engine, "far"), Condition::Blocked);
    assert_eq!(
        engine.find("far").unwrap().reason(),
        "needs svc, and uplink-1 on the way there is down"
    );
}

#[test]
fn the_phases_ask_for_different_needs() {
    let mut engine = engine(
        "[component.v]\nkind = \"host\"\n[component.reg]\nkind = \"service\"\n[component.pod]\nkind = \"app\"\nneeds_to_start = [\"reg\"]\n",
    );
    see(&mut engine, 1, "v", "pod", Status::Ok);
    see(&mut engine, 2, "v", "reg", Status::Failed);
    see(&mut engine, 3, "v", "pod", Status::Failed);
    assert_eq!(
        condition(&engine, "pod"),
        Condition::Down,
        "it was running: what it needs to start does not explain it"
    );
    see(&mut engine, 4, "v", "pod", Status::Starting);
    assert_eq!(condition(&engine, "pod"), Condition::Blocked);
    see(&mut engine, 5, "v", "pod", Status::Failed);
    assert_eq!(condition(&engine, "pod"), Condition::Blocked);
}

#[test]
fn an_old_failure_waits_for_a_fresh_look_when_the_need_is_back() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 1, "h", "db", Status::Failed);
    see(&mut engine, 1, "h2", "app", Status::Failed);
    see(&mut engine, 5, "h", "db", Status::Ok);
    assert_eq!(condition(&engine, "app"), Condition::Blocked);
    assert_eq!(
        engine.find("app").unwrap().reason(),
        "what it needs is back; waiting for a fresh look"
    );
    see(&mut engine, 9, "h2", "app", Status::Failed);
    assert_eq!(condition(&engine, "app"), Condition::Down);
}

#[test]
fn a_cycle_does_not_keep_itself_blocked() {
    let mut engine = engine(
        "[component.v]\nkind = \"host\"\n[component.a]\nkind = \"app\"\nneeds = [\"b\", \"a\"]\n[component.b]\nkind = \"app\"\nneeds = [\"a\", \"c\"]\n[component.c]\nkind = \"app\"\n",
    );
    see(&mut engine, 1, "v", "c", Status::Failed);
    assert_eq!(
        (condition(&engine, "a"), condition(&engine, "b")),
        (Condition::Blocked, Condition::Blocked)
    );
    see(&mut engine, 2, "v", "c", Status::Ok);
    assert_eq!(
        (condition(&engine, "a"), condition(&engine, "b")),
        (Condition::Unknown, Condition::Unknown)
    );
}

#[test]
fn a_host_stopped_in_order_is_down_and_no_incident() {
    let mut engine = engine(CHAIN);
    happen(
        &mut engine,
        0,
        EventKind::AgentConnected {
            agent: "h".into(),
            boot_id: "b".into(),
            uptime_s: 1.0,
            clean_shutdown: None,
        },
    );
    see(&mut engine, 1, "h", "db", Status::Ok);
    happen(
        &mut engine,
        2,
        EventKind::AgentStopping {
            agent: "h".into(),
            reason: "host shuts down".into(),
        },
    );
    happen(&mut engine, 3, EventKind::AgentLost { agent: "h".into() });
    assert_eq!(
        (condition(&engine, "h"), condition(&engine, "db")),
        (Condition::Down, Condition::Blocked)
    );
    engine.advance(at(100));
    assert_eq!(engine.incident(), None);
}

#[test]
fn an_incident_opens_after_a_period_and_closes_with_the_baseline() {
    let mut engine = engine(CHAIN);
    for second in [0, 10] {
        see(&mut engine, second, "h", "db", Status::Ok);
        see(&mut engine, second, "h2", "app", Status::Ok);
    }
    see(&mut engine, 20, "h2", "app", Status::Failed);
    see(&mut engine, 22, "h", "db", Status::Failed);
    assert_eq!(engine.incident(), None);
    see(&mut engine, 36, "h", "db", Status::Failed);
    see(&mut engine, 37, "h2", "app", Status::Failed);
    let incident = engine.incident().unwrap();
    assert_eq!(
        (incident.state, incident.opened),
        (IncidentState::Open, at(20))
    );
    assert_eq!(
        incident.failed.iter().collect::<Vec<_>>(),
        ["db"],
        "the dependant that failed first did not win"
    );
    see(&mut engine, 40, "h", "db", Status::Ok);
    assert_eq!(engine.incident().unwrap().state, IncidentState::Recovering);
    see(&mut engine, 41, "h2", "app", Status::Ok);
    engine.advance(at(56));
    assert_eq!(engine.incident().unwrap().state, IncidentState::Resolved);
}

#[test]
fn a_saved_engine_goes_on_as_if_nothing_had_been() {
    let mut engine = engine(CHAIN);
    happen(
        &mut engine,
        0,
        EventKind::AgentConnected {
            agent: "h".into(),
            boot_id: "b".into(),
            uptime_s: 1.0,
            clean_shutdown: None,
        },
    );
    see(&mut engine, 1, "h", "db", Status::Failed);
    see(&mut engine, 1, "h2", "app", Status::Failed);
    see(&mut engine, 1, "h2", "new/thing", Status::Ok);
    let bytes = engine.save();
    let mut again = Engine::load(&bytes, Topology::parse("t.toml", CHAIN).unwrap()).unwrap();
    assert_eq!(
        String::from_utf8(again.save()).unwrap(),
        String::from_utf8(bytes).unwrap()
    );
    for engine in [&mut engine, &mut again] {
        see(engine, 30, "h", "db", Status::Ok);
        see(engine, 31, "h2", "app", Status::Ok);
    }
    assert_eq!(again.save(), engine.save());
    assert_eq!(again.counts(), engine.counts());
}

#[test]
fn a_damaged_snapshot_is_refused() {
    assert!(matches!(
        Engine::load(b"{", Topology::empty()),
        Err(LoadError::Damaged(_))
    ));
    let other = br#"{"version":9,"now":"1970-01-01T00:00:00.000Z","nodes":[],"slots":[],"tracker":{"incident":null,"broken":[],"missing":0,"pending":{"first":null,"back_since":null},"began":null,"joined":[]}}"#;
    assert!(matches!(
        Engine::load(other, Topology::empty()),
        Err(LoadError::Version { found: 9 })
    ));
}

#[test]
fn another_topology_keeps_the_evidence() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 1, "h", "db", Status::Failed);
    let changes = engine.replace_topology(
        Topology::parse("t.toml", "[component.db]\nkind = \"database\"\n").unwrap(),
        at(2),
    );
    assert!(changes.topology);
    assert_eq!(condition(&engine, "db"), Condition::Down);
    assert!(engine.find("app").is_none());
}

fn connect(engine: &mut Engine, seconds: i64, agent: &str) {
    happen(
        engine,
        seconds,
        EventKind::AgentConnected {
            agent: agent.into(),
            boot_id: "b".into(),
            uptime_s: 1.0,
            clean_shutdown: None,
        },
    );
}

fn restart(engine: &mut Engine, seconds: i64, watched_until: i64) -> Changes {
    let watched_until = at(watched_until);
    happen(
        engine,
        seconds,
        EventKind::AggregatorRestarted { watched_until },
    )
}

#[test]
fn a_restart_of_the_aggregator_shows_its_gap_and_alarms_nobody() {
    let mut engine = engine(CHAIN);
    connect(&mut engine, 0, "h");
    see(&mut engine, 50, "h", "db", Status::Ok);
    see(&mut engine, 90, "h2", "app", Status::Ok);
    let changes = restart(&mut engine, 100, 95);
    let host = engine.find("h").unwrap();
    assert!(changes.components.contains(&host.ix()));
    assert_eq!(
        (host.condition(), host.since()),
        (Condition::Unknown, at(95))
    );
    assert_eq!(
        host.reason(),
        "its agent has not returned since the aggregator's restart"
    );
    assert_eq!(
        condition(&engine, "db"),
        Condition::Up,
        "it holds for its time"
    );
    engine.advance(at(110));
    assert_eq!(condition(&engine, "db"), Condition::Unknown);
    engine.advance(at(140));
    assert_eq!(engine.incident(), None);
    connect(&mut engine, 141, "h");
    assert_eq!(condition(&engine, "h"), Condition::Up);
}

#[test]
fn an_agent_that_does_not_return_after_a_restart_is_silent_in_the_end() {
    let mut engine = engine(CHAIN);
    connect(&mut engine, 0, "h");
    engine.advance(at(1));
    restart(&mut engine, 100, 95);
    happen(&mut engine, 120, EventKind::AgentLost { agent: "h".into() });
    assert_eq!(engine.find("h").unwrap().reason(), "its agent is silent");
    engine.advance(at(135));
    let incident = engine.incident().unwrap();
    assert_eq!(incident.opened, at(120), "nobody knew before");
}

#[test]
fn an_open_incident_goes_on_through_a_restart_and_is_not_over_while_nobody_watched() {
    let mut engine = engine(CHAIN);
    connect(&mut engine, 0, "h");
    see(&mut engine, 1, "h2", "cache", Status::Ok);
    see(&mut engine, 10, "h2", "cache", Status::Failed);
    engine.advance(at(25));
    let id = engine.incident().unwrap().id.clone();
    see(&mut engine, 60, "h2", "cache", Status::Ok);
    restart(&mut engine, 100, 61);
    let incident = engine.incident().unwrap();
    assert_eq!(
        (&incident.id, incident.state),
        (&id, IncidentState::Recovering),
        "all was back for a second; then nobody looked"
    );
    connect(&mut engine, 101, "h");
    see(&mut engine, 110, "h2", "cache", Status::Ok);
    engine.advance(at(116));
    assert_eq!(engine.incident().unwrap().state, IncidentState::Resolved);
}

#[test]
fn an_answer_with_a_shorter_time_to_live_ends_by_its_own() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 0, "h", "db", Status::Ok);
    let slot = engine.slot("db", "test", "h").unwrap();
    engine.define(slot, Duration::from_secs(5), &[]);
    see(&mut engine, 1, "h", "db", Status::Ok);
    assert_eq!(engine.next_deadline(), Some(at(6)));
    engine.advance(at(6));
    assert_eq!(condition(&engine, "db"), Condition::Unknown);
}

#[test]
fn a_topology_may_lose_a_component_and_the_engine_is_saved_and_replaced_again() {
    let mut engine = engine(CHAIN);
    see(&mut engine, 1, "h", "db", Status::Failed);
    see(&mut engine, 1, "h2", "app", Status::Failed);
    let without_app = "[component.db]\nkind = \"database\"\n";
    let topology = || Topology::parse("t.toml", without_app).unwrap();
    engine.replace_topology(topology(), at(2));
    let again = Engine::load(&engine.save(), topology()).unwrap();
    assert_eq!(again.save(), engine.save());
    engine.replace_topology(Topology::parse("t.toml", CHAIN).unwrap(), at(3));
    let conditions = ["db", "app"].map(|id| condition(&engine, id));
    assert_eq!(conditions, [Condition::Down, Condition::Blocked]);
    let app = engine.why("app").unwrap().steps.remove(0);
    assert_eq!(app.evidence, [], "what was seen of it went with it");
}

#[test]
fn what_an_agent_told_of_its_host_outlives_a_restart() {
    let mut engine = engine(CHAIN);
    let labels = [("os".to_owned(), "debian-12".to_owned())].into();
    let agent = "h".to_owned();
    happen(&mut engine, 1, EventKind::Facts { agent, labels });
    let again = Engine::load(&engine.save(), Topology::parse("t.toml", CHAIN).unwrap()).unwrap();
    let labels = again.find("h").unwrap().labels();
    assert_eq!(labels.get("os"), Some(&"debian-12"));
}

#[test]
fn a_reboot_puts_what_is_on_the_host_back_in_its_start_phase() {
    let mut engine = engine(
        "[component.h]\nkind = \"host\"\n[component.reg]\nkind = \"service\"\n[component.pod]\nkind = \"app\"\nin = \"h\"\nneeds_to_start = [\"reg\"]\n[component.v]\nkind = \"host\"\n",
    );
    let connected = |boot_id: &str| EventKind::AgentConnected {
        agent: "h".into(),
        boot_id: boot_id.into(),
        uptime_s: 1.0,
        clean_shutdown: None,
    };
    happen(&mut engine, 0, connected("first"));
    see(&mut engine, 1, "h", "pod", Status::Ok);
    see(&mut engine, 2, "v", "reg", Status::Failed);
    see(&mut engine, 3, "h", "pod", Status::Failed);
    assert_eq!(condition(&engine, "pod"), Condition::Down);
    happen(&mut engine, 4, connected("first"));
    assert_eq!(condition(&engine, "pod"), Condition::Down, "the same boot");
    happen(&mut engine, 5, connected("second"));
    assert_eq!(condition(&engine, "pod"), Condition::Blocked);
}

#[test]
fn what_is_in_something_that_moved_is_looked_at_from_where_it_is_now() {
    let mut engine = engine("[component.v]\nkind = \"host\"\n");
    let found = |id: &str, container: Option<&str>| EventKind::Discovered {
        agent: "h".into(),
        components: vec![crate::DiscoveredComponent {
            id: id.into(),
            kind: "vm".into(),
            container: container.map(str::to_owned),
            uses: Vec::new(),
            labels: BTreeMap::new(),
        }],
    };
    happen(&mut engine, 1, found("box", None));
    happen(&mut engine, 1, found("in-the-box", Some("box")));
    see(&mut engine, 2, "h", "in-the-box", Status::Failed);
    see(&mut engine, 2, "v", "in-the-box", Status::Ok);
    let seen = condition(&engine, "in-the-box");
    assert_eq!(seen, Condition::Up, "both look from outside");
    happen(&mut engine, 3, found("box", Some("h")));
    let seen = condition(&engine, "in-the-box");
    assert_eq!(seen, Condition::Down, "its own host sees it fail");
}

#[test]
fn values_are_those_of_one_observation_of_each_check() {
    let mut engine = engine(CHAIN);
    for (second, vantage, value) in [(1, "h", 1.0), (2, "h2", 2.0), (3, "v", 3.0)] {
        let slot = engine.slot("db", "tcp", vantage).unwrap();
        engine.define(slot, Duration::from_secs(60), &["rtt_ms".to_owned()]);
        let sample = Sample {
            sampled_at: at(second),
            status: Status::Ok,
            progress: None,
            detail: None,
            values: &[value],
        };
        engine.observe(at(second), slot, &sample, &mut Changes::default());
    }
    let values = |engine: &Engine| {
        let component = engine.find("db").unwrap();
        component
            .values()
            .map(|(_, _, value)| value)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        values(&engine),
        [1.0],
        "from inside, though others are newer"
    );
    happen(&mut engine, 4, EventKind::AgentLost { agent: "h".into() });
    assert_eq!(values(&engine), [3.0], "then the newest");
}
