//! What an operator does: starts it with no configuration, asks when nobody is there, stops reading.

use std::process::{Command, Stdio};

use blackstart_tests::{Daemon, TempHome, binary, free_port, wait_until};

use crate::parts::{START, ask, condition};

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
