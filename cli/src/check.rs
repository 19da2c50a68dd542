//! `blackstart check`: this host's probes, once, with everything else down; or what its agent found last.

mod last;
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
    /// Show what the agent of this host found last; nothing is probed now.
    #[arg(long)]
    last: bool,
    /// The state folder of that agent, where its socket is.
    #[arg(long, requires = "last")]
    state_dir: Option<PathBuf>,
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
    let question = async {
        if arguments.last {
            let state_dir = arguments.state_dir.as_ref().unwrap_or(&config.state_dir);
            last::results(state_dir, &arguments.wanted).await
        } else {
            Ok(check_once(&config, &arguments.wanted).await)
        }
    };
    let answers = match tokio::time::timeout(arguments.timeout, question).await {
        Ok(Ok(answers)) => answers,
        Ok(Err(message)) => return nobody(&message, format),
        Err(_) => {
            let timeout = blackstart_config::show_duration(arguments.timeout);
            return nobody(&format!("no answer within {timeout}"), format);
        }
    };
    if answers.is_empty() {
        let message = if arguments.last && arguments.wanted.is_empty() {
            "the agent has found nothing yet: no probe has run, or there is none".to_owned()
        } else if arguments.wanted.is_empty() {
            "there is nothing to check: discovery is off and no probe is configured".to_owned()
        } else {
            format!(
                "no probe here answers for {}; `blackstart check{}` alone shows what there is",
                arguments.wanted.join(", "),
                if arguments.last { " --last" } else { "" }
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
    let time = if arguments.last {
        Time::Ago
    } else {
        Time::Took
    };
    write(&match format {
        Format::Text => text(&answers, time, size().0),
        Format::Json => shapes::line(&object(&answers, time)),
        Format::Nagios => nagios::plugin_output(&answers),
    });
    match worst(&answers) {
        0 => Exit::Yes,
        1 => Exit::No,
        2 => Exit::Usage,
        _ => Exit::CannotSay,
    }
}

/// What the time of an answer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    /// How long its probe took.
    Took,
    /// How long ago its probe ran.
    Ago,
}

impl Time {
    const fn heading(self) -> &'static str {
        match self {
            Self::Took => "MS",
            Self::Ago => "AGO",
        }
    }

    const fn key(self) -> &'static str {
        match self {
            Self::Took => "elapsed_ms",
            Self::Ago => "age_ms",
        }
    }

    fn show(self, time: Duration) -> String {
        match self {
            Self::Took => time.as_millis().to_string(),
            Self::Ago if time < Duration::from_secs(120) => format!("{} s", time.as_secs()),
            Self::Ago if time < Duration::from_secs(7_200) => {
                format!("{} min", time.as_secs() / 60)
            }
            Self::Ago => format!("{} h", time.as_secs() / 3_600),
        }
    }
}

/// Nobody answers: said in the way that is asked for.
fn nobody(message: &str, format: Format) -> Exit {
    match format {
        Format::Nagios => {
            write(&format!("UNKNOWN: {message}\n"));
        }
        Format::Json => {
            write(&shapes::line(
                &json!({ "status": "unknown", "detail": message, "checks": [] }),
            ));
        }
        Format::Text => eprintln!("blackstart: {message}"),
    }
    Exit::CannotSay
}

fn text(answers: &[Checked], time: Time, width: usize) -> String {
    let headings = ["STATUS", "COMPONENT", "CHECK", time.heading(), "DETAIL"];
    let mut table = Table::new(&headings, Some(0));
    let mut sorted: Vec<&Checked> = answers.iter().collect();
    sorted.sort_by_key(|answer| std::cmp::Reverse(severity(answer.observation.finding.status)));
    for answer in sorted {
        let observation = &answer.observation;
        table.row([
            observation.finding.status.as_str().to_owned(),
            observation.component.clone(),
            observation.check.clone().into_owned(),
            time.show(answer.elapsed),
            observation.finding.detail.clone(),
        ]);
    }
    table.render(width)
}

fn object(answers: &[Checked], time: Time) -> Value {
    let status = ["ok", "degraded", "failed", "unknown"][usize::from(worst(answers)).min(3)];
    let checks: Vec<Value> = answers
        .iter()
        .map(|answer| {
            let finding = &answer.observation.finding;
            let values: std::collections::BTreeMap<&str, f64> = finding.values.iter().map(|(name, value)| (&**name, *value)).collect();
            let mut check = json!({
                "component": answer.observation.component, "check": answer.observation.check, "status": finding.status.as_str(),
                "progress": finding.progress, "detail": finding.detail, "values": values,
            });
            let ms = u64::try_from(answer.elapsed.as_millis()).unwrap_or(u64::MAX);
            check[time.key()] = Value::from(ms);
            check
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
