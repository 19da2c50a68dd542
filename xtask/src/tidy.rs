//! The rules of the house that no compiler checks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::steps::StepError;

/// Which crate of the workspace may know which.
const KNOWS: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("proto", &[]),
    ("graph", &["blackstart-config"]),
    ("agent", &["blackstart-config", "blackstart-proto"]),
    (
        "aggregator",
        &["blackstart-config", "blackstart-graph", "blackstart-proto"],
    ),
    (
        "cli",
        &[
            "blackstart-agent",
            "blackstart-aggregator",
            "blackstart-config",
            "blackstart-graph",
            "blackstart-proto",
        ],
    ),
    ("xtask", &["blackstart-graph"]),
];

/// A file that is longer, its tests apart, has more than one subject.
const FILE_LINES_MAX: usize = 480;

/// Where generated messages may be named: beside them stand our own types, and nothing else decides by them.
const MESSAGES_ONLY_IN: &[(&str, &[&str])] = &[
    ("agent/src/", &["wire", "uplink", "local"]),
    (
        "aggregator/src/",
        &["wire", "agents", "operator", "server", "health"],
    ),
    ("graph/src/", &[]),
];

/// How generated messages are named.
const MESSAGES: &str = "blackstart_proto::v1";

/// Places of one machine, which mean nothing on another; spelled in halves so that this file passes.
const PLACES: [&str; 2] = [concat!("/wo", "rk/"), concat!("/ro", "ot/")];

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] = [
    "common", "util", "utils", "helpers", "manager", "imp", "misc", "mod",
];

/// What would make the engine depend on more than its events.
const IMPURE: [&str; 8] = [
    "Instant::now",
    "SystemTime",
    "std::net",
    "std::fs",
    "std::thread",
    "HashMap",
    "HashSet",
    "tokio",
];

/// Words that mark work left undone; spelled in halves so that this file passes.
const UNFINISHED: [&str; 4] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("todo", "!("),
    concat!("unimpl", "emented!("),
];

/// The most lines of ARCHITECTURE.md: it is read before the first change.
const ARCHITECTURE_LINES_MAX: usize = 250;

/// Checks the whole tree and reports everything that breaks a rule.
pub(crate) fn check_tree() -> Result<(), StepError> {
    let root = &crate::root();
    let mut broken = Vec::new();
    for file in source_files(root) {
        let name = file
            .strip_prefix(root)
            .unwrap_or(&file)
            .display()
            .to_string();
        match fs::read_to_string(&file) {
            Ok(text) => broken.extend(rules_of_a_file(&name, &text)),
            Err(failure) => broken.push(format!("{name}: cannot be read: {failure}")),
        }
    }
    for (folder, known) in KNOWS {
        let manifest = fs::read_to_string(root.join(folder).join("Cargo.toml")).unwrap_or_default();
        broken.extend(rules_of_a_manifest(folder, known, &manifest));
    }
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md"))
        .unwrap_or_default()
        .lines()
        .count();
    if architecture == 0 || architecture > ARCHITECTURE_LINES_MAX {
        broken.push(format!(
            "ARCHITECTURE.md has {architecture} lines, 1 to {ARCHITECTURE_LINES_MAX} are wanted"
        ));
    }
    if broken.is_empty() {
        Ok(())
    } else {
        Err(StepError::Rule(format!(
            "untidy:\n  {}",
            broken.join("\n  ")
        )))
    }
}

fn rules_of_a_manifest(folder: &str, known: &[&str], manifest: &str) -> Vec<String> {
    let own = manifest
        .split("[dev-dependencies]")
        .next()
        .unwrap_or_default();
    own.lines()
        .filter_map(|line| line.split(['=', ' ', '.']).next())
        .filter(|name| name.starts_with("blackstart-") && !known.contains(name))
        .map(|name| format!("{folder}/Cargo.toml: {folder} must not know {name}"))
        .collect()
}

