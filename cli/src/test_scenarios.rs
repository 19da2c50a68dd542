//! `blackstart test`: runs scenarios and prints what is not as they expect. Past incidents and drills are tests of a topology.

use std::path::{Path, PathBuf};

use blackstart_graph::Changes;
use serde_json::json;

use crate::exit::Exit;
use crate::output::write_and;
use crate::replay::refuse;
use crate::scenario::{Scenario, ScenarioError, expect};
use crate::{Format, json as shapes};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folders: topology.toml, events.jsonl and expect.toml each.
    #[arg(required = true)]
    folders: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments, format: Format) -> Exit {
    let mut exit = Exit::Yes;
    for folder in &arguments.folders {
        let outcome = match test(folder) {
            Ok(outcome) => outcome,
            Err(error) => {
                exit = refuse(&error);
                continue;
            }
        };
        if !outcome.unmet.is_empty() && exit == Exit::Yes {
            exit = Exit::No;
        }
        let text = match format {
            Format::Json => shapes::line(&json!({
                "scenario": folder, "expectations": outcome.looked, "unmet": outcome.unmet,
            })),
            _ => words(folder, &outcome),
        };
        exit = write_and(&text, exit);
    }
    exit
}

struct Outcome {
    looked: usize,
    unmet: Vec<String>,
}

fn test(folder: &Path) -> Result<Outcome, ScenarioError> {
    let scenario = Scenario::load(folder)?;
    let mut outcome = Outcome {
        looked: 0,
        unmet: Vec::new(),
    };
    let mut engine = scenario.engine();
    let mut events = scenario.events.iter().peekable();
    for (at, expectation) in expect::load(folder)? {
        while let Some((line, event)) = events.next_if(|(_, event)| event.at <= at) {
            engine
                .apply(event, &mut Changes::default())
                .map_err(|error| scenario.refused(*line, &error))?;
        }
        engine.advance(at);
        let (looked, unmet) = expectation.unmet(&engine, &engine.diagnosis());
        outcome.looked += looked;
        let unmet = unmet.into_iter().map(|words| format!("{at}: {words}"));
        outcome.unmet.extend(unmet);
    }
    Ok(outcome)
}

fn words(folder: &Path, outcome: &Outcome) -> String {
    let name = folder.display();
    if outcome.unmet.is_empty() {
        return format!("{name}: ok, {} expectations\n", outcome.looked);
    }
    let mut text = format!(
        "{name}: {} of {} expectations not met\n",
        outcome.unmet.len(),
        outcome.looked
    );
    for unmet in &outcome.unmet {
        text.push_str(&format!("  {unmet}\n"));
    }
    text
}
