//! An aggregator and an agent as processes, on free ports and in folders of their own.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use blackstart_tests::{Daemon, binary};
use serde_json::Value;

/// How long a part may take to start on a busy machine; alone it needs a moment.
pub(crate) const START: Duration = Duration::from_secs(60);

/// An aggregator that listens on this port.
pub(crate) fn aggregator(home: &Path, port: u16) -> Daemon {
    let mut command = Command::new(binary("blackstart-aggregator"));
    command
        .args([
            "run",
            "--listen",
            &format!("127.0.0.1:{port}"),
            "--state-dir",
        ])
        .arg(home.join("aggregator"));
    Daemon::spawn("aggregator", &mut command, &home.join("aggregator.log"))
}

/// An agent with this configuration file.
pub(crate) fn agent(home: &Path, config: &Path) -> Daemon {
    let mut command = Command::new(binary("blackstart-agent"));
    command.args(["run", "--config"]).arg(config);
    Daemon::spawn("agent", &mut command, &home.join("agent.log"))
}

/// Runs one of our programs to its end, with no aggregator in its surroundings.
pub(crate) fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(binary(program))
        .args(arguments)
        .env_remove("BLACKSTART_AGGREGATOR")
        .output()
        .expect("our own program runs")
}

/// What it wrote to standard output.
pub(crate) fn out(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it wrote to standard error.
pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What `blackstart` prints as JSON, and its exit code.
pub(crate) fn ask(port: u16, arguments: &[&str]) -> (Value, i32) {
    let output = Command::new(binary("blackstart"))
        .args([
            "--aggregator",
            &format!("127.0.0.1:{port}"),
            "--format",
            "json",
        ])
        .args(arguments)
        .output()
        .expect("blackstart runs");
    let value = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (value, output.status.code().unwrap_or(-1))
}

/// The condition of a component, as `blackstart status` tells it.
pub(crate) fn condition(port: u16, id: &str) -> Option<String> {
    let (status, _) = ask(port, &["status"]);
    let found = status["components"]
        .as_array()?
        .iter()
        .find(|component| component["id"] == id)?;
    found["condition"].as_str().map(str::to_owned)
}

/// The sequences that the journal holds, by incarnation, in the journal's order.
pub(crate) fn journaled(home: &Path) -> BTreeMap<String, Vec<u64>> {
    match try_journaled(home) {
        Ok(journal) => journal,
        Err(said) => panic!("{said}"),
    }
}

/// The same, of an aggregator that may not have got that far: what was said then.
pub(crate) fn try_journaled(home: &Path) -> Result<BTreeMap<String, Vec<u64>>, String> {
    let output = Command::new(binary("blackstart-aggregator"))
        .args(["journal", "--state-dir"])
        .arg(home.join("aggregator"))
        .output()
        .expect("the journal is shown");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut found: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let entry: Value = serde_json::from_str(line).expect("an entry is JSON");
        if entry["type"] == "observation" {
            let incarnation = entry["incarnation"]
                .as_str()
                .expect("an incarnation")
                .to_owned();
            found
                .entry(incarnation)
                .or_default()
                .push(entry["sequence"].as_u64().expect("a sequence"));
        }
    }
    Ok(found)
}
