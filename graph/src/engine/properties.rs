//! Laws of the engine, on small random worlds.

mod scratch;
pub(super) mod sketch;
pub(super) mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;

use self::sketch::{Sketch, topology};
use self::world::{Happening, Step, World, shuffled, steps, steps_of_agents};
use super::*;
use crate::{Kind, Provenance};

/// Everything that a reader shows of a component.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    kind: Kind,
    condition: Condition,
    reason: String,
    since: Timestamp,
    container: Option<String>,
    provenance: Provenance,
    progress: Option<f32>,
    maintenance_until: Option<Timestamp>,
    is_gone: bool,
    value_names: Vec<String>,
    values: Vec<f64>,
}

fn row(component: ComponentRef<'_>) -> Row {
    let names = component.values();
    Row {
        kind: component.kind(),
        condition: component.condition(),
        reason: component.reason(),
        since: component.since(),
        container: component.container().map(str::to_owned),
        provenance: component.provenance(),
        progress: component.progress(),
        maintenance_until: component.maintenance_until(),
        is_gone: component.is_gone(),
        value_names: names
            .map(|(check, name, _)| format!("{check}/{name}"))
            .collect(),
        values: component.values().map(|(_, _, value)| value).collect(),
    }
}

fn rows(engine: &Engine) -> BTreeMap<String, Row> {
    let components = engine.components();
    components
        .map(|component| (component.id().to_owned(), row(component)))
        .collect()
}

pub(super) fn topologies() -> impl Strategy<Value = [Sketch; 2]> {
    [topology(), topology()]
}

/// Where two pictures differ, in few words.
fn difference(a: &BTreeMap<String, Row>, b: &BTreeMap<String, Row>) -> Vec<String> {
    let ids = a.keys().chain(b.keys());
    let mut found: Vec<String> = ids
        .filter(|id| a.get(*id) != b.get(*id))
        .map(|id| format!("{id}: {:?} / {:?}", a.get(id), b.get(id)))
        .collect();
    found.dedup();
    found
}

