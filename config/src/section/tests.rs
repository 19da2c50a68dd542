//! Tables of bad input with the exact report of each.

use std::path::Path;
use std::time::Duration;

use super::*;
use crate::read;

fn report(text: &str, build: impl FnOnce(&mut Section<'_>)) -> String {
    read(Path::new("t.toml"), text, |root| {
        build(root);
        Some(())
    })
    .unwrap_err()
    .to_string()
}

#[test]
fn every_problem_is_reported_at_once_in_the_order_of_lines() {
    let text = "b = 7\n[probe.\"rack1/dns\"]\ntimout = \"5s\"\ninterval = \"5\"\n";
    let report = report(text, |root| {
        root.boolean("b");
        for (_, mut probe) in root.sections("probe") {
            probe.duration("timeout", Duration::ZERO..=Duration::from_secs(60));
            probe.duration("interval", Duration::ZERO..=Duration::from_secs(60));
        }
    });
    assert_eq!(
        report,
        "t.toml: configuration refused\n\
         \x20 line 1   b = 7   expected true or false, without quotes\n\
         \x20 line 3   probe \"rack1/dns\" timout   unknown key; did you mean `timeout`?\n\
         \x20 line 4   probe \"rack1/dns\" interval = \"5\"   expected a number and a unit: ms, s, m, h or d, like \"5s\"\n\
         3 problems"
    );
}

#[test]
fn syntax_errors_name_their_line() {
    let report = report("a = 1\nb = \n", |_| ());
    assert!(
        report.starts_with("t.toml: configuration refused\n  line 2   not TOML: "),
        "{report}"
    );
}

#[test]
fn a_value_out_of_bounds_says_the_bounds() {
    for (text, expected) in [
        (
            "d = \"90s\"",
            "line 1   d = \"90s\"   must be from 1s to 1m",
        ),
        (
            "n = 70000",
            "line 1   n = 70000   expected a whole number from 1 to 65535",
        ),
        (
            "s = \"1 KiB\"",
            "line 1   s = \"1 KiB\"   must be from 1 MiB to 1 GiB",
        ),
        ("f = 2", "line 1   f = 2   expected a number from 0 to 1"),
    ] {
        let report = report(text, |root| {
            root.duration("d", Duration::from_secs(1)..=Duration::from_secs(60));
            root.integer("n", 1..=65_535);
            root.bytes("s", 1 << 20..=1 << 30);
            root.number("f", 0.0..=1.0);
        });
        assert_eq!(
            report,
            format!("t.toml: configuration refused\n  {expected}\n1 problem")
        );
    }
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_shown() {
    let report = report("password = \"hunter2\"", |root| {
        root.secret(["password", "password_file", "password_env"]);
    });
    assert!(!report.contains("hunter2"), "{report}");
    assert!(
        report.contains("line 1   password   a secret must not stand in this file"),
        "{report}"
    );
}

#[test]
fn a_missing_key_is_named_with_its_table() {
    let report = report("[probe.x]\n", |root| {
        for (_, mut probe) in root.sections("probe") {
            probe.required_string("kind");
        }
    });
    assert_eq!(
        report,
        "t.toml: configuration refused\n  line 1   probe \"x\" kind   is missing\n1 problem"
    );
}

#[test]
fn paths_are_relative_to_the_file() {
    let path = read(
        Path::new("/etc/blackstart/agent.toml"),
        "ca = \"ca.pem\"",
        |root| root.path("ca"),
    );
    assert_eq!(path.unwrap(), Path::new("/etc/blackstart/ca.pem"));
}

#[test]
fn lists_of_texts_and_tables_keep_their_order() {
    let kinds = read(
        Path::new("t"),
        "needs = [\"a\", { of = [\"b\"] }]",
        |root| {
            Some(
                root.items("needs")
                    .into_iter()
                    .map(|item| match item {
                        Item::Text(text, line) => format!("{text}@{line}"),
                        Item::Table(mut table) => format!("{:?}", table.strings("of")),
                    })
                    .collect::<Vec<_>>(),
            )
        },
    );
    assert_eq!(kinds.unwrap(), ["a@1", "Some([\"b\"])"]);
}
