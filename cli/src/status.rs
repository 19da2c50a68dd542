//! `blackstart status`: the incident, the counts, and what is not up.

use blackstart_proto::v1::{ComponentState, StatusRequest, StatusResponse, WatchStatusRequest};

use crate::clock::moment;
use crate::exit::Exit;
use crate::output::{paint, size, urgency, write, write_and};
use crate::table::Table;
use crate::text::{columns, cut, wrap};
use crate::{Connection, Format, client, json, verdict};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Only components that are not up.
    #[arg(long)]
    problems: bool,
    /// Again whenever something changes.
    #[arg(long)]
    watch: bool,
}

pub(crate) async fn run(connection: &Connection, arguments: &Arguments, format: Format) -> Exit {
    let mut client = match client::open(connection).await {
        Ok(client) => client,
        Err(error) => return error.show(),
    };
    if arguments.watch {
        let request = WatchStatusRequest {
            problems_only: arguments.problems,
        };
        let mut stream = match client::answer(client.watch_status(request)).await {
            Ok(stream) => stream,
            Err(status) => return client::answered(connection, &status).show(),
        };
        loop {
            match stream.message().await {
                Ok(Some(message)) => {
                    let Some(status) = message.status else {
                        continue;
                    };
                    if write(&show(&status, arguments.problems, format)) != Exit::Yes {
                        return Exit::CannotSay;
                    }
                }
                Ok(None) => return Exit::Yes,
                Err(status) => return client::answered(connection, &status).show(),
            }
        }
    }
    let request = StatusRequest {
        problems_only: arguments.problems,
    };
    match client::answer(client.status(request)).await {
        Ok(status) => {
            let exit = if all_well(&status) {
                Exit::Yes
            } else {
                Exit::No
            };
            write_and(&show(&status, arguments.problems, format), exit)
        }
        Err(status) => client::answered(connection, &status).show(),
    }
}

/// Whether nothing needs a person. A component that nobody observes does not; an agent that has fallen silent, and an
/// incident that is not over, do.
fn all_well(status: &StatusResponse) -> bool {
    let counts = status.conditions.unwrap_or_default();
    let bad = counts.degraded + counts.starting + counts.blocked + counts.down + counts.unreachable;
    bad == 0
        && status.agents.iter().all(|agent| agent.connected)
        && status
            .incident
            .as_ref()
            .is_none_or(|incident| incident.state == "resolved")
        && status
            .aggregator
            .as_ref()
            .is_none_or(|aggregator| aggregator.problems.is_empty())
}

fn show(status: &StatusResponse, problems: bool, format: Format) -> String {
    match format {
        Format::Json => json::line(&json::status(status)),
        _ => text(status, problems, size().0, usize::MAX),
    }
}

/// The picture as text: at most `width` columns, and as many components as fit into `rows` lines.
pub(crate) fn text(status: &StatusResponse, problems: bool, width: usize, rows: usize) -> String {
    let mut text = headline(status, width);
    let mut components: Vec<&ComponentState> = status.components.iter().collect();
    if problems {
        components.retain(|component| {
            json::condition(component.condition) != blackstart_graph::Condition::Up
        });
    }
    components.sort_by(|a, b| {
        (urgency(json::condition(a.condition)), &a.id)
            .cmp(&(urgency(json::condition(b.condition)), &b.id))
    });
    if components.is_empty() {
        text.push_str(if problems {
            "\nNothing is wrong with any component.\n"
        } else {
            "\nNo component is known yet.\n"
        });
        return text;
    }
    text.push('\n');
    let room = rows.saturating_sub(text.lines().count());
    let all = components.len();
    let mut shown = all.min(room);
    loop {
        let mut table = table(&components[..shown], status.at_us).render(width);
        if shown < all {
            table.push_str(&format!("… and {} more\n", all - shown));
        }
        // A row may take some lines; the headings take one.
        let over = table.lines().count().saturating_sub(room);
        if over == 0 || shown == 0 {
            text.push_str(&table);
            return text;
        }
        shown -= (over / ROW_LINES_MAX).clamp(1, shown);
    }
}

/// The most lines that a row of the table takes ([`crate::table`]).
const ROW_LINES_MAX: usize = 3;

fn table(components: &[&ComponentState], at_us: i64) -> Table {
    let mut table = Table::new(&["CONDITION", "COMPONENT", "SINCE", "WHY"], Some(0));
    for component in components {
        let progress = component
            .progress
            .map(|progress| format!("{:.0} % · ", progress * 100.0))
            .unwrap_or_default();
        table.row([
            json::condition(component.condition).as_str().to_owned(),
            component.id.clone(),
            moment(component.since_us, at_us),
            format!("{progress}{}", component.reason),
        ]);
    }
    table
}

/// The most components of an incident that are named; `--format json` names all of them.
const NAMED_MAX: usize = 10;

