//! Scalingo, 2019-01-24: a rack loses one power circuit, its load trips the other one, and everything is dark for 94 minutes.
//!
//! Documented: the clock of the main steps, both circuits, the load that tripped the second, "a BGP router seems to be down" at
//! 13:25, one etcd member with a wrong configuration, internal services by 15:13, 95 % of the databases by 15:45, apps by 18:40.
//! Inferred: the 20 s between the circuits, the numbers of hosts, databases and apps, who returned in which minute.

use super::life::Life;
use super::stage::{Beat, Stage};
use super::story::{Look, Story, degraded, failed, ok, starting, story};
use super::time::{At, Day};

pub(super) const NAME: &str = "scalingo-2019";

const DAY: Day = Day::new(2019, 1, 24);
const BEGIN: At = DAY.hm(12, 50);
/// The first breaker trips.
const FEED_A_TRIPS: At = DAY.at(12, 55, 58);
/// The second breaker trips under the load of both.
const FEED_B_TRIPS: At = DAY.at(12, 56, 18);
/// The first devices are switched on again, one after the other.
const POWER_RETURNS: At = DAY.hm(14, 8);

const WATCHERS: [&str; 3] = ["watch-1", "watch-2", "watch-3"];

/// Hosts of the rack, and when their agents are back.
const HOSTS: [(&str, At); 14] = [
    ("gateway-1", DAY.at(14, 13, 5)),
    ("infra-1", DAY.at(14, 15, 10)),
    ("infra-2", DAY.at(14, 16, 40)),
    ("infra-3", DAY.at(14, 18, 15)),
    ("db-host-1", DAY.at(14, 19, 50)),
    ("db-host-2", DAY.at(14, 20, 30)),
    ("db-host-3", DAY.at(14, 21, 20)),
    ("db-host-4", DAY.at(14, 22, 5)),
    ("app-host-1", DAY.at(14, 23, 45)),
    ("app-host-2", DAY.at(14, 24, 20)),
    ("app-host-3", DAY.at(14, 25, 35)),
    ("app-host-4", DAY.at(14, 26, 40)),
    ("app-host-5", DAY.at(14, 27, 55)),
    ("app-host-6", DAY.at(14, 29, 10)),
];

pub(super) fn events() -> String {
    let mut stage = Stage::new(NAME);
    people(&mut stage);
    outside(&mut stage);
    hosts(&mut stage);
    internal_services(&mut stage);
    databases(&mut stage);
    apps(&mut stage);
    stage.events()
}

fn people(stage: &mut Stage) {
    stage.provider(
        DAY.hm(13, 10),
        "provider",
        "major",
        "our team is on the incident and is figuring out the situation",
    );
    stage.provider(
        DAY.hm(13, 25),
        "provider",
        "major",
        "a BGP router seems to be down and might be the cause",
    );
    stage.provider(
        DAY.hm(14, 30),
        "provider",
        "minor",
        "power supply restored, all devices are available",
    );
    stage.action(
        DAY.hm(14, 45),
        "etcd: peer list corrected, started by hand with two members",
    );
    stage.action(
        DAY.hm(15, 4),
        "internal apps started by hand, without the scheduler",
    );
    stage.action(DAY.hm(15, 13), "restore of the customer databases begins");
    stage.action(DAY.hm(15, 45), "restart of the customer apps begins");
    stage.action(
        DAY.hm(16, 20),
        "restart of the apps slowed down: a handful of servers got all of them",
    );
}

/// Dense around the failure and the return, thin between.
fn beat() -> Beat {
    Beat::default()
        .every(60, BEGIN, DAY.at(12, 55, 40))
        .every(5, DAY.at(12, 55, 40), DAY.at(12, 56, 40))
        .every(30, DAY.at(12, 56, 40), DAY.hm(13, 0))
        .every(300, DAY.hm(13, 0), DAY.hm(14, 5))
        .every(60, DAY.hm(14, 5), DAY.hm(14, 31))
        .every(240, DAY.hm(14, 31), DAY.hm(15, 13))
        .every(150, DAY.hm(15, 13), DAY.hm(15, 49))
        .every(900, DAY.hm(15, 49), DAY.hm(18, 36))
        .every(240, DAY.hm(18, 37), DAY.hm(18, 46))
}

