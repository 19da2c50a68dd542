//! Writes a case as a scenario folder, for `blackstart replay` and `blackstart test`.

use std::fs;
use std::path::Path;

use super::case::{Case, Moment, moment};
use super::twin;
use crate::steps::StepError;

/// Writes the folder.
pub(super) fn save(case: &Case, folder: &Path) -> Result<(), StepError> {
    let fails = |source| StepError::Start {
        command: format!("write {}", folder.display()),
        source,
    };
    fs::create_dir_all(folder).map_err(fails)?;
    let mut events = String::new();
    for event in case.events() {
        let line = serde_json::to_string(&event)
            .map_err(|failure| StepError::Rule(format!("an event cannot be written: {failure}")))?;
        events.push_str(&line);
        events.push('\n');
    }
    fs::write(folder.join("topology.toml"), case.estate.toml()).map_err(fails)?;
    fs::write(folder.join("events.jsonl"), events).map_err(fails)?;
    fs::write(folder.join("expect.toml"), expectations(case)).map_err(fails)
}

/// The truth at each moment at which it shows.
fn expectations(case: &Case) -> String {
    let mut text = String::new();
    for fault in &case.story.faults {
        let (from, until) = (moment(fault.from() * 1_000), moment(fault.until() * 1_000));
        text.push_str(&format!(
            "# {}: {} from {from} to {until}\n",
            fault.sort,
            fault.causes.join(" ")
        ));
    }
    for asked in Moment::ALL {
        let second = case.second(asked);
        if twin::is_unseen(case, second) {
            continue;
        }
        let causes: Vec<String> = case
            .causes(second)
            .iter()
            .map(|id| format!("\"{id}\""))
            .collect();
        text.push_str(&format!(
            "\n# {}\n[[expect]]\nat = \"{}\"\nroot_cause = [{}]\n",
            asked.name(),
            moment(second * 1_000 + 999),
            causes.join(", ")
        ));
    }
    text
}