fn headline(status: &StatusResponse, width: usize) -> String {
    let mut text = String::new();
    if let Some(incident) = &status.incident {
        text.push_str(&verdict::incident_line(incident, status.at_us));
        text.push('\n');
        if incident.state != "resolved" {
            if let Some(diagnosis) = &status.diagnosis {
                text.push_str(&verdict::brief(diagnosis, status.at_us, width));
            }
            let named = incident.failed.len().min(NAMED_MAX);
            let more = match incident.failed.len() - named {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let failed = incident.failed[..named].join(", ");
            for line in wrap(
                &format!("broken on their own: {failed}{more}"),
                width.saturating_sub(2),
            ) {
                text.push_str(&format!("  {line}\n"));
            }
        }
    }
    let counts = status.conditions.unwrap_or_default();
    let shown = [
        (counts.down, "down"),
        (counts.unreachable, "unreachable"),
        (counts.blocked, "blocked"),
        (counts.starting, "starting"),
        (counts.degraded, "degraded"),
        (counts.unknown, "unknown"),
        (counts.up, "up"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0);
    let mut used = 0;
    for (count, word) in shown {
        let room = columns(&format!(" · {count} {word}"));
        if used > 0 && used + room > width {
            text.push('\n');
            used = 0;
        }
        text.push_str(if used > 0 { " · " } else { "" });
        text.push_str(&format!("{count} {}", paint(word)));
        used += room;
    }
    text.push('\n');
    let silent: Vec<&str> = status
        .agents
        .iter()
        .filter(|agent| !agent.connected)
        .map(|agent| agent.host.as_str())
        .collect();
    if !silent.is_empty() {
        text.push_str(&format!(
            "{}\n",
            cut(&format!("silent agents: {}", silent.join(", ")), width)
        ));
    }
    for problem in status
        .aggregator
        .iter()
        .flat_map(|aggregator| &aggregator.problems)
    {
        for line in wrap(&format!("aggregator: {problem}"), width) {
            text.push_str(&format!("{line}\n"));
        }
    }
    for agent in status
        .agents
        .iter()
        .filter(|agent| !agent.problem.is_empty() || agent.dropped_total > 0)
    {
        let dropped = if agent.dropped_total > 0 {
            format!("{} results dropped from a full spool", agent.dropped_total)
        } else {
            String::new()
        };
        let both = [agent.problem.as_str(), &dropped]
            .into_iter()
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join("; ");
        text.push_str(&format!(
            "{}\n",
            cut(&format!("agent {}: {both}", agent.host), width)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use blackstart_proto::v1::{Condition, ConditionCounts};

    use super::*;

    fn component(id: &str, condition: Condition, reason: &str) -> ComponentState {
        ComponentState {
            id: id.to_owned(),
            condition: condition.into(),
            reason: reason.to_owned(),
            ..ComponentState::default()
        }
    }

    #[test]
    fn what_is_broken_itself_comes_first_and_lines_fit() {
        let status = StatusResponse {
            conditions: Some(ConditionCounts {
                up: 1,
                down: 1,
                blocked: 1,
                ..ConditionCounts::default()
            }),
            components: vec![
                component("a", Condition::Up, "fine"),
                component(
                    "b",
                    Condition::Blocked,
                    &"needs c, which is down ".repeat(9),
                ),
                component("c", Condition::Down, "connection refused"),
            ],
            ..StatusResponse::default()
        };
        let text = anstream::adapter::strip_str(&text(&status, false, 80, 10)).to_string();
        let order: Vec<&str> = text
            .lines()
            .skip(3)
            .filter(|line| !line.starts_with(' '))
            .filter_map(|line| line.split_whitespace().nth(1))
            .collect();
        assert_eq!(order, ["c", "b", "a"], "{text}");
        assert!(text.lines().all(|line| columns(line) <= 80), "{text}");
        assert!(!all_well(&status));
    }

    #[test]
    fn the_cause_is_told_while_an_incident_is_open_and_the_picture_fits_its_rows() {
        use blackstart_proto::v1::{Diagnosis, Hypothesis, Incident};
        let long = "needs c, which is down ".repeat(9);
        let rows = (0..50).map(|n| component(&format!("c-{n:02}"), Condition::Blocked, &long));
        let first = Hypothesis {
            causes: vec!["feed-a".to_owned()],
            probability: 0.9,
            ..Hypothesis::default()
        };
        let mut status = StatusResponse {
            components: rows.collect(),
            diagnosis: Some(Diagnosis {
                hypotheses: vec![first],
                ..Diagnosis::default()
            }),
            ..StatusResponse::default()
        };
        let mut told = |state: Option<&str>, rows| {
            status.incident = state.map(|state| Incident {
                state: state.to_owned(),
                ..Incident::default()
            });
            anstream::adapter::strip_str(&text(&status, false, 80, rows)).to_string()
        };
        for state in [Some("open"), Some("recovering")] {
            assert!(told(state, usize::MAX).contains("\nCause: feed-a, 90 %: explains 0\n"));
        }
        for state in [None, Some("resolved")] {
            assert!(!told(state, usize::MAX).contains("feed-a"));
        }
        for rows in 12..60 {
            let text = told(Some("open"), rows);
            assert!(text.lines().count() <= rows, "{rows}:\n{text}");
            assert!(
                text.lines().count() + 3 > rows,
                "{rows}: room is left\n{text}"
            );
            assert!(text.trim_end().ends_with(" more"), "{rows}:\n{text}");
        }
    }

    #[test]
    fn a_silent_agent_and_an_open_incident_need_somebody_and_what_nobody_observes_does_not() {
        use blackstart_proto::v1::{AgentState, Incident};
        let agent = |connected| StatusResponse {
            agents: vec![AgentState {
                connected,
                ..AgentState::default()
            }],
            ..StatusResponse::default()
        };
        let incident = |state: &str| StatusResponse {
            incident: Some(Incident {
                state: state.to_owned(),
                ..Incident::default()
            }),
            ..StatusResponse::default()
        };
        let unknown = StatusResponse {
            conditions: Some(ConditionCounts {
                unknown: 7,
                ..ConditionCounts::default()
            }),
            ..StatusResponse::default()
        };
        for (status, well) in [
            (agent(true), true),
            (agent(false), false),
            (incident("open"), false),
            (incident("recovering"), false),
            (incident("resolved"), true),
            (unknown, true),
        ] {
            assert_eq!(all_well(&status), well, "{status:?}");
        }
    }
}
