//! Clever Cloud, 2025-03-03: one of three datacentres loses power; on its heels announcements go wrong and split the network.
//!
//! Documented: the clock of the public updates, a third of the compute gone, hypervisors rebooted, a second fault with BGP
//! announcements, the metrics API cut off by the split at 14:48, the herd on Pulsar, the percentages, the encrypted databases.
//! Inferred: when the power failed and the split began and ended, which part was cut off, every number of hosts and databases.

use super::life::Life;
use super::stage::{Beat, Stage};
use super::story::{Look, Story, degraded, failed, ok, starting, story};
use super::time::{At, Day};

pub(super) const NAME: &str = "clever-cloud-2025";

const DAY: Day = Day::new(2025, 3, 3);
const BEGIN: At = DAY.hm(13, 56);
const POWER_FAILS: At = DAY.at(14, 3, 20);
const POWER_RETURNS: At = DAY.hm(14, 6);
const SPLIT: At = DAY.at(14, 33, 10);
const SPLIT_ENDS: At = DAY.at(15, 2, 40);

const WATCHERS: [&str; 2] = ["watch-1", "watch-2"];

pub(super) fn events() -> String {
    let mut stage = Stage::new(NAME);
    people(&mut stage);
    hosts(&mut stage);
    network(&mut stage);
    services(&mut stage);
    databases(&mut stage);
    apps(&mut stage);
    stage.events()
}

fn people(stage: &mut Stage) {
    stage.action(DAY.hm(14, 21), "applications are being restarted");
    stage.action(DAY.hm(14, 43), "load sanitization begins");
    stage.action(DAY.hm(15, 0), "API is being restarted");
    stage.action(DAY.hm(15, 5), "load sanitization: 30 %");
    stage.action(DAY.hm(15, 53), "load sanitization: 100 %");
}

fn beat() -> Beat {
    Beat::default()
        .every(120, BEGIN, DAY.hm(14, 2))
        .every(15, DAY.hm(14, 2), DAY.hm(14, 5))
        .every(60, DAY.hm(14, 5), DAY.hm(14, 16))
        .every(240, DAY.hm(14, 16), DAY.hm(14, 32))
        .every(20, DAY.hm(14, 32), DAY.hm(14, 35))
        .every(180, DAY.hm(14, 35), DAY.hm(15, 1))
        .every(60, DAY.hm(15, 1), DAY.hm(15, 6))
        .every(360, DAY.hm(15, 6), DAY.hm(17, 18))
        .every(600, DAY.hm(17, 18), DAY.hm(17, 46))
}

/// When the agent of a host of the second datacentre is back.
fn back(number: i64) -> At {
    DAY.at(14, 7, 10).plus(number * 55)
}

fn loses_power(number: i64) -> Life {
    Life::long(BEGIN, 90)
        .loses_power(POWER_FAILS)
        .boots(back(number), 71)
}

fn is_cut() -> Life {
    Life::long(BEGIN, 60).loses_path(SPLIT).heals(SPLIT_ENDS)
}

/// The survivors carry the load of those that went.
fn survivor() -> Story {
    let load = degraded("infrastructure under high load: run queue 140 on 64 cores")
        .value("run_queue", 140.0);
    story(ok())
        .then(DAY.hm(14, 24), load)
        .then(DAY.hm(15, 53), ok())
}

fn hosts(stage: &mut Stage) {
    stage.beat(beat());
    for host in WATCHERS.iter().chain(&["agg-1"]) {
        stage.host(host, Life::long(BEGIN, 300), story(ok()));
    }
    for number in 1..=6 {
        stage.host(
            &format!("hv-1-{number}"),
            Life::long(BEGIN, 120),
            survivor(),
        );
        stage.host(&format!("hv-2-{number}"), loses_power(number), story(ok()));
        let life = if number > 3 {
            is_cut()
        } else {
            Life::long(BEGIN, 120)
        };
        stage.host(&format!("hv-3-{number}"), life, survivor());
    }
    for site in [1, 3] {
        stage.host(
            &format!("edge-host-{site}"),
            Life::long(BEGIN, 400),
            story(ok()),
        );
    }
    stage.host("edge-host-2", loses_power(0), story(ok()));
}

fn network(stage: &mut Stage) {
    let dark = |back: At| {
        story(ok())
            .then(POWER_FAILS, failed("timed out"))
            .then(back, ok())
    };
    for watcher in WATCHERS {
        for site in [1, 3] {
            let name = format!("edge-{site}");
            stage.watch(watcher, &name, "tcp.connect", story(ok()));
        }
        stage.watch(watcher, "edge-2", "tcp.connect", dark(DAY.hm(14, 6)));
    }
    for host in ["edge-host-1", "edge-host-3"] {
        stage.watch(host, "edge-2", "tcp.connect", dark(DAY.hm(14, 6)));
    }
    // The session that announces the second rack of the third site is seen from both other sites.
    let session = story(ok())
        .then(SPLIT, failed("established, but its prefixes are withdrawn"))
        .then(SPLIT_ENDS, ok());
    for host in ["edge-host-1", "edge-host-2", "edge-host-3"] {
        stage.watch(host, "bgp-3", "bgp.session", session.clone());
        stage.watch(host, "tor-3-2", "switch.reach", story(ok()));
    }
}

/// Seen from the inside of the cut: the other side does not answer.
fn split(look: &Look) -> Story {
    story(ok()).then(SPLIT, look.clone()).then(SPLIT_ENDS, ok())
}

