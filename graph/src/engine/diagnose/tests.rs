//! What the diagnosis says, from events as a capture holds them.

use super::super::*;
use crate::{Event, EventKind, FaultKind, Status};

const SITE: &str = r#"
[component.aggregator]
kind = "aggregator"
in = "watch"
[component.watch]
kind = "host"
[component.room]
kind = "room"
[component.feed-a]
kind = "power-feed"
in = "room"
[component.feed-b]
kind = "power-feed"
in = "room"
[component.tor-1]
kind = "switch"
[component.tor-2]
kind = "switch"
[component.bgp]
kind = "bgp-session"
[component.rack-1]
kind = "rack"
in = "room"
needs = [{ at_least = 1, of = ["feed-a", "feed-b"] }]
reached_via = ["tor-1"]
[component.rack-2]
kind = "rack"
in = "room"
needs = [{ at_least = 1, of = ["feed-a", "feed-b"] }]
reached_via = ["tor-2"]
[component."a-{1..5}"]
kind = "host"
in = "rack-1"
[component."b-{1..5}"]
kind = "host"
in = "rack-2"
[component."site-{1..4}"]
kind = "app"
in = "b-{n}"
needs_to_run = ["bgp"]
"#;

struct Outage {
    engine: Engine,
    now: i64,
}

impl Outage {
    /// Every agent is connected and everything works for five minutes.
    fn of(topology: &str, hosts: &[&str]) -> Self {
        let topology = Topology::parse("t.toml", topology).unwrap();
        let mut outage = Self {
            engine: Engine::new(topology, at(0)),
            now: 0,
        };
        for host in hosts {
            outage.connect(host, "one");
        }
        outage.wait(300);
        outage
    }

    fn site() -> Self {
        let mut outage = Self::of(SITE, &SITE_HOSTS);
        for app in ["site-1", "site-2", "site-3", "site-4"] {
            outage.see("watch", app, Status::Ok);
        }
        outage.see("watch", "bgp", Status::Ok);
        outage.wait(10);
        outage
    }

    fn happen(&mut self, kind: EventKind) {
        let event = Event {
            at: at(self.now),
            kind,
        };
        self.engine.apply(&event, &mut Changes::default()).unwrap();
    }

    fn connect(&mut self, host: &str, boot_id: &str) {
        self.happen(EventKind::AgentConnected {
            agent: host.to_owned(),
            boot_id: boot_id.to_owned(),
            uptime_s: 100.0,
            clean_shutdown: Some(false),
        });
    }

    fn lose(&mut self, hosts: &[&str]) {
        for host in hosts {
            let agent = (*host).to_owned();
            self.happen(EventKind::AgentLost { agent });
        }
    }

    fn see(&mut self, vantage: &str, component: &str, status: Status) {
        self.happen(EventKind::Observation {
            agent: vantage.to_owned(),
            component: Some(component.to_owned()),
            check: "test.look".to_owned(),
            status,
            progress: None,
            detail: String::new(),
            values: BTreeMap::new(),
            sampled_at: None,
            ttl_s: Some(3_600.0),
        });
    }

    fn wait(&mut self, seconds: i64) {
        self.now += seconds;
        self.happen(EventKind::Tick);
    }

    fn causes(&self) -> Vec<Vec<String>> {
        let diagnosis = self.engine.diagnosis();
        let sets = diagnosis.hypotheses.into_iter();
        sets.map(|hypothesis| hypothesis.causes).collect()
    }

