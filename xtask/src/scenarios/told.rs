//! The tables of docs/incidents: what the engine says of each scenario, each time its first answer changes.

use std::fs;
use std::path::Path;

use blackstart_graph::{Changes, Diagnosis, Engine, Event, Timestamp, Topology};

/// How often somebody looks: the period of most probes.
const LOOK_EVERY_US: i64 = 10_000_000;
/// The first line of the table in a page.
const HEAD: &str = "| time | first | then |";
/// The most answers behind the first one.
const RIVALS_MAX: usize = 2;
/// An answer less likely than this, in per cent, is left out.
const RIVAL_MIN: f64 = 2.0;

/// The page of a scenario with its table as the engine fills it now.
///
/// # Errors
/// A file is missing or is not what it should be, or the page has no table.
pub(super) fn page(root: &Path, name: &str) -> Result<String, String> {
    let read = |path: &Path| {
        fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let folder = root.join(super::FOLDER).join(name);
    let text = read(&root.join(super::PAGES).join(format!("{name}.md")))?;
    let topology = read(&folder.join("topology.toml"))?;
    let topology = Topology::parse("topology.toml", &topology)
        .map_err(|problems| format!("{name}: {problems:?}"))?;
    let events = read(&folder.join("events.jsonl"))?;
    let events: Result<Vec<Event>, _> = events.lines().map(serde_json::from_str).collect();
    let events = events.map_err(|error| format!("{name}: {error}"))?;
    let (before, table) = text
        .split_once(HEAD)
        .ok_or_else(|| format!("docs/incidents/{name}.md has no line {HEAD:?}"))?;
    let after = table.split_once("\n\n").map_or("", |(_, after)| after);
    let rows = rows(topology, &events);
    Ok(format!(
        "{before}{HEAD}\n| --- | --- | --- |\n{}\n{}{after}",
        rows.join("\n"),
        if after.is_empty() { "" } else { "\n" }
    ))
}

fn rows(topology: Topology, events: &[Event]) -> Vec<String> {
    let (Some(first), Some(last)) = (events.first(), events.last()) else {
        return Vec::new();
    };
    let mut engine = Engine::new(topology, first.at);
    let mut changes = Changes::default();
    let mut rows = Vec::new();
    let mut named: Vec<String> = Vec::new();
    let mut left = events.iter().peekable();
    let mut look = first.at.as_micros().div_euclid(LOOK_EVERY_US) * LOOK_EVERY_US;
    while look <= last.at.as_micros() {
        look += LOOK_EVERY_US;
        let at = Timestamp::from_micros(look);
        while let Some(event) = left.next_if(|event| event.at <= at) {
            // What the topology does not have is told by the scenario's own test.
            let _ = engine.apply(event, &mut changes);
            changes = Changes::default();
        }
        engine.advance(at);
        let diagnosis = engine.diagnosis();
        let causes = diagnosis
            .hypotheses
            .first()
            .map(|first| first.causes.clone());
        let causes = causes.unwrap_or_default();
        if causes != named {
            rows.push(row(at, &diagnosis));
            named = causes;
        }
    }
    rows
}

fn row(at: Timestamp, diagnosis: &Diagnosis) -> String {
    let mut answers = diagnosis
        .hypotheses
        .iter()
        .map(|hypothesis| (hypothesis.causes.as_slice(), hypothesis.probability * 100.0));
    let say = |(causes, share): (&[String], f64)| {
        let names: Vec<String> = causes.iter().map(|cause| format!("`{cause}`")).collect();
        format!("{} {share:.0} %", names.join(" and "))
    };
    let first = answers.next().map_or_else(|| "nothing".to_owned(), say);
    let mut then: Vec<String> = answers
        .take(RIVALS_MAX)
        .filter(|(_, share)| *share >= RIVAL_MIN)
        .map(say)
        .collect();
    if diagnosis.not_in_model * 100.0 >= RIVAL_MIN {
        let share = diagnosis.not_in_model * 100.0;
        then.push(format!("not in the topology {share:.0} %"));
    }
    let at = at.to_string();
    let (day, time) = at.split_at(at.len().min(10));
    let time = time.get(1..9).unwrap_or_default();
    format!("| {day} {time} | {first} | {} |", then.join(", "))
}
