//! `tcp.connect` against real listeners.

use std::io::Write as _;
use std::net::TcpListener;
use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_tests::free_port;

use super::{configure, failed, finding, ok, probe, seen};

/// How long a greeting is waited for that never comes: far longer than to connect, on a busy machine too.
const SILENCE: Duration = Duration::from_secs(3);

#[tokio::test]
async fn an_open_port_connects_and_a_closed_one_refuses() {
    // Nobody else may take the port when it is closed.
    let port = free_port();
    let address = port.address();
    let listener = TcpListener::bind(address).unwrap();
    let toml = format!("kind = \"tcp.connect\"\naddress = \"{address}\"");
    assert_eq!(seen(&toml).await, ok("connects"));
    drop(listener);
    assert_eq!(
        seen(&toml).await,
        failed(&format!(
            "{address}: connection refused, nothing listens there"
        ))
    );
}

#[tokio::test]
async fn a_greeting_is_heard_missed_and_waited_for() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let toml = format!("kind = \"tcp.connect\"\naddress = \"{address}\"\nexpect = \"SSH-2.0\"");
    let server = std::thread::spawn(move || {
        let mut held = Vec::new();
        for greeting in ["SSH-2.0-test\r\n", "220 mail\r\n", ""] {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(greeting.as_bytes()).unwrap();
            // The third one stays open and silent.
            if greeting.is_empty() {
                held.push(stream);
            }
        }
        (held, listener)
    });
    assert_eq!(seen(&toml).await, ok("connects"));
    assert_eq!(
        seen(&toml).await,
        failed("connects, but closed the connection without saying \"SSH-2.0\", but \"220 mail\"")
    );
    let finding = finding(&*probe(&toml), SILENCE).await;
    assert_eq!(finding.status, Status::Failed);
    assert_eq!(
        finding.detail,
        "connects, but is silent: waiting for the greeting: no answer within 3 s"
    );
    drop(server.join().unwrap());
}

#[tokio::test]
async fn an_unknown_name_is_told_apart() {
    // RFC 6761: `.invalid` never exists. Where no resolver answers at all, the detail says that instead.
    let toml = "kind = \"tcp.connect\"\naddress = \"nobody.invalid:80\"";
    let (status, detail) = seen(toml).await;
    assert_eq!(status, Status::Failed);
    assert!(
        detail == "the name nobody.invalid does not exist"
            || detail.starts_with("the name nobody.invalid cannot be looked up: "),
        "{detail}"
    );
}

#[test]
fn bad_keys_are_refused_all_at_once() {
    let report =
        configure("kind = \"tcp.connect\"\naddress = \"db\"\nslow_after = \"5\"\ntsl = true\n")
            .unwrap_err();
    assert_eq!(
        report,
        "/etc/blackstart/agent.toml: configuration refused\n\
         \x20 line 2   address = \"db\"   expected a port from 1 to 65535 behind the last colon, like \"10.0.0.5:5432\"\n\
         \x20 line 3   slow_after = \"5\"   expected a number and a unit: ms, s, m, h or d, like \"5s\"\n\
         \x20 line 4   tsl   unknown key; did you mean `tls`?\n\
         3 problems"
    );
}