    fn kind(&self, cause: &str, kind: FaultKind) -> f64 {
        let diagnosis = self.engine.diagnosis();
        let fault = &diagnosis.hypotheses[0].faults[cause];
        fault.kind.get(&kind).copied().unwrap_or(0.0)
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

const RACK_1: [&str; 5] = ["a-1", "a-2", "a-3", "a-4", "a-5"];
const RACK_2: [&str; 5] = ["b-1", "b-2", "b-3", "b-4", "b-5"];
const SITE_HOSTS: [&str; 11] = [
    "watch", "a-1", "a-2", "a-3", "a-4", "a-5", "b-1", "b-2", "b-3", "b-4", "b-5",
];

#[test]
fn where_nothing_is_wrong_nothing_is_to_blame() {
    let outage = Outage::site();
    assert_eq!(outage.causes(), Vec::<Vec<String>>::new());
}

#[test]
fn a_silent_rack_is_the_rack_or_its_switch_and_nobody_can_tell() {
    let mut outage = Outage::site();
    outage.lose(&RACK_1);
    outage.wait(20);
    let diagnosis = outage.engine.diagnosis();
    let first = &diagnosis.hypotheses[0];
    let mut both = vec![first.causes.clone()];
    both.extend(first.cannot_tell_from.iter().cloned());
    both.sort();
    assert_eq!(both, [["rack-1"], ["tor-1"]]);
    let asked: Vec<&str> = first
        .check_next
        .iter()
        .map(|next| &*next.component)
        .collect();
    assert!(asked.contains(&"tor-1"), "{asked:?}");
}

#[test]
fn a_new_boot_says_power_and_the_same_boot_says_network() {
    for (boot_id, kind, not) in [
        ("two", FaultKind::Power, FaultKind::Network),
        ("one", FaultKind::Network, FaultKind::Power),
    ] {
        let mut outage = Outage::site();
        outage.lose(&RACK_1);
        outage.wait(600);
        for host in &RACK_1[..3] {
            outage.connect(host, boot_id);
        }
        outage.wait(10);
        let cause = outage.causes()[0][0].clone();
        assert!(outage.kind(&cause, kind) > 0.9, "{kind:?} of {cause}");
        assert!(outage.kind(&cause, not) < 0.05, "{not:?} of {cause}");
    }
}

#[test]
fn of_two_feeds_that_failed_one_after_the_other_both_are_named() {
    let mut outage = Outage::site();
    outage.see("a-1", "feed-a", Status::Failed);
    outage.see("a-2", "feed-a", Status::Failed);
    outage.wait(1);
    outage.see("a-1", "feed-b", Status::Failed);
    outage.see("a-2", "feed-b", Status::Failed);
    outage.wait(2);
    outage.lose(&RACK_1);
    outage.lose(&RACK_2);
    outage.wait(20);
    assert_eq!(outage.causes()[0], ["feed-a", "feed-b"]);
    assert!(outage.kind("feed-a", FaultKind::Power) > 0.9);
}

#[test]
fn a_second_fault_is_not_swallowed_by_the_first() {
    let mut outage = Outage::site();
    outage.lose(&RACK_1);
    outage.wait(1_800);
    for vantage in ["watch", "b-1", "b-2"] {
        outage.see(vantage, "bgp", Status::Failed);
        for app in ["site-1", "site-2", "site-3", "site-4"] {
            outage.see(vantage, app, Status::Failed);
        }
    }
    outage.wait(20);
    let first = &outage.causes()[0];
    assert!(first.contains(&"bgp".to_owned()), "{first:?}");
    assert!(
        first.contains(&"rack-1".to_owned()) || first.contains(&"tor-1".to_owned()),
        "{first:?}"
    );
    assert_eq!(first.len(), 2, "{first:?}");
}

#[test]
fn when_all_fall_silent_the_watcher_is_suspected() {
    let mut outage = Outage::site();
    outage.lose(&SITE_HOSTS[1..]);
    outage.wait(20);
    let sets = outage.causes();
    let named = sets
        .iter()
        .any(|set| set == &["aggregator"] || set == &["watch"]);
    assert!(named, "{sets:?}");
}

#[test]
fn one_dead_agent_beside_a_mass_event_does_not_lift_the_cause() {
    let mut outage = Outage::site();
    outage.lose(&RACK_1);
    outage.lose(&["b-3"]);
    outage.wait(20);
    let first = &outage.causes()[0];
    assert!(first.len() == 1 && first[0] != "room", "{first:?}");
}

#[test]
fn a_cause_that_has_healed_stays_while_what_it_broke_is_not_back() {
    let mut outage = Outage::site();
    for vantage in ["watch", "b-1"] {
        outage.see(vantage, "bgp", Status::Failed);
        for app in ["site-1", "site-2", "site-3", "site-4"] {
            outage.see(vantage, app, Status::Failed);
        }
    }
    outage.wait(60);
    for vantage in ["watch", "b-1"] {
        outage.see(vantage, "bgp", Status::Ok);
    }
    outage.wait(1_200);
    assert_eq!(outage.causes()[0], ["bgp"]);
}

#[test]
fn a_change_just_before_is_a_suspect() {
    let mut outage = Outage::site();
    outage.happen(EventKind::Action {
        by: "operator".to_owned(),
        detail: "rollout".to_owned(),
        id: Some("rollout-3".to_owned()),
        affects: vec!["site-{1..4}".to_owned()],
    });
    outage.wait(30);
    for vantage in ["watch", "b-1"] {
        for app in ["site-1", "site-2", "site-3", "site-4"] {
            outage.see(vantage, app, Status::Failed);
        }
    }
    outage.wait(20);
    assert_eq!(outage.causes()[0], ["action:rollout-3"]);
}

#[test]
fn what_failed_behind_a_cut_counts_when_it_is_told() {
    let mut outage = Outage::site();
    let hosts = ["b-1", "b-2", "b-3", "b-4", "b-5"];
    outage.lose(&hosts);
    outage.wait(200);
    for host in hosts {
        outage.connect(host, host);
    }
    let count = |outage: &Outage| {
        let first = &outage.engine.diagnosis().hypotheses[0];
        first.explains + first.unexplained
    };
    let before = count(&outage);
    let condition = |outage: &Outage| outage.engine.find("site-1").unwrap().condition();
    let shown = condition(&outage);
    outage.happen(EventKind::Observation {
        agent: "b-1".to_owned(),
        component: Some("site-1".to_owned()),
        check: "http.get".to_owned(),
        status: Status::Failed,
        progress: None,
        detail: String::new(),
        values: BTreeMap::new(),
        sampled_at: Some(at(outage.now - 150)),
        ttl_s: Some(30.0),
    });
    assert_eq!(count(&outage), before + 1);
    assert_eq!(condition(&outage), shown);
}

#[test]
fn an_aggregator_that_hears_nobody_is_a_fault_of_the_network() {
    let mut outage = Outage::site();
    let all = [
        "watch", "a-1", "a-2", "a-3", "a-4", "a-5", "b-1", "b-2", "b-3", "b-4", "b-5",
    ];
    outage.lose(&all);
    outage.wait(30);
    let diagnosis = outage.engine.diagnosis();
    let named = |hypothesis: &&crate::Hypothesis| hypothesis.causes == ["aggregator"];
    let isolation = diagnosis.hypotheses.iter().find(named).unwrap();
    let kind = &isolation.faults["aggregator"].kind;
    assert!(kind[&FaultKind::Network] > 0.5, "{kind:?}");
}

#[test]
fn what_nobody_sees_is_judged_while_it_lasts_and_no_longer() {
    let supplied = r#"
[component.watch]
kind = "host"
[component.feed-a]
kind = "power-feed"
[component.feed-b]
kind = "power-feed"
[component.rack-1]
kind = "rack"
needs = [{ at_least = 1, of = ["feed-a", "feed-b"] }]
[component."a-{1..5}"]
kind = "host"
in = "rack-1"
"#;
    let hosts = ["a-1", "a-2", "a-3", "a-4", "a-5"];
    let mut all = vec!["watch"];
    all.extend(hosts);
    let mut outage = Outage::of(supplied, &all);
    for vantage in ["watch", "a-1"] {
        for feed in ["feed-a", "feed-b"] {
            outage.see(vantage, feed, Status::Failed);
        }
    }
    outage.lose(&hosts);
    for _ in 0..3 {
        outage.wait(10);
        outage.see("watch", "feed-a", Status::Failed);
        outage.see("watch", "feed-b", Status::Failed);
    }
    outage.wait(10);
    let condition = |outage: &Outage, id: &str| outage.engine.find(id).unwrap().condition();
    assert_eq!(condition(&outage, "rack-1"), Condition::Down);
    assert_eq!(condition(&outage, "a-3"), Condition::Down);
    let story = &outage.engine.incident().unwrap().story;
    assert_eq!(story.last().unwrap().causes, ["feed-a", "feed-b"]);
    assert_eq!(story.last().unwrap().kinds["feed-a"], FaultKind::Power);
    outage.connect("a-1", "another boot");
    outage.wait(10);
    assert_eq!(condition(&outage, "a-1"), Condition::Up);
    // The feeds are still seen to fail; that the hosts are without power does not hold any more.
    assert_eq!(condition(&outage, "rack-1"), Condition::Blocked);
    assert_eq!(condition(&outage, "a-3"), Condition::Blocked);
}

#[test]
fn the_diagnosis_survives_save_and_load() {
    let mut outage = Outage::site();
    outage.lose(&RACK_1);
    outage.wait(600);
    outage.connect("a-1", "two");
    outage.wait(1);
    let declared = Topology::parse("t.toml", SITE).unwrap();
    let loaded = Engine::load(&outage.engine.save(), declared).unwrap();
    assert_eq!(loaded.diagnosis(), outage.engine.diagnosis());
}

#[test]
fn the_order_of_one_instant_changes_nothing() {
    let mut there = Outage::site();
    let mut back = Outage::site();
    there.lose(&RACK_1);
    there.see("watch", "bgp", Status::Failed);
    back.see("watch", "bgp", Status::Failed);
    let reversed: Vec<&str> = RACK_1.iter().rev().copied().collect();
    back.lose(&reversed);
    for outage in [&mut there, &mut back] {
        outage.wait(20);
    }
    assert_eq!(there.engine.diagnosis(), back.engine.diagnosis());
}
