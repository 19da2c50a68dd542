//! An agent's configuration is read again: what is good counts at once, what is bad changes nothing and shows.

use std::net::TcpListener;
use std::path::Path;

use blackstart_proto::transport::connect_local;
use blackstart_proto::v1::ResultsRequest;
use blackstart_proto::v1::local_service_client::LocalServiceClient;
use blackstart_tests::{TempHome, free_port, wait_until};
use rustix::process::Signal;

use crate::local::state;
use crate::parts::{START, agent, aggregator, ask, condition};

/// Every component that the agent has a result of, and its detail.
async fn results(state_dir: &Path) -> Vec<(String, String)> {
    let Ok(channel) = connect_local(state_dir).await else {
        return Vec::new();
    };
    let answer = LocalServiceClient::new(channel)
        .results(ResultsRequest::default())
        .await;
    let results = answer
        .map(|answer| answer.into_inner().results)
        .unwrap_or_default();
    results
        .into_iter()
        .map(|result| (result.component, result.detail))
        .collect()
}

async fn wait_components(state_dir: &Path, wanted: &[&str]) {
    blackstart_tests::eventually(&format!("{wanted:?}"), START, async || {
        let found: Vec<String> = results(state_dir)
            .await
            .into_iter()
            .map(|(id, _)| id)
            .collect();
        if found == wanted { Ok(()) } else { Err(found) }
    })
    .await;
}

fn probe(name: &str, address: &str) -> String {
    format!("[probe.{name}]\nkind = \"tcp.connect\"\ninterval = \"1s\"\naddress = \"{address}\"\n")
}

#[tokio::test]
async fn probes_come_change_and_go_and_a_bad_file_changes_nothing() {
    let home = TempHome::new("reload");
    let (port, other, listen) = (free_port(), free_port(), free_port());
    let _service = TcpListener::bind(port.address()).expect("the port");
    let head = format!(
        "host = \"h\"\nstate_dir = \"agent\"\naggregators = [\"{}\"]\n[discovery]\nenabled = false\n",
        listen.address()
    );
    let address = port.address().to_string();
    let config = home.write("agent.toml", &format!("{head}{}", probe("a", &address)));
    let state_dir = home.join("agent");
    let _aggregating = aggregator(home.path(), listen.number());
    let running = agent(home.path(), &config);
    wait_components(&state_dir, &["a", "h/agent"]).await;
    let first = state(&state_dir).await.expect("the agent answers");

    // One more by SIGHUP, one changed and one less by the file alone.
    home.write(
        "agent.toml",
        &format!("{head}{}{}", probe("a", &address), probe("b", &address)),
    );
    running.signal(Signal::HUP);
    wait_components(&state_dir, &["a", "b", "h/agent"]).await;
    home.write(
        "agent.toml",
        &format!("{head}{}", probe("b", &other.address().to_string())),
    );
    wait_components(&state_dir, &["b", "h/agent"]).await;
    wait_until("b to be down", START, || {
        condition(listen.number(), "b").as_deref() == Some("down")
    });

    // A bad file: every problem is told, here and by the aggregator, and b is still asked.
    home.write(
        "agent.toml",
        &format!("{head}[probe.c]\nkind = \"tcp.conect\"\n[probe.d]\nkind = \"host.lod\"\n"),
    );
    running.signal(Signal::HUP);
    let problems = blackstart_tests::eventually("the problems of the file", START, async || {
        let said = state(&state_dir).await.ok_or_else(Vec::new)?;
        if said.problems.is_empty() {
            Err(said.problems)
        } else {
            Ok(said.problems)
        }
    })
    .await;
    assert_eq!(problems.len(), 1, "{problems:?}");
    for part in [
        "agent.toml is refused",
        "did you mean \"tcp.connect\"?",
        "did you mean \"host.load\"?",
    ] {
        assert!(problems[0].contains(part), "{problems:?}");
    }
    wait_until("the aggregator to hear of it", START, || {
        let (status, _) = ask(listen.number(), &["status"]);
        let reason = status["components"].as_array().and_then(|all| {
            let own = all.iter().find(|component| component["id"] == "h/agent")?;
            Some(
                (own["condition"].as_str()? == "degraded")
                    && own["reason"].as_str()?.contains("is refused"),
            )
        });
        reason == Some(true)
    });
    wait_components(&state_dir, &["b", "h/agent"]).await;
    running.wait_log("2 problems", START);

    // Mended: nothing was restarted.
    home.write("agent.toml", &format!("{head}{}", probe("b", &address)));
    wait_until("b to be up", START, || {
        condition(listen.number(), "b").as_deref() == Some("up")
    });
    let last = blackstart_tests::eventually("no problem", START, async || {
        let said = state(&state_dir).await.ok_or_else(Vec::new)?;
        if said.problems.is_empty() {
            Ok(said)
        } else {
            Err(said.problems)
        }
    })
    .await;
    assert_eq!(last.pid, first.pid);
    assert!(last.running_ms > first.running_ms);
}

