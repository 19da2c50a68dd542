//! A real RabbitMQ cluster; each node can be killed, frozen and brought under an alarm.
//!
//! A node needs some ten seconds to boot: share a cluster between the faults of a test.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::wait::{wait_for, wait_until};
use crate::{Daemon, Port, TempHome, free_port, unprivileged};

/// Where Debian keeps the scripts; those in `/usr/sbin` insist on the user `rabbitmq`.
const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// How long a node may take to boot, on a busy machine; alone it needs twelve seconds.
const READY_MAX: Duration = Duration::from_secs(180);

/// How often a node is started in order to be frozen in the middle of its boot, of whose ten seconds any will do.
const FREEZES_MAX: usize = 10;

/// How many schedulers each Erlang machine may use: tests share few cores.
const ERLANG_LIMITS: &str = "+S 2:2 +A 16 +sbwt none +sbwtdcpu none +sbwtdio none";

/// The nodes `rab1@localhost`, `rab2@localhost`, … of one cluster; here they are numbered from 0. User `guest` with
/// password `guest` may do everything.
#[derive(Debug)]
pub struct RabbitCluster {
    nodes: Vec<Node>,
    names: Daemon,
    names_port: Port,
    home: TempHome,
}

#[derive(Debug)]
struct Node {
    name: String,
    amqp_port: Port,
    distribution_port: Port,
    management_port: Port,
    daemon: Option<Daemon>,
}

impl RabbitCluster {
    /// Starts a cluster of that many nodes and waits until all of them serve together.
    #[must_use]
    pub fn start(nodes: usize) -> Self {
        let mut cluster = Self::prepare(nodes, "");
        cluster.start_all();
        cluster
    }

    /// A cluster of which nothing runs yet; `extra` are further lines of `rabbitmq.conf` of every node.
    ///
    /// # Panics
    /// The Erlang name server does not start.
    #[must_use]
    pub fn prepare(nodes: usize, extra: &str) -> Self {
        let home = TempHome::new("rabbitmq");
        let names_port = free_port();
        // A name server of its own: nodes of other tests have the same names.
        let mut epmd = unprivileged("/usr/bin/epmd", &home.server_folder("home"));
        epmd.args(["-address", "127.0.0.1", "-port", &names_port.to_string()]);
        let mut names = Daemon::spawn("epmd", &mut epmd, &home.join("epmd.log"));
        names.wait_ready(READY_MAX, || {
            std::net::TcpStream::connect(names_port.address()).is_ok()
        });
        let nodes: Vec<Node> = (1..=nodes).map(Node::new).collect();
        let cluster = Self {
            nodes,
            names,
            names_port,
            home,
        };
        cluster.write_cookie();
        for index in 0..cluster.nodes.len() {
            cluster.write_settings(index, extra);
        }
        cluster
    }

    /// Starts the nodes that do not run and waits until all of them serve, as one cluster.
    ///
    /// # Panics
    /// They never do.
    pub fn start_all(&mut self) {
        for index in 0..self.nodes.len() {
            if self.nodes[index].daemon.is_none() {
                self.launch(index);
            }
        }
        for index in 0..self.nodes.len() {
            self.wait_ready(index);
        }
        let all = self.nodes.len();
        wait_until(
            "the nodes of RabbitMQ run as one cluster",
            READY_MAX,
            || {
                let nodes = self.management(0, "nodes").unwrap_or_default();
                nodes.as_array().is_some_and(|nodes| {
                    nodes.iter().filter(|node| node["running"] == true).count() == all
                })
            },
        );
    }

    /// Starts one node and waits for nothing.
    pub fn launch(&mut self, index: usize) {
        let mut command = self.script(index, "rabbitmq-server");
        // Without it the script stays in front of the Erlang machine and outlives it.
        command.env("RABBITMQ_ALLOW_INPUT", "1").arg("-noinput");
        let log = self.log_path(index);
        self.nodes[index].daemon = Some(Daemon::spawn("rabbitmq", &mut command, &log));
    }

    /// Starts one node and freezes it in the middle of its boot: it has said that it starts, and its port is closed.
    ///
    /// # Panics
    /// It opens its port too soon each time.
    pub fn launch_and_freeze(&mut self, index: usize) {
        for _ in 0..FREEZES_MAX {
            let said = |cluster: &Self| {
                let log = std::fs::read_to_string(cluster.log_path(index)).unwrap_or_default();
                log.matches("Starting RabbitMQ").count()
            };
            let before = said(self);
            self.launch(index);
            wait_until("RabbitMQ says that it starts", READY_MAX, || {
                said(self) > before
            });
            self.freeze(index);
            if std::net::TcpStream::connect(self.nodes[index].amqp_port.address()).is_err() {
                return;
            }
            // It was quicker than we are.
            self.kill(index);
        }
        panic!("RabbitMQ opened its port {FREEZES_MAX} times before it could be frozen");
    }

    /// Waits until a node serves AMQP and its management answers.
    ///
    /// # Panics
    /// It never does.
    pub fn wait_ready(&mut self, index: usize) {
        let amqp = self.nodes[index].amqp_port.address();
        let management = self.management_url(index);
        if let Some(daemon) = &mut self.nodes[index].daemon {
            daemon.wait_ready(READY_MAX, || {
                std::net::TcpStream::connect(amqp).is_ok()
                    && ask(&management, "health/checks/virtual-hosts").is_some()
            });
        }
    }

