//! `etcd.member`: is this member of an etcd cluster healthy, and does the cluster have a quorum?
//!
//! ```toml
//! [probe.etcd-1]
//! kind = "etcd.member"
//! endpoint = "https://10.0.0.5:2379"
//! cluster = "etcd"                    # a component of kind etcd-cluster: gets a second check, `etcd.cluster`
//! peer_url = "https://10.0.0.5:2380"  # default: as the member says, or port 2380 beside 2379
//! user = "monitor"
//! password_file = "/etc/blackstart/etcd-password"
//! ```
//!
//! Further keys: `slow_after` (of a linearizable read, default 1 s), `quota` (what `--quota-backend-bytes` says; etcd 3.6
//! tells it by itself), the `tls_…` keys.
//!
//! It asks `/health`, the status (leader, raft index, database, alarms), one linearizable and one serializable read, and
//! the list of members; then it **dials every peer and client URL of that list**. A member whose peer URL refuses while
//! its client URL accepts has a wrong `listen-peer-urls`: the cluster works, and will not start again from cold.
//!
//! | what it finds | member | cluster |
//! | --- | --- | --- |
//! | some members do not answer, a leader is there | ok | degraded, with their names |
//! | no leader | failed | failed |
//! | TCP accepts, HTTP is silent, the peer port answers and fewer than a quorum of peers is there | starting: it waits for quorum after a cold start | failed |
//! | the same, and a peer is of another cluster | failed: cluster id mismatch | unknown |
//! | TCP accepts, HTTP and the peer port are silent | failed: stalled | unknown |
//! | alarm `NOSPACE`: writes are refused · `CORRUPT` | failed | failed |
//! | a learner | starting | by its members |
//! | the login is refused | degraded, judged by what needs no login | by its members |
//!
//! All questions but `/health` go through etcd's JSON gateway (3.4 and later). Alarms are read from the status: listing
//! them would be an entry in the raft log for each run. A login is one too, so its token is kept until it is refused.

mod answer;
mod judge;
mod observe;

use std::sync::Mutex;
use std::time::Duration;

use blackstart_config::{Secret, Section};

use crate::host::{HostView, Listener};
use crate::net::address::{Address, Host};
use crate::net::http::{Options, Url};
use crate::net::{TlsClient, tls::TlsSettings};
use crate::observation::{Finding, Observation};
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

const MEMBER: &str = "etcd.member";
const CLUSTER: &str = "etcd.cluster";

/// etcd's registered ports for clients and for peers.
const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// A linearizable read that takes longer harms whoever waits for it: etcd itself warns of requests over 100 ms, and
/// Kubernetes' API server gives its health check two seconds.
const SLOW_AFTER: Duration = Duration::from_secs(1);

const SLOW: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_secs(60);

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: MEMBER,
    component_kind: "etcd-member",
    summary: "an etcd member and its cluster: quorum, leader, alarms, lag, every peer URL",
    privilege: Privilege::None,
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    configure,
    discover,
    recall: Some(recall),
};

#[derive(Debug)]
struct EtcdMember {
    component: String,
    cluster: Option<String>,
    endpoint: Url,
    login: Option<(String, Secret)>,
    /// Found by discovery: nobody told how to speak TLS or to log in, so being refused is no fault of the member.
    discovered: bool,
    limits: Limits,
    /// Runs of one probe do not overlap; the lock is for the token among the headers.
    options: tokio::sync::Mutex<Options>,
    /// The member's own peer URL: configured, guessed, or learned from the last list of members.
    own_peer_url: Mutex<Option<Url>>,
}

