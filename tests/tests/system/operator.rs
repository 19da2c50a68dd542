//! What an operator does: starts it with no configuration, asks when nobody is there, stops reading.

use std::io::Write;
use std::process::{Command, Stdio};

use blackstart_tests::{Daemon, TempHome, binary, free_port, wait_until};

use crate::parts::{START, aggregator, ask, condition};

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
