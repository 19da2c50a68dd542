//! Mutual TLS from files, end to end: who is let in, who is not and what each side says, and certificates that are
//! replaced while everything runs.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use blackstart_tests::certificates::CertificateFiles;
use blackstart_tests::{Certificates, Daemon, Port, TempHome, binary, free_port, wait_until};
use rustix::process::Signal;
use serde_json::Value;

use crate::parts::{START, agent};

/// How long a change of certificates may take until it counts: a look at the files every two seconds, and an agent's
/// back-off.
const SEEN: Duration = Duration::from_secs(60);

/// An aggregator with TLS.
struct Secure {
    home: TempHome,
    port: Port,
    aggregating: Daemon,
}

impl Secure {
    fn start(name: &str, files: &CertificateFiles) -> Self {
        let home = TempHome::new(name);
        let port = free_port();
        let text = format!(
            "listen = \"{}\"\nstate_dir = \"aggregator\"\n{}",
            port.address(),
            files.toml()
        );
        home.write("aggregator.toml", &text);
        let aggregating = spawn_aggregator(&home);
        let secure = Self {
            home,
            port,
            aggregating,
        };
        secure.aggregating.wait_log("aggregator ready", START);
        secure
    }

    fn restart(&mut self) {
        assert_eq!(self.aggregating.terminate(START).code(), Some(0));
        self.aggregating = spawn_aggregator(&self.home);
    }

    /// An agent of this host that shows this certificate.
    fn agent(&self, host: &str, files: &CertificateFiles, probes: &str) -> Daemon {
        let text = format!(
            "host = \"{host}\"\nstate_dir = \"agent-{host}\"\naggregators = [\"{}\"]\n[discovery]\nenabled = false\n{}{probes}",
            self.port.address(),
            files.toml()
        );
        let config = self.home.write(&format!("{host}.toml"), &text);
        agent(self.home.path(), &config)
    }

    /// Asks as an operator who shows this certificate, or none.
    fn ask(&self, files: Option<&CertificateFiles>, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary("blackstart"));
        command.args(["--aggregator", &self.port.address().to_string()]);
        if let Some(files) = files {
            command.arg("--ca-file").arg(&files.ca_file);
            command
                .arg("--certificate-file")
                .arg(&files.certificate_file);
            command.arg("--key-file").arg(&files.key_file);
        }
        command.args(arguments).output().expect("blackstart runs")
    }

    fn status(&self, files: &CertificateFiles) -> Value {
        let output = self.ask(Some(files), &["--format", "json", "status"]);
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }

    fn sees_agent(&self, files: &CertificateFiles, host: &str) -> bool {
        self.status(files)["agents"]
            .as_array()
            .is_some_and(|agents| {
                agents
                    .iter()
                    .any(|agent| agent["host"] == host && agent["connected"] == true)
            })
    }
}

fn spawn_aggregator(home: &TempHome) -> Daemon {
    let mut command = Command::new(binary("blackstart-aggregator"));
    command
        .args(["run", "--config"])
        .arg(home.join("aggregator.toml"));
    Daemon::spawn("aggregator", &mut command, &home.join("aggregator.log"))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn only_certificates_of_the_authority_get_in_and_an_agent_speaks_for_its_own_host() {
    let ours = Certificates::new();
    let secure = Secure::start("mutual-tls", &ours.aggregator());
    let address = secure.port.address();
    let operator = ours.issue("operator", &["operator"]);
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let probe = format!(
        "[probe.db]\nkind = \"tcp.connect\"\ninterval = \"1s\"\naddress = \"{}\"\n",
        target.local_addr().expect("its address")
    );
    let good = secure.agent("web-1", &ours.issue("web-1", &["web-1"]), &probe);
    wait_until("the agent and what it probes to be seen", SEEN, || {
        secure.sees_agent(&operator, "web-1")
            && secure.status(&operator)["components"]
                .as_array()
                .is_some_and(|all| {
                    all.iter()
                        .any(|c| c["id"] == "db" && c["condition"] == "up")
                })
    });
    let output = secure.ask(Some(&operator), &["why", "db"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));

    // An agent whose certificate names another host.
    let impostor = secure.agent("web-2", &ours.issue("web-1", &["web-1"]), &probe);
    let refusal = "the agent reports for host \\\"web-2\\\", its certificate names web-1; set `host` in its configuration, or give it a \
                   certificate for that name";
    impostor.wait_log("the aggregator refuses this agent", SEEN);
    wait_until("both sides to say why", SEEN, || {
        [impostor.log(), secure.aggregating.log()]
            .iter()
            .all(|log| log.replace('\\', "").contains(&refusal.replace('\\', "")))
    });
    assert!(!secure.sees_agent(&operator, "web-2"));
    assert!(secure.sees_agent(&operator, "web-1"), "{}", good.log());

    // Operators without a certificate, with one of another authority, and one who believes another authority.
    let output = secure.ask(None, &["status"]);
    assert_eq!(
        (output.status.code(), said(&output)),
        (
            Some(3),
            format!(
                "blackstart: {address} wants TLS\n  name ca_file, certificate_file and key_file of this side\n  without it: \
                 `blackstart check` asks this host's probes directly\n"
            )
        )
    );
    let theirs = Certificates::new();
    let mut stranger = theirs.issue("stranger", &["operator"]);
    let output = secure.ask(Some(&stranger), &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        said(&output).starts_with(&format!(
            "blackstart: {address} shows a certificate that is refused: "
        )),
        "{}",
        said(&output)
    );
    stranger.ca_file = operator.ca_file.clone();
    let output = secure.ask(Some(&stranger), &["status"]);
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(
        said(&output),
        format!(
            "blackstart: {address} refuses the certificate of this side: it is not of the server's CA\n  is this side's certificate \
             of the CA that the server names, and still valid?\n  without it: `blackstart check` asks this host's probes directly\n"
        )
    );
    let door = |why: &str| {
        let lines = secure.aggregating.log();
        lines
            .lines()
            .any(|line| line.contains("connection refused at the door") && line.contains(why))
    };
    wait_until("a line for each of them", START, || {
        door("it does not speak TLS, which this aggregator asks for")
            && door("its TLS handshake failed")
    });
}

/// Puts one certificate in the place of another, file by file.
fn replace(old: &CertificateFiles, new: &CertificateFiles) {
    for (old, new) in [
        (&old.ca_file, &new.ca_file),
        (&old.certificate_file, &new.certificate_file),
        (&old.key_file, &new.key_file),
    ] {
        write(
            old,
            &std::fs::read_to_string(new).expect("the new file is there"),
        );
    }
}

/// Replaces a file at once, as a careful administrator does.
fn write(path: &PathBuf, text: &str) {
    let next = path.with_extension("next");
    std::fs::write(&next, text).expect("a test can write its own folder");
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&next, private).expect("a test can change its own file");
    std::fs::rename(next, path).expect("a test can write its own folder");
}

