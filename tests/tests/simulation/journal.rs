//! What the aggregator's journal holds, and what must always be true of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use blackstart_graph::Timestamp;
use serde_json::Value;

use crate::probe::{CHECK, NUMBER, Script};

/// A result in the journal.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    pub(crate) host: String,
    pub(crate) incarnation: String,
    pub(crate) sequence: u64,
    pub(crate) component: String,
    /// The number of the answer, for results of a [`Script`].
    pub(crate) number: Option<usize>,
    pub(crate) at_us: i64,
    pub(crate) sampled_us: i64,
}

/// A journal that was read.
#[derive(Debug)]
pub(crate) struct Journal {
    pub(crate) results: Vec<Kept>,
    /// Everything else, in its order.
    pub(crate) events: Vec<Value>,
    /// The lines as they were shown.
    pub(crate) text: String,
}

impl Journal {
    /// Reads the journal of a state folder, and checks what holds for every journal: each result is there once, none is
    /// missing between two of an incarnation, and nothing was sampled after it arrived.
    pub(crate) fn read(state_dir: &Path) -> Self {
        let mut lines = Vec::new();
        let broken = blackstart_aggregator::export(state_dir, &mut lines).unwrap();
        assert_eq!(broken, 0, "broken rows");
        let text = String::from_utf8(lines).unwrap();
        let (mut results, mut events) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let line: Value = serde_json::from_str(line).unwrap();
            if line["type"] == "observation" {
                results.push(kept(&line));
            } else {
                events.push(line);
            }
        }
        let journal = Self {
            results,
            events,
            text,
        };
        journal.check();
        journal
    }

    fn check(&self) {
        let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut last_at = 0;
        for result in &self.results {
            let key = (result.host.as_str(), result.incarnation.as_str());
            let before = last.insert(key, result.sequence).unwrap_or(0);
            assert!(
                result.sequence > before,
                "twice or out of order: {result:?}"
            );
            assert!(
                result.sampled_us <= result.at_us,
                "from the future: {result:?}"
            );
            assert!(
                last_at <= result.at_us,
                "arrived before the one before it: {result:?}"
            );
            last_at = result.at_us;
        }
    }

    /// Whether each incarnation's results are there from the first on without a hole.
    pub(crate) fn check_no_hole(&self) {
        let mut next: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        for result in &self.results {
            let key = (result.host.as_str(), result.incarnation.as_str());
            let next = next.entry(key).or_insert(1);
            assert_eq!(result.sequence, *next, "a hole before {result:?}");
            *next += 1;
        }
    }

    /// How many results are missing between those of each incarnation.
    pub(crate) fn holes(&self) -> u64 {
        let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        let mut holes = 0;
        for result in &self.results {
            let key = (result.host.as_str(), result.incarnation.as_str());
            let before = last.insert(key, result.sequence).unwrap_or(0);
            holes += result.sequence - before - 1;
        }
        holes
    }

    /// The results of a script, in the journal's order.
    pub(crate) fn of<'a>(&'a self, script: &'a Script) -> impl Iterator<Item = &'a Kept> {
        self.results
            .iter()
            .filter(|result| result.component == script.component && result.number.is_some())
    }

    /// The answers of a script up to a true time that are not here.
    pub(crate) fn missing(&self, script: &Script, until_us: i64) -> Vec<usize> {
        let here: BTreeSet<usize> = self.of(script).filter_map(|result| result.number).collect();
        let answered = script.answered_us();
        (1..=answered.len())
            .filter(|number| answered[number - 1] <= until_us && !here.contains(number))
            .collect()
    }

    /// Each answer of a script is here at most once, whatever the incarnation.
    pub(crate) fn check_once(&self, script: &Script) {
        let mut seen = BTreeSet::new();
        for result in self.of(script) {
            assert!(seen.insert(result.number), "twice: {result:?}");
        }
    }

    /// How often an event of this type was written, whoever it is about.
    pub(crate) fn count_all(&self, kind: &str) -> usize {
        let events = self.events.iter();
        events.filter(|event| event["type"] == kind).count()
    }

    /// How often an event of this type was written about an agent.
    pub(crate) fn count(&self, kind: &str, agent: &str) -> usize {
        let is_it = |event: &&Value| event["type"] == kind && event["agent"] == agent;
        self.events.iter().filter(is_it).count()
    }
}

fn kept(line: &Value) -> Kept {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a small number that the probe counted"
    )]
    let number = line["values"][NUMBER].as_f64().map(|it| it as usize);
    Kept {
        host: text("host"),
        incarnation: text("incarnation"),
        sequence: line["sequence"].as_u64().unwrap(),
        component: text("component"),
        number: number.filter(|_| line["check"] == CHECK),
        at_us: micros(&line["at"]),
        sampled_us: micros(&line["sampled_at"]),
    }
}

fn micros(time: &Value) -> i64 {
    let text = time.as_str().unwrap();
    Timestamp::parse(text).unwrap().as_micros()
}
