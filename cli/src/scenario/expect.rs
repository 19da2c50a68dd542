//! What a scenario expects of the engine, and whether that holds.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use blackstart_graph::{Diagnosis, Engine, Timestamp};
use serde::Deserialize;

use super::{ScenarioError, read};

/// What is expected at one moment, after all events up to it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expectation {
    at: String,
    root_cause: Option<Vec<String>>,
    #[serde(default)]
    root_cause_any: Vec<Vec<String>>,
    #[serde(default)]
    root_cause_includes: Vec<String>,
    #[serde(default)]
    never_root_cause: Vec<String>,
    within: Option<usize>,
    #[serde(default)]
    condition: BTreeMap<String, String>,
    recovery: Option<Recovery>,
    #[serde(default)]
    stuck: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Recovery {
    class: String,
    percent: Option<[f64; 2]>,
    end_within: Option<[String; 2]>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    expect: Vec<Expectation>,
}

/// Reads the expectations of a folder, in the order of their moments.
pub(crate) fn load(folder: &Path) -> Result<Vec<(Timestamp, Expectation)>, ScenarioError> {
    let path = folder.join("expect.toml");
    let problem = |problem: String| ScenarioError::Expect {
        path: path.clone(),
        problem,
    };
    let file: File = toml::from_str(&read(&path)?).map_err(|error| problem(error.to_string()))?;
    let mut found = Vec::new();
    for expectation in file.expect {
        if expectation.within == Some(0) {
            return Err(problem(format!(
                "{}: within must be at least 1",
                expectation.at
            )));
        }
        let at = Timestamp::parse(&expectation.at).map_err(|error| problem(error.to_string()))?;
        found.push((at, expectation));
    }
    found.sort_by_key(|(at, _)| *at);
    Ok(found)
}

impl Expectation {
    /// What is not as expected, each as one line; and how many things were looked at.
    pub(crate) fn unmet(&self, engine: &Engine, diagnosis: &Diagnosis) -> (usize, Vec<String>) {
        let mut looked = Looked::default();
        self.causes(diagnosis, &mut looked);
        for (id, expected) in &self.condition {
            let found = engine
                .find(id)
                .map(|component| component.condition().as_str());
            looked.at(found == Some(expected.as_str()), || {
                format!(
                    "condition of {id}: expected {expected}, found {}",
                    found.unwrap_or("no such component")
                )
            });
        }
        if let Some(recovery) = &self.recovery {
            self.progress(recovery, engine, &mut looked);
        }
        if !self.stuck.is_empty() {
            looked.at(false, || "stuck: this release does not judge it".to_owned());
        }
        (looked.count, looked.unmet)
    }

    fn causes(&self, diagnosis: &Diagnosis, looked: &mut Looked) {
        let within = self.within.unwrap_or(1);
        let first: Vec<BTreeSet<&str>> = diagnosis
            .hypotheses
            .iter()
            .take(within)
            .map(|hypothesis| hypothesis.causes.iter().map(String::as_str).collect())
            .collect();
        let said = || {
            let sets = diagnosis.hypotheses.iter().take(within.max(3));
            let words: Vec<String> = sets
                .map(|set| format!("[{}] {:.3}", set.causes.join(", "), set.probability))
                .collect();
            if words.is_empty() {
                "none".to_owned()
            } else {
                words.join("; ")
            }
        };
        let among = match within {
            1 => "first".to_owned(),
            n => format!("among the first {n}"),
        };
        let is_there = |ids: &[String]| {
            let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
            first.contains(&wanted)
        };
        if let Some(wanted) = &self.root_cause {
            looked.at(is_there(wanted), || {
                format!(
                    "root cause: expected [{}] {among}, found {}",
                    wanted.join(", "),
                    said()
                )
            });
        }
        if !self.root_cause_any.is_empty() {
            looked.at(
                self.root_cause_any.iter().any(|wanted| is_there(wanted)),
                || {
                    let sets: Vec<String> = self
                        .root_cause_any
                        .iter()
                        .map(|wanted| format!("[{}]", wanted.join(", ")))
                        .collect();
                    format!(
                        "root cause: expected one of {} {among}, found {}",
                        sets.join(" "),
                        said()
                    )
                },
            );
        }
        if !self.root_cause_includes.is_empty() {
            let includes = |set: &BTreeSet<&str>| {
                self.root_cause_includes
                    .iter()
                    .all(|id| set.contains(id.as_str()))
            };
            looked.at(first.iter().any(includes), || {
                let wanted = self.root_cause_includes.join(", ");
                format!(
                    "root cause: expected to include {wanted} {among}, found {}",
                    said()
                )
            });
        }
        for id in &self.never_root_cause {
            looked.at(!first.iter().any(|set| set.contains(id.as_str())), || {
                format!(
                    "root cause: {id} is not one, and is named {among}: {}",
                    said()
                )
            });
        }
    }

    fn progress(&self, recovery: &Recovery, engine: &Engine, looked: &mut Looked) {
        let progress = engine
            .progress()
            .remove(&recovery.class)
            .unwrap_or_default();
        if let Some([from, to]) = recovery.percent {
            let percent = percent(progress.done, progress.total);
            looked.at(percent >= from && percent <= to, || {
                format!(
                    "recovery of {}: expected {from} to {to} %, found {percent:.1} % ({} of {})",
                    recovery.class, progress.done, progress.total
                )
            });
        }
        if recovery.end_within.is_some() {
            looked.at(false, || {
                format!(
                    "recovery of {}: this release estimates no end",
                    recovery.class
                )
            });
        }
    }
}

/// Hundredths; nothing of nothing is all of it.
#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
pub(crate) fn percent(done: u64, total: u64) -> f64 {
    if total == 0 {
        100.0
    } else {
        done as f64 * 100.0 / total as f64
    }
}

#[derive(Debug, Default)]
struct Looked {
    count: usize,
    unmet: Vec<String>,
}

impl Looked {
    fn at(&mut self, holds: bool, words: impl FnOnce() -> String) {
        self.count += 1;
        if !holds {
            self.unmet.push(words());
        }
    }
}
