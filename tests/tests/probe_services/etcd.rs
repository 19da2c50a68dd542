//! `etcd.member` against a real cluster.

use blackstart_agent::observation::Status;
use blackstart_agent::probe::Probe;
use blackstart_tests::servers::etcd::EtcdCluster;
use blackstart_tests::{Certificates, TempHome};

use super::{TIMEOUT, probe, run, until, value};

const MEMBER: &str = "etcd.member";
const CLUSTER: &str = "etcd.cluster";

fn member(etcd: &EtcdCluster, index: usize) -> Box<dyn Probe> {
    probe(&format!(
        "kind = 'etcd.member'\nendpoint = '{}'\npeer_url = '{}'\ncluster = 'etcd'",
        etcd.client_url(index),
        etcd.peer_url(index)
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_loses_members_its_quorum_and_all_and_comes_back() {
    let mut etcd = EtcdCluster::start(3);
    let m1 = member(&etcd, 0);
    let found = until(&*m1, MEMBER, Status::Ok, "3 members").await;
    assert!(value(&found, "raft_index") > 0.0 && value(&found, "db_bytes") > 0.0);
    until(&*m1, CLUSTER, Status::Ok, "3 members, leader m").await;

    etcd.kill(2);
    let found = until(
        &*m1,
        CLUSTER,
        Status::Degraded,
        "2 of 3 members there, leader m",
    )
    .await;
    let gone = format!(
        "m3 is not reached at {} (connection refused)",
        etcd.peer_url(2)
    );
    assert!(found.detail.contains(&gone), "{}", found.detail);
    until(&*m1, MEMBER, Status::Ok, "3 members").await;

    etcd.kill(1);
    until(
        &*m1,
        MEMBER,
        Status::Failed,
        "no leader; serializable reads answer, everything else waits",
    )
    .await;
    let found = until(&*m1, CLUSTER, Status::Failed, "no leader").await;
    assert_eq!(value(&found, "voters_there"), 1.0);
    until(
        &*member(&etcd, 1),
        MEMBER,
        Status::Failed,
        "connection refused",
    )
    .await;

    // The power comes back to one of three.
    etcd.kill(0);
    etcd.launch(0);
    etcd.wait_accepting(0);
    let cold = "waits for a quorum to start: TCP connects, HTTP is silent; \
                1 of 3 members there, 2 are needed (m2: connection refused, m3: connection refused)";
    until(&*m1, MEMBER, Status::Starting, cold).await;
    until(
        &*m1,
        CLUSTER,
        Status::Failed,
        "no quorum: 1 of 3 members there, 2 are needed",
    )
    .await;

    etcd.launch(1);
    until(&*m1, MEMBER, Status::Ok, "3 members").await;
    etcd.start_all();
    until(&*m1, CLUSTER, Status::Ok, "3 members, leader m").await;

    etcd.freeze(0);
    until(
        &*m1,
        MEMBER,
        Status::Failed,
        "stalled: TCP connects on both ports and neither answers",
    )
    .await;
    until(&*m1, CLUSTER, Status::Unknown, "this member cannot tell").await;
    etcd.thaw(0);
    until(&*m1, MEMBER, Status::Ok, "3 members").await;

    let learner = etcd.add_learner();
    until(
        &*member(&etcd, learner),
        MEMBER,
        Status::Starting,
        "a learner",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_listen_peer_url_is_found_while_the_cluster_is_healthy() {
    let mut etcd = EtcdCluster::prepare(3, &[]);
    etcd.listen_for_peers_elsewhere(1);
    etcd.start_all();
    let wrong = format!(
        "peer URL {} (connection refused): wrong listen-peer-urls?",
        etcd.peer_url(1)
    );
    let m1 = member(&etcd, 0);
    let found = until(&*m1, CLUSTER, Status::Degraded, &wrong).await;
    assert!(
        found.detail.starts_with("3 of 3 members there"),
        "{}",
        found.detail
    );
    until(&*m1, MEMBER, Status::Ok, "3 members").await;
    until(&*member(&etcd, 1), MEMBER, Status::Degraded, &wrong).await;

    etcd.listen_for_peers_as_said(1);
    etcd.restart(1);
    until(&*m1, CLUSTER, Status::Ok, "3 members").await;
    until(&*member(&etcd, 1), MEMBER, Status::Ok, "3 members").await;

    etcd.launch_as_stranger(2);
    etcd.wait_accepting(2);
    until(
        &*member(&etcd, 2),
        MEMBER,
        Status::Failed,
        "cluster id mismatch",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_member_refuses_writes_until_it_is_cured() {
    let mut etcd = EtcdCluster::prepare(1, &["--quota-backend-bytes=16777216"]);
    etcd.start_all();
    let m1 = member(&etcd, 0);
    until(&*m1, MEMBER, Status::Ok, "leader").await;
    etcd.fill_to_quota(0);
    let full =
        "alarm NOSPACE, its own: writes are refused until space is made and the alarm is disarmed";
    until(&*m1, MEMBER, Status::Failed, full).await;
    until(
        &*m1,
        CLUSTER,
        Status::Failed,
        "alarm NOSPACE of m1: writes are refused",
    )
    .await;

    let status = etcd.etcdctl(0, &["get", "ballast", "-w", "json"]);
    let json: serde_json::Value = serde_json::from_str(&status).unwrap();
    etcd.etcdctl(0, &["compact", &json["header"]["revision"].to_string()]);
    etcd.etcdctl(0, &["defrag"]);
    etcd.etcdctl(0, &["alarm", "disarm"]);
    until(&*m1, MEMBER, Status::Ok, "leader").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_is_used_kept_and_its_refusal_told_apart() {
    let mut etcd = EtcdCluster::prepare(1, &["--auth-token=simple"]);
    etcd.start_all();
    let home = TempHome::new("etcd-login");
    etcd.etcdctl(0, &["user", "add", "root:hunter2"]);
    etcd.etcdctl(0, &["user", "grant-role", "root", "root"]);
    etcd.etcdctl(0, &["auth", "enable"]);
    let with = |password: &str, name: &str| {
        let file = home.write(name, password);
        probe(&format!(
            "kind = 'etcd.member'\nendpoint = '{}'\nuser = 'root'\npassword_file = '{}'",
            etcd.client_url(0),
            file.display()
        ))
    };
    let good = with("hunter2\n", "good");
    let found = until(&*good, MEMBER, Status::Ok, "leader").await;
    assert!(value(&found, "linearizable_read_ms") > 0.0);
    let index = value(&found, "raft_index");
    // One run, whose end is all that is waited for.
    let found = run(&*good, TIMEOUT * 6).await.remove(MEMBER).unwrap();
    // In etcd 3.4 each `/health` is an entry of the raft log by itself; a login would be another.
    let entries = value(&found, "raft_index") - index;
    assert!(entries <= 1.0, "a run with a token made {entries} entries");

    until(
        &*with("wrong\n", "bad"),
        MEMBER,
        Status::Degraded,
        "the login is refused: etcdserver: authentication failed",
    )
    .await;
    until(&*member(&etcd, 0), MEMBER, Status::Ok, "leader").await;

    // A restart forgets simple tokens.
    etcd.restart(0);
    let found = until(&*good, MEMBER, Status::Ok, "1 member").await;
    assert!(value(&found, "linearizable_read_ms") > 0.0);
    assert!(!format!("{good:?}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_wants_a_certificate_gets_one() {
    let certificates = Certificates::new();
    let server = certificates.issue("etcd", &["127.0.0.1"]);
    let client = certificates.issue("probe", &["probe"]);
    let etcd = EtcdCluster::start_with_mutual_tls(&server);
    let endpoint = format!("kind = 'etcd.member'\nendpoint = '{}'", etcd.client_url(0));
    let ca = format!("{endpoint}\ntls_ca_file = '{}'", client.ca_file.display());
    let with_certificate = format!(
        "{ca}\ntls_certificate_file = '{}'\ntls_key_file = '{}'",
        client.certificate_file.display(),
        client.key_file.display()
    );
    let good = probe(&with_certificate);
    let found = until(&*good, MEMBER, Status::Ok, "leader").await;
    assert!(value(&found, "linearizable_read_ms") > 0.0);
    let no_certificate = "the server refuses the TLS handshake";
    until(&*probe(&ca), MEMBER, Status::Failed, no_certificate).await;
    let stranger = "the certificate is signed by nobody whom this probe trusts";
    until(&*probe(&endpoint), MEMBER, Status::Failed, stranger).await;
}
