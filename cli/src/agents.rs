//! `blackstart agents`: the agents and their streams.

use blackstart_proto::v1::StatusRequest;
use serde_json::json;

use crate::clock::moment;
use crate::exit::Exit;
use crate::output::{size, write};
use crate::table::Table;
use crate::{Connection, Format, client, json};

pub(crate) async fn run(connection: &Connection, format: Format) -> Exit {
    let mut client = match client::open(connection).await {
        Ok(client) => client,
        Err(error) => return error.show(),
    };
    let request = StatusRequest {
        problems_only: true,
    };
    let status = match client::answer(client.status(request)).await {
        Ok(status) => status,
        Err(status) => return client::answered(connection, &status).show(),
    };
    if format == Format::Json {
        return write(&json::line(
            &json!({ "agents": status.agents.iter().map(json::agent).collect::<Vec<_>>() }),
        ));
    }
    let mut table = Table::new(&["HOST", "STREAM", "SINCE", "VERSION", "NOTES"], None);
    for agent in &status.agents {
        let mut notes = Vec::new();
        if !agent.problem.is_empty() {
            notes.push(agent.problem.clone());
        }
        if agent.dropped_total > 0 {
            notes.push(format!("{} results dropped", agent.dropped_total));
        }
        if agent.clock_offset_ms.abs() > 1_000 {
            notes.push(format!(
                "its clock is {:+.1} s off",
                agent.clock_offset_ms as f64 / 1e3
            ));
        }
        table.row([
            agent.host.clone(),
            if agent.connected { "open" } else { "gone" }.to_owned(),
            moment(agent.since_us, status.at_us),
            agent.version.clone(),
            notes.join("; "),
        ]);
    }
    write(&table.render(size().0))
}
