//! What systemd is told: ready, alive, stopping. On a socket as systemd's own.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use blackstart_tests::{Daemon, TempHome, binary, free_port};

use crate::parts::START;

/// The watchdog's patience in these tests; the parts feed it twice as often.
const PATIENCE: Duration = Duration::from_millis(600);

/// A socket for `NOTIFY_SOCKET`, and a command that is told of it.
fn supervise(home: &Path, command: &mut Command) -> UnixDatagram {
    let path = home.join("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    socket
        .set_read_timeout(Some(START))
        .expect("a socket has a timeout");
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", PATIENCE.as_micros().to_string());
    socket
}

/// The next message that begins so; those before it are dropped.
fn wait_told(socket: &UnixDatagram, wanted: &str) -> String {
    let mut buffer = [0; 4_096];
    let until = Instant::now() + START;
    while Instant::now() < until {
        let length = socket.recv(&mut buffer).unwrap_or(0);
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        if text.lines().any(|line| line.starts_with(wanted)) {
            return text;
        }
    }
    panic!("systemd is never told {wanted}");
}

fn is_ready_alive_and_ends_in_order(name: &str, mut command: Command, home: &TempHome) {
    let socket = supervise(home.path(), &mut command);
    let mut daemon = Daemon::spawn(name, &mut command, &home.join("log"));
    wait_told(&socket, "READY=1");
    for _ in 0..3 {
        wait_told(&socket, "WATCHDOG=1");
    }
    daemon.signal(rustix::process::Signal::TERM);
    wait_told(&socket, "STOPPING=1");
    assert!(daemon.wait_exit(START).success());
}

#[test]
fn an_agent_is_ready_alive_and_stops_in_order_with_no_aggregator() {
    let home = TempHome::new("supervised-agent");
    let config = home.write(
        "agent.toml",
        "host = \"h\"\nstate_dir = \"agent\"\naggregators = [\"127.0.0.1:1\"]\n[discovery]\nenabled = false\n",
    );
    let mut command = Command::new(binary("blackstart-agent"));
    command.args(["run", "--config"]).arg(config);
    is_ready_alive_and_ends_in_order("agent", command, &home);
}

#[test]
fn an_aggregator_is_ready_alive_and_stops_in_order_with_no_agent() {
    let home = TempHome::new("supervised-aggregator");
    let port = free_port();
    let mut command = Command::new(binary("blackstart-aggregator"));
    command
        .args([
            "run",
            "--listen",
            &port.address().to_string(),
            "--state-dir",
        ])
        .arg(home.join("aggregator"));
    is_ready_alive_and_ends_in_order("aggregator", command, &home);
}