/// The limits of the verdict.
#[derive(Debug, Clone, PartialEq)]
struct Limits {
    slow_after: Duration,
    quota_bytes: Option<u64>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let endpoint = Url::configure(section, "endpoint");
    let peer_url = if section.has("peer_url") {
        Some(Url::configure(section, "peer_url"))
    } else {
        None
    };
    let cluster = section.string("cluster").filter(|id| !id.is_empty());
    let options = Options::configure(section);
    let limits = Limits {
        slow_after: section.duration("slow_after", SLOW).unwrap_or(SLOW_AFTER),
        quota_bytes: section.bytes("quota", 1..=u64::MAX >> 1),
    };
    let (endpoint, mut options) = (endpoint?, options?);
    let peer_url = match peer_url {
        Some(configured) => Some(configured?),
        None => usual_peer_url(&endpoint),
    };
    Some(Box::new(EtcdMember {
        component: identity.component.clone(),
        cluster,
        endpoint,
        login: options.basic_auth.take(),
        discovered: false,
        limits,
        options: tokio::sync::Mutex::new(options),
        own_peer_url: Mutex::new(peer_url),
    }))
}

/// The peer URL of nearly every installation: the port beside that for clients.
fn usual_peer_url(endpoint: &Url) -> Option<Url> {
    let Address { host, port } = endpoint.address();
    (*port == CLIENT_PORT).then(|| {
        let address = Address {
            host: host.clone(),
            port: PEER_PORT,
        };
        Url::of(endpoint.is_tls(), address)
    })
}

impl Probe for EtcdMember {
    fn targets(&self) -> Vec<Target> {
        let member = Target {
            component: self.component.clone(),
            check: MEMBER,
        };
        let cluster = self.cluster.clone().map(|component| Target {
            component,
            check: CLUSTER,
        });
        std::iter::once(member).chain(cluster).collect()
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let seen = self.observe(deadline).await;
            let observation =
                |component: &String, check: &'static str, finding: Finding| Observation {
                    component: component.clone(),
                    check: check.into(),
                    finding,
                };
            let mut observations = vec![observation(
                &self.component,
                MEMBER,
                judge::member(&seen, &self.limits, self.discovered),
            )];
            if let Some(cluster) = &self.cluster {
                observations.push(observation(cluster, CLUSTER, judge::cluster(&seen)));
            }
            observations
        })
    }
}

fn discover(view: &HostView, host: &str) -> Vec<Discovered> {
    let mut found: Vec<Discovered> = Vec::new();
    for listener in view
        .listening
        .iter()
        .filter(|l| l.process.as_deref() == Some("etcd"))
    {
        let Some(tls) = serves_clients(listener, view) else {
            continue;
        };
        let address = listener.reachable_at();
        let component = format!("{host}/etcd:{}", address.port());
        // It may listen on several addresses: one is enough.
        if found.iter().any(|other| other.component == component) {
            continue;
        }
        let endpoint = Url::of(
            tls,
            Address {
                host: Host::Literal(address.ip()),
                port: address.port(),
            },
        );
        let peer_url = argument_urls(listener, "initial-advertise-peer-urls")
            .or_else(|| argument_urls(listener, "listen-peer-urls"))
            .and_then(|urls| Url::parse(urls.first()?).ok())
            .or_else(|| usual_peer_url(&endpoint));
        found.push(found_member(component, endpoint, peer_url));
    }
    found
}

/// A member that nobody configured.
fn found_member(component: String, endpoint: Url, peer_url: Option<Url>) -> Discovered {
    // No certificate authority is known for what was merely found; the member is on this host.
    let tls = TlsClient::new(TlsSettings {
        unverified: true,
        ..TlsSettings::default()
    });
    let peer = peer_url
        .as_ref()
        .map_or_else(String::new, |url| format!(" {url}"));
    Discovered {
        component: component.clone(),
        component_kind: KIND.component_kind,
        in_host: true,
        uses: Vec::new(),
        trace: Some(format!("{endpoint}{peer}")),
        probe: Box::new(EtcdMember {
            component,
            cluster: None,
            endpoint,
            login: None,
            discovered: true,
            limits: Limits {
                slow_after: SLOW_AFTER,
                quota_bytes: None,
            },
            options: tokio::sync::Mutex::new(Options {
                tls,
                ..Options::default()
            }),
            own_peer_url: Mutex::new(peer_url),
        }),
    }
}

