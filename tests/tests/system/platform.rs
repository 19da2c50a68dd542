//! An aggregator, an agent that probes real servers, and what an operator is told of them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use blackstart_tests::{Daemon, Port, TempHome, binary, free_port, wait_for};
use serde_json::Value;

use crate::parts::{START, ask};

/// How long a change may take until an operator sees it: some runs of a probe that runs every second, and a server
/// that takes its time on a busy machine.
const SEEN: Duration = Duration::from_secs(120);

/// How often an operator looks.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// An aggregator with a topology, and agents.
pub(crate) struct Platform {
    /// The folder of all of them.
    pub(crate) home: TempHome,
    port: Port,
    /// The aggregator, or `blackstart up`.
    pub(crate) aggregating: Daemon,
    /// The agents that are processes of their own.
    pub(crate) probing: Vec<Daemon>,
}

impl Platform {
    /// Starts an aggregator with this topology, and the agent of host `h` with these probes.
    pub(crate) fn start(name: &str, topology: &str, probes: &str) -> Self {
        Self::start_agents(name, topology, &[("h", probes)])
    }

    /// Starts an aggregator with this topology, and agents: the host and the probes of each.
    pub(crate) fn start_agents(name: &str, topology: &str, agents: &[(&str, &str)]) -> Self {
        let home = TempHome::new(name);
        let port = free_port();
        home.write("topology.toml", topology);
        let aggregating = spawn_aggregator(&home, &port);
        let probing = agents
            .iter()
            .map(|(host, probes)| {
                let config = configuration(&home, &port, host, probes);
                let mut command = Command::new(binary("blackstart-agent"));
                command.args(["run", "--config"]).arg(config);
                Daemon::spawn(host, &mut command, &home.join(format!("{host}.log")))
            })
            .collect();
        Self {
            home,
            port,
            aggregating,
            probing,
        }
    }

    /// An aggregator and the agent of host `h` in one process: `blackstart up`.
    pub(crate) fn up(name: &str, topology: &str, probes: &str) -> Self {
        let home = TempHome::new(name);
        let port = free_port();
        home.write("topology.toml", topology);
        let config = configuration(&home, &port, "h", probes);
        let mut command = Command::new(binary("blackstart"));
        command
            .args(["up", "--listen", &port.address().to_string()])
            .arg("--topology")
            .arg(home.join("topology.toml"))
            .arg("--config")
            .arg(config)
            .arg("--state-dir")
            .arg(home.path());
        let aggregating = Daemon::spawn("up", &mut command, &home.join("up.log"));
        Self {
            home,
            port,
            aggregating,
            probing: Vec::new(),
        }
    }

    /// Ends the aggregator in order and starts it again.
    pub(crate) fn restart_aggregator(&mut self) {
        let ended = self.aggregating.terminate(START);
        assert_eq!(ended.code(), Some(0), "{}", self.aggregating.log());
        self.start_aggregator();
    }

    /// Starts an aggregator that was ended.
    pub(crate) fn start_aggregator(&mut self) {
        self.aggregating = spawn_aggregator(&self.home, &self.port);
    }

    /// The port of the aggregator.
    pub(crate) fn port(&self) -> u16 {
        self.port.number()
    }

    /// What `blackstart status` says of a component; null where it knows none.
    pub(crate) fn component(&self, id: &str) -> Value {
        let (status, _) = ask(self.port(), &["status"]);
        let all = status["components"].as_array();
        all.and_then(|all| all.iter().find(|component| component["id"] == id))
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until a component is shown with this condition and reason, and gives all that is shown of it. A `*` in the
    /// reason stands for anything.
    #[track_caller]
    pub(crate) fn shows(&self, id: &str, condition: &str, reason: &str) -> Value {
        let deadline = Instant::now() + SEEN;
        loop {
            let seen = self.component(id);
            let said = seen["reason"].as_str().unwrap_or_default();
            if seen["condition"] == condition && is_like(said, reason) {
                return seen;
            }
            assert!(
                Instant::now() < deadline,
                "waited {SEEN:?} for {id} to be {condition}: {reason:?}\nseen last: {seen}\nin {}\n{}{}",
                self.home.path().display(),
                self.aggregating.log(),
                self.probing.iter().map(Daemon::log).collect::<String>(),
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Waits until the incident is in this state, and gives it.
    #[track_caller]
    pub(crate) fn incident(&self, state: &str) -> Value {
        let what = format!("an incident that is {state}");
        wait_for(&what, SEEN, || {
            let incident = ask(self.port(), &["status"]).0["incident"].take();
            (incident["state"] == state).then_some(incident)
        })
    }

    /// Waits until the chain that `blackstart why` tells is this, line breaks and indents aside; a `*` stands for anything.
    #[track_caller]
    pub(crate) fn explains(&self, id: &str, chain: &[&str]) {
        let expected = chain.join(" ");
        let deadline = Instant::now() + SEEN;
        loop {
            let output = self.run(&["why", id]);
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(
                said.lines().all(|line| line.chars().count() <= 80),
                "wider than 80 columns:\n{said}"
            );
            let chain = said
                .split("Held to be the cause:")
                .next()
                .unwrap_or_default();
            let words = chain.split_whitespace().collect::<Vec<_>>().join(" ");
            if output.status.code() == Some(0) && is_like(&words, &expected) {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "waited {SEEN:?} for why {id} to say\n{expected}\nsaid last:\n{words}\n{}",
                String::from_utf8_lossy(&output.stderr)
            );
            std::thread::sleep(LOOK_EVERY);
        }
    }

    /// Runs `blackstart` against this aggregator.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        Command::new(binary("blackstart"))
            .args(["--aggregator", &self.port.address().to_string()])
            .args(arguments)
            .output()
            .expect("blackstart runs")
    }

    /// Ends all of it in order.
    #[track_caller]
    pub(crate) fn stop(mut self) {
        for mut probing in self.probing.drain(..) {
            let ended = probing.terminate(START);
            assert_eq!(ended.code(), Some(0), "{}", probing.log());
        }
        let ended = self.aggregating.terminate(START);
        assert_eq!(ended.code(), Some(0), "{}", self.aggregating.log());
    }
}

fn spawn_aggregator(home: &TempHome, port: &Port) -> Daemon {
    let mut command = Command::new(binary("blackstart-aggregator"));
    command
        .args(["run", "--listen", &port.address().to_string()])
        .arg("--topology")
        .arg(home.join("topology.toml"))
        .arg("--state-dir")
        .arg(home.join("aggregator"));
    Daemon::spawn("aggregator", &mut command, &home.join("aggregator.log"))
}

/// Writes the configuration of an agent: no discovery, its state in a folder of its own.
fn configuration(home: &TempHome, port: &Port, host: &str, probes: &str) -> PathBuf {
    let text = format!(
        "host = \"{host}\"\nstate_dir = \"agent-{host}\"\naggregators = [\"{}\"]\n\
         [discovery]\nenabled = false\n{probes}",
        port.address()
    );
    home.write(&format!("{host}.toml"), &text)
}

/// A probe that looks every second, as a table of the agent's configuration.
pub(crate) fn probe(name: &str, kind: &str, keys: &str) -> String {
    format!("[probe.{name}]\nkind = \"{kind}\"\ninterval = \"1s\"\n{keys}\n")
}

/// A path as a TOML text.
pub(crate) fn quoted(path: &Path) -> String {
    format!("{:?}", path.display().to_string())
}

/// Whether a text is like the pattern, in which `*` stands for anything.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
