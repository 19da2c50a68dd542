//! `dns.answer`: does this server give the right answer to this question?
//!
//! ```toml
//! [probe.dns-internal]
//! kind = "dns.answer"
//! server = "10.0.0.53"            # an address, with :port if it is not 53; never a name
//! mode = "resolver"               # or "authoritative": no recursion, with authority
//! name = "db.corp.test"
//! type = "A"
//! expect = ["10.0.1.10"]
//! expect_match = "same"           # or "contains"
//! ```
//!
//! Further keys: `expect_rcode`, `serial_min` (with `type = "SOA"`), `require_dnssec`, `transport = "tcp"`. Told apart: a wrong
//! answer, NXDOMAIN, SERVFAIL, REFUSED, silence (of the server, of UDP alone, or of those whom it asks), a closed port, a stale
//! answer, one that is cut short where TCP does not help, signatures that do not hold, and the server's own words (RFC 8914).
//!
//! Each resolver of `/etc/resolv.conf` is asked for the root's name servers.

mod resolvers;
mod verdict;

use std::net::SocketAddr;
use std::str::FromStr as _;
use std::time::Duration;

use blackstart_config::Section;
use hickory_proto::op::ResponseCode;
use hickory_proto::rr::{Name, RecordType};

pub(super) use resolvers::component as resolver_component;

use crate::net::address::{Address, Host};
use crate::net::dns::{Exchange, Flags, Question, comparable};
use crate::observation::Observation;
use crate::probe::{Deadline, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

const NAME: &str = "dns.answer";

/// What of the deadline the first question gets; the rest is for finding out why there was no answer.
const FIRST_SHARE: f64 = 0.6;

/// The record types that can be asked for, those with a text to compare.
const TYPES: [&str; 11] = [
    "A", "AAAA", "CAA", "CNAME", "DS", "MX", "NS", "PTR", "SOA", "SRV", "TXT",
];

const RCODES: [(&str, ResponseCode); 4] = [
    ("NOERROR", ResponseCode::NoError),
    ("NXDOMAIN", ResponseCode::NXDomain),
    ("REFUSED", ResponseCode::Refused),
    ("SERVFAIL", ResponseCode::ServFail),
];

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "dns",
    summary: "a DNS server, resolver or authoritative, gives the right answer",
    privilege: Privilege::None,
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    configure,
    discover: resolvers::discover,
    recall: None,
};

/// What is asked, and what the answer should be.
#[derive(Debug, Clone, PartialEq)]
struct Expected {
    mode: Mode,
    /// The type's name, for the detail.
    record_type: &'static str,
    rcode: ResponseCode,
    records: Option<(Match, Vec<String>)>,
    serial_min: Option<u32>,
    dnssec: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Resolver,
    /// A resolver of this host that was found, not declared: one that cannot resolve the root may still serve its purpose.
    FoundResolver,
    Authoritative,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Match {
    Same,
    Contains,
}

#[derive(Debug)]
struct DnsAnswer {
    component: String,
    server: SocketAddr,
    over_tcp: bool,
    question: Question,
    /// Without checks of signatures: asked when the first answer is SERVFAIL.
    unchecked: Question,
    /// Without recursion: asked when there is no answer, to see whether the server lives.
    unrecursive: Question,
    expected: Expected,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let server = server(section);
    let mode = one_of(
        section,
        "mode",
        &[
            ("resolver", Mode::Resolver),
            ("authoritative", Mode::Authoritative),
        ],
    );
    let name = section
        .required_string("name")
        .and_then(|text| match Name::from_str(&text) {
            Ok(mut name) => {
                name.set_fqdn(true);
                Some(name)
            }
            Err(_) => {
                section.problem("name", "expected a domain name, like \"db.corp.test\"", "");
                None
            }
        });
    let types = TYPES.map(|name| (name, name));
    let record_type = one_of(section, "type", &types);
    let rcode = one_of(section, "expect_rcode", &RCODES);
    let how = one_of(
        section,
        "expect_match",
        &[("same", Match::Same), ("contains", Match::Contains)],
    );
    let records = section.strings("expect").map(|records| {
        let mut records: Vec<_> = records.iter().map(|text| comparable(text)).collect();
        records.sort_unstable();
        records
    });
    let serial_min = section
        .integer("serial_min", 0..=i64::from(u32::MAX))
        .and_then(|serial| u32::try_from(serial).ok());
    if serial_min.is_some() && record_type != Some("SOA") {
        section.problem("serial_min", "needs type = \"SOA\"", "");
        return None;
    }
    let dnssec = section.boolean("require_dnssec").unwrap_or(false);
    let over_tcp = one_of(section, "transport", &[("udp", false), ("tcp", true)]);
    let expected = Expected {
        mode: mode?,
        record_type: record_type?,
        rcode: rcode?,
        records: records
            .map(|records| how.map(|how| (how, records)))
            .map_or(Some(None), |r| r.map(Some))?,
        serial_min,
        dnssec,
    };
    let probe = DnsAnswer::new(
        identity.component.clone(),
        server?,
        name?,
        expected,
        over_tcp?,
    );
    Some(Box::new(probe))
}

fn server(section: &mut Section<'_>) -> Option<SocketAddr> {
    let address = Address::configure(section, "server", Some(53))?;
    match address.host {
        Host::Literal(ip) => Some(SocketAddr::new(ip, address.port)),
        Host::Name(_) => {
            section.problem(
                "server",
                "expected an IP address: a name would ask DNS about DNS",
                "write the server's address",
            );
            None
        }
    }
}

/// The value that belongs to the word of this key; the first one when the key is not there.
fn one_of<T: Copy>(section: &mut Section<'_>, key: &'static str, words: &[(&str, T)]) -> Option<T> {
    let Some(word) = section.string(key) else {
        return if section.has(key) {
            None
        } else {
            words.first().map(|(_, value)| *value)
        };
    };
    let found = words
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(&word));
    if found.is_none() {
        let known: Vec<_> = words.iter().map(|(known, _)| *known).collect();
        section.problem(key, &format!("expected one of {}", known.join(", ")), "");
    }
    found.map(|(_, value)| *value)
}

