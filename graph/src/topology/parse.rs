//! From the text of a topology file to drafts of components, every problem noted.

use std::collections::BTreeMap;
use std::path::Path;

use blackstart_config::{Item, Report, Section, nearest, read};

use super::build::build;
use super::range::expand;
use super::{Relation, Topology};
use crate::Kind;

/// The most components of a file, all ranges expanded: what the engine was measured with.
const COMPONENTS_MAX: usize = 5_000_000;

/// The longest id: what the protocol carries.
const ID_BYTES_MAX: usize = 256;

/// A component whose references are still names.
pub(super) struct Draft {
    pub(super) id: String,
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) container: Option<String>,
    pub(super) container_line: usize,
    pub(super) class: Option<String>,
    pub(super) weight: f64,
    pub(super) public: Option<String>,
    pub(super) start_slots: Option<u32>,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) needs: Vec<(Relation, Wanted)>,
    pub(super) reached_via: Vec<Wanted>,
    pub(super) backs_up: Vec<Wanted>,
}

/// An entry of a need whose members are still names.
#[derive(Clone)]
pub(super) struct Wanted {
    pub(super) at_least: Option<i64>,
    pub(super) of: Vec<String>,
    pub(super) key: &'static str,
    pub(super) line: usize,
}

const NEED_KEYS: [(&str, Relation); 6] = [
    ("needs", Relation::Needs),
    ("needs_to_start", Relation::NeedsToStart),
    ("needs_to_run", Relation::NeedsToRun),
    ("uses", Relation::Uses),
    ("uses_to_start", Relation::UsesToStart),
    ("uses_to_run", Relation::UsesToRun),
];

pub(super) fn parse(file_name: &str, text: &str) -> Result<Topology, Report> {
    read(Path::new(file_name), text, |root| {
        let mut drafts = Vec::new();
        for (name, mut section) in root.sections("component") {
            table(&name, &mut section, &mut drafts);
            if drafts.len() > COMPONENTS_MAX {
                section.problem_at(
                    section.line(),
                    "",
                    &format!("more than {COMPONENTS_MAX} components"),
                    "",
                );
                return None;
            }
        }
        build(drafts, root)
    })
}

/// Reads one table, which may declare many components.
fn table(name: &str, section: &mut Section<'_>, drafts: &mut Vec<Draft>) {
    let line = section.line();
    let expanded = match expand(name) {
        Ok(expanded) => expanded,
        Err(expected) => {
            section.problem_at(line, "", &expected, "");
            section.ignore_rest();
            return;
        }
    };
    if name.is_empty() || name.len() > ID_BYTES_MAX || name.chars().any(char::is_control) {
        section.problem_at(
            line,
            "",
            &format!("an id has 1 to {ID_BYTES_MAX} bytes and no control character"),
            "",
        );
    }
    let kind = kind(section);
    let container = section.string("in");
    let container_line = section.line_of("in");
    let class = section.string("class");
    let weight = section.number("weight", 0.0..=1e6).unwrap_or(1.0);
    let public = section.string("public");
    let start_slots = section
        .integer("start_slots", 1..=100_000)
        .and_then(|slots| u32::try_from(slots).ok());
    let labels = section.labels("labels");
    let mut needs = Vec::new();
    for (key, relation) in NEED_KEYS {
        needs.extend(
            wanted(section, key)
                .into_iter()
                .map(|entry| (relation, entry)),
        );
    }
    let reached_via = wanted(section, "reached_via");
    let backs_up = wanted(section, "backs_up");
    if kind == Some(Kind::Group) {
        for key in ["in", "reached_via", "backs_up", "start_slots"] {
            if section.has(key) {
                section.problem(
                    key,
                    "a group has needs and nothing else",
                    "give its members this key",
                );
            }
        }
    }
    let Some(kind) = kind else { return };
    for (id, number) in expanded.names {
        let own = |text: &String| {
            if expanded.ranged {
                text.replace("{n}", &number)
            } else {
                text.clone()
            }
        };
        let own_wanted = |entry: &Wanted| Wanted {
            of: entry.of.iter().map(own).collect(),
            ..entry.clone()
        };
        drafts.push(Draft {
            id,
            line,
            kind,
            container: container.as_ref().map(own),
            container_line,
            class: class.clone(),
            weight,
            public: public.clone(),
            start_slots,
            labels: labels.clone(),
            needs: needs
                .iter()
                .map(|(relation, entry)| (*relation, own_wanted(entry)))
                .collect(),
            reached_via: reached_via.iter().map(own_wanted).collect(),
            backs_up: backs_up.iter().map(own_wanted).collect(),
        });
    }
}

fn kind(section: &mut Section<'_>) -> Option<Kind> {
    let name = section.required_string("kind")?;
    let found = Kind::find(&name);
    if found.is_none() {
        let names = || Kind::ALL.iter().map(|kind| kind.as_str());
        match nearest(&name, names()) {
            Some(near) => section.problem(
                "kind",
                &format!("no such kind; did you mean \"{near}\"?"),
                "",
            ),
            None => section.problem(
                "kind",
                "no such kind",
                &format!("one of: {}", names().collect::<Vec<_>>().join(" ")),
            ),
        }
    }
    found
}

/// The entries of a need: ids and groups.
fn wanted(section: &mut Section<'_>, key: &'static str) -> Vec<Wanted> {
    let mut entries = Vec::new();
    for item in section.items(key) {
        match item {
            Item::Text(id, line) => entries.push(Wanted {
                at_least: None,
                of: vec![id],
                key,
                line,
            }),
            Item::Table(mut group) => {
                let line = group.line();
                let at_least = group.integer("at_least", 1..=i64::from(u32::MAX));
                if !group.has("at_least") {
                    group.problem("at_least", "is missing", "say how many of them are enough");
                }
                let of = group.strings("of");
                if !group.has("of") {
                    group.problem("of", "is missing", "list the members");
                }
                if let (Some(k), Some(of)) = (at_least, of) {
                    entries.push(Wanted {
                        at_least: Some(k),
                        of,
                        key,
                        line,
                    });
                }
            }
        }
    }
    entries
}
