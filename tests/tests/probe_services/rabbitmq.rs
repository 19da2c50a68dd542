//! `rabbitmq.amqp` and `rabbitmq.management` against a real cluster of three nodes, which all faults share: a node
//! takes ten seconds to boot.

use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_agent::probe::Probe;
use blackstart_tests::TempHome;
use blackstart_tests::servers::rabbitmq::RabbitCluster;

use super::{probe, until, until_within, value};

const AMQP: &str = "rabbitmq.amqp";
const MANAGEMENT: &str = "rabbitmq.management";

/// A broker that answers does so at once; what is waited for here never comes.
const BRIEF: Duration = Duration::from_secs(3);

struct Probes {
    home: TempHome,
}

impl Probes {
    fn new() -> Self {
        let home = TempHome::new("rabbitmq-login");
        home.write("good", "guest\n");
        home.write("bad", "hunter2\n");
        Self { home }
    }

    fn amqp(&self, rabbit: &RabbitCluster, password: &str, extra: &str) -> Box<dyn Probe> {
        probe(&format!(
            "kind = 'rabbitmq.amqp'\naddress = '127.0.0.1:{}'\nuser = 'guest'\npassword_file = '{}'\nlog_file = '{}'\n{extra}",
            rabbit.amqp_port(0),
            self.home.join(password).display(),
            rabbit.log_path(0).display(),
        ))
    }

