//! What `blackstart up` shows while it runs: a table that is drawn anew, or a line per change where nobody watches.

use std::collections::BTreeMap;
use std::time::Duration;

use blackstart_graph::Condition;
use blackstart_proto::transport::HostPort;
use blackstart_proto::v1::{Incident, StatusResponse, WatchStatusRequest};
use tokio::time::sleep;

use crate::clock::moment;
use crate::exit::Exit;
use crate::output::{self, is_terminal, paint, size, write};
use crate::text::{columns, cut};
use crate::{Format, client, json, status, verdict};

/// The longest line where there is no terminal: a log of an operator is read on one, later.
const LINE: usize = 80;

/// The table is drawn no more often: nobody reads faster.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Shows what changes until the aggregator goes away or nobody reads any more.
pub(super) async fn show(address: &HostPort, places: &str, format: Format) -> Exit {
    let mut client = match client::open_at(address, None).await {
        Ok(client) => client,
        Err(error) => return error.show(),
    };
    let request = WatchStatusRequest {
        problems_only: false,
    };
    let mut stream = match client::answer(client.watch_status(request)).await {
        Ok(stream) => stream,
        Err(status) => {
            eprintln!("blackstart: the aggregator does not answer: {status}");
            return Exit::CannotSay;
        }
    };
    let mut last = Shown::default();
    let mut first = true;
    loop {
        let Ok(Some(message)) = stream.message().await else {
            return Exit::CannotSay;
        };
        let Some(status) = message.status else {
            continue;
        };
        if first && format == Format::Text {
            let kept = status
                .aggregator
                .as_ref()
                .map_or(0, |aggregator| aggregator.journal_entries);
            if kept > 0 {
                write(&format!(
                    "Found what was kept: {kept} entries in the journal.\n"
                ));
            }
        }
        if first && format == Format::Text && is_terminal() {
            output::clear(size().1);
        }
        first = false;
        let written = match format {
            Format::Json => write(&json::line(&json::status(&status))),
            _ if is_terminal() => draw(&status, places),
            _ => write(&changes(&status, &mut last)),
        };
        if written != Exit::Yes {
            return Exit::CannotSay;
        }
        if is_terminal() {
            sleep(DRAW_EVERY).await;
        }
    }
}

/// The picture with what the operator needs to know of this command above it.
fn draw(status: &StatusResponse, places: &str) -> Exit {
    let (width, height) = size();
    let rows = height.saturating_sub(1);
    let at = moment(status.at_us, status.at_us);
    let above = 1 + places.lines().count();
    let picture = status::text(status, false, width, rows.saturating_sub(above));
    output::draw(
        &format!(
            "{}\n{places}{picture}",
            cut(&format!("Blackstart, {at}. Ctrl-C ends it."), width)
        ),
        rows,
    )
}

/// What was told last, so that only changes are told.
#[derive(Debug, Default)]
struct Shown {
    conditions: BTreeMap<String, Condition>,
    causes: Vec<String>,
}

/// A line for each component whose condition is another than before, and one when other causes are held likeliest.
fn changes(status: &StatusResponse, last: &mut Shown) -> String {
    let mut text = String::new();
    for component in &status.components {
        let condition = json::condition(component.condition);
        let before = last.conditions.insert(component.id.clone(), condition);
        if before == Some(condition) {
            continue;
        }
        let from = before.map_or(String::new(), |before| format!("{} → ", before.as_str()));
        let at = moment(component.since_us, status.at_us);
        let line = cut(&format!("{at} {}: {from}", component.id), LINE - 20);
        let room = LINE.saturating_sub(columns(&line) + condition.as_str().len() + 1);
        let reason = cut(&component.reason, room);
        text.push_str(&format!("{line}{} {reason}\n", paint(condition.as_str())));
    }
    let is_open = |incident: &Incident| incident.state != "resolved";
    let told = status.diagnosis.as_ref();
    let told = told.filter(|_| status.incident.as_ref().is_some_and(is_open));
    let first = told.and_then(|diagnosis| diagnosis.hypotheses.first());
    let causes = first.map_or_else(Vec::new, |first| first.causes.clone());
    if last.causes != causes {
        last.causes = causes;
        if let Some(line) = verdict::headline(told) {
            let at = moment(status.at_us, status.at_us);
            text.push_str(&format!("{}\n", cut(&format!("{at} {line}"), LINE)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use blackstart_proto::v1::{ComponentState, Condition as Message, Diagnosis, Hypothesis};

    use super::*;

    #[test]
    fn only_a_change_of_condition_is_a_line() {
        let mut last = Shown::default();
        let status = |condition: Message, reason: &str| StatusResponse {
            components: vec![ComponentState {
                id: "db".to_owned(),
                condition: condition.into(),
                reason: reason.to_owned(),
                ..Default::default()
            }],
            ..StatusResponse::default()
        };
        assert!(
            changes(&status(Message::Up, "fine"), &mut last).contains("db: \x1b[32mup\x1b[0m fine")
        );
        assert_eq!(changes(&status(Message::Up, "other words"), &mut last), "");
        assert!(changes(&status(Message::Down, "gone"), &mut last).contains("db: up → "));
    }

    #[test]
    fn another_cause_is_a_line_while_an_incident_is_open() {
        let mut last = Shown::default();
        let mut told = |cause: &str, state: &str| {
            let first = Hypothesis {
                causes: vec![cause.to_owned()],
                probability: 0.9,
                explains: 2,
                ..Hypothesis::default()
            };
            let status = StatusResponse {
                incident: Some(Incident {
                    state: state.to_owned(),
                    ..Incident::default()
                }),
                diagnosis: Some(Diagnosis {
                    hypotheses: vec![first],
                    ..Diagnosis::default()
                }),
                ..StatusResponse::default()
            };
            changes(&status, &mut last)
        };
        assert!(told("dns", "open").ends_with(" cause: 90 %: dns, explains 2\n"));
        assert_eq!(told("dns", "recovering"), "");
        assert!(told("feed", "open").contains("feed"));
        assert_eq!(told("feed", "resolved"), "");
    }
}
