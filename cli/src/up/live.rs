//! What `blackstart up` shows while it runs: a table that is drawn anew, or a line per change where nobody watches.

use std::collections::BTreeMap;
use std::time::Duration;

use blackstart_graph::Condition;
use blackstart_proto::transport::HostPort;
use blackstart_proto::v1::{StatusResponse, WatchStatusRequest};
use tokio::time::sleep;

use crate::clock::moment;
use crate::exit::Exit;
use crate::output::{is_terminal, paint, size, write};
use crate::table::cut;
use crate::{Format, client, json, status};

/// The table is drawn no more often: nobody reads faster.
const DRAW_EVERY: Duration = Duration::from_millis(250);

/// Lines that are not components: headings, counts, and the line below the cursor.
const OTHER_LINES: usize = 9;

/// Shows what changes until the aggregator goes away or nobody reads any more.
pub(super) async fn show(address: &HostPort, format: Format) -> Exit {
    let mut client = match client::open_at(address, None).await {
        Ok(client) => client,
        Err(error) => return error.show(),
    };
    let mut stream = match client
        .watch_status(WatchStatusRequest {
            problems_only: false,
        })
        .await
    {
        Ok(answer) => answer.into_inner(),
        Err(status) => {
            eprintln!("blackstart: the aggregator does not answer: {status}");
            return Exit::CannotSay;
        }
    };
    let mut last = BTreeMap::new();
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
        first = false;
        let written = match format {
            Format::Json => write(&json::line(&json::status(&status))),
            _ if is_terminal() => draw(&status),
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

/// Draws the picture over the one before: home, each line cleared to its end, then the rest of the screen.
fn draw(status: &StatusResponse) -> Exit {
    let (width, height) = size();
    let text = status::text(
        status,
        false,
        width,
        height.saturating_sub(OTHER_LINES).max(3),
    );
    let lines: String = text.lines().map(|line| format!("{line}\x1b[K\n")).collect();
    let at = moment(status.at_us, status.at_us);
    write(&format!(
        "\x1b[H\x1b[2KBlackstart, {at}. Ctrl-C ends it.\n{lines}\x1b[J"
    ))
}

/// A line for each component whose condition is another than before.
fn changes(status: &StatusResponse, last: &mut BTreeMap<String, Condition>) -> String {
    let mut text = String::new();
    for component in &status.components {
        let condition = json::condition(component.condition);
        let before = last.insert(component.id.clone(), condition);
        if before == Some(condition) {
            continue;
        }
        let from = before.map_or(String::new(), |before| format!("{} → ", before.as_str()));
        let line = cut(
            &format!(
                "{} {}: {from}",
                moment(component.since_us, status.at_us),
                component.id
            ),
            60,
        );
        text.push_str(&format!(
            "{line}{} {}\n",
            paint(condition.as_str()),
            cut(&component.reason, 200)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use blackstart_proto::v1::{ComponentState, Condition as Message};

    use super::*;

    #[test]
    fn only_a_change_of_condition_is_a_line() {
        let mut last = BTreeMap::new();
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
}
