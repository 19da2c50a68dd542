//! A real etcd cluster; each member can be killed, frozen, started cold and given wrong settings.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::certificates::CertificateFiles;
use crate::home::give_to_server;
use crate::wait::wait_until;
use crate::{Daemon, Port, TempHome, free_port, unprivileged};

/// How long a cluster may take until it serves, on a busy machine; alone it needs half a second.
const READY_MAX: Duration = Duration::from_secs(60);

/// The members `m1`, `m2`, … of one cluster; here they are numbered from 0.
#[derive(Debug)]
pub struct EtcdCluster {
    members: Vec<Member>,
    extra: Vec<String>,
    /// With them clients speak TLS and show a certificate, too.
    certificate: Option<CertificateFiles>,
    home: TempHome,
}

#[derive(Debug)]
struct Member {
    name: String,
    client_port: Port,
    peer_port: Port,
    /// Where it listens for its peers when that is not where it says it does.
    listen_peer_port: Option<Port>,
    initial_cluster: Option<String>,
    token: &'static str,
    scheme: &'static str,
    daemon: Option<Daemon>,
}

impl EtcdCluster {
    /// Starts a cluster of that many members and waits until each of them serves.
    #[must_use]
    pub fn start(members: usize) -> Self {
        let mut cluster = Self::prepare(members, &[]);
        cluster.start_all();
        cluster
    }

    /// A cluster of which nothing runs yet; `extra` are further arguments of every member.
    #[must_use]
    pub fn prepare(members: usize, extra: &[&str]) -> Self {
        Self {
            members: (1..=members).map(Member::new).collect(),
            extra: extra
                .iter()
                .map(|argument| (*argument).to_owned())
                .collect(),
            certificate: None,
            home: TempHome::new("etcd"),
        }
    }

    /// One member that serves clients over mutual TLS, with this certificate for `127.0.0.1`.
    ///
    /// # Panics
    /// The files cannot be copied.
    #[must_use]
    pub fn start_with_mutual_tls(certificate: &CertificateFiles) -> Self {
        let mut cluster = Self::prepare(1, &["--client-cert-auth"]);
        let folder = cluster.home.server_folder("tls");
        for (flag, file) in [
            ("--cert-file", &certificate.certificate_file),
            ("--key-file", &certificate.key_file),
            ("--trusted-ca-file", &certificate.ca_file),
        ] {
            // The original belongs to the test alone.
            let copy = folder.join(flag.trim_start_matches('-'));
            std::fs::copy(file, &copy).expect("a test can write its own folder");
            give_to_server(&copy);
            cluster.extra.push(format!("{flag}={}", copy.display()));
        }
        for member in &mut cluster.members {
            member.scheme = "https";
        }
        cluster.certificate = Some(certificate.clone());
        cluster.start_all();
        cluster
    }

    /// Starts the members that do not run and waits until every member says that it is healthy.
    pub fn start_all(&mut self) {
        for index in 0..self.members.len() {
            if self.members[index].daemon.is_none() {
                self.launch(index);
            }
        }
        for index in 0..self.members.len() {
            self.wait_healthy(index);
        }
    }

    /// Starts one member and waits for nothing.
    pub fn launch(&mut self, index: usize) {
        let everybody = initial_cluster(&self.members);
        let member = &self.members[index];
        let (state, cluster) = match &member.initial_cluster {
            Some(existing) => ("existing", existing.clone()),
            None => ("new", everybody),
        };
        let listen_peer = member
            .listen_peer_port
            .as_ref()
            .unwrap_or(&member.peer_port);
        let mut command = unprivileged("/usr/bin/etcd", &self.home.server_folder("home"));
        command
            .args(["--name", &member.name])
            .arg("--data-dir")
            .arg(self.home.server_folder(&member.name))
            .args(["--listen-client-urls", &member.client_url()])
            .args(["--advertise-client-urls", &member.client_url()])
            .args([
                "--listen-peer-urls",
                &format!("http://{}", listen_peer.address()),
            ])
            .args(["--initial-advertise-peer-urls", &member.peer_url()])
            .args(["--initial-cluster", &cluster])
            .args(["--initial-cluster-token", member.token])
            .args(["--initial-cluster-state", state])
            // Twice as patient as by default: a busy machine must not cost a leader its place.
            .args(["--heartbeat-interval", "200", "--election-timeout", "2000"])
            .args(&self.extra);
        let log = self.log_path(index);
        self.members[index].daemon = Some(Daemon::spawn("etcd", &mut command, &log));
    }

    /// Starts a member again and waits until it is healthy.
    pub fn restart(&mut self, index: usize) {
        self.kill(index);
        self.launch(index);
        self.wait_healthy(index);
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        self.members[index].daemon = None;
    }

    /// `kill -9` of all members.
    pub fn kill_all(&mut self) {
        for index in 0..self.members.len() {
            self.kill(index);
        }
    }

    /// `SIGSTOP`: it stalls, and its sockets stay open.
    pub fn freeze(&self, index: usize) {
        if let Some(daemon) = &self.members[index].daemon {
            daemon.freeze();
        }
    }

    /// `SIGCONT`.
    pub fn thaw(&self, index: usize) {
        if let Some(daemon) = &self.members[index].daemon {
            daemon.thaw();
        }
    }