    fn management(&self, rabbit: &RabbitCluster, password: &str, extra: &str) -> Box<dyn Probe> {
        probe(&format!(
            "kind = 'rabbitmq.management'\nurl = '{}'\nuser = 'guest'\npassword_file = '{}'\n{extra}",
            rabbit.management_url(0),
            self.home.join(password).display(),
        ))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_blocked_loses_majorities_and_boots() {
    let probes = Probes::new();
    let mut rabbit = RabbitCluster::prepare(3, "");
    let booting = probes.amqp(&rabbit, "good", "");
    for node in 0..3 {
        rabbit.launch(node);
    }
    until(&*booting, AMQP, Status::Starting, "boots").await;
    rabbit.start_all();
    for (queue, kind) in [("canary", "quorum"), ("orders", "classic")] {
        let json = format!("{{\"durable\":true,\"arguments\":{{\"x-queue-type\":\"{kind}\"}}}}");
        rabbit.put(0, &format!("queues/%2F/{queue}"), &json);
    }
    let amqp = probes.amqp(&rabbit, "good", "queues = ['orders']");
    let canary = probes.amqp(&rabbit, "good", "canary_queue = 'canary'");
    let management = probes.management(&rabbit, "good", "");
    let knock = probe(&format!(
        "kind = 'rabbitmq.amqp'\naddress = '127.0.0.1:{}'",
        rabbit.amqp_port(0)
    ));

    let found = until(&*amqp, AMQP, Status::Ok, "RabbitMQ 3.").await;
    assert_eq!(
        (
            value(&found, "orders_messages"),
            value(&found, "orders_consumers")
        ),
        (0.0, 0.0)
    );
    let found = until(&*canary, AMQP, Status::Ok, "confirms the canary").await;
    assert!(value(&found, "confirm_ms") > 0.0);
    let found = until(&*management, MANAGEMENT, Status::Ok, "3 nodes, 2 queues").await;
    assert_eq!(value(&found, "nodes_running"), 3.0);
    until(
        &*knock,
        AMQP,
        Status::Ok,
        "greets; nobody logged in, as no user is configured",
    )
    .await;
    until(
        &*knock,
        AMQP,
        Status::Ok,
        "accepts connections; nobody logged in",
    )
    .await;

    turned_away(&probes, &rabbit).await;
    alarms(&rabbit, &*amqp, &*canary, &*management).await;

    // One node gone: all works, and the next one would be one too many.
    rabbit.kill(2);
    let gone = format!("2 of 3 nodes run, not {}", rabbit.node_name(2));
    until(&*management, MANAGEMENT, Status::Degraded, &gone).await;
    until(
        &*management,
        MANAGEMENT,
        Status::Degraded,
        "1 queue without a majority if this node goes, too: canary",
    )
    .await;
    until(&*canary, AMQP, Status::Ok, "confirms the canary").await;

    // Two gone: only the canary and the count of members tell.
    rabbit.kill(1);
    until_within(
        &*canary,
        BRIEF,
        AMQP,
        Status::Failed,
        "the canary queue does not take messages: waiting for a confirm: no answer within 3 s",
    )
    .await;
    until(
        &*management,
        MANAGEMENT,
        Status::Failed,
        "quorum queues without their majority take no messages: canary (1 of 3 members)",
    )
    .await;
    until(&*amqp, AMQP, Status::Ok, "lets clients in").await;
    // With time enough the broker itself gives up.
    until_within(
        &*canary,
        Duration::from_secs(60),
        AMQP,
        Status::Failed,
        "nack",
    )
    .await;

    rabbit.freeze(0);
    until_within(
        &*amqp,
        BRIEF,
        AMQP,
        Status::Failed,
        "stalled: TCP connects, but AMQP is silent: waiting for the greeting",
    )
    .await;
    until_within(
        &*management,
        BRIEF,
        MANAGEMENT,
        Status::Failed,
        "TCP connects, but HTTP is silent",
    )
    .await;
    rabbit.thaw(0);

    // All gone; the first comes back alone and waits for those that went down after it, or boots.
    rabbit.kill(0);
    rabbit.launch(0);
    until(&*amqp, AMQP, Status::Starting, "boots").await;
    rabbit.start_all();
    until(&*canary, AMQP, Status::Ok, "confirms the canary").await;
    until(&*management, MANAGEMENT, Status::Ok, "3 nodes, 2 queues").await;
}

async fn turned_away(probes: &Probes, rabbit: &RabbitCluster) {
    let bad = probes.amqp(rabbit, "bad", "");
    until(
        &*bad,
        AMQP,
        Status::Failed,
        "locked out: ACCESS_REFUSED - Login was refused",
    )
    .await;
    assert!(!format!("{bad:?}").contains("hunter2"));
    let nowhere = probes.amqp(rabbit, "good", "vhost = 'nowhere'");
    until(
        &*nowhere,
        AMQP,
        Status::Failed,
        "the virtual host cannot be used: NOT_ALLOWED - vhost nowhere not found",
    )
    .await;
    let missing = probes.amqp(rabbit, "good", "queues = ['missing', 'orders']");
    until(
        &*missing,
        AMQP,
        Status::Failed,
        "queue missing: NOT_FOUND - no queue 'missing' in vhost '/'",
    )
    .await;
    let missing = probes.amqp(rabbit, "good", "canary_queue = 'missing'");
    until(
        &*missing,
        AMQP,
        Status::Failed,
        "the canary queue refuses: NOT_FOUND",
    )
    .await;
    let bad = probes.management(rabbit, "bad", "");
    until(&*bad, MANAGEMENT, Status::Unknown, "the login is refused").await;
}

async fn alarms(
    rabbit: &RabbitCluster,
    amqp: &dyn Probe,
    canary: &dyn Probe,
    management: &dyn Probe,
) {
    let name = rabbit.node_name(0);
    for (set, reset, resource, cause) in [
        (
            ["set_vm_memory_high_watermark", "absolute", "1MB"],
            ["set_vm_memory_high_watermark", "0.9", ""],
            "memory",
            "memory",
        ),
        (
            ["set_disk_free_limit", "5000GB", ""],
            ["set_disk_free_limit", "50MB", ""],
            "disk space",
            "disk",
        ),
    ] {
        let given = |words: [&'static str; 3]| {
            words
                .into_iter()
                .filter(|word| !word.is_empty())
                .collect::<Vec<_>>()
        };
        rabbit.control(0, &given(set));
        until(
            management,
            MANAGEMENT,
            Status::Failed,
            &format!("publishers are blocked: {resource} on {name}"),
        )
        .await;
        until(
            amqp,
            AMQP,
            Status::Failed,
            &format!("publishers are blocked: low on {cause}"),
        )
        .await;
        until(
            canary,
            AMQP,
            Status::Failed,
            &format!("publishers are blocked: low on {cause}"),
        )
        .await;
        rabbit.control(0, &given(reset));
        until(amqp, AMQP, Status::Ok, "lets clients in").await;
        until(management, MANAGEMENT, Status::Ok, "3 nodes").await;
    }
}
