//! A scenario: a folder with a topology, what happened, and perhaps what is expected of the engine.

pub(crate) mod expect;

use std::path::{Path, PathBuf};

use blackstart_graph::{Engine, Event, Timestamp, Topology};

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
    /// What happened, with the line of the file.
    pub(crate) events: Vec<(usize, Event)>,
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
        let first = self.events.first().map(|(_, event)| event.at);
        let first = first.unwrap_or_else(|| Timestamp::from_micros(0));
        Engine::new(self.topology.clone(), first)
    }

    /// What to say of an event that the engine refused.
    pub(crate) fn refused(
        &self,
        line: usize,
        error: &blackstart_graph::ApplyError,
    ) -> ScenarioError {
        ScenarioError::Event {
            path: self.folder.join("events.jsonl"),
            line,
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

/// One event a line, with the number of its line; blank lines are nothing.
fn events(path: &Path, text: &str) -> Result<Vec<(usize, Event)>, ScenarioError> {
    let mut events: Vec<(usize, Event)> = Vec::new();
    let lines = (1..).zip(text.lines());
    for (line, text) in lines.filter(|(_, text)| !text.trim().is_empty()) {
        let problem = |problem: String| ScenarioError::Event {
            path: path.to_owned(),
            line,
            problem,
        };
        let event: Event =
            serde_json::from_str(text).map_err(|error| problem(error.to_string()))?;
        if let Some((above, last)) = events.last()
            && event.at < last.at
        {
            return Err(problem(format!(
                "at {} is before {} of line {above}; a capture is in the order of arrival",
                event.at, last.at
            )));
        }
        events.push((line, event));
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
        let said = refusal(&format!("\n{tick}\n\n{earlier}"));
        assert!(
            said.starts_with("events.jsonl line 4: at 2019-01-24T11:00:00.000Z is before 2019-01-24T12:00:00.000Z of line 2"),
            "{said}"
        );
    }
}