impl DnsAnswer {
    fn new(
        component: String,
        server: SocketAddr,
        name: Name,
        expected: Expected,
        over_tcp: bool,
    ) -> Self {
        let record_type = RecordType::from_str(expected.record_type).unwrap_or(RecordType::A);
        let recursion = expected.mode != Mode::Authoritative;
        let flags = Flags {
            recursion,
            checking_disabled: false,
            authenticated: expected.dnssec,
        };
        let question = |flags| Question::new(name.clone(), record_type, flags);
        Self {
            component,
            server,
            over_tcp,
            question: question(flags),
            unchecked: question(Flags {
                checking_disabled: true,
                ..flags
            }),
            unrecursive: question(Flags::default()),
            expected,
        }
    }

    /// Asks; and where the answer alone does not say why, asks the one thing more that does.
    async fn observe(&self, deadline: Deadline) -> Seen {
        let first = first_deadline(deadline);
        let main = if self.over_tcp {
            self.question.ask_tcp(self.server, first).await
        } else {
            self.question.ask_udp(self.server, first).await
        };
        let mut seen = Seen {
            main,
            over_tcp: self.over_tcp,
            tcp: None,
            unchecked: None,
            unrecursive: None,
        };
        match &seen.main {
            Exchange::Answered(answer) if answer.truncated && !self.over_tcp => {
                seen.tcp = Some(self.question.ask_tcp(self.server, deadline).await);
            }
            Exchange::Answered(answer)
                if answer.rcode == ResponseCode::ServFail
                    && self.expected.mode != Mode::Authoritative =>
            {
                seen.unchecked = Some(self.unchecked.ask_udp(self.server, deadline).await);
            }
            Exchange::Silent(_) if !self.over_tcp => {
                let (tcp, unrecursive) = tokio::join!(
                    self.question.ask_tcp(self.server, deadline),
                    self.unrecursive.ask_udp(self.server, deadline),
                );
                seen.tcp = Some(tcp);
                seen.unrecursive = Some(unrecursive);
            }
            _ => {}
        }
        seen
    }
}

/// The first question's deadline, rounded so that a detail shows a plain number.
fn first_deadline(deadline: Deadline) -> Deadline {
    const GRAIN_MS: f64 = 10.0;
    let share_ms = deadline.remaining().as_secs_f64() * 1_000.0 * FIRST_SHARE;
    Deadline::after(Duration::from_secs_f64(
        (share_ms / GRAIN_MS).round() * GRAIN_MS / 1_000.0,
    ))
}

/// What one run saw.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    main: Exchange,
    over_tcp: bool,
    /// Over TCP, after a truncated answer or silence.
    tcp: Option<Exchange>,
    /// Without checks of signatures, after SERVFAIL.
    unchecked: Option<Exchange>,
    /// Without recursion, after silence.
    unrecursive: Option<Exchange>,
}

impl Probe for DnsAnswer {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let finding = verdict::judge(&self.observe(deadline).await, &self.expected);
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding,
            }]
        })
    }
}
