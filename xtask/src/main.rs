//! Blackstart's automation: `cargo xtask ci`, `test`, `tidy`, `docs`, `scenarios`, `bench`, `sim`.
//!
//! `ci` is what `.ci/run` calls: formatting, lints, documentation, tidiness, dependencies, then `test`,
//! which is the README's test command. Each step runs even when an earlier one has failed,
//! so that one run shows everything; the exit code is 1 when any did.

mod bench;
mod docs;
mod packages;
mod scenarios;
mod sim;
mod steps;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["ci"] => steps::ci(),
        ["test"] => steps::test(),
        ["tidy"] => tidy::check_tree(),
        ["docs"] => docs::docs(docs::Mode::Write),
        ["docs", "--check"] => docs::docs(docs::Mode::Check),
        ["scenarios"] => scenarios::scenarios(docs::Mode::Write),
        ["scenarios", "--check"] => scenarios::scenarios(docs::Mode::Check),
        ["bench", rest @ ..] => bench::bench(rest),
        ["sim", rest @ ..] => sim::sim(rest),
        _ => {
            eprintln!(
                "usage: cargo xtask ci | test | tidy | docs | scenarios | bench | sim\n\
                 \n  ci     everything that must pass before a change lands\
                 \n  test   installs the servers that the tests need, then runs every test\
                 \n  tidy   the rules of the house that no compiler checks\
                 \n  docs   writes docs/probes/ from the probes' comments; --check: is it up to date?\
                 \n  scenarios   writes the events of tests/scenarios/; --check: are they up to date?\
                 \n  bench  measures the programs: [--profile NAME] [--short] [ROW…]\
                 \n  sim    how well the engine finds what broke, on estates and faults from seeds: [--size xs|s|m] [--seeds A..B] [--cell NAME]"
            );
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
        .to_path_buf()
}

/// The folder that cargo builds into: this program is in a folder of its own below it.
fn target() -> PathBuf {
    std::env::current_exe()
        .ok()
        .and_then(|own| own.ancestors().nth(2).map(Path::to_path_buf))
        .unwrap_or_else(|| root().join("target"))
}
