//! Name servers as fixtures: named (authoritative), unbound (resolver), dnsmasq (forwarder).
//!
//! Each listens on a free port of 127.0.0.1, for UDP and TCP, and runs as `nobody`. Nothing is
//! asked of the internet: unbound gets stub zones only.

use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::home::give_to_server;
use crate::{Daemon, Port, TempHome, free_port, unprivileged};

/// How long a name server may take to answer; each needs some hundred milliseconds.
const READY_MAX: Duration = Duration::from_secs(60);

/// How long one question waits while we look whether the server is up.
const LOOK_MAX: Duration = Duration::from_millis(200);

/// A zone that named serves.
#[derive(Debug, Clone)]
pub struct Zone<'a> {
    /// Its name, `corp.test`.
    pub name: &'a str,
    /// The whole zone file.
    pub records: &'a str,
}

/// A running name server.
#[derive(Debug)]
pub struct NameServer {
    /// The process; freeze and kill it through this.
    pub daemon: Daemon,
    port: Port,
    home: TempHome,
    start: Start,
}

/// How to start it (again).
#[derive(Debug)]
struct Start {
    name: &'static str,
    program: &'static str,
    arguments: Vec<String>,
    /// What it logs once each of its zones is loaded, or refused; until then it may answer, and not for them.
    loaded: Option<&'static str>,
}

/// A zone file's head and one name server, for records to be appended to.
pub fn zone_head(name: &str) -> String {
    format!(
        "$TTL 60\n@ IN SOA ns.{name}. hostmaster.{name}. 1 3600 600 86400 60\n\
         @ IN NS ns.{name}.\nns IN A 127.0.0.1\n"
    )
}

