//! `blackstart replay`: what Blackstart would have said, at which moment, of a scenario or a capture.
//!
//! The same folder gives the same bytes.

use std::path::PathBuf;
use std::time::Duration;

use blackstart_aggregator::{diagnosis_message, incident_message, shape};
use blackstart_graph::{Changes, Condition, Diagnosis, Engine, Timestamp};
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::write;
use crate::scenario::expect::percent;
use crate::scenario::{Scenario, ScenarioError};
use crate::{Format, json as shapes};

/// A verdict is looked at this often, whatever period is asked for: an observation period of the agents. What came and went
/// between two looks is not told.
const LOOK_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder: topology.toml and events.jsonl.
    folder: PathBuf,
    /// Say it this often as well, as `1m` or `30s`.
    #[arg(long, value_parser = period)]
    every: Option<Duration>,
    /// Say the condition of every component as well; JSON only.
    #[arg(long)]
    conditions: bool,
}

fn period(text: &str) -> Result<Duration, String> {
    let period = blackstart_config::parse_duration(text)?;
    if period < Duration::from_secs(1) {
        return Err("at least 1s".to_owned());
    }
    Ok(period)
}

pub(crate) fn run(arguments: &Arguments, format: Format) -> Exit {
    let scenario = match Scenario::load(&arguments.folder) {
        Ok(scenario) => scenario,
        Err(error) => return refuse(&error),
    };
    let mut teller = Teller {
        arguments,
        format,
        held: None,
        last: None,
        said: None,
    };
    match replay(&scenario, arguments, &mut teller) {
        Ok(exit) => exit,
        Err(error) => refuse(&error),
    }
}

pub(crate) fn refuse(error: &ScenarioError) -> Exit {
    eprintln!("blackstart: {error}");
    match error {
        ScenarioError::Read { .. } => Exit::Usage,
        _ => Exit::Refused,
    }
}

fn replay(
    scenario: &Scenario,
    arguments: &Arguments,
    teller: &mut Teller<'_>,
) -> Result<Exit, ScenarioError> {
    let mut engine = scenario.engine();
    let mut looks = Looks::new(engine.now(), arguments.every);
    for (line, event) in &scenario.events {
        while looks.at < event.at {
            if engine.next_deadline().is_some_and(|due| due <= looks.at) {
                teller.held = None;
            }
            engine.advance(looks.at);
            if teller.look(&engine, looks.is_due()) != Exit::Yes {
                return Ok(Exit::CannotSay);
            }
            looks.next();
        }
        teller.held = None;
        engine
            .apply(event, &mut Changes::default())
            .map_err(|error| scenario.refused(*line, &error))?;
    }
    teller.held = None;
    Ok(teller.look(&engine, true))
}

/// The moments at which the verdict is looked at: multiples of [`LOOK_EVERY`] and of the period asked for.
struct Looks {
    at: Timestamp,
    look: Timestamp,
    due: Option<(Timestamp, Duration)>,
}

impl Looks {
    fn new(from: Timestamp, every: Option<Duration>) -> Self {
        Self {
            at: from,
            look: from,
            due: every.map(|every| (from, every)),
        }
    }

    /// Whether this is a moment at which a line was asked for.
    fn is_due(&self) -> bool {
        self.due.is_some_and(|(due, _)| due == self.at)
    }

    fn next(&mut self) {
        if self.look == self.at {
            self.look = self.look.plus(LOOK_EVERY);
        }
        if let Some((due, every)) = &mut self.due
            && *due == self.at
        {
            *due = due.plus(*every);
        }
        let due = self.due.map_or(self.look, |(due, _)| due);
        self.at = self.look.min(due);
    }
}

/// What was said last, so that only news is said.
struct Teller<'a> {
    arguments: &'a Arguments,
    format: Format,
    /// The diagnosis of now; `None` when something happened since it was made.
    held: Option<Diagnosis>,
    last: Option<News>,
    said: Option<Timestamp>,
}

/// What is told when it is another than before.
#[derive(Debug, PartialEq, Eq)]
struct News {
    causes: Vec<Vec<String>>,
    state: &'static str,
    percent: u64,
}

impl Teller<'_> {
    fn look(&mut self, engine: &Engine, is_due: bool) -> Exit {
        if self.said == Some(engine.now()) || (self.held.is_some() && !is_due) {
            return Exit::Yes;
        }
        let diagnosis = self.held.take().unwrap_or_else(|| engine.diagnosis());
        let first = diagnosis.hypotheses.iter().take(1);
        let (done, total) = overall(engine);
        let news = Some(News {
            causes: first.map(|first| first.causes.clone()).collect(),
            state: engine
                .incident()
                .map_or("none", |incident| incident.state.as_str()),
            percent: done * 100 / total.max(1),
        });
        let text = (is_due || self.last != news).then(|| match self.format {
            Format::Json => shapes::line(&self.object(engine, &diagnosis)),
            _ => words(engine, &diagnosis),
        });
        self.held = Some(diagnosis);
        let Some(text) = text else { return Exit::Yes };
        self.last = news;
        self.said = Some(engine.now());
        write(&text)
    }

    fn object(&self, engine: &Engine, diagnosis: &Diagnosis) -> Value {
        let mut object = verdict(engine, diagnosis);
        if self.arguments.conditions {
            let components = engine.components();
            object["components"] = components
                .filter(|component| !component.is_gone())
                .map(|component| (component.id().to_owned(), component.condition().as_str()))
                .collect();
        }
        object
    }
}

