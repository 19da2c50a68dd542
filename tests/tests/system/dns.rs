//! A resolver and the server that it asks: wrong answers, refusals to answer, and silence.

use blackstart_tests::servers::dns::{NameServer, Zone, zone_head};

use crate::parts::ask;
use crate::platform::{Platform, probe};

const TOPOLOGY: &str = r#"
[component.h]
kind = "host"
[component.ns]
kind = "dns"
in = "h"
[component.resolver]
kind = "resolver"
in = "h"
needs_to_run = ["ns"]
[component.shop]
kind = "app"
needs = ["resolver"]
"#;

/// A zone that nobody may keep for longer than a moment, so that a change is seen at once.
fn zone(record: &str) -> String {
    zone_head("corp.test").replace("$TTL 60", "$TTL 0") + record
}

#[test]
fn a_resolver_is_blocked_by_its_server_and_down_by_itself() {
    let good = zone("db IN A 127.0.0.10\n");
    let mut named = NameServer::named(
        &[Zone {
            name: "corp.test",
            records: &good,
        }],
        "",
    );
    let mut unbound = NameServer::unbound(
        &[("corp.test", named.address())],
        "cache-max-ttl: 0\ncache-max-negative-ttl: 0\ninfra-host-ttl: 0",
    );
    let question = "timeout = \"2s\"\nname = \"db.corp.test\"\nexpect = [\"127.0.0.10\"]";
    let probes = [
        ("ns", "authoritative", named.address()),
        ("resolver", "resolver", unbound.address()),
    ]
    .map(|(name, mode, server)| {
        let keys = format!("server = \"{server}\"\nmode = \"{mode}\"\n{question}");
        probe(name, "dns.answer", &keys)
    });
    let platform = Platform::start("dns", TOPOLOGY, &probes.concat());
    let all_well = || {
        platform.shows("ns", "up", "127.0.0.10");
        platform.shows("resolver", "up", "127.0.0.10");
        assert_eq!(ask(platform.port(), &["ready", "ns", "resolver"]).1, 0);
    };
    all_well();

    // A wrong answer is no answer. What the resolver says rests on its server.
    named.write("corp.test.zone", &zone("db IN A 127.0.0.66\n"));
    named.restart();
    platform.shows(
        "ns",
        "down",
        "wrong answer: 127.0.0.66, expected 127.0.0.10",
    );
    platform.shows("resolver", "blocked", "needs ns, which is down");
    platform.explains(
        "shop",
        &[
            "shop is blocked since *: nobody observes it, and something that it needs is lost",
            "needs resolver: lost",
            "because resolver is blocked since *: it fails, and something that it needs is lost",
            "seen failed by dns.answer from h, *: wrong answer: 127.0.0.66, expected 127.0.0.10",
            "needs_to_run ns: lost",
            "because ns is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by dns.answer from h, *: wrong answer: 127.0.0.66, expected 127.0.0.10",
        ],
    );

    // A zone with an error in it is not loaded.
    named.write("corp.test.zone", &zone("db IN A 1.2.3\n"));
    named.restart();
    platform.shows(
        "ns",
        "down",
        "SERVFAIL: the zone is configured and cannot be served: not loaded, or a secondary's copy that expired",
    );
    platform.explains(
        "resolver",
        &[
            "resolver is blocked since *: it fails, and something that it needs is lost",
            "seen failed by dns.answer from h, *: SERVFAIL: it cannot resolve this name",
            "needs_to_run ns: lost",
            "because ns is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by dns.answer from h, *: SERVFAIL: the zone is configured and cannot be served*",
        ],
    );
    named.write("corp.test.zone", &good);
    named.restart();
    all_well();

    // The server is gone; the resolver lives and waits for it, or says that it cannot.
    named.daemon.kill();
    platform.shows(
        "ns",
        "down",
        "nothing listens on the port: connection refused",
    );
    platform.shows("resolver", "blocked", "needs ns, which is down");
    named.restart();
    all_well();

    // The resolver itself is silent, and nobody else is to blame.
    unbound.daemon.freeze();
    platform.shows(
        "resolver",
        "down",
        "asking over UDP: no answer within * ms; TCP is silent too",
    );
    platform.explains(
        "shop",
        &[
            "shop is blocked since *: nobody observes it, and something that it needs is lost",
            "needs resolver: lost",
            "because resolver is down since *: it fails, and nothing that it needs is known to be lost",
            "seen failed by dns.answer from h, *: asking over UDP: no answer within * ms; TCP is silent too",
        ],
    );
    unbound.daemon.thaw();
    all_well();
    unbound.daemon.kill();
    platform.shows(
        "resolver",
        "down",
        "nothing listens on the port: connection refused",
    );
    unbound.restart();
    all_well();
    platform.stop();
}
