//! Random topologies, with everything that may be written in one.

use std::fmt::{self, Write};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::Index;

use super::world::IDS;
use crate::Topology;

const RELATIONS: [&str; 6] = [
    "needs",
    "needs_to_start",
    "needs_to_run",
    "uses",
    "uses_to_start",
    "uses_to_run",
];

/// What a component may be, by the first letter of its id.
fn kinds(id: &str) -> &'static [&'static str] {
    match &id[..1] {
        "d" => &["datacenter", "rack", "provider"],
        "l" => &["link", "switch", "power-feed", "bgp-session"],
        "h" => &["host", "vm"],
        "g" => &["group"],
        _ => &["app", "database", "etcd-cluster", "aggregator", "ups"],
    }
}

/// A need: which key, how many, of which.
#[derive(Debug, Clone)]
struct Wanted {
    relation: usize,
    at_least: Index,
    of: Vec<usize>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (0..RELATIONS.len(), any::<Index>(), vec(0..IDS.len(), 1..4)).prop_map(
        |(relation, at_least, mut of)| {
            of.sort_unstable();
            of.dedup();
            Wanted {
                relation,
                at_least,
                of,
            }
        },
    )
}

fn group(text: &mut String, wanted: &Wanted) {
    let names: Vec<String> = wanted
        .of
        .iter()
        .map(|at| format!("{:?}", IDS[*at]))
        .collect();
    let at_least = wanted.at_least.index(names.len()) + 1;
    let _ = write!(
        text,
        "{{ at_least = {at_least}, of = [{}] }}, ",
        names.join(", ")
    );
}

/// A topology: containers that hold containers, needs of every relation with cycles and self-edges, k of n, groups in
/// groups, groups of nothing, and things that stand on the way.
pub(in crate::engine) fn topology() -> impl Strategy<Value = Sketch> {
    let what = (any::<Index>(), of(0..2_u8));
    let one = (what, of(any::<Index>()), vec(wanted(), 0..3), of(wanted()));
    vec(one, IDS.len()).prop_map(|components| {
        let mut text = String::new();
        for (at, ((kind, label), container, needs, via)) in components.iter().enumerate() {
            let (id, is_group) = (IDS[at], IDS[at].starts_with('g'));
            let kind = kind.get(kinds(id));
            let _ = writeln!(text, "[component.{id}]\nkind = \"{kind}\"");
            if let Some(label) = label
                && !is_group
            {
                let _ = writeln!(text, "labels = {{ batch = \"{label}\" }}");
            }
            if let Some(container) = container
                && !is_group
                && at > 0
            {
                let _ = writeln!(text, "in = {:?}", IDS[container.index(at)]);
            }
            for (relation, key) in RELATIONS.iter().enumerate() {
                let mut entries = String::new();
                for need in needs.iter().filter(|need| need.relation == relation) {
                    group(&mut entries, need);
                }
                if !entries.is_empty() {
                    let _ = writeln!(text, "{key} = [{entries}]");
                }
            }
            if let Some(via) = via
                && !is_group
                && at < 6
            {
                text.push_str("reached_via = [");
                group(&mut text, via);
                text.push_str("]\n");
            }
        }
        Sketch(text)
    })
}

/// The text of a topology; a failure shows it as it is.
#[derive(Clone)]
pub(in crate::engine) struct Sketch(String);

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

impl Sketch {
    pub(super) fn topology(&self) -> Topology {
        Topology::parse("t.toml", &self.0).unwrap()
    }
}
