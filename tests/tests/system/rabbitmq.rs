//! A broker that runs out of memory, is stopped and comes back, as an operator is told of it.

use blackstart_tests::TempHome;
use blackstart_tests::servers::rabbitmq::RabbitCluster;

use crate::parts::ask;
use crate::platform::{Platform, probe, quoted};

const TOPOLOGY: &str = r#"
[component.h]
kind = "host"
[component.mq]
kind = "queue"
in = "h"
[component.mq-api]
kind = "service"
in = "h"
[component.mailer]
kind = "app"
needs = ["mq"]
uses = ["mq-api"]
"#;

#[test]
fn a_broker_without_memory_then_stopped_blocks_who_needs_it_and_heals() {
    let login = TempHome::new("rabbitmq-login");
    let password = login.write("password", "guest\n");
    let mut rabbit = RabbitCluster::start(1);
    let credentials = format!(
        "timeout = \"3s\"\nuser = \"guest\"\npassword_file = {}\n",
        quoted(&password)
    );
    let probes = [
        probe(
            "mq",
            "rabbitmq.amqp",
            &format!(
                "{credentials}address = \"127.0.0.1:{}\"\nlog_file = {}",
                rabbit.amqp_port(0),
                quoted(&rabbit.log_path(0)),
            ),
        ),
        probe(
            "mq-api",
            "rabbitmq.management",
            &format!("{credentials}url = \"{}\"", rabbit.management_url(0)),
        ),
    ];
    let platform = Platform::start("rabbitmq", TOPOLOGY, &probes.concat());
    let up = platform.shows("mq", "up", "RabbitMQ 3.* lets clients in");
    assert!(
        up["values"]["rabbitmq.amqp/login_ms"].as_f64() > Some(0.0),
        "{up}"
    );
    platform.shows("mq-api", "up", "*1 node*");

    let node = rabbit.node_name(0);
    rabbit.control(0, &["set_vm_memory_high_watermark", "absolute", "1MB"]);
    platform.shows("mq", "down", "publishers are blocked: low on memory");
    platform.shows(
        "mq-api",
        "down",
        &format!("publishers are blocked: memory on {node}*"),
    );
    platform.explains(
        "mailer",
        &[
            "mailer is blocked since *: nobody observes it, and something that it needs is lost",
            "needs mq: lost",
            "uses mq-api: lost",
            "because mq is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by rabbitmq.amqp from h, *: publishers are blocked: low on memory",
            "because mq-api is down since *: it fails, and nothing that it needs is known to be lost",
            &format!("seen failed by rabbitmq.management from h, *: publishers are blocked: memory on {node}*"),
        ],
    );
    rabbit.control(0, &["set_vm_memory_high_watermark", "0.9"]);
    platform.shows("mq", "up", "RabbitMQ 3.* lets clients in");
    platform.shows("mq-api", "up", "*1 node*");

    rabbit.control(0, &["stop_app"]);
    platform.shows(
        "mq",
        "down",
        "127.0.0.1:*: connection refused, nothing listens there",
    );
    platform.explains(
        "mq",
        &[
            "mq is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by rabbitmq.amqp from h, *: 127.0.0.1:*: connection refused, nothing listens there",
        ],
    );
    rabbit.control(0, &["start_app"]);
    platform.shows("mq", "up", "RabbitMQ 3.* lets clients in");

    // Killed and started: it opens its port at the end of its boot, and its log tells until then.
    rabbit.kill(0);
    platform.shows(
        "mq",
        "down",
        "127.0.0.1:*: connection refused, nothing listens there",
    );
    rabbit.launch_and_freeze(0);
    let boots = platform.shows("mq", "starting", "boots*");
    assert_eq!(boots["progress"], serde_json::Value::Null, "{boots}");
    platform.explains(
        "mq",
        &[
            "mq is starting since *: it is on its way up",
            "seen starting by rabbitmq.amqp from h, *: boots*",
        ],
    );
    rabbit.thaw(0);
    platform.shows("mq", "up", "RabbitMQ 3.* lets clients in");
    platform.shows("mq-api", "up", "*1 node*");
    assert_eq!(ask(platform.port(), &["ready", "mq", "mq-api"]).1, 0);
    platform.stop();
}
