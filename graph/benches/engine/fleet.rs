//! A fleet: datacenters, rooms, racks, hosts with an agent each, and four services a host; five edges each.

use std::collections::BTreeMap;
use std::fmt::Write;

use blackstart_graph::{
    Changes, Engine, Event, EventKind, Sample, SlotId, Status, Timestamp, Topology,
};

use crate::load::at;

/// Hosts of a rack.
const HOSTS: usize = 40;

/// Racks of a room.
const ROOM: usize = 20;

/// What runs on a host.
pub(crate) const SERVICES: [&str; 4] = ["db", "cache", "api", "web"];

/// Answers hold for a day: time is not what is measured.
const TTL: std::time::Duration = std::time::Duration::from_secs(86_400);

/// A fleet, and when it is.
#[derive(Clone)]
pub(crate) struct Fleet {
    pub(crate) engine: Engine,
    racks: usize,
    second: i64,
    /// The slots of the services, by rack, host and service.
    slots: Vec<SlotId>,
}

const fn datacenters(racks: usize) -> usize {
    match racks {
        0..20 => 2,
        20..200 => 5,
        _ => 10,
    }
}

fn text(racks: usize) -> String {
    let mut text = String::new();
    let count = datacenters(racks);
    for dc in 0..count {
        let _ = writeln!(text, "[component.dc-{dc}]\nkind = \"datacenter\"");
        for (name, kind) in [
            ("dns", "dns"),
            ("ntp", "ntp"),
            ("queue", "queue"),
            ("store", "object-store"),
            ("metrics", "service"),
            ("core", "router"),
        ] {
            let _ = writeln!(
                text,
                "[component.{name}-{dc}]\nkind = \"{kind}\"\nin = \"dc-{dc}\""
            );
        }
    }
    // Every datacenter has one after the other of the racks.
    for room in 0..racks.div_ceil(ROOM) {
        let dc = room * ROOM * count / racks.max(1) % count;
        for feed in ["a", "b"] {
            let _ = writeln!(
                text,
                "[component.feed-{room}-{feed}]\nkind = \"power-feed\"\nin = \"dc-{dc}\""
            );
        }
    }
    for rack in 0..racks {
        let (dc, room) = (rack * count / racks, rack / ROOM);
        let next = (rack + 1) % racks;
        let _ = write!(
            text,
            r#"
[component.tor-{rack}]
kind = "switch"
in = "dc-{dc}"
needs = ["core-{dc}"]
[component.rack-{rack}]
kind = "rack"
in = "dc-{dc}"
needs = [{{ at_least = 1, of = ["feed-{room}-a", "feed-{room}-b"] }}]
reached_via = ["tor-{rack}"]
[component."host-{rack}-{{1..{HOSTS}}}"]
kind = "host"
in = "rack-{rack}"
needs_to_start = ["dns-{dc}"]
uses = ["ntp-{dc}", "queue-{dc}", "metrics-{dc}"]
[component."db-{rack}-{{1..{HOSTS}}}"]
kind = "database"
in = "host-{rack}-{{n}}"
needs_to_start = ["dns-{dc}", "store-{dc}"]
uses = ["ntp-{dc}", "metrics-{dc}"]
[component."cache-{rack}-{{1..{HOSTS}}}"]
kind = "cache"
in = "host-{rack}-{{n}}"
needs = ["db-{next}-{{n}}"]
uses = ["dns-{dc}", "ntp-{dc}", "metrics-{dc}"]
[component."api-{rack}-{{1..{HOSTS}}}"]
kind = "app"
in = "host-{rack}-{{n}}"
needs = ["db-{rack}-{{n}}", "queue-{dc}"]
uses = ["cache-{rack}-{{n}}", "dns-{dc}"]
[component."web-{rack}-{{1..{HOSTS}}}"]
kind = "app"
in = "host-{rack}-{{n}}"
needs = ["api-{rack}-{{n}}"]
uses = ["cache-{rack}-{{n}}", "dns-{dc}", "metrics-{dc}"]
"#
        );
    }
    text
}

impl Fleet {
    /// Components of a rack, about.
    pub(crate) const RACK: usize = HOSTS * (SERVICES.len() + 1);

