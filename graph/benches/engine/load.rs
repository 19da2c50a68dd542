//! Rows 9 and, for their world, others: 5,000 hosts with ten checks each.

use std::fmt::Write;
use std::time::Duration;

use blackstart_graph::{Changes, Engine, Sample, SlotId, Status, Timestamp, Topology};

use crate::{best, figure, ms};

pub(crate) const HOSTS: usize = 5_000;

/// Checks of each host, each of a component of its own.
pub(crate) const CHECKS: usize = 10;

/// What the checks of a host are called.
const KINDS: [&str; CHECKS] = [
    "tcp.connect",
    "http.get",
    "postgres.ready",
    "etcd.member",
    "dns.answer",
    "systemd.unit",
    "fs.space",
    "host.load",
    "tls.expiry",
    "rabbitmq.amqp",
];

const NAMES: [&str; 3] = ["connect_ms", "first_byte_ms", "total_ms"];

pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + seconds * 1_000_000)
}

/// A table for every component: nothing saved by ranges.
pub(crate) fn text() -> String {
    let mut text = String::new();
    for host in 0..HOSTS {
        let _ = writeln!(text, "[component.host-{host:04}]\nkind = \"host\"");
        for check in 0..CHECKS {
            let _ = writeln!(
                text,
                "[component.service-{host:04}-{check}]\nkind = \"service\"\nin = \"host-{host:04}\""
            );
        }
    }
    text
}

pub(crate) fn engine(text: &str) -> Engine {
    Engine::new(Topology::parse("t.toml", text).unwrap(), at(0))
}

/// Makes a slot of every check, as an aggregator does.
pub(crate) fn slots(engine: &mut Engine) -> Vec<SlotId> {
    let names = NAMES.map(str::to_owned);
    let mut slots = Vec::with_capacity(HOSTS * CHECKS);
    for host in 0..HOSTS {
        let vantage = format!("host-{host:04}");
        for (check, kind) in KINDS.iter().enumerate() {
            let component = format!("service-{host:04}-{check}");
            let slot = engine.slot(&component, kind, &vantage).unwrap();
            engine.define(slot, Duration::from_secs(60), &names);
            slots.push(slot);
        }
    }
    slots
}

/// An answer of every check.
pub(crate) fn answers(
    engine: &mut Engine,
    slots: &[SlotId],
    seconds: i64,
    status: Status,
    detail: Option<&str>,
) {
    let mut changes = Changes::default();
    for slot in slots {
        let sample = Sample {
            sampled_at: at(seconds),
            status,
            progress: None,
            detail,
            values: &[0.4, 1.5, 2.5],
        };
        engine.observe(at(seconds), *slot, &sample, &mut changes);
        if changes.components.len() > 100 {
            changes = Changes::default();
        }
    }
}

pub(crate) fn run() {
    let text = text();
    let parse = best(|| (), |()| Topology::parse("t.toml", &text).unwrap());
    figure("9", "read 55,000 tables", ms(parse), "ms", None);
    let topology = || Topology::parse("t.toml", &text).unwrap();
    let make = best(topology, |topology| Engine::new(topology, at(0)));
    figure("9", "make the engine of them", ms(make), "ms", None);
    let first = best(
        || engine(&text),
        |mut engine| {
            let slots = slots(&mut engine);
            answers(&mut engine, &slots, 1, Status::Ok, Some("200 in 2.5 ms"));
            engine
        },
    );
    figure(
        "9",
        "50,000 checks and their first answers",
        ms(first),
        "ms",
        None,
    );
    let whole = ms(parse + make + first);
    figure("9", "load 50,000 checks, in all", whole, "ms", Some(500.0));
    let mut engine = engine(&text);
    let slots = slots(&mut engine);
    answers(&mut engine, &slots, 1, Status::Ok, Some("200 in 2.5 ms"));
    let save = best(|| (), |()| engine.save());
    figure("8", "save 50,000 checks", ms(save), "ms", None);
    let bytes = engine.save();
    let load = best(topology, |topology| Engine::load(&bytes, topology).unwrap());
    figure("8", "load a save of 50,000 checks", ms(load), "ms", None);
}
