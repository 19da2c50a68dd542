//! A scenario: a folder with a topology, what happened, and perhaps what is expected of the engine.

pub(crate) mod expect;

use std::path::{Path, PathBuf};

use blackstart_graph::{Engine, Event, EventKind, Timestamp, Topology};

/// Why a scenario cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ScenarioError {
    #[error("{}: cannot be read: {source}; a scenario is a folder with topology.toml and events.jsonl", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0}")]
    Topology(String),
    #[error("{} line {line}: {problem}", path.display())]
    Event {
        path: PathBuf,
        line: usize,
        problem: String,
    },
    #[error("{}: {problem}", path.display())]
    Expect { path: PathBuf, problem: String },
}

/// A scenario, read and checked.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) topology: Topology,
    pub(crate) events: Vec<Event>,
    pub(crate) folder: PathBuf,
}

impl Scenario {
    /// Reads the topology and the events of a folder.
    pub(crate) fn load(folder: &Path) -> Result<Self, ScenarioError> {
        let path = folder.join("topology.toml");
        let text = read(&path)?;
        let topology = Topology::parse(&path.display().to_string(), &text)
            .map_err(|report| ScenarioError::Topology(report.to_string()))?;
        let path = folder.join("events.jsonl");
        let events = events(&path, &read(&path)?)?;
        Ok(Self {
            topology,
            events,
            folder: folder.to_owned(),
        })
    }

    /// An engine before the first event.
    pub(crate) fn engine(&self) -> Engine {
        let first = self.events.first().map(|event| event.at);
        let first = first.unwrap_or_else(|| Timestamp::from_micros(0));
        Engine::new(self.topology.clone(), first)
    }

    /// What to say of an event that the engine refused, by its place.
    pub(crate) fn refused(&self, at: usize, error: &blackstart_graph::ApplyError) -> ScenarioError {
        ScenarioError::Event {
            path: self.folder.join("events.jsonl"),
            line: at + 1,
            problem: error.to_string(),
        }
    }
}

pub(crate) fn read(path: &Path) -> Result<String, ScenarioError> {
    std::fs::read_to_string(path).map_err(|source| ScenarioError::Read {
        path: path.to_owned(),
        source,
    })
}

/// One event a line; blank lines are time that nothing happened in.
fn events(path: &Path, text: &str) -> Result<Vec<Event>, ScenarioError> {
    let problem = |line: usize, problem: String| ScenarioError::Event {
        path: path.to_owned(),
        line,
        problem,
    };
    let mut events: Vec<Event> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            events.extend(events.last().map(|last| Event {
                at: last.at,
                kind: EventKind::Tick,
            }));
            continue;
        }
        let event: Event =
            serde_json::from_str(line).map_err(|error| problem(at + 1, error.to_string()))?;
        if let Some(last) = events.last().filter(|last| event.at < last.at) {
            let words = format!(
                "at {} is before {} of the line above; a capture is in the order of arrival",
                event.at, last.at
            );
            return Err(problem(at + 1, words));
        }
        events.push(event);
    }
    Ok(events)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        events(Path::new("events.jsonl"), text)
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn what_is_wrong_with_a_capture_is_named_with_its_line() {
        let tick = r#"{"at":"2019-01-24T12:00:00Z","type":"tick"}"#;
        let earlier = r#"{"at":"2019-01-24T11:00:00Z","type":"tick"}"#;
        let eclipse = r#"{"at":"2019-01-24T12:00:00Z","type":"eclipse"}"#;
        let said = refusal(&format!("{tick}\n{eclipse}"));
        assert!(
            said.starts_with("events.jsonl line 2: unknown variant `eclipse`"),
            "{said}"
        );
        let said = refusal(&format!("{tick}\n\n{earlier}"));
        assert!(
            said.starts_with("events.jsonl line 3: at 2019-01-24T11:00:00"),
            "{said}"
        );
    }
}