/// The URL for clients, and the one for peers where it is known.
fn recall(trace: &str, host: &str) -> Option<Discovered> {
    let mut urls = trace.split(' ');
    let endpoint = Url::parse(urls.next()?).ok()?;
    let peer_url = match urls.next() {
        Some(url) => Some(Url::parse(url).ok()?),
        None => None,
    };
    let component = format!("{host}/etcd:{}", endpoint.address().port);
    Some(found_member(component, endpoint, peer_url))
}

/// Whether clients are served there, and if so whether with TLS: by the arguments, else by the port.
fn serves_clients(listener: &Listener, view: &HostView) -> Option<bool> {
    if let Some(urls) = argument_urls(listener, "listen-client-urls") {
        return urls.iter().find_map(|url| {
            let url = Url::parse(url).ok()?;
            (url.address().port == listener.address.port()).then(|| url.is_tls())
        });
    }
    let ports = || {
        let same = view
            .listening
            .iter()
            .filter(|other| other.pid == listener.pid);
        same.filter(|other| other.process == listener.process)
            .map(|other| other.address.port())
    };
    let port = listener.address.port();
    let is_it = if ports().any(|port| port == CLIENT_PORT) {
        port == CLIENT_PORT
    } else {
        Some(port) == ports().min()
    };
    is_it.then_some(false)
}

fn argument_urls<'a>(listener: &'a Listener, name: &str) -> Option<Vec<&'a str>> {
    let mut arguments = listener.arguments.iter();
    while let Some(argument) = arguments.next() {
        // Go's flag package takes one dash or two, and the value behind `=` or as the next argument.
        let Some(rest) = argument.trim_start_matches('-').strip_prefix(name) else {
            continue;
        };
        let value = match rest.strip_prefix('=') {
            Some(value) => Some(value),
            None if rest.is_empty() => arguments.next().map(String::as_str),
            None => continue,
        };
        return value.map(|value| value.split(',').collect());
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(port: u16, arguments: &[&str]) -> Listener {
        Listener {
            address: ([127, 0, 0, 1], port).into(),
            process: Some("etcd".to_owned()),
            pid: Some(7),
            arguments: arguments.iter().map(|&text| text.to_owned()).collect(),
        }
    }

    fn components(listening: Vec<Listener>) -> Vec<String> {
        let view = HostView {
            listening,
            ..HostView::default()
        };
        discover(&view, "h")
            .into_iter()
            .map(|found| found.component)
            .collect()
    }

    #[test]
    fn only_the_port_for_clients_is_discovered() {
        let arguments = [
            "etcd",
            "--listen-client-urls",
            "https://127.0.0.1:4001",
            "-listen-peer-urls=http://127.0.0.1:4000",
        ];
        assert_eq!(
            components(vec![listener(4000, &arguments), listener(4001, &arguments)]),
            ["h/etcd:4001"]
        );
        assert_eq!(
            components(vec![listener(2380, &[]), listener(2379, &[])]),
            ["h/etcd:2379"]
        );
        assert_eq!(
            components(vec![listener(12380, &[]), listener(12379, &[])]),
            ["h/etcd:12379"]
        );
    }

    #[test]
    fn arguments_are_read_in_every_form_that_go_takes() {
        for arguments in [
            ["--listen-client-urls=http://a:1,http://b:2", ""],
            ["-listen-client-urls", "http://a:1,http://b:2"],
        ] {
            let listener = listener(1, &arguments);
            assert_eq!(
                argument_urls(&listener, "listen-client-urls"),
                Some(vec!["http://a:1", "http://b:2"])
            );
        }
        assert_eq!(
            argument_urls(
                &listener(1, &["--listen-client-urls-x=1"]),
                "listen-client-urls"
            ),
            None
        );
    }
}
