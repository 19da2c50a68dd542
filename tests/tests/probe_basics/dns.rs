//! `dns.answer` against named, unbound and dnsmasq, with each fault that they can have.

use std::process::Command;
use std::time::Duration;

use blackstart_agent::observation::Status;
use blackstart_agent::probe::Probe;
use blackstart_tests::servers::dns::{NameServer, Zone, zone_head};
use blackstart_tests::{TempHome, eventually};

use super::{TIMEOUT, configure, degraded, failed, finding, ok, probe, seen};

/// For what happens after times to live and expiry of some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

fn toml(server: &NameServer, mode: &str, more: &str) -> String {
    format!(
        "kind = \"dns.answer\"\nserver = \"{}\"\nmode = \"{mode}\"\n{more}",
        server.address()
    )
}

fn corp() -> String {
    let mut records = zone_head("corp.test") + "db IN A 127.0.0.10\nweb IN CNAME db\n";
    for number in 0..60 {
        records.push_str(&format!("big IN TXT \"{}{number}\"\n", "x".repeat(60)));
    }
    records
}

/// Waits until the probe says this.
async fn until(probe: &dyn Probe, status: Status, part: &str) {
    until_within(probe, Duration::from_secs(2), status, part).await;
}

/// Waits until the probe, given that much time for a run, says this: a process that is frozen or killed may still
/// answer for a moment.
async fn until_within(probe: &dyn Probe, timeout: Duration, status: Status, part: &str) {
    eventually(&format!("{status:?} {part}"), PATIENCE, async || {
        let seen = finding(probe, timeout).await;
        if seen.status == status && seen.detail.contains(part) {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
}

#[tokio::test]
async fn an_authoritative_server_and_its_faults() {
    let records = corp();
    let mut named = NameServer::named(
        &[Zone {
            name: "corp.test",
            records: &records,
        }],
        "",
    );
    let ask = |name: &str, more: &str| {
        toml(
            &named,
            "authoritative",
            &format!("name = \"{name}\"\n{more}"),
        )
    };
    assert_eq!(
        seen(&ask("db.corp.test", "expect = [\"127.0.0.10\"]")).await,
        ok("127.0.0.10")
    );
    assert_eq!(
        seen(&ask("DB.corp.test.", "expect = [\"127.0.0.11\"]")).await,
        failed("wrong answer: 127.0.0.10, expected 127.0.0.11")
    );
    assert_eq!(
        seen(&ask(
            "web.corp.test",
            "type = \"CNAME\"\nexpect = [\"db.corp.test\"]"
        ))
        .await,
        ok("db.corp.test")
    );
    assert_eq!(
        seen(&ask("nope.corp.test", "")).await,
        failed("NXDOMAIN: the name does not exist")
    );
    assert_eq!(
        seen(&ask("nope.corp.test", "expect_rcode = \"NXDOMAIN\"")).await,
        ok("NXDOMAIN, as expected")
    );
    assert_eq!(
        seen(&ask("db.corp.test", "type = \"MX\"")).await,
        failed("the name has no MX record")
    );
    assert!(seen(&ask("example.org", "")).await.1.starts_with("REFUSED"));
    let (status, detail) = seen(&ask("big.corp.test", "type = \"TXT\"")).await;
    assert_eq!(
        status,
        Status::Ok,
        "truncated over UDP, whole over TCP: {detail}"
    );
    assert!(detail.ends_with(" and 56 more"), "{detail}");
    let soa = |serial| {
        ask(
            "corp.test",
            &format!("type = \"SOA\"\nserial_min = {serial}"),
        )
    };
    assert_eq!(super::once(&soa(1)).await.status, Status::Ok);
    assert_eq!(
        seen(&soa(2)).await,
        degraded("an old copy of the zone: serial 1, expected 2 or newer")
    );

    let probe = probe(&ask("db.corp.test", ""));
    named.daemon.freeze();
    let silent = "asking over UDP: no answer within 300 ms; TCP is silent too";
    until_within(&*probe, Duration::from_millis(500), Status::Failed, silent).await;
    named.daemon.kill();
    until(
        &*probe,
        Status::Failed,
        "nothing listens on the port: connection refused",
    )
    .await;
    named.write("corp.test.zone", &(records + "bad IN A 1.2.3\n"));
    named.restart();
    assert_eq!(
        finding(&*probe, TIMEOUT).await.detail,
        "SERVFAIL: the zone is configured and cannot be served: not loaded, or a secondary's copy that expired"
    );
}

#[tokio::test]
async fn a_secondary_whose_copy_expires() {
    // Refresh and retry every second, expiry after five.
    let records = "$TTL 60\n@ IN SOA ns.corp.test. h.corp.test. 7 1 1 5 1\n@ IN NS ns.corp.test.\nns IN A 127.0.0.1\n";
    let mut primary = NameServer::named(
        &[Zone {
            name: "corp.test",
            records,
        }],
        "",
    );
    // The fixture's options end with `};`: the last clause here is left open for it.
    let secondary = NameServer::named(
        &[],
        &format!(
            "}};\nzone \"corp.test\" {{ type secondary; file \"copy.zone\"; primaries port {} {{ 127.0.0.1; }}; \
             min-refresh-time 1; max-refresh-time 2; min-retry-time 1; max-retry-time 2; }};\nlogging {{",
            primary.address().port()
        ),
    );
    let probe = probe(&toml(
        &secondary,
        "authoritative",
        "name = \"corp.test\"\ntype = \"SOA\"\nserial_min = 7",
    ));
    until(&*probe, Status::Ok, "").await;
    primary.daemon.kill();
    until(
        &*probe,
        Status::Failed,
        "SERVFAIL: the zone is configured and cannot be served",
    )
    .await;
}

#[tokio::test]
async fn a_resolver_without_its_upstream_answers_stale_or_not_at_all() {
    let records = "$TTL 1\n@ IN SOA ns.corp.test. h.corp.test. 7 3600 600 86400 1\n@ IN NS ns.corp.test.\nns IN A 127.0.0.1\ndb IN A 127.0.0.10\n";
    let mut named = NameServer::named(
        &[Zone {
            name: "corp.test",
            records,
        }],
        "",
    );
    let unbound = NameServer::unbound(
        &[("corp.test", named.address())],
        "serve-expired: yes\nserve-expired-client-timeout: 300\nede: yes\nede-serve-expired: yes\ncache-min-ttl: 0\ninfra-host-ttl: 0",
    );
    let ask = |name: &str| probe(&toml(&unbound, "resolver", &format!("name = \"{name}\"")));
    let db = ask("db.corp.test");
    assert_eq!(finding(&*db, TIMEOUT).await.detail, "127.0.0.10");
    named.daemon.freeze();
    until(
        &*db,
        Status::Degraded,
        "127.0.0.10, but stale (EDE 3 stale answer): the servers that know cannot be reached",
    )
    .await;
    // Never asked before, so not in the cache: unbound waits for the frozen server. Each try needs a name of its own.
    let mut tries = 0;
    eventually("silence behind the resolver", PATIENCE, async || {
        tries += 1;
        let other = ask(&format!("other-{tries}.corp.test"));
        let seen = finding(&*other, Duration::from_secs(1)).await;
        let behind = "ms; the server itself lives: those whom it asks for this name are silent";
        let is_told = seen
            .detail
            .starts_with("asking over UDP: no answer within ")
            && seen.detail.ends_with(behind);
        if seen.status == Status::Failed && is_told {
            Ok(())
        } else {
            Err(seen)
        }
    })
    .await;
    named.daemon.kill();
}

#[tokio::test]
async fn expired_signatures_are_named_as_such() {
    let home = TempHome::new("signing");
    let run = |program: &str, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(home.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let algorithm = ["-a", "ECDSAP256SHA256", "-n", "ZONE"];
    let key = run(
        "dnssec-keygen",
        &[&algorithm[..], &["-f", "KSK", "signed.test"]].concat(),
    );
    run(
        "dnssec-keygen",
        &[&algorithm[..], &["signed.test"]].concat(),
    );
    home.write("zone", &(zone_head("signed.test") + "db IN A 127.0.0.10\n"));
    let sign = |times: &[&str]| {
        run(
            "dnssec-signzone",
            &[
                &["-P", "-S", "-o", "signed.test", "-f", "signed"],
                times,
                &["zone"],
            ]
            .concat(),
        );
        std::fs::read_to_string(home.join("signed")).unwrap()
    };
    let good = sign(&[]);
    let expired = sign(&["-s", "20250101000000", "-e", "20250201000000"]);
    let anchor: String = std::fs::read_to_string(home.join(format!("{key}.key")))
        .unwrap()
        .lines()
        .filter(|line| !line.starts_with(';'))
        .collect();
    let options =
        format!("module-config: \"validator iterator\"\nede: yes\ntrust-anchor: \"{anchor}\"");
    let resolve = |records: &str| {
        let named = NameServer::named(
            &[Zone {
                name: "signed.test",
                records,
            }],
            "",
        );
        let unbound = NameServer::unbound(&[("signed.test", named.address())], &options);
        (named, unbound)
    };
    let ask = "name = \"db.signed.test\"\nexpect = [\"127.0.0.10\"]\nrequire_dnssec = true";

    let (_named, unbound) = resolve(&good);
    assert_eq!(
        seen(&toml(&unbound, "resolver", ask)).await,
        ok("127.0.0.10")
    );
    let (_named, unbound) = resolve(&expired);
    let (status, detail) = seen(&toml(&unbound, "resolver", ask)).await;
    assert_eq!(status, Status::Failed);
    assert!(
        detail.starts_with("SERVFAIL: DNSSEC validation fails (EDE "),
        "{detail}"
    );
    assert!(
        detail.ends_with(": without the check it answers"),
        "{detail}"
    );
}

#[tokio::test]
async fn a_forwarder_frozen_and_dead() {
    let mut dnsmasq = NameServer::dnsmasq(&["--address=/db.home.test/127.0.0.9"]);
    let probe = probe(&toml(
        &dnsmasq,
        "resolver",
        "name = \"db.home.test\"\nexpect = [\"127.0.0.9\"]",
    ));
    assert_eq!(finding(&*probe, TIMEOUT).await.detail, "127.0.0.9");
    dnsmasq.daemon.freeze();
    let silent = "asking over UDP: no answer within 300 ms; TCP is silent too";
    until_within(&*probe, Duration::from_millis(500), Status::Failed, silent).await;
    dnsmasq.daemon.kill();
    until(
        &*probe,
        Status::Failed,
        "nothing listens on the port: connection refused",
    )
    .await;
}

#[test]
fn bad_keys_are_refused_all_at_once() {
    let report = configure(
        "kind = \"dns.answer\"\nserver = \"ns.corp.test\"\nname = \"a..b\"\ntype = \"AXFR\"\nmode = \"recursive\"\n",
    )
    .unwrap_err();
    assert_eq!(
        report,
        "/etc/blackstart/agent.toml: configuration refused\n\
         \x20 line 2   server = \"ns.corp.test\"   expected an IP address: a name would ask DNS about DNS\n\
         \x20          help: write the server's address\n\
         \x20 line 3   name = \"a..b\"   expected a domain name, like \"db.corp.test\"\n\
         \x20 line 4   type = \"AXFR\"   expected one of A, AAAA, CAA, CNAME, DS, MX, NS, PTR, SOA, SRV, TXT\n\
         \x20 line 5   mode = \"recursive\"   expected one of resolver, authoritative\n\
         4 problems"
    );
}
