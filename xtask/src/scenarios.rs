//! The events of the scenarios in tests/scenarios/: five incidents, told by what probes would have seen.
//!
//! `topology.toml` and `expect.toml` of a scenario are written by hand. Its `events.jsonl` is written from here by `cargo xtask
//! scenarios`, the same bytes each time; `--check` fails when the file is not what would be written. One file here tells one
//! incident; [`story`], [`life`] and [`stage`] are the words that they share.
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
mod wallarm_2021;

use std::fs;

use crate::docs::Mode;
use crate::steps::{StepError, println_step};

/// Where the scenarios are.
const FOLDER: &str = "tests/scenarios";

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

/// Writes or checks the events.
pub(crate) fn scenarios(mode: Mode) -> Result<(), StepError> {
    let folder = crate::root().join(FOLDER);
    let mut wrong = Vec::new();
    for (name, events) in INCIDENTS {
        let file = folder.join(name).join("events.jsonl");
        let events = events();
        let is_there = fs::read_to_string(&file).is_ok_and(|text| text == events);
        match mode {
            Mode::Check if !is_there => wrong.push(format!("{FOLDER}/{name}/events.jsonl")),
            Mode::Check => {}
            Mode::Write => {
                fs::write(&file, &events).map_err(|source| StepError::Start {
                    command: format!("write {}", file.display()),
                    source,
                })?;
                let (lines, kib) = (events.lines().count(), events.len() / 1024);
                println_step(&format!("{FOLDER}/{name}: {lines} events, {kib} KiB"));
            }
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(StepError::Rule(format!(
            "not what xtask/src/scenarios tells: {}. Run: cargo xtask scenarios",
            wrong.join(", ")
        )))
    }
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
