//! Rows 1 and 2: one agent with 20 probes every 10 s and a stream under mutual TLS.

use std::process::Command;
use std::time::Duration;

use blackstart_tests::servers::dns::NameServer;
use blackstart_tests::servers::nginx::Nginx;
use blackstart_tests::{Daemon, TempHome, binary, eventually};

use super::{Aggregator, PATIENCE, status};
use crate::Scale;
use crate::figure::{Figure, Goal};
use crate::process::{cpu_of, pss_kib};

/// How long the agent is watched, seconds.
const WATCHED_S: usize = 300;

/// Its probes: 10 TCP, 5 HTTP, 5 DNS, as the peers had.
const PROBES: usize = 20;

/// Measures.
pub(crate) async fn measure(scale: Scale) -> Vec<Figure> {
    let nginx = Nginx::start("location / { return 200 'ready'; }", None);
    let unbound = NameServer::unbound(&[], "local-data: \"db.corp.test. A 10.0.1.10\"");
    let mut aggregator = Aggregator::start(None);
    let mut operator = aggregator.operator().await;
    let home = TempHome::new("bench-agent");
    let files = aggregator.certificates.issue("web-1", &["web-1"]);
    let mut config = format!(
        "host = \"web-1\"\nstate_dir = \"state\"\naggregators = [\"{}\"]\n{}[discovery]\nenabled = false\n",
        aggregator.address(),
        files.toml()
    );
    for at in 0..PROBES {
        config.push_str(&format!("[probe.p-{at:02}]\ninterval = \"10s\"\n"));
        config.push_str(&match at {
            0..10 => format!(
                "kind = \"tcp.connect\"\naddress = \"127.0.0.1:{}\"\n",
                nginx.http_port()
            ),
            10..15 => format!("kind = \"http.get\"\nurl = \"{}/\"\n", nginx.http_url()),
            _ => format!(
                "kind = \"dns.answer\"\nserver = \"{}\"\nname = \"db.corp.test\"\n",
                unbound.address()
            ),
        });
    }
    let config = home.write("agent.toml", &config);
    let mut command = Command::new(binary("blackstart-agent"));
    command.args(["run", "--config"]).arg(config);
    let agent = Daemon::spawn("agent", &mut command, &home.join("agent.log"));
    eventually("every probe answered", PATIENCE, async || {
        let picture = status(&mut operator).await;
        let up = picture.conditions.unwrap_or_default().up as usize;
        // The host itself is a component too.
        if up > PROBES { Ok(()) } else { Err(up) }
    })
    .await;
    // Past the first look at everything, and the pace of a start.
    tokio::time::sleep(Duration::from_secs(15)).await;
    let watched = scale.of(WATCHED_S).max(30) as u64;
    let before = cpu_of(&agent);
    tokio::time::sleep(Duration::from_secs(watched)).await;
    let spent = cpu_of(&agent) - before;
    vec![
        Figure::new(
            1,
            format!("agent with {PROBES} probes every 10 s, mTLS stream: memory"),
            pss_kib(&agent) / 1_024.0,
            "MiB PSS",
            Goal::AtMost(6.0),
        ),
        Figure::new(
            2,
            format!("the same over {watched} s: CPU"),
            spent.as_secs_f64() / Duration::from_secs(watched).as_secs_f64() * 100.0,
            "% CPU of a core",
            Goal::AtMost(0.05),
        ),
    ]
}
