//! Shapes that could make a diagnosis slow or wrong: it ends, within its bound, and names what broke.

use std::fmt::Write;

use super::*;
use crate::{Changes, Event, EventKind, Timestamp, Topology};

/// A topology that one host watches, at a given second.
struct Watched {
    engine: Engine,
    second: i64,
}

impl Watched {
    /// Everything works for two minutes.
    fn of(topology: &str, ids: &[String]) -> Self {
        let text = format!("[component.watch]\nkind = \"host\"\n{topology}");
        let topology = Topology::parse("t.toml", &text).unwrap();
        let engine = Engine::new(topology, Timestamp::from_micros(0));
        let mut watched = Self { engine, second: 0 };
        watched.see(ids, Status::Ok);
        watched.second += 120;
        watched
    }

    fn see(&mut self, ids: &[String], status: Status) {
        for id in ids {
            let kind = EventKind::Observation {
                agent: "watch".to_owned(),
                component: Some(id.clone()),
                check: "look".to_owned(),
                status,
                progress: None,
                detail: String::new(),
                values: std::collections::BTreeMap::new(),
                sampled_at: None,
                ttl_s: Some(3_600.0),
            };
            let at = Timestamp::from_micros(self.second * 1_000_000);
            let event = Event { at, kind };
            let mut changes = Changes::default();
            self.engine.apply(&event, &mut changes).unwrap();
        }
    }

    /// All of them fail, and are looked at again.
    fn fail(&mut self, ids: &[String]) -> Diagnosis {
        for _ in 0..2 {
            self.see(ids, Status::Failed);
            self.second += 10;
        }
        self.engine.diagnosis()
    }
}

fn ids(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|at| format!("{name}-{at:05}")).collect()
}

#[test]
fn in_a_clique_that_needs_itself_all_are_as_likely_and_nobody_else() {
    let all = ids("c", 60);
    let needs: Vec<String> = all.iter().map(|id| format!("{id:?}")).collect();
    let mut text = String::new();
    for id in &all {
        let _ = writeln!(
            text,
            "[component.{id}]\nkind = \"app\"\nneeds = [{}]",
            needs.join(", ")
        );
    }
    let mut watched = Watched::of(&text, &all);
    let diagnosis = watched.fail(&all);
    for hypothesis in &diagnosis.hypotheses {
        assert_eq!(hypothesis.causes.len(), 1, "{:?}", brief(&diagnosis));
        assert!(
            all.contains(&hypothesis.causes[0]),
            "{:?}",
            brief(&diagnosis)
        );
        assert_eq!((hypothesis.explains, hypothesis.unexplained), (60, 0));
    }
}

#[test]
fn the_root_of_a_long_chain_is_found() {
    let all = ids("c", 5_000);
    let mut text = String::new();
    for (at, id) in all.iter().enumerate() {
        let _ = writeln!(text, "[component.{id}]\nkind = \"app\"");
        if at > 0 {
            let _ = writeln!(text, "needs = [{:?}]", all[at - 1]);
        }
    }
    let mut watched = Watched::of(&text, &all);
    let diagnosis = watched.fail(&all);
    assert_eq!(diagnosis.hypotheses[0].causes, ["c-00000"]);
    assert_eq!(diagnosis.hypotheses[0].explains, 5_000);
}

#[test]
fn the_centre_of_a_large_star_is_found() {
    let all = ids("leaf", 20_000);
    let mut text = String::from("[component.centre]\nkind = \"database\"\n");
    for id in &all {
        let _ = writeln!(
            text,
            "[component.{id}]\nkind = \"app\"\nneeds = [\"centre\"]"
        );
    }
    let mut watched = Watched::of(&text, &all);
    let diagnosis = watched.fail(&all);
    assert_eq!(diagnosis.hypotheses[0].causes, ["centre"]);
    assert_eq!(diagnosis.hypotheses[0].explains, 20_000);
    assert!(
        diagnosis.hypotheses[0].probability > 0.9,
        "{:?}",
        brief(&diagnosis)
    );
}
