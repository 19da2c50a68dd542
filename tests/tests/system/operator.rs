//! What an operator sees: a server breaks, the chain of evidence says why, it heals.

use std::io::Write;
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use blackstart_tests::servers::etcd::EtcdCluster;
use blackstart_tests::{Daemon, TempHome, binary, free_port, wait_until};
use serde_json::Value;

use crate::parts::{START, agent, aggregator, ask, condition};

/// How long a change may take until it is seen: a few runs of a probe that is told to run every second.
const SEEN: Duration = Duration::from_secs(30);

const TOPOLOGY: &str = r#"
[component.h]
kind = "host"
[component."m-{1..3}"]
kind = "etcd-member"
in = "h"
[component.etcd]
kind = "etcd-cluster"
needs = [{ at_least = 2, of = ["m-{1..3}"] }]
[component.app]
kind = "app"
in = "h"
needs = ["etcd"]
"#;

#[test]
fn a_cluster_that_loses_its_quorum_blocks_what_needs_it_and_says_why() {
    let home = TempHome::new("etcd-quorum");
    let port = free_port();
    let mut cluster = EtcdCluster::start(3);
    let app = free_port();
    let topology = home.write("topology.toml", TOPOLOGY);
    let mut config = format!(
        "host = \"h\"\nstate_dir = \"agent\"\naggregators = [\"127.0.0.1:{}\"]\n[discovery]\nenabled = false\n\
         [probe.app]\nkind = \"tcp.connect\"\ninterval = \"1s\"\naddress = \"{}\"\n",
        port.number(),
        app.address()
    );
    for n in 0..3 {
        config.push_str(&format!(
            "[probe.m-{}]\nkind = \"etcd.member\"\ninterval = \"1s\"\ntimeout = \"2s\"\nendpoint = \"{}\"\n",
            n + 1,
            cluster.client_url(n)
        ));
    }
    let config = home.write("agent.toml", &config);
    let mut command = Command::new(binary("blackstart-aggregator"));
    command
        .args([
            "run",
            "--listen",
            &format!("127.0.0.1:{}", port.number()),
            "--topology",
        ])
        .arg(&topology)
        .arg("--state-dir")
        .arg(home.join("aggregator"));
    let _aggregating = Daemon::spawn("aggregator", &mut command, &home.join("aggregator.log"));
    let _probing = agent(home.path(), &config);
    let listener = TcpListener::bind(app.address()).expect("the app's port");
    wait_until("all members and the app to be up", SEEN, || {
        ["m-1", "m-2", "m-3", "app"]
            .iter()
            .all(|id| condition(port.number(), id).as_deref() == Some("up"))
    });
    assert_eq!(ask(port.number(), &["ready", "m-1", "app"]).1, 0);

    cluster.kill(1);
    cluster.kill(2);
    drop(listener);
    wait_until("the app to be blocked", SEEN, || {
        condition(port.number(), "app").as_deref() == Some("blocked")
    });
    assert_eq!(condition(port.number(), "m-2").as_deref(), Some("down"));
    let (why, code) = ask(port.number(), &["why", "app"]);
    assert_eq!(code, 0);
    let chain: Vec<&str> = why["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter_map(|step| step["component"]["id"].as_str())
        .collect();
    assert_eq!(chain[..2], ["app", "etcd"], "{why}");
    assert!(chain.contains(&"m-2") && chain.contains(&"m-3"), "{why}");
    let (ready, code) = ask(port.number(), &["ready", "app"]);
    assert_eq!((code, &ready["ready"]), (1, &Value::Bool(false)), "{ready}");

    cluster.restart(1);
    cluster.restart(2);
    let _listener = TcpListener::bind(app.address()).expect("the app's port");
    wait_until("everything to be up again", SEEN * 2, || {
        ["m-1", "m-2", "m-3", "app"]
            .iter()
            .all(|id| condition(port.number(), id).as_deref() == Some("up"))
    });
}

#[test]
fn up_needs_no_configuration_ends_in_order_and_finds_its_data_again() {
    let home = TempHome::new("up");
    let port = free_port();
    let listen = format!("127.0.0.1:{}", port.number());
    let mut entries = 0;
    for start in 0..2 {
        let mut command = Command::new(binary("blackstart"));
        command
            .args(["up", "--listen", &listen, "--state-dir"])
            .arg(home.path());
        let log = home.join(format!("up-{start}.log"));
        let mut up = Daemon::spawn("up", &mut command, &log);
        let host = rustix::system::uname()
            .nodename()
            .to_string_lossy()
            .into_owned();
        wait_until("this host to be seen", START, || {
            matches!(
                condition(port.number(), &format!("{host}/agent")).as_deref(),
                Some("up" | "degraded")
            )
        });
        let (status, _) = ask(port.number(), &["status"]);
        let held = status["aggregator"]["journal_entries"]
            .as_u64()
            .expect("a number");
        assert!(
            held >= entries,
            "the data of before is there: {held} after {entries}"
        );
        entries = held;
        up.signal(rustix::process::Signal::INT);
        let ended = up.wait_exit(START);
        assert_eq!(ended.code(), Some(0), "{}", up.log());
        assert!(up.log().contains("Stopped in order"), "{}", up.log());
        if start > 0 {
            assert!(up.log().contains("Found what was kept: "), "{}", up.log());
        }
    }
}

#[test]
fn nobody_there_is_said_with_what_to_try() {
    let port = free_port();
    let output = Command::new(binary("blackstart"))
        .args([
            "--aggregator",
            &format!("127.0.0.1:{}", port.number()),
            "status",
        ])
        .output()
        .expect("blackstart runs");
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("`blackstart check` asks this host's probes directly"),
        "{said}"
    );
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let mut child = Command::new(binary("blackstart"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("blackstart runs");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(
        (output.status.code(), output.stderr.as_slice()),
        (Some(0), &b""[..])
    );
}

#[test]
fn garbage_on_the_port_harms_nothing() {
    let home = TempHome::new("garbage");
    let port = free_port();
    let mut aggregating = aggregator(home.path(), port.number());
    aggregating.wait_ready(START, || ask(port.number(), &["status"]).1 != 3);
    for garbage in [
        &b"GET / HTTP/1.1\r\n\r\n"[..],
        &[0x16, 0x03, 0x01, 0x02, 0x00],
        &[0xff; 65_536],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
    ] {
        let mut stream = std::net::TcpStream::connect(port.address()).expect("the port is open");
        // The other side may hang up while it is written.
        stream.write_all(garbage).unwrap_or(());
    }
    assert_ne!(ask(port.number(), &["status"]).1, 3, "it still answers");
    assert!(aggregating.is_running());
}
