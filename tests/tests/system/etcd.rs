//! Three members of etcd, each with an agent on its own host: one lost is survived, two are not.

use std::net::TcpListener;

use blackstart_tests::free_port;
use blackstart_tests::servers::etcd::EtcdCluster;

use crate::parts::ask;
use crate::platform::{Platform, probe};

const TOPOLOGY: &str = r#"
[component."h-{1..3}"]
kind = "host"
[component."m-{1..3}"]
kind = "etcd-member"
in = "h-{n}"
[component.etcd]
kind = "etcd-cluster"
needs = [{ at_least = 2, of = ["m-{1..3}"] }]
[component.app]
kind = "app"
in = "h-1"
needs = ["etcd"]
"#;

const REFUSED: &str = "127.0.0.1:*: connection refused, nothing listens there";

#[test]
fn a_cluster_survives_one_member_and_blocks_what_needs_it_without_two() {
    let mut cluster = EtcdCluster::start(3);
    let app = free_port();
    let member = |n: usize| {
        let keys = format!(
            "timeout = \"3s\"\nendpoint = \"{}\"\npeer_url = \"{}\"\ncluster = \"etcd\"",
            cluster.client_url(n),
            cluster.peer_url(n)
        );
        probe(&format!("m-{}", n + 1), "etcd.member", &keys)
    };
    let first = member(0)
        + &probe(
            "app",
            "tcp.connect",
            &format!("address = \"{}\"", app.address()),
        );
    let agents = [("h-1", &*first), ("h-2", &*member(1)), ("h-3", &*member(2))];
    let platform = Platform::start_agents("etcd", TOPOLOGY, &agents);
    let listener = TcpListener::bind(app.address()).expect("the app's port");
    let all_well = || {
        for id in ["m-1", "m-2", "m-3"] {
            platform.shows(id, "up", "*er, raft term *, 3 members");
        }
        platform.shows("etcd", "up", "3 members, leader m*");
        platform.shows("app", "up", "*");
        let everything = ["ready", "m-1", "m-2", "m-3", "etcd", "app"];
        assert_eq!(ask(platform.port(), &everything).1, 0);
    };
    all_well();

    // One of three: the cluster goes on, says which one is missing, and blocks nobody.
    cluster.kill(2);
    platform.shows("m-3", "down", REFUSED);
    let missing = format!(
        "2 of 3 members there, leader m*; m3 is not reached at {} (connection refused)",
        cluster.peer_url(2)
    );
    platform.shows("etcd", "degraded", &missing);
    platform.shows("m-1", "up", "*, raft term *, 3 members");
    platform.shows("app", "up", "*");
    platform.explains(
        "m-3",
        &[
            "m-3 is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by etcd.member from h-3, *:",
            REFUSED,
        ],
    );

    // Two of three: nobody can write, so who needs it is blocked, and the missing members are why.
    cluster.kill(1);
    platform.shows("m-2", "down", REFUSED);
    let no_leader = "no leader*; serializable reads answer, everything else waits";
    platform.shows("m-1", "down", no_leader);
    platform.shows(
        "etcd",
        "blocked",
        "needs 2 of m-1, m-2, m-3, of which too few are left",
    );
    // Who fails before that is known has failed on its own, and the incident would count it.
    drop(listener);
    platform.shows("app", "blocked", "needs etcd, which is blocked");
    platform.explains(
        "app",
        &[
            "app is blocked since *: it fails, and something that it needs is lost",
            "seen failed by tcp.connect from h-1, *:",
            REFUSED,
            "needs etcd: lost",
            "because etcd is blocked since *: it fails, and something that it needs is lost",
            "seen failed by etcd.cluster from h-1, *: no leader: 1 of 3 members there*",
            "needs 2 of m-1, m-2, m-3: lost",
            "because m-1 is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by etcd.member from h-1, *: no leader*",
            "because m-2 is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by etcd.member from h-2, *:",
            REFUSED,
            "because m-3 is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by etcd.member from h-3, *:",
            REFUSED,
        ],
    );
    let (ready, code) = ask(platform.port(), &["ready", "app"]);
    assert_eq!((code, &ready["ready"]), (1, &false.into()), "{ready}");

    let incident = platform.incident("open");
    let mut failed: Vec<&str> = incident["failed"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|id| id.as_str())
        .collect();
    failed.sort_unstable();
    assert_eq!(failed, ["m-1", "m-2", "m-3"], "{incident}");

    let _listener = TcpListener::bind(app.address()).expect("the app's port");
    platform.shows("app", "up", "*");
    cluster.restart(1);
    platform.shows("m-2", "up", "*, raft term *, 3 members");
    platform.shows("etcd", "degraded", &missing);
    cluster.restart(2);
    all_well();
    let over = platform.incident("resolved");
    assert_eq!(
        (&over["id"], &over["failed"]),
        (&incident["id"], &incident["failed"]),
        "{over}"
    );
    platform.stop();
}
