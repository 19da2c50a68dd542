//! The order of one instant, what lasted no time and a restart decide nothing.

use super::super::super::properties::sketch::topology;
use super::super::super::properties::world::shuffled;
use super::*;
use proptest::sample::{Index, select};

fn any_status() -> impl Strategy<Value = Status> {
    select(vec![
        Status::Ok,
        Status::Degraded,
        Status::Starting,
        Status::Failed,
        Status::Unknown,
    ])
}

/// The looks that came at once, by place.
fn looks(steps: &[Step], wanted: impl Fn(Status) -> bool) -> Vec<usize> {
    let came_at_once = |at: &usize| match steps[*at].happening {
        Happening::Observed { late_s, status, .. } => late_s == 0 && wanted(status),
        _ => false,
    };
    (0..steps.len()).filter(came_at_once).collect()
}

proptest! {
    #![proptest_config(config())]

    /// The streams of several agents are read in some order; it decides nothing.
    #[test]
    fn the_order_within_an_instant_decides_no_cause(
        topology in topology(), calm in any::<bool>(), steps in steps_of_agents(), keys in any::<[u8; 16]>(),
    ) {
        let topologies = [topology.clone(), topology];
        let world = after(&topologies, calm, &steps);
        let other = after(&topologies, calm, &shuffled(&steps, &keys));
        prop_assert_eq!(bytes(&world.engine.diagnosis()), bytes(&other.engine.diagnosis()));
    }

    /// An engine made of a save says the same, then and later.
    #[test]
    fn a_loaded_engine_names_the_same_causes(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(), cut in any::<Index>(),
    ) {
        let mut world = world(&topologies, calm);
        let cut = cut.index(steps.len());
        for step in &steps[..cut] {
            world.take(step);
        }
        let mut again = world.clone();
        again.engine = Engine::load(&world.engine.save(), world.topology()).unwrap();
        prop_assert_eq!(bytes(&again.engine.diagnosis()), bytes(&world.engine.diagnosis()));
        for step in &steps[cut..] {
            world.take(step);
            again.take(step);
        }
        prop_assert_eq!(bytes(&again.engine.diagnosis()), bytes(&world.engine.diagnosis()));
    }

    /// An answer that another one of the same instant takes back was never given.
    #[test]
    fn what_is_taken_back_at_once_was_never_said(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(), at in any::<Index>(),
        wrong in select(vec![Status::Ok, Status::Degraded, Status::Starting, Status::Unknown]),
    ) {
        // Failures in a row are counted as they come.
        let looks = looks(&steps, |status| status != Status::Failed);
        if looks.is_empty() { return Ok(()) }
        let at = looks[at.index(looks.len())];
        let mut with = steps.clone();
        let mut said = steps[at].clone();
        if let Happening::Observed { status, ttl_s, .. } = &mut said.happening {
            (*status, *ttl_s) = (wrong, Some(30));
        }
        with[at].pause_s = 0;
        with.insert(at, said);
        let (world, other) = (after(&topologies, calm, &steps), after(&topologies, calm, &with));
        prop_assert_eq!(bytes(&world.engine.diagnosis()), bytes(&other.engine.diagnosis()));
    }

    /// What arrives when newer is known changes nothing.
    #[test]
    fn what_is_older_than_what_is_known_changes_nothing(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(), at in any::<Index>(),
        late_s in 1..40_u8, wrong in any_status(),
    ) {
        let looks = looks(&steps, |_| true);
        if looks.is_empty() { return Ok(()) }
        let at = looks[at.index(looks.len())];
        let mut with = steps.clone();
        let mut late = steps[at].clone();
        late.pause_s = 0;
        if let Happening::Observed { status, late_s: late_by, .. } = &mut late.happening {
            (*status, *late_by) = (wrong, late_s);
        }
        with.insert(at + 1, late);
        let (world, other) = (after(&topologies, calm, &steps), after(&topologies, calm, &with));
        prop_assert_eq!(bytes(&world.engine.diagnosis()), bytes(&other.engine.diagnosis()));
    }
}
