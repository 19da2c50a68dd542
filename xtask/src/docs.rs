//! The pages of docs/probes/: each probe's own comment, and what the agent says of it.
//!
//! A page is never written by hand: the comment of `agent/src/probes/NAME.rs` is its text. `docs` writes the pages,
//! `docs --check` fails when one is not what would be written.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::steps::{StepError, println_step};

/// Where the pages are.
const FOLDER: &str = "docs/probes";

/// What every page begins with, so that nobody mends it in the wrong place.
const ORIGIN: &str =
    "<!-- Written by `cargo xtask docs` from the probe's source; change it there. -->";

/// What to do with the pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Write them.
    Write,
    /// Fail when one is not what would be written.
    Check,
}

/// Writes or checks the pages.
pub(crate) fn docs(mode: Mode) -> Result<(), StepError> {
    let root = crate::root();
    let pages = pages(&root)?;
    let folder = root.join(FOLDER);
    let mut wrong = Vec::new();
    for (name, text) in &pages {
        let file = folder.join(name);
        if fs::read_to_string(&file).ok().as_ref() != Some(text) {
            wrong.push(format!("{FOLDER}/{name}"));
        }
    }
    let old = fs::read_dir(&folder).into_iter().flatten().flatten();
    let stray: Vec<_> = old
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !pages.contains_key(name))
        .collect();
    if mode == Mode::Check {
        wrong.extend(stray.iter().map(|name| format!("{FOLDER}/{name}")));
        return if wrong.is_empty() {
            Ok(())
        } else {
            Err(StepError::Rule(format!(
                "not what the probes' comments say: {}. Run: cargo xtask docs",
                wrong.join(", ")
            )))
        };
    }
    let failed = |source| StepError::Start {
        command: format!("write {FOLDER}"),
        source,
    };
    fs::create_dir_all(&folder).map_err(failed)?;
    for name in &stray {
        fs::remove_file(folder.join(name)).map_err(failed)?;
    }
    for (name, text) in &pages {
        fs::write(folder.join(name), text).map_err(failed)?;
    }
    println_step(&format!("{FOLDER}: {} pages", pages.len()));
    Ok(())
}

/// Every page by its file name.
fn pages(root: &Path) -> Result<BTreeMap<String, String>, StepError> {
    let mut pages = BTreeMap::new();
    let mut index = format!(
        "{ORIGIN}\n\n# Probes\n\n| kind | what it asks | privileges |\n| --- | --- | --- |\n"
    );
    for kind in kinds(root)? {
        let word = |key: &str| kind[key].as_str().unwrap_or_default().to_owned();
        let name = word("kind");
        let source = format!("agent/src/probes/{}.rs", name.replace('.', "_"));
        let text = fs::read_to_string(root.join(&source)).map_err(|error| {
            StepError::Rule(format!(
                "{source}: the source of {name} cannot be read: {error}"
            ))
        })?;
        index.push_str(&format!(
            "| [`{name}`]({name}.md) | {} | {} |\n",
            word("summary"),
            word("privilege")
        ));
        let seconds = |key: &str| kind[key].as_f64().unwrap_or_default() / 1_000.0;
        let page = format!(
            "{ORIGIN}\n\n{}\n\
             | | |\n| --- | --- |\n\
             | asks a component of kind | `{}` |\n\
             | every | {} s when all is well, unless configured |\n\
             | deadline of a run | {} s, unless configured |\n\
             | privileges | {}: {} |\n",
            page_of(&text),
            word("component_kind"),
            seconds("interval_ms"),
            seconds("timeout_ms"),
            word("privilege"),
            word("privilege_detail"),
        );
        pages.insert(format!("{name}.md"), page);
    }
    index.push_str(
        "\nEach page tells what is asked, what each answer means and which keys there are. Keys of every probe: `kind`, `component`, \
         `interval`, `timeout` ([configuration](../configuration.md)). On a machine: `blackstart-agent probes`.\n",
    );
    pages.insert("README.md".to_owned(), index);
    Ok(pages)
}

/// What the agent says of its probes.
fn kinds(root: &Path) -> Result<Vec<Value>, StepError> {
    let arguments = [
        "run",
        "--quiet",
        "--package",
        "blackstart-agent",
        "--",
        "probes",
        "--format",
        "json",
    ];
    let command = format!("cargo {}", arguments.join(" "));
    let output = Command::new("cargo")
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|source| StepError::Start {
            command: command.clone(),
            source,
        })?;
    if !output.status.success() {
        return Err(StepError::Failed {
            command,
            status: output.status,
        });
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| StepError::Rule(format!("{command} gives no JSON: {error}")))
}

/// The comment at the head of a file as a page: its first sentence becomes the title.
fn page_of(source: &str) -> String {
    let mut page = String::new();
    for (at, line) in source
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .enumerate()
    {
        let line = line.strip_prefix(' ').unwrap_or(line);
        if at == 0 {
            page.push_str("# ");
        }
        page.push_str(line);
        page.push('\n');
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_becomes_a_page() {
        let source =
            "//! `a.b`: does it?\n//!\n//! ```toml\n//!   x = 1\n//! ```\n\nuse x;\n//! not this\n";
        assert_eq!(
            page_of(source),
            "# `a.b`: does it?\n\n```toml\n  x = 1\n```\n"
        );
    }
}
