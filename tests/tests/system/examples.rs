//! Every file that we hand out as an example is one that our programs take.

use std::path::{Path, PathBuf};
use std::process::Command;

use blackstart_tests::{TempHome, binary};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests are a folder of the workspace")
        .to_path_buf()
}

/// Runs a program that has to take the file.
fn takes(command: &[&str], file: &Path) {
    let output = Command::new(binary(command[0]))
        .args(&command[1..])
        .arg(file)
        .output()
        .expect("our own program runs");
    assert_eq!(
        output.status.code(),
        Some(0),
        "{command:?} {}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The same file with every key that is only a comment put in force: `# key = …` and `# [table]`, not prose.
fn uncommented(text: &str) -> String {
    let is_code = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        let is_key = line.contains(" = ")
            && !key.is_empty()
            && key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        is_key || (line.starts_with('[') && line.trim_end().ends_with(']'))
    };
    let mut lines = Vec::new();
    for line in text.lines() {
        match line.strip_prefix("# ").filter(|rest| is_code(rest)) {
            Some(code) => lines.push(code),
            None => lines.push(line),
        }
    }
    // A top-level key must stand before the first table.
    lines.join("\n") + "\n"
}

#[test]
fn the_packaged_configurations_are_valid_as_they_are_and_with_every_key_in_force() {
    let home = TempHome::new("examples");
    for (program, name) in [
        ("blackstart-agent", "agent.toml"),
        ("blackstart-aggregator", "aggregator.toml"),
    ] {
        let file = root().join("packaging/examples").join(name);
        takes(&[program, "validate"], &file);
        let text = std::fs::read_to_string(&file).expect("the example is there");
        let all = uncommented(&text);
        assert_ne!(all, text, "{name} has keys that are comments");
        // The example's topology is named, and is not there: this one is.
        home.write("topology.toml", "[component.a]\nkind = \"host\"\n");
        takes(&[program, "validate"], &home.write(name, &all));
    }
}

/// The fenced blocks of this language in a page of the documentation, with the line that each begins on.
fn blocks(page: &str, language: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut block: Option<(usize, bool, String)> = None;
    for (number, line) in page.lines().enumerate() {
        match (&mut block, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => block = Some((number + 1, info == language, String::new())),
            (Some(_), Some(_)) => {
                if let Some((number, true, text)) = block.take() {
                    found.push((number, text));
                }
            }
            (Some((_, _, text)), None) => {
                text.push_str(line);
                text.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// Declares what an excerpt refers to and leaves out.
fn completed(excerpt: &str) -> String {
    let mut text = excerpt.to_owned();
    for (id, kind) in [
        ("room-1", "room"),
        ("feed-b", "power-feed"),
        ("tor-7", "switch"),
        ("\"etcd-{1..3}\"", "etcd-member"),
        ("dns-internal", "dns"),
        ("metrics", "service"),
    ] {
        if !text.contains(&format!("[component.{id}]")) {
            text.push_str(&format!("[component.{id}]\nkind = \"{kind}\"\n"));
        }
    }
    text
}

/// Nothing happens in it, so an expectation may be unmet; a file that cannot be read ends with another code.
fn is_read_as_expectations(home: &TempHome, block: &str) {
    home.write("topology.toml", "[component.a]\nkind = \"host\"\n");
    home.write("events.jsonl", "");
    home.write("expect.toml", block);
    let output = Command::new(binary("blackstart"))
        .arg("test")
        .arg(home.path())
        .output()
        .expect("our own program runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{block}: {said}");
}

#[test]
fn every_toml_block_of_the_documentation_is_valid() {
    let home = TempHome::new("documented");
    let mut checked = 0;
    let mut pages = vec![root().join("README.md"), root().join("ARCHITECTURE.md")];
    for entry in std::fs::read_dir(root().join("docs")).expect("there is documentation") {
        pages.push(entry.expect("an entry").path());
    }
    for page in pages
        .iter()
        .filter(|page| page.extension().is_some_and(|end| end == "md"))
    {
        let text = std::fs::read_to_string(page).expect("the page is there");
        for (line, block) in blocks(&text, "toml") {
            if block.contains("[[expect]]") {
                is_read_as_expectations(&home, &block);
                checked += 1;
                continue;
            }
            let (command, text): (&[&str], _) = if block.contains("[component.") {
                (&["blackstart", "topology", "validate"], completed(&block))
            } else if block.contains("listen =") || block.contains("[journal]") {
                home.write("topology.toml", "[component.a]\nkind = \"host\"\n");
                (&["blackstart-aggregator", "validate"], block)
            } else {
                (&["blackstart-agent", "validate"], block)
            };
            let name = page
                .file_stem()
                .map(|name| name.to_string_lossy().into_owned());
            let file = home.write(
                &format!("{}-line-{line}.toml", name.unwrap_or_default()),
                &text,
            );
            takes(command, &file);
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} blocks were found");
}