impl NameServer {
    /// Starts named with these zones. `options` go into its `options` block.
    ///
    /// # Panics
    /// When it does not start.
    pub fn named(zones: &[Zone<'_>], options: &str) -> Self {
        let home = TempHome::new("named");
        let folder = home.server_folder("server");
        let port = free_port();
        let mut conf = format!(
            "options {{\n  directory \"{0}\";\n  pid-file \"{0}/named.pid\";\n  \
             session-keyfile \"{0}/session.key\";\n  managed-keys-directory \"{0}\";\n  \
             listen-on port {port} {{ 127.0.0.1; }};\n  listen-on-v6 {{ none; }};\n  \
             recursion no;\n  notify no;\n  {options}\n}};\ncontrols {{}};\n",
            folder.display()
        );
        for zone in zones {
            let file = format!("server/{}.zone", zone.name);
            let path = home.write(&file, zone.records);
            give_to_server(&path);
            conf.push_str(&format!(
                "zone \"{}\" {{ type primary; file \"{}\"; }};\n",
                zone.name,
                path.display()
            ));
        }
        let conf = write_conf(&home, "server/named.conf", &conf);
        Self::start(
            home,
            port,
            Start {
                name: "named",
                program: "/usr/sbin/named",
                arguments: vec![
                    "-g".into(),
                    "-n".into(),
                    "1".into(),
                    "-c".into(),
                    text(&conf),
                ],
                loaded: Some("all zones loaded"),
            },
        )
    }

    /// Starts unbound with stub zones (`name`, address). `options` go into its `server` clause, a
    /// line each.
    ///
    /// # Panics
    /// When it does not start.
    pub fn unbound(stubs: &[(&str, SocketAddr)], options: &str) -> Self {
        let home = TempHome::new("unbound");
        let folder = home.server_folder("server");
        let port = free_port();
        let mut conf = format!(
            "server:\n  interface: 127.0.0.1\n  port: {port}\n  username: \"\"\n  chroot: \"\"\n  \
             directory: \"{}\"\n  pidfile: \"\"\n  use-syslog: no\n  num-threads: 1\n  \
             do-not-query-localhost: no\n  local-zone: \"test.\" nodefault\n  \
             module-config: \"iterator\"\n  prefetch: no\n  minimal-responses: yes\n",
            folder.display()
        );
        for line in options.lines() {
            conf.push_str(&format!("  {}\n", line.trim()));
        }
        conf.push_str("remote-control:\n  control-enable: no\n");
        for (name, address) in stubs {
            conf.push_str(&format!(
                "stub-zone:\n  name: \"{name}\"\n  stub-addr: {}@{}\n",
                address.ip(),
                address.port()
            ));
        }
        let conf = write_conf(&home, "server/unbound.conf", &conf);
        Self::start(
            home,
            port,
            Start {
                name: "unbound",
                program: "/usr/sbin/unbound",
                arguments: vec!["-d".into(), "-c".into(), text(&conf)],
                loaded: None,
            },
        )
    }

    /// Starts dnsmasq with these further arguments (`--address=/a.test/192.0.2.1`).
    ///
    /// # Panics
    /// When it does not start.
    pub fn dnsmasq(arguments: &[&str]) -> Self {
        let home = TempHome::new("dnsmasq");
        home.server_folder("server");
        let port = free_port();
        let mut all: Vec<String> = [
            "-k",
            "--conf-file=/dev/null",
            "--listen-address=127.0.0.1",
            "--bind-interfaces",
            "--no-resolv",
            "--no-hosts",
            "--pid-file=",
            "--user=",
            "--log-facility=-",
        ]
        .map(str::to_owned)
        .into();
        all.push(format!("--port={port}"));
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        Self::start(
            home,
            port,
            Start {
                name: "dnsmasq",
                program: "/usr/sbin/dnsmasq",
                arguments: all,
                loaded: None,
            },
        )
    }

    fn start(home: TempHome, port: Port, start: Start) -> Self {
        let daemon = spawn(&home, &port, &start);
        Self {
            daemon,
            port,
            home,
            start,
        }
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.port.address()
    }

    /// Its folder; `server/NAME.zone` are named's zone files.
    pub fn folder(&self) -> PathBuf {
        self.home.join("server")
    }

    /// Its output so far.
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Replaces a file in its folder, for the next start or reload.
    pub fn write(&self, name: &str, content: &str) {
        give_to_server(&self.home.write(&format!("server/{name}"), content));
    }

    /// Kills it and starts it again on the same port.
    pub fn restart(&mut self) {
        self.daemon.kill();
        self.daemon = spawn(&self.home, &self.port, &self.start);
    }
}

fn spawn(home: &TempHome, port: &Port, start: &Start) -> Daemon {
    let mut command: Command = unprivileged(start.program, &home.join("server"));
    command.args(&start.arguments);
    let log = home.join("log");
    // Of every start so far.
    let loads = || match start.loaded {
        Some(line) => std::fs::read_to_string(&log).map_or(0, |log| log.matches(line).count()),
        None => 0,
    };
    let before = loads();
    let mut daemon = Daemon::spawn(start.name, &mut command, &log);
    daemon.wait_ready(READY_MAX, || {
        (start.loaded.is_none() || loads() > before) && answers(port.address())
    });
    daemon
}

/// Whether anything at all comes back to a question for the root's name servers.
fn answers(address: SocketAddr) -> bool {
    // RFC 1035, 4.1: id 0x4253, no recursion, one question: ".", NS, IN.
    const QUESTION: [u8; 17] = [0x42, 0x53, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    let ask = || -> std::io::Result<usize> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.set_read_timeout(Some(LOOK_MAX))?;
        socket.connect(address)?;
        socket.send(&QUESTION)?;
        socket.recv(&mut [0; 512])
    };
    ask().is_ok_and(|length| length >= 12)
}

fn write_conf(home: &TempHome, name: &str, content: &str) -> PathBuf {
    let path = home.write(name, content);
    give_to_server(&path);
    path
}

fn text(path: &std::path::Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn named_serves_and_unbound_asks_it() {
        let records = zone_head("corp.test") + "www IN A 192.0.2.7\n";
        let mut named = NameServer::named(
            &[Zone {
                name: "corp.test",
                records: &records,
            }],
            "",
        );
        let unbound = NameServer::unbound(&[("corp.test", named.address())], "");
        assert_ne!(unbound.address(), named.address());
        named.restart();
        assert!(answers(named.address()));
    }

    #[test]
    fn dnsmasq_answers() {
        let dnsmasq = NameServer::dnsmasq(&["--address=/a.test/192.0.2.1"]);
        assert!(answers(dnsmasq.address()));
    }
}