proptest! {
    /// What is kept up to date step by step is what follows from everything at once.
    #[test]
    fn keeping_up_to_date_is_the_same_as_starting_from_scratch(
        topologies in topologies(), steps in steps(),
    ) {
        let mut world = World::new(&topologies);
        for step in &steps {
            world.take(step);
            let engine = &world.engine;
            let kept: Vec<Condition> = engine.components().map(|c| c.condition()).collect();
            prop_assert_eq!(kept, scratch::conditions(engine), "after {:?}", step);
        }
    }

    /// The counts are those of the components.
    #[test]
    fn counts_match_the_components(topologies in topologies(), steps in steps()) {
        let mut world = World::new(&topologies);
        for step in &steps {
            world.take(step);
            let engine = &world.engine;
            let mut counts = [0; 7];
            for component in engine.components().filter(|component| !component.is_gone()) {
                counts[component.condition() as usize] += 1;
            }
            prop_assert_eq!(engine.counts, counts, "after {:?}", step);
            let missing = engine.model.nodes.iter().filter(|node| node.missing).count();
            prop_assert_eq!(engine.tracker.missing, missing);
        }
    }

    /// A save shows all there is: an engine made of it looks the same, saves the same bytes, and goes on the same.
    #[test]
    fn a_loaded_engine_goes_on_as_the_saved_one(
        topologies in topologies(), steps in steps(), cut in any::<prop::sample::Index>(),
    ) {
        let mut world = World::new(&topologies);
        let cut = cut.index(steps.len());
        for step in &steps[..cut] {
            world.take(step);
        }
        let bytes = world.engine.save();
        let mut again = world.clone();
        again.engine = Engine::load(&bytes, world.topology()).unwrap();
        prop_assert_eq!(text(again.engine.save()), text(bytes));
        prop_assert_eq!(difference(&rows(&again.engine), &rows(&world.engine)), Vec::<String>::new());
        for step in &steps[cut..] {
            world.take(step);
            again.take(step);
            let found = difference(&rows(&again.engine), &rows(&world.engine));
            prop_assert_eq!(found, Vec::<String>::new(), "after {:?}", step);
        }
        prop_assert_eq!(text(again.engine.save()), text(world.engine.save()));
        prop_assert_eq!(again.engine.counts(), world.engine.counts());
    }

    /// The streams of several agents are read in some order; it decides nothing.
    #[test]
    fn the_order_within_an_instant_decides_nothing(
        topologies in topologies(), steps in steps_of_agents(), keys in any::<[u8; 16]>(),
    ) {
        let (mut world, mut other) = (World::new(&topologies), World::new(&topologies));
        let another_order = shuffled(&steps, &keys);
        for (at, (step, other_step)) in steps.iter().zip(&another_order).enumerate() {
            world.take(step);
            other.take(other_step);
            if steps.get(at + 1).is_some_and(Step::is_of_the_same_instant) {
                continue;
            }
            prop_assert_eq!(difference(&rows(&world.engine), &rows(&other.engine)), Vec::<String>::new());
            prop_assert_eq!(world.engine.incident(), other.engine.incident());
        }
    }

    /// The same events give the same bytes.
    #[test]
    fn the_same_events_give_the_same_bytes(topologies in topologies(), steps in steps()) {
        let (mut world, mut other) = (World::new(&topologies), World::new(&topologies));
        for step in &steps {
            prop_assert_eq!(world.take(step), other.take(step));
        }
        prop_assert_eq!(text(world.engine.save()), text(other.engine.save()));
    }

    /// Nothing happens before the next deadline, and whoever looks more often sees nothing else in the end.
    #[test]
    fn time_changes_nothing_before_the_deadline(topologies in topologies(), steps in steps()) {
        let (mut world, mut ticked) = (World::new(&topologies), World::new(&topologies));
        for step in &steps {
            let at = ticked.watched_until(step);
            while let Some(due) = ticked.engine.next_deadline().filter(|due| *due <= at) {
                let before = rows(&ticked.engine);
                let just_before = Timestamp::from_micros(due.as_micros() - 1);
                let changes = ticked.engine.advance(just_before);
                prop_assert!(changes.is_empty(), "{:?} before {}", changes, due);
                prop_assert_eq!(difference(&before, &rows(&ticked.engine)), Vec::<String>::new());
                ticked.engine.advance(due);
            }
            ticked.take(step);
            world.take(step);
            prop_assert_eq!(difference(&rows(&world.engine), &rows(&ticked.engine)), Vec::<String>::new());
        }
        prop_assert_eq!(text(world.engine.save()), text(ticked.engine.save()));
    }

    /// Whoever makes anew the rows that changes name has every row right.
    #[test]
    fn changes_name_every_component_that_looks_different(
        topologies in topologies(), steps in steps(), look_early in any::<[bool; 8]>(),
    ) {
        let mut world = World::new(&topologies);
        let mut shown = rows(&world.engine);
        let mut incident = world.engine.incident().cloned();
        for (at, step) in steps.iter().enumerate() {
            let mut changes = Changes::default();
            if look_early[at % look_early.len()] {
                changes.absorb(world.engine.advance(world.watched_until(step)));
            }
            changes.absorb(world.take(step));
            changes.settle();
            if changes.topology {
                shown = rows(&world.engine);
            }
            for ix in &changes.components {
                let component = world.engine.component(*ix).unwrap();
                shown.insert(component.id().to_owned(), row(component));
            }
            note_numbers(step, &world.engine, &mut shown);
            prop_assert_eq!(difference(&shown, &rows(&world.engine)), Vec::<String>::new(), "after {:?}", step);
            if changes.incident {
                incident = world.engine.incident().cloned();
            }
            prop_assert_eq!(incident.as_ref(), world.engine.incident());
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// The numbers of an answer are new to nobody who brought it.
fn note_numbers(step: &Step, engine: &Engine, shown: &mut BTreeMap<String, Row>) {
    let Happening::Observed { component, .. } = step.happening else {
        return;
    };
    if let (Some(shown), Some(component)) = (shown.get_mut(component), engine.find(component)) {
        let now = row(component);
        (shown.values, shown.value_names) = (now.values, now.value_names);
    }
}
