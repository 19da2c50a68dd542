//! `blackstart ready`: whether components can be relied upon, now or within a time.

use std::time::Duration;

use blackstart_proto::v1::{ComponentReadiness, ReadyRequest, ReadyResponse};
use serde_json::json;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::client::{Client, ClientError};
use crate::exit::Exit;
use crate::output::{size, write_and};
use crate::text::wrap;
use crate::{Connection, Format, client, json};

/// How often a waiting command asks again. The answer comes from memory and costs the aggregator microseconds.
const ASK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The components; all must be ready.
    #[arg(required = true)]
    components: Vec<String>,
    /// Wait until they are.
    #[arg(long)]
    wait: bool,
    /// Wait no longer than this, like 30s or 10m.
    #[arg(long, requires = "wait", default_value = "10m", value_parser = duration)]
    timeout: Duration,
}

fn duration(text: &str) -> Result<Duration, String> {
    blackstart_config::parse_duration(text).map_err(str::to_owned)
}

pub(crate) async fn run(connection: &Connection, arguments: &Arguments, format: Format) -> Exit {
    let deadline = Instant::now() + arguments.timeout;
    let mut client = None;
    let mut told = String::new();
    loop {
        let limit = if arguments.wait {
            deadline
        } else {
            Instant::now() + client::ANSWER_MAX
        };
        let outcome =
            match timeout_at(limit, ask(connection, &mut client, &arguments.components)).await {
                Ok(outcome) => outcome,
                Err(_) => {
                    let message = format!(
                        "the aggregator at {} accepts and does not answer",
                        connection.aggregator
                    );
                    Err(ClientError::Unreachable(message))
                }
            };
        let last = !arguments.wait || Instant::now() >= deadline;
        match outcome {
            Ok(mut answer) if answer.ready || last => {
                for component in answer
                    .components
                    .iter_mut()
                    .filter(|component| !component.known)
                {
                    if let Some(client) = client.as_mut() {
                        component.reason +=
                            &client::did_you_mean(client, &component.component).await;
                    }
                }
                return finish(&answer, format);
            }
            Err(error) if last || matches!(error, ClientError::Usage(_)) => return error.show(),
            // Not ready, or nobody there yet: boot scripts start before the aggregator does.
            Ok(answer) => tell(&mut told, waiting_for(&answer)),
            Err(error) => {
                client = None;
                tell(&mut told, error.to_string());
            }
        }
        sleep_until(deadline.min(Instant::now() + ASK_AGAIN)).await;
    }
}

/// Says on standard error what is waited for, once for each state: a boot that stands still says why.
fn tell(told: &mut String, state: String) {
    if *told != state {
        // The first line is enough: what follows is advice for somebody who did not ask to wait.
        let line = state.lines().next().unwrap_or_default();
        eprintln!("blackstart: waiting: {line}");
        *told = state;
    }
}

/// What is not ready yet, and its conditions.
fn waiting_for(answer: &ReadyResponse) -> String {
    let not_ready = answer
        .components
        .iter()
        .filter(|component| !component.ready);
    let shown: Vec<String> = not_ready
        .map(|component| match component.known {
            true => {
                let condition = json::condition(component.condition).as_str();
                format!("{} is {condition}", component.component)
            }
            false => format!("{} is not known yet", component.component),
        })
        .collect();
    shown.join(", ")
}

async fn ask(
    connection: &Connection,
    kept: &mut Option<Client>,
    components: &[String],
) -> Result<ReadyResponse, ClientError> {
    let client = match kept {
        Some(client) => client,
        None => kept.insert(client::open(connection).await?),
    };
    let request = ReadyRequest {
        components: components.to_vec(),
    };
    match client.ready(request).await {
        Ok(answer) => Ok(answer.into_inner()),
        Err(status) => Err(client::answered(connection, &status)),
    }
}

fn finish(answer: &ReadyResponse, format: Format) -> Exit {
    let unknown_condition = |component: &&ComponentReadiness| {
        json::condition(component.condition) == blackstart_graph::Condition::Unknown
    };
    let not_ready: Vec<&ComponentReadiness> = answer
        .components
        .iter()
        .filter(|component| !component.ready)
        .collect();
    let exit = if answer.ready {
        Exit::Yes
    } else if not_ready.iter().any(|component| !component.known) {
        Exit::Usage
    } else if not_ready.iter().all(unknown_condition) {
        Exit::CannotSay
    } else {
        Exit::No
    };
    let text = match format {
        Format::Json => json::line(&json!({
            "ready": answer.ready,
            "components": answer.components.iter().map(|component| json!({
                "component": component.component, "ready": component.ready, "known": component.known,
                "condition": json::condition(component.condition).as_str(), "reason": component.reason,
            })).collect::<Vec<_>>(),
        })),
        _ if answer.ready => {
            let ready = answer
                .components
                .iter()
                .map(|component| said(&component.component, "ready"));
            ready.collect()
        }
        _ => not_ready
            .iter()
            .map(|component| {
                let words = match component.known {
                    true => {
                        let condition = json::condition(component.condition).as_str();
                        format!("not ready: {condition}: {}", component.reason)
                    }
                    false => component.reason.clone(),
                };
                said(&component.component, &words)
            })
            .collect(),
    };
    write_and(&text, exit)
}

/// A component and what is said of it, going on below itself.
fn said(component: &str, words: &str) -> String {
    const INDENT: usize = 2;
    let width = size().0;
    let lines = wrap(&format!("{component}: {words}"), width - INDENT);
    lines.join(&format!("\n{}", " ".repeat(INDENT))) + "\n"
}
