//! What more evidence does to a verdict.

use super::super::blame::{Nature, is_cleared};
use super::super::case::is_composite_of;
use super::*;
use std::collections::{BTreeMap, BTreeSet};

use crate::{Changes, ComponentIx, Event, EventKind};
use proptest::sample::Index;

/// What is blamed is the agent that sees others fail, or the line of the aggregator, not what it runs on.
fn is_no_component(case: &Case<'_>, id: &str) -> bool {
    let mut others = case
        .causes
        .iter()
        .filter(|cause| matches!(cause.nature, Nature::Vantage | Nature::Isolation));
    others.any(|cause| cause.ids.iter().any(|known| known == id))
}

/// Everything whose fault could reach a component, itself included.
fn could_reach(engine: &Engine, id: &str) -> BTreeSet<String> {
    let model = &engine.model;
    let mut open: Vec<ComponentIx> = model.find(id).into_iter().collect();
    let mut found: BTreeSet<ComponentIx> = BTreeSet::new();
    while let Some(ix) = open.pop() {
        if found.insert(ix) {
            let node = model.node(ix);
            open.extend(node.edges().flat_map(|edge| edge.of.iter().copied()));
            let paths = node.component.reached_via.iter();
            open.extend(paths.flat_map(|path| path.of.iter().copied()));
            // What is wrong with a service is wrong with its members.
            let outer = node.dependents.iter().copied();
            open.extend(outer.filter(|outer| is_composite_of(model, model.node(*outer), ix)));
        }
    }
    let ids = found
        .iter()
        .map(|ix| model.node(*ix).component.id.to_string());
    ids.collect()
}

proptest! {
    #![proptest_config(config())]

    /// Who was seen to work all the while, from inside or from two places, is not blamed.
    #[test]
    fn who_is_seen_to_work_is_not_blamed(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(),
    ) {
        let world = after(&topologies, calm, &steps);
        let diagnosis = world.engine.diagnosis();
        let case = Case::of(&world.engine);
        for cause in diagnosis.hypotheses.iter().flat_map(|told| &told.causes) {
            let Some(component) = world.engine.find(cause) else { continue };
            if is_no_component(&case, cause) { continue }
            prop_assert!(!is_cleared(&case, component.ix()), "{cause} of {:#?}", brief(&diagnosis));
        }
    }

    /// A further failing look at a cause that is seen to fail makes nobody likelier who could not have reached it.
    #[test]
    fn a_further_failing_look_at_a_cause_makes_no_other_likelier(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(),
        which in any::<Index>(), agent in 0..AGENTS.len(), pause_s in 0..10_u8,
    ) {
        let mut world = after(&topologies, calm, &steps);
        world.take(&Step { pause_s, happening: Happening::Tick });
        let before = world.engine.diagnosis();
        let Some(first) = first(&before) else { return Ok(()) };
        let failing = |id: &String| {
            let ix = world.engine.model.find(id);
            ix.is_some_and(|ix| world.engine.model.node(ix).evidence == Some(Status::Failed))
        };
        let failing: Vec<&String> = first.causes.iter().filter(|id| failing(id)).collect();
        if failing.is_empty() { return Ok(()) }
        let cause = failing[which.index(failing.len())];
        look(&mut world, agent, cause, Status::Failed, 250.0);
        let now = world.engine.diagnosis();
        still_blamed(cause, &could_reach(&world.engine, cause), &before, &now)?;
    }
}

/// Somebody looks, at the present moment.
fn look(world: &mut World, agent: usize, component: &str, status: Status, ttl_s: f64) {
    let event = Event {
        at: world.engine.now(),
        kind: EventKind::Observation {
            agent: AGENTS[agent].to_owned(),
            component: Some(component.to_owned()),
            check: "look".to_owned(),
            status,
            progress: None,
            detail: String::new(),
            values: BTreeMap::new(),
            sampled_at: None,
            ttl_s: Some(ttl_s),
        },
    };
    let mut changes = Changes::default();
    world.engine.apply(&event, &mut changes).unwrap();
}

/// What is first now explains what was seen now: the same cause or one that could reach it. And what was first gained on every
/// rival that does not explain it.
fn still_blamed(
    cause: &str,
    seen: &BTreeSet<String>,
    before: &Diagnosis,
    now: &Diagnosis,
) -> Result<(), TestCaseError> {
    let odds = |diagnosis: &Diagnosis, set: &[String]| {
        let sets = &mut diagnosis.hypotheses.iter();
        sets.find(|known| known.causes == set)
            .map(|known| known.probability)
    };
    let first = &before.hypotheses[0];
    // A vantage that sees what is not so explains whatever it sees.
    let explains =
        |id: &String| seen.contains(id) || !is_component(id) || AGENTS.contains(&id.as_str());
    prop_assert!(
        now.hypotheses[0].causes.iter().any(explains),
        "{cause} of {:#?}, then {:#?}",
        brief(before),
        brief(now)
    );
    for rival in &before.hypotheses[1..] {
        let is_other =
            |id: &String| is_component(id) && !seen.contains(id) && !AGENTS.contains(&id.as_str());
        let has_a_part = !rival.causes.iter().all(is_other);
        let (Some(share), Some(other)) = (odds(now, &first.causes), odds(now, &rival.causes))
        else {
            continue;
        };
        prop_assert!(
            has_a_part || share * rival.probability >= first.probability * other * 0.9,
            "{cause} against {:?} of {:#?}, then {:#?}",
            rival.causes,
            brief(before),
            brief(now)
        );
    }
    Ok(())
}

/// Not what components have in common, or what somebody did.
fn is_component(id: &str) -> bool {
    !id.contains(':')
}
