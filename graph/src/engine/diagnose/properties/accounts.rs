//! Every symptom is accounted for, and what is told is well formed.

use std::collections::BTreeSet;

use super::super::reach::Spread;
use super::*;
use crate::Kind;

/// A probability is told to three digits.
const ROUNDING: f64 = 0.000_5;

proptest! {
    #![proptest_config(config())]

    /// Every hypothesis accounts for every symptom.
    #[test]
    fn every_symptom_is_explained_or_said_not_to_be(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(),
    ) {
        let world = after(&topologies, calm, &steps);
        let engine = &world.engine;
        let symptoms = Case::of(engine).seen.len();
        let diagnosis = engine.diagnosis();
        prop_assert_eq!(diagnosis.hypotheses.is_empty(), symptoms == 0);
        for hypothesis in &diagnosis.hypotheses {
            prop_assert_eq!(hypothesis.explains + hypothesis.unexplained, symptoms, "{:?}", hypothesis);
        }
    }

    /// What is told holds together.
    #[test]
    fn what_is_told_holds_together(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(),
    ) {
        let world = after(&topologies, calm, &steps);
        let engine = &world.engine;
        let diagnosis = engine.diagnosis();
        let told = &diagnosis.hypotheses;
        let mut sum = diagnosis.not_in_model;
        prop_assert!((0.0..=1.0).contains(&diagnosis.not_in_model));
        for hypothesis in told {
            sum += hypothesis.probability;
            prop_assert!((0.0..=1.0).contains(&hypothesis.probability), "{:?}", hypothesis);
            prop_assert!(!hypothesis.causes.is_empty());
            prop_assert!(hypothesis.causes.is_sorted_by(|a, b| a < b), "{:?}", hypothesis.causes);
            let named: Vec<&String> = hypothesis.faults.keys().collect();
            prop_assert_eq!(named, hypothesis.causes.iter().collect::<Vec<_>>());
            for (cause, fault) in &hypothesis.faults {
                prop_assert!(fault.since <= engine.now());
                let shares: f64 = fault.kind.values().sum();
                prop_assert!((shares - 1.0).abs() < 1e-9, "{cause}: {:?}", fault.kind);
                prop_assert!(may_be_blamed(engine, cause), "{cause} is blamed: {:?}", brief(&diagnosis));
            }
        }
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let digits = (told.len() + 1) as f64 * ROUNDING;
        prop_assert!(sum <= 1.0 + digits + 1e-9, "{sum}");
        prop_assert!(told.is_sorted_by(|a, b| a.probability >= b.probability));
        for (at, one) in told.iter().enumerate() {
            prop_assert!(told[..at].iter().all(|other| other.causes != one.causes));
        }
    }

    /// Nothing that one more cause would explain for less than it costs to leave it is left.
    #[test]
    fn no_confirmed_failure_is_left_that_one_more_cause_explains(
        topologies in topologies(), calm in any::<bool>(), steps in troubles(),
    ) {
        let world = after(&topologies, calm, &steps);
        let case = Case::of(&world.engine);
        let found = super::super::search::search(&case);
        let Some(best) = found.candidates.first().filter(|_| found.search == Search::Exact) else {
            return Ok(());
        };
        let names = |causes: &[usize]| super::super::search::names(&case, causes);
        let set = |causes: &[usize]| {
            let causes: Vec<_> = causes.iter().map(|at| &case.causes[*at]).collect();
            let fit = fit(&case, &causes, &mut Spread::new(case.engine.model.nodes.len()));
            let explained: BTreeSet<_> = fit.explained.iter().map(|e| e.component).collect();
            (fit.cost, explained)
        };
        let (cost, explained) = set(&best.causes);
        prop_assert_eq!(cost, best.cost);
        let confirmed = case.seen.iter().filter(|(ix, seen)| seen.symptom.confirmed && !explained.contains(ix));
        let confirmed: Vec<_> = confirmed.map(|(ix, _)| ix).collect();
        for ix in confirmed {
            for more in 0..case.causes.len() {
                // A set names each of its causes once.
                let is_named = case.causes[more].ids.iter().any(|id| names(&best.causes).contains(id));
                if is_named && !best.causes.contains(&more) {
                    continue;
                }
                let mut causes = best.causes.clone();
                causes.push(more);
                causes.sort_unstable();
                causes.dedup();
                let (with, explained) = set(&causes);
                prop_assert!(
                    with >= best.cost || !explained.contains(&ix) || causes.len() > 6,
                    "{:?} for {}: {:?} for {} explains {}", names(&best.causes), best.cost,
                    names(&causes), with, case.node(ix).component.id
                );
            }
        }
    }
}

/// A component that exists and is not worked on, or something that is no component. Where an aggregator is cut off from
/// everybody it is named whatever was said of it.
fn may_be_blamed(engine: &Engine, cause: &str) -> bool {
    let is_no_component = cause == "aggregator"
        || ["label:", "action:"]
            .iter()
            .any(|word| cause.starts_with(word));
    engine
        .find(cause)
        .map_or(is_no_component, |component| match component.kind() {
            Kind::Group => false,
            Kind::Aggregator => true,
            _ => !component.is_gone() && component.maintenance_until().is_none(),
        })
}