    /// Everything works, and has for two minutes.
    pub(crate) fn new(racks: usize) -> Self {
        let mut fleet = Self::unseen(racks);
        fleet.begin();
        fleet
    }

    /// Nobody has looked yet.
    pub(crate) fn unseen(racks: usize) -> Self {
        let topology = Topology::parse("t.toml", &text(racks)).unwrap();
        Self {
            engine: Engine::new(topology, at(0)),
            racks,
            second: 0,
            slots: Vec::new(),
        }
    }

    /// Every agent connects and looks at its services.
    pub(crate) fn begin(&mut self) {
        let racks = self.racks;
        let fleet = self;
        fleet.slots.reserve(racks * HOSTS * SERVICES.len());
        for rack in 0..racks {
            for host in 1..=HOSTS {
                let agent = format!("host-{rack}-{host}");
                fleet.happen(EventKind::AgentConnected {
                    agent: agent.clone(),
                    boot_id: "one".to_owned(),
                    uptime_s: 1.0,
                    clean_shutdown: None,
                });
                for service in SERVICES {
                    let component = format!("{service}-{rack}-{host}");
                    let slot = fleet.engine.slot(&component, "look", &agent).unwrap();
                    fleet.engine.define(slot, TTL, &[]);
                    fleet.slots.push(slot);
                }
            }
        }
        fleet.all(Status::Ok);
        fleet.wait(120);
    }

    pub(crate) fn now(&self) -> Timestamp {
        at(self.second)
    }

    pub(crate) fn slots(&self) -> &[SlotId] {
        &self.slots
    }

    pub(crate) fn wait(&mut self, seconds: i64) {
        self.second += seconds;
        self.engine.advance(at(self.second));
    }

    fn happen(&mut self, kind: EventKind) {
        let event = Event {
            at: self.now(),
            kind,
        };
        self.engine.apply(&event, &mut Changes::default()).unwrap();
    }

    /// An answer to a slot.
    pub(crate) fn answer(&mut self, slot: SlotId, status: Status) {
        let sample = Sample {
            sampled_at: self.now(),
            status,
            progress: None,
            detail: None,
            values: &[],
        };
        let mut changes = Changes::default();
        let now = self.now();
        self.engine.observe(now, slot, &sample, &mut changes);
    }

    /// An answer about every service.
    pub(crate) fn all(&mut self, status: Status) {
        for at in 0..self.slots.len() {
            self.answer(self.slots[at], status);
        }
    }

    /// Its own host looks at a service.
    pub(crate) fn see(&mut self, component: &str, status: Status) {
        let (_, place) = component.split_once('-').unwrap();
        self.look(&format!("host-{place}"), component, status);
    }

    /// A host looks at something.
    pub(crate) fn look(&mut self, agent: &str, component: &str, status: Status) {
        self.happen(EventKind::Observation {
            agent: agent.to_owned(),
            component: Some(component.to_owned()),
            check: "look".to_owned(),
            status,
            progress: None,
            detail: String::new(),
            values: BTreeMap::new(),
            sampled_at: None,
            ttl_s: Some(TTL.as_secs_f64()),
        });
    }

    /// The agents of a rack fall silent, and what needs its databases from elsewhere fails.
    pub(crate) fn lose_rack(&mut self, rack: usize) {
        self.lose(&[rack]);
    }

    /// So do those of a datacenter. Returns how many.
    pub(crate) fn lose_datacenter(&mut self, dc: usize) -> usize {
        let count = datacenters(self.racks);
        let racks = 0..self.racks;
        let inside: Vec<usize> = racks
            .filter(|rack| rack * count / self.racks == dc)
            .collect();
        self.lose(&inside);
        inside.len() * HOSTS
    }

    fn lose(&mut self, racks: &[usize]) {
        for rack in racks {
            for host in 1..=HOSTS {
                let agent = format!("host-{rack}-{host}");
                self.happen(EventKind::AgentLost { agent });
            }
        }
        for _ in 0..2 {
            for rack in racks {
                let before = (rack + self.racks - 1) % self.racks;
                if !racks.contains(&before) {
                    for host in 1..=HOSTS {
                        self.see(&format!("cache-{before}-{host}"), Status::Failed);
                    }
                }
            }
            self.wait(10);
        }
    }
}