    /// `kill -9`.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].daemon = None;
    }

    /// `SIGSTOP`: it stalls, and its sockets stay open.
    pub fn freeze(&self, index: usize) {
        if let Some(daemon) = &self.nodes[index].daemon {
            daemon.freeze();
        }
    }

    /// `SIGCONT`.
    pub fn thaw(&self, index: usize) {
        if let Some(daemon) = &self.nodes[index].daemon {
            daemon.thaw();
        }
    }

    /// The process of a node, while it runs.
    pub fn daemon(&mut self, index: usize) -> Option<&mut Daemon> {
        self.nodes[index].daemon.as_mut()
    }

    /// Runs `rabbitmqctl` against a node; that takes seconds.
    ///
    /// # Panics
    /// It fails.
    #[track_caller]
    pub fn control(&self, index: usize, arguments: &[&str]) -> String {
        let mut command = self.script(index, "rabbitmqctl");
        let output = command.args(arguments).output().expect("rabbitmqctl runs");
        let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "rabbitmqctl {arguments:?}: {text}");
        text
    }

    /// Asks the management API for `/api/PATH` as `guest`; `None` when there is no good answer.
    #[must_use]
    pub fn management(&self, index: usize, path: &str) -> Option<serde_json::Value> {
        ask(&self.management_url(index), path)
    }

    /// Puts JSON to `/api/PATH` as `guest`, in order to make a queue, say.
    ///
    /// # Panics
    /// It is refused.
    #[track_caller]
    pub fn put(&self, index: usize, path: &str, json: &str) {
        let url = format!("{}/api/{path}", self.management_url(index));
        wait_for(&format!("PUT {url}"), READY_MAX, || {
            let output = Command::new("curl")
                .args(["-sf", "-m", "20", "-u", "guest:guest", "-X", "PUT"])
                .args(["-H", "content-type: application/json", "-d", json, &url])
                .output()
                .expect("curl runs");
            output.status.success().then_some(())
        });
    }

    /// Where AMQP is served: the port on 127.0.0.1.
    #[must_use]
    pub fn amqp_port(&self, index: usize) -> u16 {
        self.nodes[index].amqp_port.number()
    }

    /// Where the management API is: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn management_url(&self, index: usize) -> String {
        format!("http://{}", self.nodes[index].management_port.address())
    }

    /// The file that a node logs to.
    #[must_use]
    pub fn log_path(&self, index: usize) -> PathBuf {
        self.home.join(format!("{}.log", self.nodes[index].name))
    }

    /// `rab1@localhost` of the first.
    #[must_use]
    pub fn node_name(&self, index: usize) -> String {
        self.nodes[index].full_name()
    }

    /// Whether the Erlang name server, which all nodes need, still runs.
    pub fn names_run(&mut self) -> bool {
        self.names.is_running()
    }

    fn write_cookie(&self) {
        let path = self.home.server_folder("home").join(".erlang.cookie");
        std::fs::write(&path, "BLACKSTARTTESTS").expect("a test can write its own folder");
        crate::home::give_to_server(&path);
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o400);
        std::fs::set_permissions(&path, private).expect("a test can change its own file");
    }

    fn write_settings(&self, index: usize, extra: &str) {
        let node = &self.nodes[index];
        let mut conf = format!(
            "listeners.tcp.1 = {}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n\
             cluster_partition_handling = ignore\ndisk_free_limit.absolute = 50MB\n\
             log.file = false\nlog.console = true\nlog.console.level = info\nnet_ticktime = 8\n\
             cluster_formation.peer_discovery_backend = classic_config\n{extra}\n",
            node.amqp_port.address(),
            node.management_port,
        );
        for (number, node) in self.nodes.iter().enumerate() {
            let entry = format!(
                "cluster_formation.classic_config.nodes.{} = {}\n",
                number + 1,
                node.full_name()
            );
            conf.push_str(&entry);
        }
        let folder = self.folder(index);
        std::fs::write(folder.join("rabbitmq.conf"), conf)
            .expect("a test can write its own folder");
        std::fs::write(folder.join("enabled_plugins"), "[rabbitmq_management].")
            .expect("a test can write its own folder");
        for file in ["rabbitmq.conf", "enabled_plugins"] {
            crate::home::give_to_server(&folder.join(file));
        }
    }

    fn folder(&self, index: usize) -> PathBuf {
        self.home.server_folder(&self.nodes[index].name)
    }

    fn script(&self, index: usize, name: &str) -> Command {
        let node = &self.nodes[index];
        let folder = self.folder(index);
        let mut command = unprivileged(
            format!("{SCRIPTS}/{name}"),
            &self.home.server_folder("home"),
        );
        command
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("ERL_EPMD_PORT", self.names_port.to_string())
            .env("RABBITMQ_NODENAME", node.full_name())
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", node.amqp_port.to_string())
            .env("RABBITMQ_DIST_PORT", node.distribution_port.to_string())
            .env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                folder.join("enabled_plugins"),
            )
            .env("RABBITMQ_PID_FILE", folder.join("pid"))
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", ERLANG_LIMITS)
            .env("LANG", "C.UTF-8");
        command
    }
}

impl Node {
    fn new(number: usize) -> Self {
        Self {
            name: format!("rab{number}"),
            amqp_port: free_port(),
            distribution_port: free_port(),
            management_port: free_port(),
            daemon: None,
        }
    }

    fn full_name(&self) -> String {
        format!("{}@localhost", self.name)
    }
}

fn ask(management_url: &str, path: &str) -> Option<serde_json::Value> {
    let output = Command::new("curl")
        .args([
            "-sf",
            "-m",
            "5",
            "-u",
            "guest:guest",
            &format!("{management_url}/api/{path}"),
        ])
        .output()
        .expect("curl runs");
    serde_json::from_slice(&output.stdout)
        .ok()
        .filter(|_| output.status.success())
}