/// What the watchers see of something in the rack: nothing answers until `back`.
fn through_the_dark(back: At, then: Look) -> Story {
    story(ok().value("rtt_ms", 9.0))
        .then(FEED_B_TRIPS, failed("timed out"))
        .then(back, then)
}

fn outside(stage: &mut Stage) {
    stage.beat(beat());
    for host in WATCHERS.iter().chain(&["agg-1"]) {
        stage.host(host, Life::long(BEGIN, 200), story(ok()));
    }
    let back = DAY.hm(14, 10);
    stage.watch_from(
        &WATCHERS,
        "bgp-router",
        "tcp.connect",
        &through_the_dark(back, ok()),
    );
    stage.watch_from(
        &WATCHERS,
        "vpn",
        "tcp.connect",
        &through_the_dark(DAY.hm(14, 13), ok()),
    );
    let front =
        through_the_dark(DAY.hm(14, 13), failed("503, no backend")).then(DAY.hm(15, 13), ok());
    stage.watch_from(&WATCHERS, "front", "http.get", &front);
    let website =
        through_the_dark(DAY.hm(14, 13), failed("503, no backend")).then(DAY.hm(15, 12), ok());
    stage.watch_from(&WATCHERS, "dashboard", "http.get", &website);
}

fn hosts(stage: &mut Stage) {
    for (host, back) in HOSTS {
        let life = Life::long(BEGIN, 140)
            .loses_power(FEED_B_TRIPS)
            .boots(back, 62);
        let load = if matches!(host, "app-host-1" | "app-host-2") {
            // The scheduler's picture of the nodes is 30 s old: the same few get everything.
            story(ok())
                .then(
                    DAY.hm(15, 49),
                    degraded("run queue 180 on 16 cores, CPU pressure 92 %")
                        .value("run_queue", 180.0),
                )
                .then(DAY.hm(16, 40), ok())
        } else {
            story(ok())
        };
        stage.host(host, life, load);
    }
    // Power supplies are read on the hosts with a controller that tells; the others say the same.
    let circuit_a = story(ok().value("load_percent", 55.0))
        .then(FEED_A_TRIPS, failed("no input on supply 1"))
        .then(POWER_RETURNS, ok().value("load_percent", 48.0));
    let circuit_b = story(ok().value("load_percent", 58.0))
        .then(
            FEED_A_TRIPS,
            degraded("load above the breaker's rating").value("load_percent", 113.0),
        )
        .then(POWER_RETURNS, ok().value("load_percent", 50.0));
    let readers = [
        "gateway-1",
        "infra-1",
        "infra-2",
        "infra-3",
        "db-host-1",
        "app-host-1",
    ];
    stage.watch_from(&readers, "feed-a", "psu.input", &circuit_a);
    stage.watch_from(&readers, "feed-b", "psu.input", &circuit_b);
    let near = ["gateway-1", "infra-2"];
    stage.watch_from(&near, "tor-1", "switch.reach", &story(ok()));
    stage.watch_from(&near, "bgp-router", "tcp.connect", &story(ok()));
    stage.watch_from(
        &["infra-3", "db-host-2"],
        "san-1",
        "volume.read",
        &story(ok()),
    );
}

