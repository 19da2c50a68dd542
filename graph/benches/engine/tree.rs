//! Row 6: the root of a tree of 10,000 components fails and comes back.

use std::fmt::Write;

use blackstart_graph::{
    Changes, ComponentRef, Condition, Engine, Sample, SlotId, Status, Timestamp, Topology,
};

use crate::load::at;
use crate::{best, figure, ms};

const COMPONENTS: usize = 10_000;

/// Each component has this many below it.
const FAN_OUT: usize = 10;

fn text() -> String {
    let mut text = String::from("[component.watcher]\nkind = \"host\"\n");
    for at in 0..COMPONENTS {
        let _ = writeln!(text, "[component.node-{at:05}]\nkind = \"router\"");
        if at > 0 {
            let _ = writeln!(text, "needs = [\"node-{:05}\"]", (at - 1) / FAN_OUT);
        }
    }
    text
}

struct Tree {
    engine: Engine,
    slots: Vec<SlotId>,
}

impl Tree {
    /// A tree of which these many, from the root down, are observed and answer.
    fn new(text: &str, observed: usize) -> Self {
        let mut engine = Engine::new(Topology::parse("t.toml", text).unwrap(), at(0));
        let mut slots = Vec::new();
        for at in 0..observed {
            let slot = engine.slot(&format!("node-{at:05}"), "ping", "watcher");
            slots.push(slot.unwrap());
        }
        let mut tree = Self { engine, slots };
        tree.all(1, Status::Ok);
        // A minute of calm: everything counts as having run.
        tree.all(30, Status::Ok);
        tree
    }

    fn one(&mut self, slot: usize, seconds: i64, status: Status, changes: &mut Changes) {
        let sample = Sample {
            sampled_at: at(seconds),
            status,
            progress: None,
            detail: None,
            values: &[],
        };
        let slot = self.slots[slot];
        self.engine.observe(at(seconds), slot, &sample, changes);
    }

    /// An answer about everything that is observed; what changed is shown.
    fn all(&mut self, seconds: i64, status: Status) -> usize {
        let mut changes = Changes::default();
        for slot in 0..self.slots.len() {
            self.one(slot, seconds, status, &mut changes);
        }
        self.show(changes)
    }

    /// Makes the rows of what changed, as a view does.
    fn show(&self, mut changes: Changes) -> usize {
        changes.settle();
        let rows = changes.components.iter();
        rows.filter_map(|ix| self.engine.component(*ix))
            .map(row)
            .map(|(_, _, reason)| usize::from(!reason.is_empty()))
            .sum()
    }

    fn root(&mut self, seconds: i64, status: Status) -> usize {
        let mut changes = Changes::default();
        self.one(0, seconds, status, &mut changes);
        self.show(changes)
    }

    fn expect(&self, condition: Condition, count: usize) {
        let found = self.engine.counts().of(condition) as usize;
        assert!(found >= count, "{found} are {}", condition.as_str());
    }
}

fn row(component: ComponentRef<'_>) -> (Condition, Timestamp, String) {
    let (condition, since) = (component.condition(), component.since());
    (condition, since, component.reason())
}

pub(crate) fn run() {
    let text = text();
    let load = best(
        || (),
        |()| Engine::new(Topology::parse("t.toml", &text).unwrap(), at(0)),
    );
    figure("9", "load a tree of 10,000", ms(load), "ms", Some(100.0));

    // Only the root is observed: its fall blocks all the others at once.
    let tree = Tree::new(&text, 1);
    let falls = best(
        || tree.engine.clone(),
        |engine| {
            let mut tree = Tree {
                engine,
                slots: tree.slots.clone(),
            };
            tree.root(40, Status::Failed);
            tree.expect(Condition::Blocked, COMPONENTS - 1);
            tree
        },
    );
    let what = "the root of 10,000 that nobody else observes fails, all rows made";
    figure("6", what, ms(falls), "ms", Some(10.0));
    let fallen = || {
        let (engine, slots) = (tree.engine.clone(), tree.slots.clone());
        let mut tree = Tree { engine, slots };
        tree.root(40, Status::Failed);
        tree
    };
    let rises = best(fallen, |mut tree| {
        tree.root(50, Status::Ok);
        tree.expect(Condition::Up, 1);
        tree
    });
    figure(
        "6",
        "that root is back, all rows made",
        ms(rises),
        "ms",
        Some(10.0),
    );

    // Everything is observed, and every answer turns.
    let tree = Tree::new(&text, COMPONENTS);
    let copy = || Tree {
        engine: tree.engine.clone(),
        slots: tree.slots.clone(),
    };
    let all_fall = best(copy, |mut tree| {
        tree.all(40, Status::Failed);
        tree.expect(Condition::Blocked, COMPONENTS - 1);
        tree
    });
    let what = "10,000 that are observed fail one after another, all rows made";
    figure("6", what, ms(all_fall), "ms", Some(10.0));
    let fallen = || {
        let mut tree = copy();
        tree.all(40, Status::Failed);
        tree
    };
    let all_rise = best(fallen, |mut tree| {
        tree.all(50, Status::Ok);
        tree.expect(Condition::Up, COMPONENTS);
        tree
    });
    let what = "they are back one after another, all rows made";
    figure("6", what, ms(all_rise), "ms", Some(10.0));
}