#[tokio::test]
async fn aggregators_come_and_go_and_host_and_state_folder_wait_for_a_restart() {
    let home = TempHome::new("reload-uplinks");
    let (one, two) = (free_port(), free_port());
    let folders = [home.server_folder("one"), home.server_folder("two")];
    let _first = aggregator(&folders[0], one.number());
    let _second = aggregator(&folders[1], two.number());
    let text = |host: &str, aggregators: &[&blackstart_tests::Port]| {
        let list: Vec<String> = aggregators
            .iter()
            .map(|port| format!("\"{}\"", port.address()))
            .collect();
        format!(
            "host = \"{host}\"\nstate_dir = \"agent\"\naggregators = [{}]\n[discovery]\nenabled = false\n",
            list.join(", ")
        )
    };
    let config = home.write("agent.toml", &text("h", &[&one]));
    let state_dir = home.join("agent");
    let running = agent(home.path(), &config);
    let open = async |wanted: &[&blackstart_tests::Port]| {
        let wanted: Vec<String> = wanted
            .iter()
            .map(|port| port.address().to_string())
            .collect();
        blackstart_tests::eventually(&format!("streams to {wanted:?}"), START, async || {
            let said = state(&state_dir).await.ok_or_else(Vec::new)?;
            let links = said.aggregators.iter();
            let open: Vec<String> = links
                .filter(|link| link.connected)
                .map(|link| link.address.clone())
                .collect();
            if open.len() == said.aggregators.len()
                && open.iter().all(|one| wanted.contains(one))
                && open.len() == wanted.len()
            {
                Ok(said)
            } else {
                Err(open)
            }
        })
        .await
    };
    open(&[&one]).await;
    home.write("agent.toml", &text("h", &[&one, &two]));
    running.signal(Signal::HUP);
    open(&[&one, &two]).await;
    // A stream counts as open before its line is written.
    let opened = || running.log().matches("stream open").count();
    wait_until("the lines of both streams", START, || opened() >= 2);
    assert_eq!(
        opened(),
        2,
        "the first stream was left alone: {}",
        running.log()
    );
    home.write("agent.toml", &text("other", &[&two]));
    running.signal(Signal::HUP);
    let said = open(&[&two]).await;
    assert_eq!(said.host, "h");
    let told = "waits for a restart of the agent: host \"other\" instead of \"h\"";
    blackstart_tests::eventually("what waits", START, async || {
        let said = state(&state_dir).await.ok_or_else(Vec::new)?;
        if said.problems == [told] {
            Ok(())
        } else {
            Err(said.problems)
        }
    })
    .await;
    wait_until("the second aggregator to see the agent as h", START, || {
        condition(two.number(), "h/agent").as_deref() == Some("degraded")
    });
}