#[test]
fn certificates_replaced_on_disk_count_from_the_next_connection_and_broken_ones_do_not() {
    let (before, after) = (Certificates::new(), Certificates::new());
    let server = before.aggregator();
    let mut secure = Secure::start("renewal", &server);
    let operator = before.issue("operator", &["operator"]);
    let of_host = before.issue("web-1", &["web-1"]);
    let mut web = secure.agent("web-1", &of_host, "");
    wait_until("the agent to be seen", SEEN, || {
        secure.sees_agent(&operator, "web-1")
    });

    // A broken replacement leaves the old one in force and is shown.
    let good = std::fs::read_to_string(&server.certificate_file).expect("it is there");
    write(
        &server.certificate_file,
        "-----BEGIN CERTIFICATE-----\nMIIB",
    );
    let problem = format!(
        "new TLS files refused, the old ones stay in force: certificate_file {} is broken: a section has no END line; was it cut short?",
        server.certificate_file.display()
    );
    wait_until("the broken file to be shown", SEEN, || {
        secure.status(&operator)["aggregator"]["problems"] == serde_json::json!([problem])
    });
    let output = secure.ask(Some(&operator), &["status"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "a problem of the aggregator is one"
    );
    let text = String::from_utf8_lossy(&output.stdout)
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ");
    assert!(
        text.contains("aggregator: new TLS files refused, the old ones stay in force"),
        "{text}"
    );
    write(&server.certificate_file, &good);
    wait_until("the mended file to be taken", SEEN, || {
        secure.status(&operator)["aggregator"]["problems"] == serde_json::json!([])
    });

    // Another authority altogether: for the next connection, with no restart.
    let successor = after.issue("operator", &["operator"]);
    assert_eq!(
        secure.ask(Some(&successor), &["status"]).status.code(),
        Some(3)
    );
    replace(&server, &after.aggregator());
    wait_until("the new certificate to be used", SEEN, || {
        secure.status(&successor)["agents"][0]["connected"] == true
    });
    assert_eq!(
        secure.ask(Some(&operator), &["status"]).status.code(),
        Some(3)
    );
    assert!(secure.aggregating.is_running());

    // The agent's, too. A broken one shows long before the next connection depends on it.
    let good = std::fs::read_to_string(&of_host.certificate_file).expect("it is there");
    write(&of_host.certificate_file, "not a certificate");
    web.signal(Signal::HUP);
    let shown = |condition: &str| {
        let status = secure.status(&successor);
        let agent = status["components"]
            .as_array()?
            .iter()
            .find(|c| c["id"] == "web-1/agent")?
            .clone();
        (agent["condition"] == condition)
            .then(|| agent["reason"].as_str().unwrap_or_default().to_owned())
    };
    let problem = format!(
        "new TLS files refused, the old ones stay in force: certificate_file {} holds nothing in PEM form; expected a certificate in PEM \
         form",
        of_host.certificate_file.display()
    );
    wait_until("the agent to show its broken file", SEEN, || {
        shown("degraded").is_some_and(|reason| reason.contains(&problem))
    });
    write(&of_host.certificate_file, &good);
    web.signal(Signal::HUP);
    wait_until("the mended file to be taken", SEEN, || {
        shown("up").is_some()
    });
    // It comes back after a break with what stands there now.
    replace(&of_host, &after.issue("web-1", &["web-1"]));
    secure.restart();
    wait_until(
        "the agent to come back with its new certificate",
        SEEN,
        || secure.sees_agent(&successor, "web-1"),
    );
    assert!(web.is_running());
}
