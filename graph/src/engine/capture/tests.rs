//! An engine that takes the state of another as events says what that one says.

use super::*;
use crate::{Changes, Topology};

const TOPOLOGY: &str = r#"
[component.room]
kind = "room"
[component."h{1..3}"]
kind = "host"
in = "room"
[component.dns]
kind = "dns"
in = "h1"
[component."api-{1..3}"]
kind = "service"
in = "h{n}"
needs = ["dns"]
"#;

fn topology() -> Topology {
    Topology::parse("t.toml", TOPOLOGY).unwrap()
}

fn second(at: i64) -> Timestamp {
    Timestamp::from_micros(at * 1_000_000)
}

struct World(Engine);

impl World {
    fn apply(&mut self, at: i64, kind: EventKind) {
        let event = Event {
            at: second(at),
            kind,
        };
        self.0.apply(&event, &mut Changes::default()).unwrap();
    }

    fn look(&mut self, at: i64, agent: &str, component: &str, status: Status) {
        let kind = EventKind::Observation {
            agent: agent.to_owned(),
            component: Some(component.to_owned()),
            check: "tcp.connect".to_owned(),
            status,
            progress: None,
            detail: status.as_str().to_owned(),
            values: BTreeMap::from([("rtt_ms".to_owned(), 0.5)]),
            sampled_at: None,
            ttl_s: Some(30.0),
        };
        self.apply(at, kind);
    }

    fn connect(&mut self, at: i64, agent: &str, boot_id: &str) {
        let kind = EventKind::AgentConnected {
            agent: agent.to_owned(),
            boot_id: boot_id.to_owned(),
            uptime_s: 1.0,
            clean_shutdown: Some(false),
        };
        self.apply(at, kind);
    }
}

/// Three hosts for two minutes; the name server fails after `dns`, the third host falls silent after `silent`.
fn world(dns: i64, silent: i64, end: i64) -> Engine {
    let mut world = World(Engine::new(topology(), second(1_000)));
    for n in 1..=3 {
        world.connect(1_000, &format!("h{n}"), "boot-1");
    }
    let found = DiscoveredComponent {
        id: "h2/fs:/".to_owned(),
        kind: "volume".to_owned(),
        container: Some("h2".to_owned()),
        uses: Vec::new(),
        labels: BTreeMap::new(),
    };
    let discovered = EventKind::Discovered {
        agent: "h2".to_owned(),
        components: vec![found],
    };
    world.apply(1_000, discovered);
    for at in (1_000..end).step_by(10) {
        if at == silent {
            let agent = "h3".to_owned();
            world.apply(at, EventKind::AgentLost { agent });
        }
        let works = if at < dns { Status::Ok } else { Status::Failed };
        for n in 1..=3 {
            if n < 3 || at < silent {
                world.look(at, &format!("h{n}"), &format!("api-{n}"), works);
                world.look(at, &format!("h{n}"), "dns", works);
            }
        }
        world.look(at, "h2", "h2/fs:/", Status::Ok);
    }
    world.0.advance(second(end));
    world.0
}

fn said(engine: &Engine) -> (Vec<String>, Vec<Vec<String>>, Option<String>) {
    let components = engine.components();
    let mut conditions: Vec<String> = components
        .map(|component| {
            let provenance = component.provenance().as_str();
            let condition = component.condition().as_str();
            format!(
                "{} {provenance} {condition} {}",
                component.id(),
                component.reason()
            )
        })
        .collect();
    conditions.sort();
    let diagnosis = engine.diagnosis();
    let first = diagnosis.hypotheses.first();
    let first = first.map(|first| first.causes.clone());
    let state = engine.incident().map(|incident| {
        format!(
            "{} {} {:?}",
            incident.id,
            incident.state.as_str(),
            incident.failed
        )
    });
    (conditions, first.into_iter().collect(), state)
}

fn taken(engine: &Engine) -> Engine {
    let events = engine.as_events();
    assert!(events.is_sorted_by_key(|event| event.at));
    assert!(events.iter().all(|event| event.at <= engine.now()));
    let mut again = Engine::new(topology(), events[0].at);
    for event in &events {
        // As a file has it.
        let line = serde_json::to_string(event).unwrap();
        let event: Event = serde_json::from_str(&line).unwrap();
        again.apply(&event, &mut Changes::default()).unwrap();
    }
    again.advance(engine.now());
    again
}

#[test]
fn an_engine_that_takes_the_events_says_the_same() {
    let never = 100_000;
    for (dns, silent) in [
        (never, never),
        (1_060, never),
        (never, 1_060),
        (1_060, 1_080),
        (1_090, 1_050),
    ] {
        let engine = world(dns, silent, 1_150);
        let again = taken(&engine);
        assert_eq!(said(&again), said(&engine), "dns {dns}, silent {silent}");
        let (before, after) = (engine.progress(), again.progress());
        assert_eq!(after, before, "dns {dns}, silent {silent}");
    }
}

#[test]
fn nothing_is_said_of_who_is_not_there_any_more() {
    let mut world = World(Engine::new(topology(), second(1_000)));
    world.look(1_000, "h1", "stranger", Status::Ok);
    let component = "stranger".to_owned();
    world.apply(1_001, EventKind::Gone { component });
    let (component, until) = ("stranger".to_owned(), second(9_000));
    world.apply(1_001, EventKind::Maintenance { component, until });
    for at in (2_000..2_100).step_by(10) {
        world.look(at, "h1", "dns", Status::Ok);
    }
    assert!(world.0.find("stranger").unwrap().is_gone());
    assert!(taken(&world.0).find("stranger").is_none());
}

#[test]
fn a_blip_that_passed_before_is_not_where_the_incident_began() {
    let mut world = World(Engine::new(topology(), second(1_000)));
    for at in (1_000..1_200).step_by(10) {
        let is_bad = at == 1_000 || at >= 1_100;
        let status = if is_bad { Status::Failed } else { Status::Ok };
        world.look(at, "h1", "dns", status);
        world.look(at, "h2", "api-2", Status::Ok);
    }
    assert_eq!(said(&taken(&world.0)), said(&world.0));
}

#[test]
fn how_a_host_came_back_what_is_gone_and_what_is_planned_are_told() {
    let mut world = World(world(100_000, 1_060, 1_100));
    world.connect(1_110, "h3", "boot-2");
    world.look(1_111, "h3", "api-3", Status::Starting);
    let component = "api-2".to_owned();
    world.apply(1_112, EventKind::Gone { component });
    let (component, until) = ("api-1".to_owned(), second(2_000));
    world.apply(1_113, EventKind::Maintenance { component, until });
    let again = taken(&world.0);
    assert_eq!(said(&again), said(&world.0));
    let planned = |engine: &Engine| engine.find("api-1").unwrap().maintenance_until();
    assert_eq!(planned(&again), Some(second(2_000)));
    assert!(again.find("api-2").unwrap().is_gone());
    let back = again.model.node(again.model.find("h3").unwrap());
    assert_eq!(
        back.agent.as_ref().unwrap().came_back,
        Some(Return::Unclean)
    );
}
