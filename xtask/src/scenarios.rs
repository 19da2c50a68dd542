//! The events of the scenarios in tests/scenarios/: five incidents, told by what probes would have seen.
//!
//! `topology.toml` and `expect.toml` of a scenario are written by hand. Its `events.jsonl` is written from here by `cargo xtask
//! scenarios`, the same bytes each time; `--check` fails when the file is not what would be written. One file here tells one
//! incident; [`story`], [`life`] and [`stage`] are the words that they share.
//!
//! The pages in docs/incidents have a table each of what the engine says at which minute ([`told`]), written and checked with them.
//!
//! Not here: whether the engine finds what `expect.toml` asks for.

mod clever_cloud_2025;
mod cloud_iam_2024;
mod imparato_2021;
mod life;
mod sbg_fire;
mod scalingo_2019;
mod stage;
mod story;
mod time;
mod told;
mod wallarm_2021;

use std::fs;
use std::path::Path;

use crate::docs::Mode;
use crate::steps::{StepError, println_step};

/// Where the scenarios are.
const FOLDER: &str = "tests/scenarios";

/// Where their pages are, each with a table of what the engine says.
const PAGES: &str = "docs/incidents";

/// The name of a scenario's folder, and what writes its events.
type Incident = (&'static str, fn() -> String);

/// Every incident.
const INCIDENTS: [Incident; 5] = [
    (clever_cloud_2025::NAME, clever_cloud_2025::events),
    (cloud_iam_2024::NAME, cloud_iam_2024::events),
    (imparato_2021::NAME, imparato_2021::events),
    (scalingo_2019::NAME, scalingo_2019::events),
    (wallarm_2021::NAME, wallarm_2021::events),
];

/// Writes or checks the events, then the tables of the pages.
pub(crate) fn scenarios(mode: Mode) -> Result<(), StepError> {
    let root = crate::root();
    let mut wrong = Vec::new();
    for (name, events) in INCIDENTS {
        let file = format!("{FOLDER}/{name}/events.jsonl");
        put(mode, &root, file, &events(), &mut wrong)?;
        let file = format!("{PAGES}/{name}.md");
        let page = told::page(&root, name).map_err(StepError::Rule)?;
        put(mode, &root, file, &page, &mut wrong)?;
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(StepError::Rule(format!(
            "not what xtask/src/scenarios tells, or not what the engine says: {}. Run: cargo xtask scenarios",
            wrong.join(", ")
        )))
    }
}

fn put(
    mode: Mode,
    root: &Path,
    file: String,
    text: &str,
    wrong: &mut Vec<String>,
) -> Result<(), StepError> {
    let path = root.join(&file);
    let is_there = fs::read_to_string(&path).is_ok_and(|known| known == text);
    match mode {
        Mode::Check if !is_there => wrong.push(file),
        Mode::Check => {}
        Mode::Write => {
            fs::write(&path, text).map_err(|source| StepError::Start {
                command: format!("write {file}"),
                source,
            })?;
            println_step(&format!("{file}: {} KiB", text.len() / 1024));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Larger files make a checkout and a test slow for no gain.
    const EVENTS_BYTES_MAX: usize = 1_500_000;

    #[test]
    fn the_scenarios_in_the_tree_are_what_would_be_written() {
        scenarios(Mode::Check).unwrap();
    }

    #[test]
    fn no_scenario_is_too_large() {
        for (name, events) in INCIDENTS {
            assert!(events().len() < EVENTS_BYTES_MAX, "{name}");
        }
    }
}