fn internal_services(stage: &mut Stage) {
    let waits = |until: At, what: &str| {
        story(ok())
            .then(POWER_RETURNS, failed(what))
            .then(until, ok())
    };
    stage.watch("gateway-1", "vpn", "systemd.unit", story(ok()));
    stage.watch(
        "gateway-1",
        "front",
        "http.get",
        waits(DAY.hm(15, 13), "no backend is registered"),
    );
    stage.watch("infra-1", "dns", "dns.answer", story(ok()));
    let elects = || {
        story(ok())
            .then(
                POWER_RETURNS,
                starting("no leader yet: peer etcd-2 refuses connections"),
            )
            .then(DAY.hm(14, 46), ok())
    };
    stage.watch("infra-1", "etcd-1", "etcd.member", elects());
    stage.watch("infra-3", "etcd-3", "etcd.member", elects());
    let wrong =
        failed("exits at start: it is told to listen on an address that this host does not have");
    let second = story(ok())
        .then(POWER_RETURNS, wrong)
        .then(DAY.hm(14, 58), ok());
    stage.watch("infra-2", "etcd-2", "etcd.member", second);
    let quorum = waits(DAY.hm(14, 46), "no leader");
    stage.watch_from(&["infra-1", "infra-3"], "etcd", "etcd.quorum", &quorum);
    let queue = story(ok())
        .then(
            POWER_RETURNS,
            starting("waiting for its disk, then recovering queues"),
        )
        .then(DAY.hm(14, 50), ok());
    stage.watch("infra-3", "mq", "rabbitmq.amqp", queue);
    let redo = starting("crash recovery, redo").progress(0.02, DAY.hm(14, 57), 0.98);
    let own = story(ok())
        .then(POWER_RETURNS, redo)
        .then(DAY.hm(14, 57), ok());
    stage.watch("db-host-1", "internal-db", "postgres.ready", own);
    for (host, service, until) in [
        ("infra-3", "registry", DAY.hm(15, 1)),
        ("infra-1", "scheduler", DAY.hm(15, 8)),
        ("infra-2", "db-orchestrator", DAY.hm(15, 11)),
    ] {
        stage.watch(
            host,
            service,
            "systemd.unit",
            waits(until, "waits for etcd"),
        );
    }
    stage.watch(
        "app-host-1",
        "auth-api",
        "http.get",
        waits(DAY.hm(15, 5), "connection refused"),
    );
    stage.watch(
        "app-host-2",
        "dashboard",
        "http.get",
        waits(DAY.hm(15, 12), "connection refused"),
    );
}

/// Forty customer databases: 38 return between 15:14 and 15:44, two hang in crash recovery until somebody comes.
fn databases(stage: &mut Stage) {
    for number in 1..=40_i64 {
        let host = format!("db-host-{}", (number - 1) / 10 + 1);
        // The tool takes one of each host in turn.
        let turn = (number - 1) % 10 * 4 + (number - 1) / 10;
        let begins = DAY.at(15, 13, 20).plus(turn * 32);
        let ready = begins.plus(390 + turn % 7 * 25);
        let redo = |from: f64, until: At, to: f64| {
            starting("crash recovery, redo").progress(from, until, to)
        };
        let base = story(ok()).then(POWER_RETURNS, failed("not started"));
        let story = match number {
            17 => base
                .then(begins, redo(0.0, DAY.hm(15, 26), 0.62))
                .then(DAY.hm(16, 25), ok()),
            31 => base
                .then(begins, redo(0.0, DAY.hm(15, 24), 0.4))
                .then(DAY.hm(17, 10), ok()),
            _ => base.then(begins, redo(0.0, ready, 1.0)).then(ready, ok()),
        };
        stage.watch(&host, &format!("db-{number:02}"), "postgres.ready", story);
    }
}

/// Thirty customer apps: the first is back at 15:45, those on the swamped hosts time out and come last.
fn apps(stage: &mut Stage) {
    for number in 1..=30_i64 {
        let host = format!("app-host-{}", (number - 1) / 5 + 1);
        let base = story(ok()).then(POWER_RETURNS, failed("no container runs"));
        let story = if number <= 10 {
            let ready = DAY.hm(16, 40).plus(number * 12 * 60);
            base.then(DAY.hm(15, 48), starting("pulling the image"))
                .then(
                    DAY.hm(15, 57),
                    failed("start timed out, the server is overloaded"),
                )
                .then(ready.plus(-300), starting("pulling the image"))
                .then(ready, ok())
        } else {
            let ready = DAY.at(15, 45, 30).plus((number - 11) * 8 * 60);
            base.then(
                ready.plus(-120).max(DAY.hm(15, 45)),
                starting("pulling the image"),
            )
            .then(ready, ok())
        };
        stage.watch(&host, &format!("app-{number:02}"), "http.get", story);
    }
}
