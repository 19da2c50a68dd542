//! `blackstart check`: this host's probes, once, with everything else down.

mod nagios;

use std::path::PathBuf;
use std::time::Duration;

use blackstart_agent::check::{Checked, check_once};
use blackstart_agent::config::AgentConfig;
use blackstart_agent::observation::Status;
use serde_json::{Value, json};

use crate::exit::Exit;
use crate::output::{size, write};
use crate::table::Table;
use crate::{Format, json as shapes};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Checks, kinds of probe or components; all when none is named.
    wanted: Vec<String>,
    /// The agent's configuration file; without one, what discovery finds.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Give up after this long.
    #[arg(long, default_value = "30s", value_parser = duration)]
    timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    blackstart_config::parse_duration(text).map_err(str::to_owned)
}

/// The exit codes of a Nagios plugin, which `check` is (Monitoring Plugins guidelines).
const fn severity(status: Status) -> u8 {
    match status {
        Status::Ok => 0,
        Status::Degraded | Status::Starting => 1,
        Status::Failed => 2,
        Status::Unknown => 3,
    }
}

/// The worst of all: what failed is worse than what could not be asked.
fn worst(answers: &[Checked]) -> u8 {
    let rank = |code: &u8| match code {
        2 => 3,
        3 => 2,
        other => *other,
    };
    answers
        .iter()
        .map(|answer| severity(answer.observation.finding.status))
        .max_by_key(rank)
        .unwrap_or(3)
}

pub(crate) async fn run(arguments: Arguments, format: Format) -> Exit {
    let config = match arguments
        .config
        .as_deref()
        .map_or_else(|| Ok(AgentConfig::defaults()), AgentConfig::load)
    {
        Ok(config) => config,
        Err(report) => {
            eprintln!("blackstart: {report}");
            return if format == Format::Nagios {
                Exit::CannotSay
            } else {
                Exit::Refused
            };
        }
    };
    let Ok(answers) =
        tokio::time::timeout(arguments.timeout, check_once(&config, &arguments.wanted)).await
    else {
        let message = format!(
            "no answer within {}",
            blackstart_config::show_duration(arguments.timeout)
        );
        match format {
            Format::Nagios => write(&format!("UNKNOWN: {message}\n")),
            Format::Json => write(&shapes::line(
                &json!({ "status": "unknown", "detail": message, "checks": [] }),
            )),
            Format::Text => {
                eprintln!("blackstart: {message}");
                Exit::CannotSay
            }
        };
        return Exit::CannotSay;
    };
    if answers.is_empty() {
        let message = if arguments.wanted.is_empty() {
            "there is nothing to check: discovery is off and no probe is configured".to_owned()
        } else {
            format!(
                "no probe here answers for {}; `blackstart check` alone shows what there is",
                arguments.wanted.join(", ")
            )
        };
        match format {
            Format::Nagios => {
                write(&format!("UNKNOWN: {message}\n"));
                return Exit::CannotSay;
            }
            _ => eprintln!("blackstart: {message}"),
        }
        return Exit::Usage;
    }
    write(&match format {
        Format::Text => text(&answers, size().0),
        Format::Json => shapes::line(&object(&answers)),
        Format::Nagios => nagios::plugin_output(&answers),
    });
    match worst(&answers) {
        0 => Exit::Yes,
        1 => Exit::No,
        2 => Exit::Usage,
        _ => Exit::CannotSay,
    }
}

fn text(answers: &[Checked], width: usize) -> String {
    let mut table = Table::new(&["STATUS", "COMPONENT", "CHECK", "MS", "DETAIL"], Some(0));
    let mut sorted: Vec<&Checked> = answers.iter().collect();
    sorted.sort_by_key(|answer| std::cmp::Reverse(severity(answer.observation.finding.status)));
    for answer in sorted {
        let observation = &answer.observation;
        table.row([
            observation.finding.status.as_str().to_owned(),
            observation.component.clone(),
            observation.check.clone().into_owned(),
            answer.elapsed.as_millis().to_string(),
            observation.finding.detail.clone(),
        ]);
    }
    table.render(width)
}

fn object(answers: &[Checked]) -> Value {
    let status = ["ok", "degraded", "failed", "unknown"][usize::from(worst(answers)).min(3)];
    let checks: Vec<Value> = answers
        .iter()
        .map(|answer| {
            let finding = &answer.observation.finding;
            let values: std::collections::BTreeMap<&str, f64> = finding.values.iter().map(|(name, value)| (&**name, *value)).collect();
            json!({
                "component": answer.observation.component, "check": answer.observation.check, "status": finding.status.as_str(),
                "progress": finding.progress, "detail": finding.detail, "values": values,
                "elapsed_ms": u64::try_from(answer.elapsed.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    json!({ "status": status, "checks": checks })
}

#[cfg(test)]
pub(crate) fn answer(
    component: &str,
    check: &'static str,
    finding: blackstart_agent::observation::Finding,
) -> Checked {
    let observation = blackstart_agent::observation::Observation {
        component: component.to_owned(),
        check: check.into(),
        finding,
    };
    Checked {
        observation,
        elapsed: Duration::from_millis(3),
    }
}

#[cfg(test)]
mod tests {
    use blackstart_agent::observation::Finding;

    use super::*;

    #[test]
    fn what_failed_is_worse_than_what_could_not_be_asked() {
        let failed = || answer("a", "x", Finding::failed(""));
        let unknown = || answer("a", "x", Finding::unknown(""));
        let starting = || answer("a", "x", Finding::starting("", None));
        assert_eq!(worst(&[unknown(), failed()]), 2);
        assert_eq!(worst(&[unknown(), starting()]), 3);
        assert_eq!(worst(&[starting(), answer("a", "x", Finding::ok(""))]), 1);
    }
}
