//! The steps of `ci` and `test`, each a command that is shown before it runs.

use std::process::Command;
use std::time::Instant;

use crate::{docs, packages, scenarios, tidy};

/// Crates that must not enter the tree: a second TLS provider, or one that needs a system library.
const UNWANTED: [&str; 3] = ["aws-lc-sys", "openssl-sys", "native-tls"];

/// Why a step did not pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StepError {
    #[error("cannot run `{command}`: {source}")]
    Start {
        command: String,
        source: std::io::Error,
    },
    #[error("`{command}` failed ({status})")]
    Failed {
        command: String,
        status: std::process::ExitStatus,
    },
    #[error("{0}")]
    Rule(String),
    #[error("{} failed: {}", if .0.len() == 1 { "one step" } else { "several steps" }, .0.join("; "))]
    Several(Vec<String>),
}

/// What a step is called, and the step.
type NamedStep<'a> = (&'a str, &'a dyn Fn() -> Result<(), StepError>);

/// Everything that must pass before a change lands.
pub(crate) fn ci() -> Result<(), StepError> {
    let rustdoc = || {
        run_with(
            "cargo",
            &["doc", "--workspace", "--no-deps"],
            &[("RUSTDOCFLAGS", "-D warnings")],
        )
    };
    all(&[
        ("format", &|| run("cargo", &["fmt", "--all", "--check"])),
        ("tidy", &tidy::check_tree),
        ("dependencies", &unwanted_dependencies),
        ("lints", &|| {
            run(
                "cargo",
                &[
                    "clippy",
                    "--workspace",
                    "--all-targets",
                    "--",
                    "-D",
                    "warnings",
                ],
            )
        }),
        ("documentation", &rustdoc),
        ("pages", &|| docs::docs(docs::Mode::Check)),
        ("scenarios", &|| scenarios::scenarios(docs::Mode::Check)),
        ("tests", &test),
    ])
}

/// Installs what the tests need and runs every test.
pub(crate) fn test() -> Result<(), StepError> {
    packages::install_missing()?;
    run("cargo", &["build", "--workspace", "--bins"])?;
    // Set so that no test has to build the programs, or runs old ones.
    let folder = built_programs()?;
    let programs = [("BLACKSTART_BIN_DIR", folder.as_str())];
    let has_nextest = Command::new("cargo")
        .args(["nextest", "--version"])
        .output()
        .is_ok_and(|output| output.status.success());
    if has_nextest {
        run_with(
            "cargo",
            &["nextest", "run", "--workspace", "--no-fail-fast"],
            &programs,
        )?;
    } else {
        run_with(
            "cargo",
            &["test", "--workspace", "--all-targets", "--no-fail-fast"],
            &programs,
        )?;
    }
    run("cargo", &["test", "--workspace", "--doc"])
}

/// The folder that cargo puts this profile's programs into: the one that we run from.
fn built_programs() -> Result<String, StepError> {
    std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.to_str()?.to_owned()))
        .ok_or_else(|| StepError::Rule("the folder of the built programs is not known".to_owned()))
}

/// Runs each step, whatever became of the one before, and names those that failed.
fn all(steps: &[NamedStep<'_>]) -> Result<(), StepError> {
    let mut failures = Vec::new();
    for (name, step) in steps {
        let started = Instant::now();
        println_step(&format!("== {name}"));
        let outcome = step();
        let seconds = started.elapsed().as_secs();
        match outcome {
            Ok(()) => println_step(&format!("== {name}: passed in {seconds} s")),
            Err(failure) => {
                println_step(&format!("== {name}: FAILED in {seconds} s: {failure}"));
                failures.push(format!("{name}: {failure}"));
            }
        }
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(StepError::Several(failures))
    }
}

fn unwanted_dependencies() -> Result<(), StepError> {
    for name in UNWANTED {
        let output = Command::new("cargo")
            .args([
                "tree",
                "--workspace",
                "--edges",
                "normal,build",
                "--invert",
                name,
            ])
            .output()
            .map_err(|source| StepError::Start {
                command: "cargo tree".to_owned(),
                source,
            })?;
        if output.status.success() && !output.stdout.is_empty() {
            let tree = String::from_utf8_lossy(&output.stdout).into_owned();
            return Err(StepError::Rule(format!(
                "{name} is in the tree (docs/decisions/0003):\n{tree}"
            )));
        }
    }
    Ok(())
}

/// Runs a command with its output shown.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Result<(), StepError> {
    run_with(program, arguments, &[])
}

/// Runs a command with its output shown and some variables set.
pub(crate) fn run_with(
    program: &str,
    arguments: &[&str],
    variables: &[(&str, &str)],
) -> Result<(), StepError> {
    let command = format!("{program} {}", arguments.join(" "));
    println_step(&format!("$ {command}"));
    let status = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .status()
        .map_err(|source| StepError::Start {
            command: command.clone(),
            source,
        })?;
    if status.success() {
        Ok(())
    } else {
        Err(StepError::Failed { command, status })
    }
}

/// Progress goes to standard error, in one stream with what cargo prints.
pub(crate) fn println_step(line: &str) {
    eprintln!("{line}");
}
