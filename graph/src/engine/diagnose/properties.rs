//! Laws of the diagnosis, on small random worlds: topologies with everything that may be written in one, and everything that
//! may happen in them.

mod accounts;
mod evidence;
mod large;
mod order;

use proptest::prelude::*;
use proptest::sample::subsequence;

use super::super::properties::sketch::Sketch;
use super::super::properties::topologies;
use super::super::properties::world::{
    AGENTS, Happening, IDS, Step, World, steps, steps_of_agents,
};
use super::case::Case;
use super::score::fit;
use crate::{Diagnosis, Engine, Hypothesis, Search, Status};

/// A diagnosis costs more than an event: fewer worlds than usual, and `PROPTEST_CASES` counts as ever.
fn config() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig {
        cases: usual.cases / 8,
        ..usual
    }
}

/// What a world begins with: nothing known, or everything known to work.
fn world(topologies: &[Sketch; 2], calm: bool) -> World {
    let mut world = World::new(topologies);
    // Equal causes go by their places, and places of what joins by the order of arrival.
    world.meet_everybody();
    if calm {
        world.see_all_work();
    }
    world
}

/// Many fail at once, and are seen to fail a period later, from another place.
fn burst() -> impl Strategy<Value = Vec<Step>> {
    let ids: Vec<&'static str> = IDS
        .iter()
        .copied()
        .filter(|id| !id.starts_with('g'))
        .collect();
    (subsequence(ids, 0..10), 0..AGENTS.len(), 0..AGENTS.len()).prop_map(|(ids, first, second)| {
        let round = |agent, pause_s| {
            let looks = ids.iter().enumerate().map(move |(at, id)| Step {
                pause_s: if at == 0 { pause_s } else { 0 },
                happening: Happening::seen(agent, id, Status::Failed),
            });
            looks.collect::<Vec<_>>()
        };
        [round(first, 5), round(second, 10)].concat()
    })
}

/// What happens, and perhaps a burst of failures at the end.
fn troubles() -> impl Strategy<Value = Vec<Step>> {
    (steps(), burst()).prop_map(|(steps, burst)| [steps, burst].concat())
}

fn after(topologies: &[Sketch; 2], calm: bool, steps: &[Step]) -> World {
    let mut world = world(topologies, calm);
    for step in steps {
        world.take(step);
    }
    world
}

/// As bytes: what has to be the same is the same to the last digit.
fn bytes(diagnosis: &Diagnosis) -> String {
    serde_json::to_string_pretty(diagnosis).unwrap()
}

/// The sets of a diagnosis and how they fit, for a reader of a failure.
fn brief(diagnosis: &Diagnosis) -> Vec<String> {
    let told = diagnosis.hypotheses.iter().map(|one| {
        format!(
            "{:?} {} explains {} leaves {} against {}",
            one.causes, one.probability, one.explains, one.unexplained, one.contradicts
        )
    });
    told.chain([format!("not in model {}", diagnosis.not_in_model)])
        .collect()
}

fn first(diagnosis: &Diagnosis) -> Option<&Hypothesis> {
    diagnosis.hypotheses.first()
}