fn overall(engine: &Engine) -> (u64, u64) {
    let classes = engine.progress();
    let sum = |of: fn(&blackstart_graph::ClassProgress) -> u64| classes.values().map(of).sum();
    (sum(|class| class.done), sum(|class| class.total))
}

/// The whole verdict in the public shape.
pub(crate) fn verdict(engine: &Engine, diagnosis: &Diagnosis) -> Value {
    let counts = engine.counts();
    let conditions: serde_json::Map<String, Value> = [
        Condition::Up,
        Condition::Degraded,
        Condition::Starting,
        Condition::Blocked,
        Condition::Down,
        Condition::Unreachable,
        Condition::Unknown,
    ]
    .into_iter()
    .map(|condition| (condition.as_str().to_owned(), json!(counts.of(condition))))
    .collect();
    let incident = engine.incident().map(incident_message);
    let mut object = json!({
        "at": engine.now(),
        "incident": shape::incident(incident.as_ref()),
        "conditions": conditions,
        "recovery": recovery(engine),
    });
    for (name, value) in shape::diagnosis(Some(&diagnosis_message(diagnosis))) {
        object[name] = value;
    }
    object
}

const NO_ESTIMATE: &str = "this release counts what is back and estimates no end";

fn recovery(engine: &Engine) -> Value {
    let tenth = |done, total| (percent(done, total) * 10.0).round() / 10.0;
    let classes: Vec<Value> = engine
        .progress()
        .into_iter()
        .map(|(class, progress)| {
            json!({
                "class": class, "done": progress.done, "total": progress.total,
                "percent": tenth(progress.done, progress.total), "starting": progress.starting, "blocked": progress.blocked,
                "stuck": [], "eta": null, "why": NO_ESTIMATE,
            })
        })
        .collect();
    let (done, total) = overall(engine);
    json!({
        "overall": { "done": done, "total": total, "percent": tenth(done, total), "eta": null, "why": NO_ESTIMATE },
        "classes": classes,
        "next": [],
    })
}

/// The verdict in a few lines for people.
fn words(engine: &Engine, diagnosis: &Diagnosis) -> String {
    use std::fmt::Write;

    let state = engine
        .incident()
        .map_or("none", |incident| incident.state.as_str());
    let (done, total) = overall(engine);
    let mut text = format!(
        "{}  incident {state}  {done} of {total} work ({:.0} %)\n",
        engine.now(),
        percent(done, total)
    );
    for hypothesis in diagnosis.hypotheses.iter().take(3) {
        let _ = writeln!(
            text,
            "  {:>5.1} %  {}  explains {}, leaves {}",
            hypothesis.probability * 100.0,
            hypothesis.causes.join(" and "),
            hypothesis.explains,
            hypothesis.unexplained
        );
    }
    if diagnosis.not_in_model >= 0.01 {
        let _ = writeln!(
            text,
            "  {:>5.1} %  something that the topology does not have",
            diagnosis.not_in_model * 100.0
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use blackstart_graph::{Event, EventKind, Status, Topology};
    use blackstart_proto::v1::StatusResponse;

    use super::*;

    /// A host that fails.
    fn engine() -> Engine {
        let topology =
            "[component.h]\nkind = \"host\"\n[component.s]\nkind = \"service\"\nin = \"h\"\n";
        let at = |second: i64| Timestamp::from_micros(second * 1_000_000 + 120);
        let mut engine = Engine::new(Topology::parse("t.toml", topology).unwrap(), at(0));
        for second in 0..40 {
            for component in ["h", "s"] {
                let observation = EventKind::Observation {
                    agent: "watcher".to_owned(),
                    component: Some(component.to_owned()),
                    check: "icmp.reach".to_owned(),
                    status: if second < 9 {
                        Status::Ok
                    } else {
                        Status::Failed
                    },
                    progress: None,
                    detail: String::new(),
                    values: std::collections::BTreeMap::new(),
                    sampled_at: None,
                    ttl_s: None,
                };
                let event = Event {
                    at: at(second),
                    kind: observation,
                };
                engine.apply(&event, &mut Changes::default()).unwrap();
            }
        }
        engine
    }

    #[test]
    fn a_replay_and_the_status_say_a_verdict_with_the_same_bytes() {
        let engine = engine();
        let diagnosis = engine.diagnosis();
        assert!(!diagnosis.hypotheses.is_empty());
        let replayed = verdict(&engine, &diagnosis);
        let status = shapes::status(&StatusResponse {
            at_us: engine.now().as_micros(),
            incident: engine.incident().map(incident_message),
            diagnosis: Some(diagnosis_message(&diagnosis)),
            ..StatusResponse::default()
        });
        for key in ["at", "incident", "hypotheses", "not_in_model", "search"] {
            assert_eq!(replayed[key].to_string(), status[key].to_string(), "{key}");
            assert!(!replayed[key].is_null(), "{key}");
        }
        assert_eq!(
            replayed["hypotheses"],
            serde_json::to_value(&diagnosis.hypotheses).unwrap(),
            "nothing of a hypothesis is left out"
        );
    }

    #[test]
    fn looks_are_at_every_ten_seconds_and_at_every_period() {
        let second = |at: u64| Timestamp::from_micros(0).plus(Duration::from_secs(at));
        let mut looks = Looks::new(second(0), Some(Duration::from_secs(15)));
        let mut seen = Vec::new();
        while looks.at <= second(40) {
            seen.push((looks.at, looks.is_due()));
            looks.next();
        }
        let expected = [
            (0, true),
            (10, false),
            (15, true),
            (20, false),
            (30, true),
            (40, false),
        ];
        assert_eq!(seen, expected.map(|(at, is_due)| (second(at), is_due)));
    }
}