fn services(stage: &mut Stage) {
    let herd = degraded("clients reconnect faster than the guard lets in").ramp(
        "connections_waiting",
        41_000.0,
        DAY.hm(15, 50),
        300.0,
    );
    let broker = story(ok())
        .then(DAY.hm(14, 12), herd)
        .then(DAY.hm(15, 53), ok());
    stage.watch("hv-1-1", "pulsar-1", "queue.ready", broker.clone());
    stage.watch("hv-3-1", "pulsar-3", "queue.ready", broker.clone());
    let returned = story(ok())
        .then(POWER_RETURNS, starting("recovering ledgers"))
        .then(
            DAY.hm(14, 19),
            degraded("clients reconnect faster than the guard lets in"),
        )
        .then(DAY.hm(15, 53), ok());
    stage.watch("hv-2-1", "pulsar-2", "queue.ready", returned);
    let queue = degraded("many instances wait for their start").ramp(
        "recovery_queue",
        9_200.0,
        DAY.hm(15, 40),
        2_900.0,
    );
    let tail = degraded("many instances wait for their start").ramp(
        "recovery_queue",
        2_900.0,
        DAY.hm(16, 30),
        0.0,
    );
    let orchestrator = story(ok().value("recovery_queue", 0.0))
        .then(DAY.at(14, 4, 30), queue)
        .then(DAY.hm(15, 40), tail)
        .then(DAY.hm(16, 30), ok().value("recovery_queue", 0.0));
    stage.watch("hv-1-2", "orchestration", "service.ready", orchestrator);
    let api = story(ok())
        .then(DAY.hm(14, 30), degraded("slow answers"))
        .then(DAY.hm(15, 0), starting("being restarted"))
        .then(DAY.hm(15, 4), ok());
    stage.watch("hv-1-3", "api", "http.get", api);
    for (host, name) in [("hv-1-4", "lb-1"), ("hv-3-2", "lb-3")] {
        let out_of_sync = degraded("does not know the new addresses of restarted instances");
        let balancer = story(ok())
            .then(DAY.hm(14, 20), out_of_sync)
            .then(DAY.hm(14, 48), ok());
        stage.watch(host, name, "lb.ready", balancer);
    }
    let second = story(ok())
        .then(POWER_RETURNS, starting("loading its configuration"))
        .then(
            DAY.hm(14, 15),
            degraded("does not know the new addresses of restarted instances"),
        )
        .then(DAY.hm(14, 48), ok());
    stage.watch("hv-2-2", "lb-2", "lb.ready", second);
    stage.watch("hv-1-5", "cellar-1", "http.get", story(ok()));
    stage.watch("hv-3-3", "cellar-3", "http.get", story(ok()));
    // Two stores of the metrics are on each side of the split; a store needs the majority of all four.
    let alone = failed("two of four stores do not answer, no majority");
    for (host, name) in [
        ("hv-1-5", "metrics-1"),
        ("hv-1-6", "metrics-2"),
        ("hv-3-4", "metrics-3"),
        ("hv-3-5", "metrics-4"),
    ] {
        let look = degraded("two of four stores do not answer");
        stage.watch(host, name, "tcp.connect", split(&look));
    }
    stage.watch("hv-1-6", "metrics-api", "http.get", split(&alone));
    for watcher in WATCHERS {
        stage.watch(watcher, "metrics-api", "http.get", split(&alone));
    }
}

/// Eighteen databases: those of the second site return by 15:48, the encrypted ones need a key, the last is there at 17:16.
fn databases(stage: &mut Stage) {
    for number in 1..=18_i64 {
        let (site, seat) = ((number - 1) / 6 + 1, (number - 1) % 6 + 1);
        let (host, name) = (format!("hv-{site}-{seat}"), format!("db-{number:02}"));
        let story = match (site, seat) {
            (2, 4..=6) => {
                let opened = match seat {
                    4 => DAY.hm(15, 55),
                    5 => DAY.hm(16, 10),
                    _ => DAY.hm(17, 9),
                };
                let volume = story(ok())
                    .then(POWER_RETURNS, starting("locked: waits for its key"))
                    .then(opened, ok());
                stage.watch(&host, &format!("vault-{seat}"), "host.crypt", volume);
                let ready = opened.plus(300);
                story(ok())
                    .then(POWER_RETURNS, failed("its volume is not mounted"))
                    .then(
                        opened,
                        starting("crash recovery, redo").progress(0.0, ready, 1.0),
                    )
                    .then(ready, ok())
            }
            (2, _) => {
                let ready = DAY.hm(15, 0).plus(seat * 840);
                story(ok())
                    .then(
                        POWER_RETURNS,
                        starting("crash recovery, redo").progress(0.0, ready, 1.0),
                    )
                    .then(ready, ok())
            }
            _ => story(ok()),
        };
        stage.watch(&host, &name, "postgres.ready", story);
    }
}

/// Thirty apps: the ten of the second site are restarted, two of them are stuck until 17:10.
fn apps(stage: &mut Stage) {
    for number in 1..=30_i64 {
        let (site, seat) = ((number - 1) / 10 + 1, (number - 1) % 6 + 1);
        let host = format!("hv-{site}-{seat}");
        let ready = match number {
            19 | 20 => DAY.hm(17, 8),
            _ => DAY.hm(14, 30).plus((number - 11) * 860),
        };
        let story = if site == 2 {
            story(ok())
                .then(POWER_RETURNS, failed("no instance runs"))
                .then(
                    DAY.hm(14, 21),
                    starting("waits in the queue of the orchestration"),
                )
                .then(ready, ok())
        } else {
            story(ok())
        };
        stage.watch(&host, &format!("app-{number:02}"), "http.get", story);
    }
}
