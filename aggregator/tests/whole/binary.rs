//! The real binary, so that it can be killed.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A running aggregator; killed when dropped.
pub(crate) struct Binary {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl Binary {
    pub(crate) fn start(state_dir: &Path, more: &[&str]) -> Self {
        let mut child = command()
            .args(["run", "--listen", "127.0.0.1:0", "--state-dir"])
            .arg(state_dir)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            if log.read_line(&mut line).unwrap() == 0 {
                panic!("aggregator ended: {said}");
            }
            said.push_str(&line);
            if let Some((_, rest)) = line.split_once("address=\"")
                && let Some((address, _)) = rest.split_once('"')
            {
                break address.parse().unwrap();
            }
        };
        // What it says later must not block it.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, address }
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) fn command() -> Command {
    Command::new(env!("CARGO_BIN_EXE_blackstart-aggregator"))
}
