//! Blackstart's automation: `cargo xtask ci`, `cargo xtask test`, `cargo xtask tidy`.
//!
//! `ci` is what `.ci/run` calls: formatting, lints, documentation, tidiness, dependencies, then `test`,
//! which is the README's test command. Each step runs even when an earlier one has failed,
//! so that one run shows everything; the exit code is 1 when any did.

mod packages;
mod steps;
mod tidy;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["ci"] => steps::ci(),
        ["test"] => steps::test(),
        ["tidy"] => tidy::check_tree(),
        _ => {
            eprintln!(
                "usage: cargo xtask ci | test | tidy\n\
                 \n  ci    everything that must pass before a change lands\
                 \n  test  installs the servers that the tests need, then runs every test\
                 \n  tidy  the rules of the house that no compiler checks"
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