fn rules_of_a_file(name: &str, text: &str) -> Vec<String> {
    let mut broken = Vec::new();
    if !text.starts_with("//!") {
        broken.push(format!(
            "{name}: does not begin with //!, what the file is for"
        ));
    }
    let stem = Path::new(name)
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    if EMPTY_NAMES.contains(&stem.as_str()) {
        broken.push(format!("{name}: a name that says nothing"));
    }
    let own: Vec<&str> = text
        .lines()
        .take_while(|line| !line.starts_with("#[cfg(test)]"))
        .collect();
    // A table of cases may be as long as it takes.
    if own.len() > FILE_LINES_MAX && stem != "tests" {
        broken.push(format!(
            "{name}: {} lines without its tests, {FILE_LINES_MAX} at most: which are its subjects?",
            own.len()
        ));
    }
    broken.extend(rules_of_messages(name, &own));
    for (index, line) in text.lines().enumerate() {
        for place in PLACES {
            if line.contains(place) {
                broken.push(format!(
                    "{name}:{}: a place of one machine: {place}",
                    index + 1
                ));
            }
        }
        for word in UNFINISHED {
            if line.contains(word) {
                broken.push(format!("{name}:{}: unfinished: {}", index + 1, line.trim()));
            }
        }
        let code = line.split("//").next().unwrap_or_default();
        if name.starts_with("graph/src") {
            for word in IMPURE {
                if code.contains(word) {
                    broken.push(format!(
                        "{name}:{}: the engine must not use {word}",
                        index + 1
                    ));
                }
            }
        }
    }
    broken
}

fn rules_of_messages(name: &str, own: &[&str]) -> Vec<String> {
    let Some((folder, allowed)) = MESSAGES_ONLY_IN
        .iter()
        .find(|(folder, _)| name.starts_with(folder))
    else {
        return Vec::new();
    };
    let part = name[folder.len()..]
        .split(['/', '.'])
        .next()
        .unwrap_or_default();
    own.iter()
        .position(|line| line.contains(MESSAGES))
        .filter(|_| !allowed.contains(&part))
        .map(|at| {
            format!(
                "{name}:{}: generated messages belong in {folder}{{{}}}",
                at + 1,
                allowed.join(",")
            )
        })
        .into_iter()
        .collect()
}

/// Every `.rs` file of the workspace, in a fixed order.
fn source_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if name != "target" && !name.starts_with('.') {
                    folders.push(path);
                }
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_in_the_engine_is_found_and_one_in_a_comment_is_not() {
        let text = "//! Doc.\nlet t = Instant::now();\n// Instant::now is for others\n";
        assert_eq!(
            rules_of_a_file("graph/src/x.rs", text),
            ["graph/src/x.rs:2: the engine must not use Instant::now"]
        );
    }

    #[test]
    fn a_dependency_against_the_direction_is_found() {
        let manifest = "[dependencies]\nblackstart-agent = { workspace = true }\n[dev-dependencies]\nblackstart-proto = {}\n";
        assert_eq!(
            rules_of_a_manifest("graph", &["blackstart-config"], manifest),
            ["graph/Cargo.toml: graph must not know blackstart-agent"]
        );
    }

    #[test]
    fn a_message_far_from_the_wire_is_found_and_one_in_a_test_is_not() {
        let text = "//! Doc.\nuse blackstart_proto::v1::Hello;\n";
        assert_eq!(
            rules_of_a_file("aggregator/src/session/x.rs", text),
            [
                "aggregator/src/session/x.rs:2: generated messages belong in \
              aggregator/src/{wire,agents,operator,server,health}"
            ]
        );
        assert!(rules_of_a_file("agent/src/uplink/stream.rs", text).is_empty());
        let tested = text.replace("use", "#[cfg(test)]\nuse");
        assert!(rules_of_a_file("aggregator/src/session/x.rs", &tested).is_empty());
    }

    #[test]
    fn a_file_of_many_subjects_and_a_place_of_one_machine_are_found() {
        let long = format!("//! Doc.\n{}", "x\n".repeat(FILE_LINES_MAX));
        assert_eq!(rules_of_a_file("agent/src/x.rs", &long).len(), 1);
        let place = format!("//! See {}main.\n", PLACES[0]);
        assert_eq!(rules_of_a_file("agent/src/x.rs", &place).len(), 1);
    }

    #[test]
    fn a_file_without_a_purpose_or_a_name_is_found() {
        assert_eq!(rules_of_a_file("agent/src/util.rs", "use x;\n").len(), 2);
    }
}