    /// Waits until the member's `/health` says that it is healthy.
    ///
    /// # Panics
    /// It never does.
    pub fn wait_healthy(&self, index: usize) {
        let what = format!(
            "health of etcd {} (log: {})",
            index,
            self.log_path(index).display()
        );
        wait_until(&what, READY_MAX, || self.health(index).contains("true"));
    }

    /// Waits until the member takes connections: all that a cold start without quorum reaches.
    ///
    /// # Panics
    /// It never does.
    pub fn wait_accepting(&self, index: usize) {
        let address = self.members[index].client_port.address();
        wait_until("etcd accepts connections", READY_MAX, || {
            std::net::TcpStream::connect(address).is_ok()
        });
    }

    /// The answer to `/health`; empty when there is none within a second.
    #[must_use]
    pub fn health(&self, index: usize) -> String {
        let url = format!("{}/health", self.client_url(index));
        let mut command = Command::new("curl");
        command.args(["-s", "-m", "1", &url]);
        if let Some(files) = &self.certificate {
            command.arg("--cacert").arg(&files.ca_file);
            command.arg("--cert").arg(&files.certificate_file);
            command.arg("--key").arg(&files.key_file);
        }
        let output = command.output().expect("curl runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Where clients reach a member: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn client_url(&self, index: usize) -> String {
        self.members[index].client_url()
    }

    /// Where its peers reach a member, as it says itself.
    #[must_use]
    pub fn peer_url(&self, index: usize) -> String {
        self.members[index].peer_url()
    }

    /// The process of a member, while it runs.
    pub fn daemon(&mut self, index: usize) -> Option<&mut Daemon> {
        self.members[index].daemon.as_mut()
    }

    /// What a member has logged.
    #[must_use]
    pub fn log(&self, index: usize) -> String {
        std::fs::read_to_string(self.log_path(index)).unwrap_or_default()
    }

    /// From its next start a member listens for its peers on another port than it says.
    pub fn listen_for_peers_elsewhere(&mut self, index: usize) {
        self.members[index].listen_peer_port = Some(free_port());
    }

    /// From its next start a member listens for its peers where it says.
    pub fn listen_for_peers_as_said(&mut self, index: usize) {
        self.members[index].listen_peer_port = None;
    }

    /// Kills a member, empties its folder and starts it as one of another cluster (`--initial-cluster-token`).
    pub fn launch_as_stranger(&mut self, index: usize) {
        self.kill(index);
        let data = self.home.server_folder(&self.members[index].name);
        std::fs::remove_dir_all(data).expect("a test can empty its own folder");
        self.members[index].token = "another";
        self.launch(index);
    }

    /// Adds a learner, starts it, and returns its number once it serves.
    pub fn add_learner(&mut self) -> usize {
        let index = self.members.len();
        let member = Member::new(index + 1);
        let peer_url = format!("--peer-urls={}", member.peer_url());
        // A member that has just come back counts as unhealthy for some seconds.
        wait_until("etcd takes a learner", READY_MAX, || {
            self.try_etcdctl(0, &["member", "add", &member.name, "--learner", &peer_url])
                .0
        });
        self.members.push(member);
        self.members[index].initial_cluster = Some(initial_cluster(&self.members));
        self.launch(index);
        self.wait_healthy(index);
        index
    }

    /// Runs `etcdctl` against one member and returns what it wrote.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn etcdctl(&self, index: usize, arguments: &[&str]) -> String {
        let (done, text) = self.try_etcdctl(index, arguments);
        assert!(done, "etcdctl {arguments:?}: {text}");
        text
    }

    /// The same for a command that may fail: whether it succeeded, and all that it wrote.
    pub fn try_etcdctl(&self, index: usize, arguments: &[&str]) -> (bool, String) {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args([
                "--command-timeout=20s",
                "--endpoints",
                &self.client_url(index),
            ])
            .args(arguments)
            .output()
            .expect("etcdctl runs");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Writes megabytes until the member's quota is used up; start it with a small `--quota-backend-bytes`.
    ///
    /// # Panics
    /// The quota is never reached.
    pub fn fill_to_quota(&self, index: usize) {
        let ballast = self.home.join("ballast");
        std::fs::write(&ballast, "x".repeat(1_000_000)).expect("a test can write its own folder");
        give_to_server(&ballast);
        let shell = format!(
            "ETCDCTL_API=3 etcdctl --endpoints {} put ballast < {}",
            self.client_url(index),
            ballast.display()
        );
        wait_until("the quota of etcd is used up", READY_MAX, || {
            let output = Command::new("sh")
                .args(["-c", &shell])
                .output()
                .expect("sh runs");
            String::from_utf8_lossy(&output.stderr).contains("database space exceeded")
        });
    }

    fn log_path(&self, index: usize) -> PathBuf {
        self.home.join(format!("{}.log", self.members[index].name))
    }
}

fn initial_cluster(members: &[Member]) -> String {
    let entry = |member: &Member| format!("{}={}", member.name, member.peer_url());
    members.iter().map(entry).collect::<Vec<_>>().join(",")
}

impl Member {
    fn new(number: usize) -> Self {
        Self {
            name: format!("m{number}"),
            client_port: free_port(),
            peer_port: free_port(),
            listen_peer_port: None,
            initial_cluster: None,
            token: "blackstart",
            scheme: "http",
            daemon: None,
        }
    }

    fn client_url(&self) -> String {
        format!("{}://{}", self.scheme, self.client_port.address())
    }

    fn peer_url(&self) -> String {
        format!("http://{}", self.peer_port.address())
    }
}
