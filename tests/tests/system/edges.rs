//! What a host is seen to use reaches the graph, as discovered and soft.

use std::process::Command;

use blackstart_tests::{Daemon, TempHome, binary, free_port, wait_for};

use crate::parts::{START, aggregator, ask, condition};

#[test]
fn a_host_uses_the_resolvers_of_its_configuration() {
    let home = TempHome::new("edges");
    let port = free_port();
    let resolvers = home.write("resolv.conf", "search example\nnameserver 127.0.0.77\n");
    let config = format!(
        "host = \"h\"\nstate_dir = \"agent\"\naggregators = [\"{}\"]\n",
        port.address()
    );
    let config = home.write("agent.toml", &config);
    let _aggregating = aggregator(home.path(), port.number());
    // A mount namespace of its own, in which that file is /etc/resolv.conf.
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg("mount --bind \"$1\" \"$(readlink -f /etc/resolv.conf)\" && exec \"$2\" run --config \"$3\"")
        .arg("agent")
        .arg(&resolvers)
        .arg(binary("blackstart-agent"))
        .arg(&config);
    let _probing = Daemon::spawn("agent", &mut command, &home.join("agent.log"));
    let resolver = "h/resolver:127.0.0.77";
    let need = wait_for("the edge from the host to its resolver", START, || {
        let (topology, _) = ask(port.number(), &["topology", "show"]);
        let host = topology["components"]
            .as_array()?
            .iter()
            .find(|component| component["id"] == "h")?
            .clone();
        let needs = host["needs"].as_array()?.clone();
        needs
            .into_iter()
            .find(|need| need["components"][0] == resolver)
    });
    assert_eq!(need["relation"], "uses", "soft: {need}");
    // Nobody listens there, and that takes no host down.
    let seen = wait_for("the resolver to be seen", START, || {
        condition(port.number(), resolver).filter(|condition| condition != "unknown")
    });
    assert_eq!(seen, "down");
    assert_ne!(condition(port.number(), "h").as_deref(), Some("down"));
}
