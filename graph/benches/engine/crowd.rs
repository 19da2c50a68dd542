//! What the shape of a graph could make slow: one component that everybody looks at, and a group of very many.

use std::fmt::Write;

use blackstart_graph::{Changes, Engine, Sample, SlotId, Status, Topology};

use crate::load::at;
use crate::{best, figure, ms};

const MANY: usize = 10_000;

fn all(engine: &mut Engine, slots: &[SlotId], seconds: i64, status: Status) {
    let mut changes = Changes::default();
    for slot in slots {
        let sample = Sample {
            sampled_at: at(seconds),
            status,
            progress: None,
            detail: None,
            values: &[],
        };
        engine.observe(at(seconds), *slot, &sample, &mut changes);
    }
}

/// Everybody sees it fail, and come back.
fn turns(what: &str, engine: &Engine, slots: &[SlotId]) {
    let falls = best(
        || engine.clone(),
        |mut engine| {
            all(&mut engine, slots, 40, Status::Failed);
            engine
        },
    );
    figure("-", &format!("{what}: all fail"), ms(falls), "ms", None);
    let fallen = || {
        let mut engine = engine.clone();
        all(&mut engine, slots, 40, Status::Failed);
        engine
    };
    let rises = best(fallen, |mut engine| {
        all(&mut engine, slots, 50, Status::Ok);
        engine
    });
    figure("-", &format!("{what}: all are back"), ms(rises), "ms", None);
}

pub(crate) fn run() {
    let mut engine = Engine::new(Topology::empty(), at(0));
    let slots: Vec<SlotId> = (0..MANY)
        .map(|vantage| engine.slot("resolver", "dns.answer", &format!("host-{vantage:05}")))
        .collect::<Result<_, _>>()
        .unwrap();
    all(&mut engine, &slots, 1, Status::Ok);
    turns("one seen by 10,000", &engine, &slots);

    let mut text = String::from("[component.watcher]\nkind = \"host\"\n");
    let _ = writeln!(
        text,
        "[component.pool]\nkind = \"group\"\nneeds = [{{ at_least = 5000, of = [\"member-{{1..{MANY}}}\"] }}]"
    );
    let _ = writeln!(text, "[component.\"member-{{1..{MANY}}}\"]\nkind = \"app\"");
    let mut engine = Engine::new(Topology::parse("t.toml", &text).unwrap(), at(0));
    let slots: Vec<SlotId> = (1..=MANY)
        .map(|member| engine.slot(&format!("member-{member}"), "tcp", "watcher"))
        .collect::<Result<_, _>>()
        .unwrap();
    all(&mut engine, &slots, 1, Status::Ok);
    turns("a group of 10,000", &engine, &slots);
}
