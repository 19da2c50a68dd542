//! `blackstart topology`: checks a file without any aggregator, or shows what is in force.

use std::path::{Path, PathBuf};

use blackstart_graph::Topology;
use blackstart_proto::v1::TopologyRequest;
use serde_json::json;

use crate::exit::Exit;
use crate::output::{size, write};
use crate::table::Table;
use crate::{Connection, Format, client, json as shapes};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Command {
    /// Check a topology file; needs no aggregator.
    Validate {
        /// The file.
        file: PathBuf,
    },
    /// Show the topology in force: declared and discovered.
    Show,
}

pub(crate) async fn run(connection: &Connection, command: Command, format: Format) -> Exit {
    match command {
        Command::Validate { file } => validate(&file, format),
        Command::Show => show(connection, format).await,
    }
}

fn validate(file: &Path, format: Format) -> Exit {
    let name = file.display().to_string();
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) => {
            eprintln!("blackstart: {name}: cannot be read: {error}");
            return Exit::Usage;
        }
    };
    match (Topology::parse(&name, &text), format) {
        (Ok(topology), Format::Json) => write(&shapes::line(
            &json!({ "valid": true, "components": topology.components().len(), "problems": [] }),
        )),
        (Ok(topology), _) => write(&format!(
            "{name}: ok, {} components\n",
            topology.components().len()
        )),
        (Err(report), Format::Json) => {
            let problems: Vec<_> = report
                .problems
                .iter()
                .map(|problem| json!({ "line": problem.line, "found": problem.found, "expected": problem.expected, "help": problem.help }))
                .collect();
            write(&shapes::line(
                &json!({ "valid": false, "problems": problems }),
            ));
            Exit::Refused
        }
        (Err(report), _) => {
            eprintln!("blackstart: {report}");
            Exit::Refused
        }
    }
}

async fn show(connection: &Connection, format: Format) -> Exit {
    let mut client = match client::open(connection).await {
        Ok(client) => client,
        Err(error) => return error.show(),
    };
    let topology = match client::answer(client.topology(TopologyRequest {})).await {
        Ok(topology) => topology,
        Err(status) => return client::answered(connection, &status).show(),
    };
    if format == Format::Json {
        let components: Vec<_> = topology
            .components
            .iter()
            .map(|component| {
                json!({
                    "id": component.id, "kind": component.kind, "in": component.container, "provenance": component.provenance,
                    "needs": component.needs.iter().map(|need| json!({
                        "need": need.need, "relation": need.relation, "state": need.state, "components": need.components,
                    })).collect::<Vec<_>>(),
                })
            })
            .collect();
        return write(&shapes::line(&json!({ "components": components })));
    }
    let mut table = Table::new(&["COMPONENT", "KIND", "KNOWN", "NEEDS"], None);
    for component in &topology.components {
        let needs: Vec<String> = component
            .needs
            .iter()
            .map(|need| format!("{} {}", need.relation, need.need))
            .collect();
        table.row([
            component.id.clone(),
            component.kind.clone(),
            component.provenance.clone(),
            needs.join("; "),
        ]);
    }
    write(&table.render(size().0))
}
