//! What an operator reads of a cause, at every width.

use std::collections::HashMap;

use blackstart_proto::v1::CauseSet;
use proptest::prelude::*;

use super::*;
use crate::text::columns;

fn fault(kinds: &[(&str, f64)]) -> Fault {
    Fault {
        since_us: 0,
        kind: kinds
            .iter()
            .map(|(kind, p)| ((*kind).to_owned(), *p))
            .collect(),
    }
}

fn hypothesis(causes: &[&str], probability: f64) -> Hypothesis {
    let owned = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
    let faults: HashMap<String, Fault> = owned(causes)
        .into_iter()
        .map(|id| (id, fault(&[("power", 0.97), ("other", 0.03)])))
        .collect();
    Hypothesis {
        causes: owned(causes),
        probability,
        faults,
        explains: 412,
        unexplained: 3,
        evidence: owned(&[
            "feed-a: seen to fail since 1970-01-01T00:00:00.000Z, well again since 1970-01-01T00:00:01.000Z",
            "14 of what it explains fell silent",
            "5 of what it explains fail or failed",
            "a fourth line",
        ]),
        ..Hypothesis::default()
    }
}

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn told(hypotheses: Vec<Hypothesis>, not_in_model: f64) -> String {
    let diagnosis = Diagnosis {
        hypotheses,
        not_in_model,
        search: "exact".to_owned(),
    };
    plain(&brief(&diagnosis, 0, 80))
}

#[test]
fn a_likely_cause_is_named_with_its_kind_its_evidence_its_rivals_and_what_to_look_at() {
    let mut first = hypothesis(&["feed-a"], 0.93);
    let set = |id: &str| CauseSet {
        causes: vec![id.to_owned()],
    };
    first.cannot_tell_from = vec![set("tor-7"), set("rack-7")];
    first.check_next = vec![CheckNext {
        component: "pdu-a".to_owned(),
        check: "pdu.input".to_owned(),
        why: "nobody sees it now".to_owned(),
    }];
    let at = moment(0, 0);
    let text = told(vec![first, hypothesis(&["bgp"], 0.04)], 0.01);
    let again = moment(1_000_000, 0);
    assert_eq!(
        text,
        format!(
            "Cause: feed-a (power 97 %), 93 %: explains 412, 3 unexplained\n\
             \x20 - feed-a: seen to fail since {at}, well again since {again}\n\
             \x20 - 14 of what it explains fell silent\n\
             \x20 - 5 of what it explains fail or failed\n\
             \x20 cannot be told from: tor-7; rack-7\n\
             \x20 check next: pdu.input of pdu-a: nobody sees it now\n"
        )
    );
}

#[test]
fn several_causes_at_once_stand_on_a_line_each() {
    let text = told(vec![hypothesis(&["feed-a", "feed-b"], 0.8)], 0.2);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0],
        "Causes together, 80 %: explains 412, 3 unexplained"
    );
    assert!(
        lines[1].starts_with("  feed-a (power 97 %), since "),
        "{text}"
    );
    assert!(
        lines[2].starts_with("  feed-b (power 97 %), since "),
        "{text}"
    );
    assert!(text.contains("  not in the topology: 20 %\n"), "{text}");
}

#[test]
fn what_is_not_likely_is_told_as_one_of_several() {
    let several: Vec<Hypothesis> = ["a", "b", "c", "d"].map(|id| hypothesis(&[id], 0.2)).into();
    let text = told(several, 0.1);
    assert!(
        text.starts_with("Most likely, of several:\n  20 %: a (power 97 %), "),
        "{text}"
    );
    assert!(text.contains("  20 %: c (power"), "{text}");
    assert!(!text.contains(" d (power"), "{text}");
    let text = told(vec![hypothesis(&["a"], 0.3)], 0.6);
    assert!(
        text.starts_with("Most likely nothing that is in the topology (60 %); of what is in it:\n"),
        "{text}"
    );
}

#[test]
fn all_of_it_has_every_line_of_evidence_and_the_less_likely() {
    let diagnosis = Diagnosis {
        hypotheses: vec![hypothesis(&["feed-a"], 0.9), hypothesis(&["bgp"], 0.1)],
        not_in_model: 0.0,
        search: "bounded".to_owned(),
    };
    let text = plain(&all(&diagnosis, 0, 80));
    assert_eq!(text.matches("a fourth line").count(), 2, "{text}");
    assert!(
        text.contains("Less likely:\n  10 %: bgp (power 97 %), "),
        "{text}"
    );
    assert!(text.contains("a better one may exist"), "{text}");
}

#[test]
fn the_story_tells_who_was_named_when() {
    let incident = Incident {
        story: vec![Finding {
            at_us: 0,
            causes: vec!["feed-a".to_owned(), "tor".to_owned()],
            probability: 0.44,
            kinds: HashMap::from([("feed-a".to_owned(), "power".to_owned())]),
        }],
        ..Incident::default()
    };
    assert_eq!(
        story(&incident, 0, 80),
        format!(
            "Who was named when:\n  {}: feed-a (power) and tor, 44 %\n",
            moment(0, 0)
        )
    );
    assert_eq!(story(&Incident::default(), 0, 80), "");
}

proptest! {
    #[test]
    fn no_line_is_wider_than_the_terminal_and_nothing_drives_it(
        id in "\\PC{1,90}|.{1,20}", words in "[a-z ]{0,200}|.{0,60}", width in 20_usize..120, p in 0.0..1.0_f64,
    ) {
        let mut first = hypothesis(&[&id, "b"], p);
        first.evidence.push(words.clone());
        first.cannot_tell_from = vec![CauseSet { causes: vec![id.clone()] }];
        first.check_next = vec![CheckNext { component: id, check: words.clone(), why: words }];
        let diagnosis = Diagnosis { hypotheses: vec![first.clone(), first], not_in_model: 1.0 - p, search: "bounded".to_owned() };
        for text in [brief(&diagnosis, 0, width), all(&diagnosis, 0, width)] {
            for line in plain(&text).lines() {
                prop_assert!(columns(line) <= width, "{width}: {line:?}");
                prop_assert!(line.chars().all(|c| crate::text::clean(c) == c), "{line:?}");
            }
        }
    }
}
