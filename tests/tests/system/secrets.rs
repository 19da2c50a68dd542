//! A secret stands where it was put and nowhere else: real servers take and refuse passwords, with everything logged that
//! can be, and then everything that came into being is searched for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use blackstart_tests::servers::etcd::EtcdCluster;
use blackstart_tests::servers::nginx::Nginx;
use blackstart_tests::servers::postgres::Postgres;
use blackstart_tests::servers::rabbitmq::RabbitCluster;
use blackstart_tests::{Daemon, TempHome, binary, free_port, wait_for};
use rand::RngExt;

use crate::parts::{START, ask};
use crate::platform::{is_like, probe, quoted};

/// A password that stands nowhere by chance.
fn canary() -> String {
    let mut random = rand::rng();
    (0..24)
        .map(|_| random.random_range(b'a'..=b'z') as char)
        .collect()
}

/// Every form in which a server is told a password.
fn forms(user: &str, password: &str) -> Vec<String> {
    let mut forms = vec![password.to_owned()];
    // Basic authentication (RFC 7617), and SASL PLAIN without its encoding is the password itself.
    forms.push(base64(format!("{user}:{password}").as_bytes()));
    forms
}

/// RFC 4648, 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let all = chunk
            .iter()
            .fold(0_u32, |all, byte| all << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = ALPHABET[(all >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
}

struct Servers {
    postgres: Postgres,
    etcd: EtcdCluster,
    rabbit: RabbitCluster,
    nginx: Nginx,
}

impl Servers {
    fn start(password: &str) -> Self {
        let postgres = Postgres::start();
        postgres.sql(&format!("create role app login password '{password}'"));
        postgres.set_access(
            "host all postgres 127.0.0.1/32 trust\nhost all app 127.0.0.1/32 scram-sha-256",
        );
        postgres.reload();
        let mut etcd = EtcdCluster::prepare(1, &["--auth-token=simple"]);
        etcd.start_all();
        etcd.etcdctl(0, &["user", "add", &format!("root:{password}")]);
        etcd.etcdctl(0, &["user", "grant-role", "root", "root"]);
        etcd.etcdctl(0, &["auth", "enable"]);
        let rabbit = RabbitCluster::start(1);
        rabbit.control(0, &["add_user", "app", password]);
        rabbit.control(0, &["set_permissions", "app", ".*", ".*", ".*"]);
        rabbit.control(0, &["set_user_tags", "app", "monitoring"]);
        // A server that shows what it is told.
        let nginx = Nginx::start(
            "location / { return 200 'told: $http_authorization'; }\n\
             location /refused { return 401 'told: $http_authorization'; }",
            None,
        );
        Self {
            postgres,
            etcd,
            rabbit,
            nginx,
        }
    }

    /// Two sets of probes, one with the right password and one with a wrong one.
    fn probes(&self, right: &str, wrong: &str) -> String {
        let mut probes = String::new();
        for (set, password) in [("right", right), ("wrong", wrong)] {
            let login = |user: &str| format!("user = \"{user}\"\n{password}\n");
            let etcd = self.etcd.client_url(0);
            let url = self.nginx.http_url();
            let token = password.replacen("password", "bearer_token", 1);
            let tables = [
                (
                    "postgres",
                    "postgres.ready",
                    format!(
                        "{}address = \"127.0.0.1:{}\"\ndatabase = \"postgres\"",
                        login("app"),
                        self.postgres.port()
                    ),
                ),
                (
                    "etcd",
                    "etcd.member",
                    format!("{}endpoint = \"{etcd}\"", login("root")),
                ),
                (
                    "amqp",
                    "rabbitmq.amqp",
                    format!(
                        "{}address = \"127.0.0.1:{}\"",
                        login("app"),
                        self.rabbit.amqp_port(0)
                    ),
                ),
                (
                    "management",
                    "rabbitmq.management",
                    format!(
                        "{}url = \"{}\"",
                        login("app"),
                        self.rabbit.management_url(0)
                    ),
                ),
                (
                    "basic",
                    "http.get",
                    format!(
                        "{}url = \"{url}\"\nexpect_body = \"something else\"",
                        login("app")
                    ),
                ),
                (
                    "bearer",
                    "http.get",
                    format!("{token}\nurl = \"{url}/refused\""),
                ),
            ];
            for (name, kind, keys) in tables {
                probes.push_str(&probe(&format!("{name}-{set}"), kind, &keys));
            }
        }
        probes
    }
}

/// Every file below a folder.
fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a test can read its own folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

#[test]
fn no_secret_is_anywhere_but_where_it_was_put() {
    let (right, wrong) = (canary(), canary());
    let kept = TempHome::new("kept");
    let right_file = kept.write("right", &format!("{right}\n"));
    let servers = Servers::start(&right);
    let home = TempHome::new("secrets");
    let port = free_port();
    let config = format!(
        "host = \"h\"\nstate_dir = \"agent\"\naggregators = [\"{}\"]\n[discovery]\nenabled = false\n{}",
        port.address(),
        servers.probes(
            &format!("password_file = {}", quoted(&right_file)),
            "password_env = \"BLACKSTART_TEST_WRONG\"",
        )
    );
    let config = home.write("agent.toml", &config);
    let mut command = Command::new(binary("blackstart-aggregator"));
    command
        .args([
            "run",
            "--listen",
            &port.address().to_string(),
            "--state-dir",
        ])
        .arg(home.join("aggregator"))
        .env("BLACKSTART_LOG", "trace");
    let mut aggregating = Daemon::spawn("aggregator", &mut command, &home.join("aggregator.log"));
    let mut command = Command::new(binary("blackstart-agent"));
    command
        .args(["run", "--config"])
        .arg(&config)
        .env("BLACKSTART_TEST_WRONG", &wrong)
        // All of ours, and as much of others as an operator gets to see who turns the log up.
        .env(
            "BLACKSTART_LOG",
            "debug,blackstart_agent=trace,blackstart_proto=trace",
        );
    let mut probing = Daemon::spawn("agent", &mut command, &home.join("agent.log"));

    // Each of them was asked, let in or turned away: without that nothing is shown by what follows.
    for (id, condition, reason) in [
        ("postgres-right", "up", "primary*"),
        (
            "postgres-wrong",
            "down",
            "locked out: password authentication failed for user \"app\"*",
        ),
        ("etcd-right", "up", "leader*"),
        (
            "etcd-wrong",
            "degraded",
            "the login is refused: etcdserver: authentication failed*",
        ),
        ("amqp-right", "up", "RabbitMQ*"),
        ("amqp-wrong", "down", "locked out: ACCESS_REFUSED*"),
        ("management-right", "up", "*"),
        ("management-wrong", "unknown", "*"),
        ("basic-right", "down", "*"),
        ("basic-wrong", "down", "*"),
        (
            "bearer-right",
            "down",
            "status 401, expected 200-399: told: Bearer [secret]",
        ),
        (
            "bearer-wrong",
            "down",
            "status 401, expected 200-399: told: Bearer [secret]",
        ),
    ] {
        wait_for(
            &format!("{id} to be {condition}: {reason}"),
            START * 3,
            || {
                let (status, _) = ask(port.number(), &["status"]);
                let all = status["components"].as_array()?;
                let seen = all.iter().find(|component| component["id"] == id)?;
                (seen["condition"] == condition && is_like(seen["reason"].as_str()?, reason))
                    .then_some(())
            },
        );
    }

    let mut searched = Vec::new();
    for pid in [probing.pid(), aggregating.pid()] {
        let path = PathBuf::from(format!("/proc/{pid}/cmdline"));
        searched.push((path.clone(), std::fs::read(&path).expect("it runs")));
    }
    let address = port.address().to_string();
    let path = config.display().to_string();
    for arguments in [
        &["status"][..],
        &["status", "--format", "json"],
        &["why", "postgres-wrong", "--format", "json"],
        &["why", "basic-right"],
        &["agents", "--format", "json"],
        &["check", "--config", &path],
        &["check", "--config", &path, "--format", "json"],
        &["check", "--config", &path, "--format", "nagios"],
    ] {
        let output = Command::new(binary("blackstart"))
            .args(["--aggregator", &address])
            .args(arguments)
            .env("BLACKSTART_TEST_WRONG", &wrong)
            .env("BLACKSTART_LOG", "trace")
            .output()
            .expect("blackstart runs");
        let name = PathBuf::from(arguments.join(" "));
        assert!(!output.stdout.is_empty(), "{name:?}");
        searched.push((name, [output.stdout, output.stderr].concat()));
    }
    probing.terminate(START);
    aggregating.terminate(START);
    let mut found = Vec::new();
    files(home.path(), &mut found);
    for name in [
        "agent.log",
        "aggregator.log",
        "agent/spool.redb",
        "aggregator/journal.db",
    ] {
        assert!(
            found.contains(&home.join(name)),
            "{name} is not among {found:?}"
        );
    }
    for path in found {
        let bytes = std::fs::read(&path).expect("a test can read its own folder");
        searched.push((path, bytes));
    }
    for (secret, user) in [
        (&right, "app"),
        (&right, "root"),
        (&wrong, "app"),
        (&wrong, "root"),
    ] {
        for form in forms(user, secret) {
            for (place, bytes) in &searched {
                let text = String::from_utf8_lossy(bytes);
                let at = text.find(&form);
                let around = at.map(|at| {
                    let from = text.floor_char_boundary(at.saturating_sub(300));
                    &text[from..at]
                });
                assert!(
                    at.is_none(),
                    "a secret is in {} behind: {around:?}",
                    place.display()
                );
            }
        }
    }
}

#[test]
fn the_search_would_find_what_is_there() {
    assert_eq!(
        base64(b"Aladdin:open sesame"),
        "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    );
    assert_eq!(base64(b"a"), "YQ==");
    assert_eq!(base64(b"abc"), "YWJj");
}
