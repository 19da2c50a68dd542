//! Wallarm, 2021-03-10: a datacentre burns; what runs at the customers goes on, what starts there cannot register.
//!
//! Documented: the fire at 00:47 in Strasbourg (23:47 UTC), a first message that was nothing alarming, the building lost "within a
//! couple of hours", half of the neighbour burned, the whole site isolated, running modules that go on, pods that cannot start
//! without the cloud's API, a placeholder that accepts all registrations, backups in the same place.
//! Inferred: every clock after 23:47, the number of hosts and pods, when pods were restarted, when the placeholder answered.

use super::life::Life;
use super::sbg_fire;
use super::stage::{Beat, Stage};
use super::story::{Story, degraded, failed, ok, starting, story, unseen};
use super::time::{At, Day};

pub(super) const NAME: &str = "wallarm-2021";

/// The day before: clocks after midnight have more than 24 hours.
const DAY: Day = sbg_fire::DAY;
const BEGIN: At = DAY.hm(23, 30);
/// The building's power goes, room after room.
const FIRE: At = DAY.at(23, 49, 30);
/// The whole site is cut off from power.
const SITE_ISOLATED: At = DAY.at(24, 28, 0);
const DESTROYED: At = DAY.hm(26, 10);
const PLACEHOLDER: At = DAY.hm(32, 40);
const END: At = DAY.hm(33, 30);

const WATCHERS: [&str; 3] = ["us-1", "us-2", "third-1"];

/// What was in the building that burned down, in the order of the rooms.
const BURNED: [&str; 8] = [
    "eu-api-host-1",
    "eu-api-host-2",
    "eu-db-host-1",
    "eu-db-host-2",
    "eu-master-host",
    "eu-work-host-1",
    "eu-work-host-2",
    "eu-backup-host",
];

/// Customers: the name, and when each of its four pods is replaced, if it is.
const CUSTOMERS: [(&str, [Option<At>; 4]); 4] = [
    (
        "alfa",
        [Some(DAY.hm(24, 20)), None, None, Some(DAY.hm(30, 5))],
    ),
    ("bravo", [None, Some(DAY.hm(26, 45)), None, None]),
    (
        "charlie",
        [None, None, Some(DAY.hm(28, 30)), Some(DAY.hm(29, 10))],
    ),
    ("delta", [None, None, None, None]),
];

pub(super) fn events() -> String {
    let mut stage = Stage::new(NAME);
    people(&mut stage);
    stage.beat(
        Beat::default()
            .every(240, BEGIN, DAY.hm(23, 46))
            .every(20, DAY.hm(23, 49), DAY.hm(23, 54))
            .every(120, DAY.hm(23, 54), DAY.hm(24, 26))
            .every(20, DAY.hm(24, 27), DAY.hm(24, 30))
            .every(300, DAY.hm(24, 30), DAY.hm(26, 30))
            .every(600, DAY.hm(26, 30), DAY.hm(32, 35))
            .every(60, DAY.hm(32, 36), DAY.hm(32, 50))
            .every(300, DAY.hm(32, 50), END),
    );
    elsewhere(&mut stage);
    strasbourg(&mut stage);
    for (name, restarts) in CUSTOMERS {
        customer(&mut stage, name, restarts);
    }
    stage.events()
}

fn people(stage: &mut Stage) {
    sbg_fire::provider(stage);
    for host in BURNED {
        stage.gone(DESTROYED, host);
    }
    stage.action(
        DAY.hm(24, 55),
        "disaster recovery plan: a new European cloud is to be set up elsewhere",
    );
    stage.action(
        PLACEHOLDER,
        "a placeholder answers that every registration is accepted",
    );
}

/// The other two clouds; they watch the European one.
fn elsewhere(stage: &mut Stage) {
    for host in WATCHERS.iter().chain(&["agg-1"]) {
        stage.host(host, Life::long(BEGIN, 210), story(ok()));
    }
    stage.watch("us-1", "us-api", "http.get", story(ok()));
    stage.watch("third-1", "third-api", "http.get", story(ok()));
    let silent = || story(ok()).then(FIRE.plus(20), failed("timed out"));
    stage.watch_from(&WATCHERS, "eu-api", "http.get", &silent());
    stage.watch_from(
        &WATCHERS,
        "registration",
        "http.get",
        &silent().then(PLACEHOLDER, ok()),
    );
    for (router, off) in [("router-sbg1", SITE_ISOLATED), ("router-sbg2", FIRE)] {
        let seen = story(ok()).then(off, failed("timed out"));
        stage.watch_from(&WATCHERS, router, "tcp.connect", &seen);
    }
}

fn strasbourg(stage: &mut Stage) {
    for (number, host) in BURNED.into_iter().enumerate() {
        // Rooms go dark over two minutes.
        let off = FIRE.plus(number as i64 / 2 * 35);
        stage.host(host, Life::long(BEGIN, 500).loses_power(off), story(ok()));
    }
    for host in ["eu-mail-host", "eu-log-host"] {
        let life = Life::long(BEGIN, 380).loses_power(SITE_ISOLATED);
        stage.host(host, life, story(ok()));
    }
    let healthy = |stage: &mut Stage, host: &str, component: &str, check| {
        stage.watch(host, component, check, story(ok()));
    };
    healthy(stage, "eu-api-host-1", "eu-api-1", "http.get");
    healthy(stage, "eu-api-host-2", "eu-api-2", "http.get");
    healthy(stage, "eu-db-host-1", "eu-db-1", "postgres.ready");
    healthy(stage, "eu-db-host-2", "eu-db-2", "postgres.ready");
    healthy(stage, "eu-master-host", "eu-kubernetes", "kubernetes.ready");
    healthy(stage, "eu-backup-host", "eu-backup", "backup.age");
    // The neighbour sees the building's router go before its own power does.
    let router = story(ok()).then(FIRE, failed("no route to host"));
    stage.watch_from(
        &["eu-mail-host", "eu-log-host"],
        "router-sbg2",
        "tcp.connect",
        &router,
    );
    for host in ["eu-mail-host", "eu-log-host"] {
        healthy(stage, host, "router-sbg1", "tcp.connect");
        healthy(stage, host, "feed-sbg1", "psu.input");
    }
}

fn customer(stage: &mut Stage, name: &str, restarts: [Option<At>; 4]) {
    for (number, restart) in (1..).zip(restarts) {
        let (host, pod) = (
            format!("{name}-node-{number}"),
            format!("{name}-pod-{number}"),
        );
        stage.host(&host, Life::long(BEGIN, 33), story(ok()));
        stage.watch(&host, &pod, "http.get", pod_story(restart));
        if number == 1 {
            let lost = failed("timed out");
            let api = story(ok())
                .then(FIRE.plus(20), lost)
                .then(PLACEHOLDER, ok());
            stage.watch(&host, "registration", "http.get", api);
        }
        if number == 2 {
            let clock =
                degraded("results wait to be sent").ramp("results_waiting", 0.0, END, 180_000.0);
            let queue = unseen()
                .then(BEGIN, ok().value("results_waiting", 0.0))
                .then(FIRE.plus(60), clock);
            stage.watch(&host, &format!("{name}-results"), "queue.depth", queue);
        }
    }
}

/// A pod that runs goes on; one that is replaced waits for a registration that nobody answers.
fn pod_story(restart: Option<At>) -> Story {
    match restart {
        None => story(ok()),
        Some(at) => story(ok())
            .then(
                at,
                starting("registering with the cloud: timed out, trying again"),
            )
            .then(PLACEHOLDER.plus(90), ok()),
    }
}
