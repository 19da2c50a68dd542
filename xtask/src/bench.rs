//! Builds the programs optimised and measures them: `benches/` for whole processes, `graph/benches/` for the engine.

use crate::packages;
use crate::steps::{StepError, run, run_with};

/// What the figures in docs/performance.md are made with, unless another profile is asked for.
const PROFILE: &str = "release";

/// Measures; `arguments` are `--profile NAME` and what the program `bench` takes: rows, `--short`.
pub(crate) fn bench(arguments: &[&str]) -> Result<(), StepError> {
    let (profile, arguments) = match arguments {
        ["--profile", profile, rest @ ..] => (*profile, rest),
        all => (PROFILE, all),
    };
    packages::install_missing()?;
    let mut build = vec!["build", "--profile", profile, "--bins"];
    for package in [
        "blackstart",
        "blackstart-agent",
        "blackstart-aggregator",
        "blackstart-benches",
    ] {
        build.extend(["--package", package]);
    }
    run("cargo", &build)?;
    let folder = crate::target().join(profile);
    let folder = folder
        .to_str()
        .ok_or_else(|| StepError::Rule("the target folder's name is no text".to_owned()))?;
    let program = format!("{folder}/bench");
    run_with(&program, arguments, &[("BLACKSTART_BIN_DIR", folder)])?;
    run(
        "cargo",
        &[
            "bench",
            "--profile",
            profile,
            "--package",
            "blackstart-graph",
        ],
    )
}
