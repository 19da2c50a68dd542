//! A million components with five million edges.

use std::fmt::Write;

use blackstart_graph::{Changes, Engine, Sample, Status, Topology};

use crate::bytes::held;
use crate::load::at;
use crate::{figure, ms, timed};

const LAYERS: usize = 10;

/// The most that one range stands for.
const LAYER: usize = 100_000;

/// Every component needs one of each of the layers before it, at most so many.
const NEEDS: usize = 4;

/// Components that stand in one rack.
const RACKS: usize = 1_000;

/// Components and edges of the world, and its text.
fn text() -> (usize, usize, String) {
    let mut text = format!(
        "[component.watcher]\nkind = \"host\"\n[component.\"rack-{{1..{RACKS}}}\"]\nkind = \"rack\"\n"
    );
    let (mut components, mut edges) = (RACKS + 1, 0);
    for layer in 0..LAYERS {
        // One shared by all of the layer, for those that have nothing before them.
        let before = layer.min(NEEDS);
        let mut needs: Vec<String> = (layer - before..layer)
            .map(|other| format!("\"l{other}-{{n}}\""))
            .collect();
        for shared in 0..NEEDS - before {
            needs.push(format!("\"rack-{}\"", shared + 1));
        }
        let _ = writeln!(
            text,
            "[component.\"l{layer}-{{1..{LAYER}}}\"]\nkind = \"app\"\nin = \"rack-{}\"\nneeds = [{}]",
            layer + 10,
            needs.join(", ")
        );
        components += LAYER;
        edges += LAYER * (needs.len() + 1);
    }
    (components, edges, text)
}

pub(crate) fn run() {
    let (components, edges, text) = text();
    let count = f64::from(u32::try_from(components).unwrap());
    figure(
        "-",
        "a large world: edges",
        f64::from(u32::try_from(edges).unwrap()),
        "edges",
        None,
    );
    let ((topology, parse), _) = held(|| timed(|| Topology::parse("t.toml", &text).unwrap()));
    figure("-", "a large world: read", ms(parse), "ms", None);
    let ((mut engine, make), more) = held(|| timed(|| Engine::new(topology, at(0))));
    figure("-", "a large world: make the engine", ms(make), "ms", None);
    figure(
        "-",
        "a large world: the engine beside its topology",
        more / count,
        "bytes each",
        None,
    );
    let slot = engine.slot("l0-777", "ping", "watcher").unwrap();
    for (seconds, status, what) in [
        (
            1,
            Status::Failed,
            "a large world: one fails, ten are blocked",
        ),
        (2, Status::Ok, "a large world: it is back"),
    ] {
        let sample = Sample {
            sampled_at: at(seconds),
            status,
            progress: None,
            detail: None,
            values: &[],
        };
        let mut changes = Changes::default();
        let ((), took) = timed(|| engine.observe(at(seconds), slot, &sample, &mut changes));
        figure("-", what, ms(took) * 1e3, "us", None);
    }
    drop(engine);
}
