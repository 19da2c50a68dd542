//! Cloud-IAM: a provider's private network stops renewing leases, and hosts lose their address one after the other.
//!
//! Documented: the clock (CET, an hour ahead of what is written here), leases that could not be renewed, the order in which a node
//! loses the private network, the database and the internet, the provider's two announced fixes, hard reboots until 12:35 CET.
//! Inferred: the day (the report names none), the length of a lease (15 minutes fits "10:07 the first, 10:13 more"), hence the
//! beginning of the outage, every number.

use super::life::Life;
use super::stage::{Beat, Stage};
use super::story::{Story, degraded, failed, ok, story};
use super::time::{At, Day};

pub(super) const NAME: &str = "cloud-iam-2024";

const DAY: Day = Day::new(2024, 1, 15);
const BEGIN: At = DAY.hm(8, 45);
/// The private network answers no renewals any more; nobody notices yet.
const OUTAGE: At = DAY.at(8, 58, 10);
/// The second fix: new leases are given again.
const SECOND_FIX: At = DAY.hm(10, 37);
/// A lease lasts so many seconds, and is renewed at half.
const LEASE_S: i64 = 900;
/// What a client does with a lost address takes it off the internet this much later.
const INTERNET_LOST_S: i64 = 150;

const WATCHERS: [&str; 2] = ["watch-1", "watch-2"];

/// Nodes at the provider, the seconds from the outage to the end of each lease, and when each is back after its hard reboot.
const NODES: [(&str, i64, At); 12] = [
    ("node-01", 520, DAY.hm(10, 44)),
    ("node-02", 610, DAY.hm(10, 49)),
    ("node-03", 655, DAY.hm(10, 54)),
    ("node-04", 700, DAY.hm(11, 0)),
    ("node-05", 745, DAY.hm(11, 5)),
    ("node-06", 770, DAY.hm(11, 9)),
    ("node-07", 800, DAY.hm(11, 14)),
    ("node-08", 815, DAY.hm(11, 19)),
    ("node-09", 840, DAY.hm(11, 24)),
    ("node-10", 860, DAY.hm(11, 28)),
    ("node-11", 875, DAY.hm(11, 31)),
    ("node-12", 890, DAY.hm(11, 34)),
];

pub(super) fn events() -> String {
    let mut stage = Stage::new(NAME);
    people(&mut stage);
    stage.beat(
        Beat::default()
            .every(120, BEGIN, DAY.hm(8, 57))
            .every(45, DAY.hm(8, 57), DAY.hm(9, 20))
            .every(450, DAY.hm(9, 20), DAY.hm(10, 35))
            .every(120, DAY.hm(10, 35), DAY.hm(10, 51))
            .every(210, DAY.hm(10, 51), DAY.hm(11, 42)),
    );
    outside(&mut stage);
    for (number, (node, ends_s, back)) in NODES.into_iter().enumerate() {
        node_at_provider(&mut stage, number + 1, node, OUTAGE.plus(ends_s), back);
    }
    stage.events()
}

fn people(stage: &mut Stage) {
    let network = "scaleway-private-network";
    let page = "https://status.scaleway.com/incidents/2qn5s5sg74m5";
    stage.provider(DAY.hm(9, 12), network, "major", page);
    stage.action(
        DAY.hm(9, 13),
        "various deployment nodes are being restarted",
    );
    stage.provider(DAY.hm(9, 41), network, "none", "a fix has been implemented");
    stage.provider(
        SECOND_FIX,
        network,
        "none",
        "a second fix has been deployed",
    );
    for (node, _, back) in NODES {
        stage.action(back.plus(-95), &format!("hard reboot of {node}"));
    }
}

fn outside(stage: &mut Stage) {
    for host in WATCHERS.iter().chain(&["agg-1"]) {
        stage.host(host, Life::long(BEGIN, 100), story(ok()));
    }
    // Deployments at other providers, which nothing happens to.
    for number in 1..=3 {
        let (host, app) = (format!("other-{number}"), format!("other-iam-{number}"));
        stage.host(&host, Life::long(BEGIN, 70), story(ok()));
        stage.watch(&host, &app, "http.get", story(ok()));
        for watcher in WATCHERS {
            stage.watch(watcher, &app, "http.get", story(ok()));
        }
    }
}

/// A node, its lease, what it sees of the provider's network, and the deployment on it.
fn node_at_provider(stage: &mut Stage, number: usize, node: &str, lease_ends: At, back: At) {
    let renews = lease_ends.plus(-LEASE_S / 2);
    let life = Life::long(BEGIN, 45)
        .loses_path(lease_ends.plus(INTERNET_LOST_S))
        .boots(back, 48);
    stage.host(node, life, story(ok()));

    let unanswered = degraded("renewal unanswered, half of the lease is over").ramp(
        "lease_left_s",
        LEASE_S as f64 / 2.0,
        lease_ends,
        0.0,
    );
    let gone = failed("the lease has ended, the address is gone").value("lease_left_s", 0.0);
    let lease = story(ok())
        .then(renews, unanswered)
        .then(lease_ends, gone)
        .then(back, ok());
    stage.watch(node, &format!("lease-{number:02}"), "dhcp.lease", lease);

    // Who has to renew sees that nobody answers; the others do not ask.
    let server = story(ok())
        .then_unseen(OUTAGE)
        .then(renews.max(OUTAGE), failed("no answer to DHCPREQUEST"))
        .then(back, ok());
    stage.watch(node, "dhcp", "dhcp.answer", server);
    let names = story(ok())
        .then(OUTAGE.plus(40), failed("timed out"))
        .then(back, ok());
    stage.watch(node, "dns-internal", "dns.answer", names);

    let database = if number % 2 == 1 {
        "managed-db-1"
    } else {
        "managed-db-2"
    };
    let no_path = failed("no route to host");
    let reached = story(ok()).then(lease_ends, no_path).then(back, ok());
    stage.watch(node, database, "tcp.connect", reached);
    let broken = failed("LOGIN_ERROR: the database cannot be reached");
    let login = |ready: At| {
        story(ok())
            .then(lease_ends.plus(10), broken.clone())
            .then(ready, ok())
    };
    let app = format!("iam-{number:02}");
    stage.watch(node, &app, "http.get", login(back.plus(25)));
    for watcher in WATCHERS {
        let cut = failed("timed out");
        let off = lease_ends.plus(INTERNET_LOST_S);
        let seen: Story = login(back.plus(25)).except(off, back, &cut);
        stage.watch(watcher, &app, "http.get", seen);
    }
    if number > 10 {
        // Cloud-IAM's own tools stand on the last two nodes.
        let tool = ["observability", "pipelines"][number - 11];
        let slow = degraded("slow and unstable");
        let own = story(ok())
            .then(OUTAGE.plus(60), slow)
            .then(lease_ends, failed("timed out"))
            .then(back.plus(40), ok());
        stage.watch(node, tool, "service.ready", own);
    }
}
