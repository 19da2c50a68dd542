//! What more evidence does to a verdict.

use super::super::blame::Nature;
use super::*;
use std::collections::BTreeMap;

use crate::{Changes, Event, EventKind};
use proptest::sample::Index;

/// What is blamed is the agent that sees others fail, not the host that it runs on.
fn is_a_sick_vantage(case: &Case<'_>, id: &str) -> bool {
    let mut vantages = case
        .causes
        .iter()
        .filter(|cause| cause.nature == Nature::Vantage);
    vantages.any(|cause| cause.ids.iter().any(|known| known == id))
}

/// How likely it is that a component is among the causes, as far as that is told.
fn share(diagnosis: &Diagnosis, id: &str) -> f64 {
    let sets = diagnosis.hypotheses.iter();
    sets.filter(|set| set.causes.iter().any(|cause| cause == id))
        .map(|set| set.probability)
        .sum()
}

proptest! {
    #![proptest_config(config())]

    /// Who is seen to work is blamed for nothing less than several failures, and that it works is said against it.
    #[test]
    fn who_is_seen_to_work_is_not_blamed_lightly(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(),
    ) {
        let world = after(&topologies, calm, &steps);
        let diagnosis = world.engine.diagnosis();
        let case = Case::of(&world.engine);
        let Some(first) = first(&diagnosis) else { return Ok(()) };
        for cause in &first.causes {
            let Some(component) = world.engine.find(cause) else { continue };
            if is_a_sick_vantage(&case, cause) { continue }
            prop_assert!(
                !case.is_healthy(component.ix()) || (first.contradicts > 0 && first.explains > 1),
                "{cause} of {:#?}", brief(&diagnosis)
            );
        }
    }

    /// A further failing look at a cause that is seen to fail leaves it one, and no less likely.
    #[test]
    fn a_further_failing_look_at_a_failing_cause_leaves_it_one(
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
        still_blamed(cause, &before, &now, 0.01)?;
    }

    /// Another failure that follows from a cause leaves it one. What the cause itself needs may gain more by it.
    #[test]
    fn a_further_victim_leaves_its_cause_one(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(),
        which in any::<Index>(), agent in 0..AGENTS.len(), pause_s in 0..10_u8,
    ) {
        let topologies = topologies.map(|sketch| sketch.with_leaves());
        let mut world = world(&topologies, calm);
        if calm {
            for id in IDS.iter().filter(|id| !id.starts_with('g')) {
                look(&mut world, agent, &format!("leaf-{id}"), Status::Ok, 1.0);
            }
        }
        for step in &steps {
            world.take(step);
        }
        world.take(&Step { pause_s, happening: Happening::Tick });
        let before = world.engine.diagnosis();
        let Some(first) = first(&before) else { return Ok(()) };
        let blamed = |id: &&&str| first.causes.iter().any(|cause| cause == **id);
        let blamed: Vec<&&str> = IDS.iter().filter(blamed).collect();
        if blamed.is_empty() { return Ok(()) }
        let cause = blamed[which.index(blamed.len())];
        look(&mut world, agent, &format!("leaf-{cause}"), Status::Failed, 250.0);
        let now = world.engine.diagnosis();
        still_blamed(cause, &before, &now, 1.0)?;
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

/// It is among the first causes, and has lost no more than so much of its probability.
fn still_blamed(
    cause: &str,
    before: &Diagnosis,
    now: &Diagnosis,
    lost_max: f64,
) -> Result<(), TestCaseError> {
    let is_first = now.hypotheses[0].causes.iter().any(|id| id == cause);
    prop_assert!(
        is_first && share(now, cause) >= share(before, cause) - lost_max,
        "{cause} of {:#?}, then {:#?}",
        brief(before),
        brief(now)
    );
    Ok(())
}
