//! `tcp.connect`: does something accept connections there, and does it say what it should?
//!
//! ```toml
//! [probe.ssh]
//! kind = "tcp.connect"
//! address = "10.0.0.5:22"
//! expect = "SSH-"            # what it says by itself, or after `send`
//! ```
//!
//! Further keys: `send`, `tls = true` with the `tls_…` keys, `slow_after`. Told apart: refused, no route, silence of the
//! network, an unknown name, TLS failures with the certificate's end, and a server that accepts and stays silent.

use std::time::Duration;

use blackstart_config::Section;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::host::HostView;
use crate::net::connect::{ConnectFailure, Connected, reason, seconds_until};
use crate::net::{Address, TlsClient, connect, milliseconds};
use crate::observation::{Finding, Observation};
use crate::probe::{Deadline, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target, TimedOut};

const NAME: &str = "tcp.connect";

/// The most that is read while looking for what is expected: a greeting is one line.
const GREETING_BYTES_MAX: usize = 1024;

/// The bounds of `slow_after`.
const SLOW: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(300);

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "service",
    summary: "accepts TCP connections, with TLS and a greeting where asked for",
    privilege: Privilege::None,
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(5),
    configure,
    discover: |_: &HostView, _| Vec::new(),
    recall: None,
};

#[derive(Debug)]
struct TcpConnect {
    component: String,
    address: Address,
    tls: Option<TlsClient>,
    send: Option<String>,
    limits: Limits,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Limits {
    expect: Option<String>,
    slow_after: Option<Duration>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let address = Address::configure(section, "address", None);
    let with_tls = section.boolean("tls").unwrap_or(false);
    let tls = TlsClient::configure(section);
    let send = section.string("send");
    let limits = Limits {
        expect: section.string("expect").filter(|text| !text.is_empty()),
        slow_after: section.duration("slow_after", SLOW),
    };
    Some(Box::new(TcpConnect {
        component: identity.component.clone(),
        address: address?,
        tls: tls.filter(|_| with_tls),
        send,
        limits,
    }))
}

impl Probe for TcpConnect {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let finding = judge(&self.observe(deadline).await, &self.limits);
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding,
            }]
        })
    }
}

/// What one run saw.
#[derive(Debug)]
struct Seen {
    phases: crate::net::Phases,
    certificate_expires_in_s: Option<f64>,
    greeting: Greeting,
}

#[derive(Debug, PartialEq)]
enum Greeting {
    NotAsked,
    Heard(Vec<u8>),
    /// Closed, or broke, before it said what was expected.
    Ended {
        heard: Vec<u8>,
        how: String,
    },
    Silent {
        heard: Vec<u8>,
        timed_out: TimedOut,
    },
}

impl TcpConnect {
    async fn observe(&self, deadline: Deadline) -> Result<Seen, ConnectFailure> {
        let connected = connect(&self.address, self.tls.as_ref(), deadline).await?;
        let Connected {
            mut stream,
            phases,
            certificate_expires,
            ..
        } = connected;
        let greeting = match &self.limits.expect {
            None => Greeting::NotAsked,
            Some(expected) => {
                let mut heard = Vec::new();
                let listen = listen(&mut stream, self.send.as_deref(), expected, &mut heard);
                match deadline.limit("waiting for the greeting", listen).await {
                    Ok(Ok(true)) => Greeting::Heard(heard),
                    Ok(Ok(false)) => Greeting::Ended {
                        heard,
                        how: "closed the connection".to_owned(),
                    },
                    Ok(Err(error)) => Greeting::Ended {
                        heard,
                        how: reason(&error),
                    },
                    Err(timed_out) => Greeting::Silent { heard, timed_out },
                }
            }
        };
        let certificate_expires_in_s = certificate_expires.map(seconds_until);
        Ok(Seen {
            phases,
            certificate_expires_in_s,
            greeting,
        })
    }
}

/// Reads until the expected text is there (`true`), the peer closes (`false`), or enough was read.
async fn listen(
    stream: &mut crate::net::Stream,
    send: Option<&str>,
    expected: &str,
    heard: &mut Vec<u8>,
) -> std::io::Result<bool> {
    if let Some(send) = send {
        stream.write_all(send.as_bytes()).await?;
        stream.flush().await?;
    }
    let mut buffer = [0; GREETING_BYTES_MAX];
    while heard.len() < GREETING_BYTES_MAX {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(false);
        }
        heard.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if contains(heard, expected) {
            return Ok(true);
        }
    }
    Ok(true)
}

fn contains(heard: &[u8], expected: &str) -> bool {
    heard
        .windows(expected.len())
        .any(|window| window == expected.as_bytes())
}

fn judge(seen: &Result<Seen, ConnectFailure>, limits: &Limits) -> Finding {
    let seen = match seen {
        Ok(seen) => seen,
        Err(failure) => return failure.finding(),
    };
    let expected = limits.expect.as_deref().unwrap_or_default();
    let finding = match &seen.greeting {
        Greeting::Ended { heard, how } => Finding::failed(format!(
            "connects, but {how} without saying {expected:?}{}",
            instead(heard)
        )),
        Greeting::Silent { heard, .. } if !heard.is_empty() => Finding::failed(format!(
            "connects, but does not say {expected:?}{}",
            instead(heard)
        )),
        Greeting::Silent { timed_out, .. } => {
            Finding::failed(format!("connects, but is silent: {timed_out}"))
        }
        Greeting::Heard(heard) if !contains(heard, expected) => Finding::failed(format!(
            "connects, but does not say {expected:?}{}",
            instead(heard)
        )),
        Greeting::NotAsked | Greeting::Heard(_) => {
            let took = Duration::from_secs_f64(seen.phases.connect_ms.max(0.0) / 1_000.0);
            match limits.slow_after {
                Some(slow_after) if took > slow_after => {
                    Finding::degraded(format!("connects after {:.0} ms", milliseconds(took)))
                }
                _ => Finding::ok("connects"),
            }
        }
    };
    let finding = seen.phases.add_to(finding);
    match seen.certificate_expires_in_s {
        Some(left) => finding.with("certificate_expires_in_s", left),
        None => finding,
    }
}

fn instead(heard: &[u8]) -> String {
    const SHOWN: usize = 60;
    if heard.is_empty() {
        return String::new();
    }
    let text: String = String::from_utf8_lossy(heard).chars().take(SHOWN).collect();
    format!(", but {:?}", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::Phases;
    use crate::observation::Status;

    fn seen(greeting: Greeting, connect_ms: f64) -> Result<Seen, ConnectFailure> {
        let phases = Phases {
            dns_ms: None,
            connect_ms,
            tls_ms: None,
        };
        Ok(Seen {
            phases,
            certificate_expires_in_s: None,
            greeting,
        })
    }

    #[test]
    fn every_greeting_has_its_verdict() {
        let limits = Limits {
            expect: Some("SSH-".to_owned()),
            slow_after: Some(Duration::from_millis(100)),
        };
        let timed_out = TimedOut {
            step: "waiting for the greeting",
            budget: Duration::from_secs(5),
        };
        for (greeting, status, detail) in [
            (
                Greeting::Heard(b"SSH-2.0-x\r\n".to_vec()),
                Status::Ok,
                "connects",
            ),
            (
                Greeting::Heard(b"220 mail\r\n".to_vec()),
                Status::Failed,
                "connects, but does not say \"SSH-\", but \"220 mail\"",
            ),
            (
                Greeting::Ended {
                    heard: Vec::new(),
                    how: "closed the connection".to_owned(),
                },
                Status::Failed,
                "connects, but closed the connection without saying \"SSH-\"",
            ),
            (
                Greeting::Silent {
                    heard: Vec::new(),
                    timed_out,
                },
                Status::Failed,
                "connects, but is silent: waiting for the greeting: no answer within 5 s",
            ),
        ] {
            let finding = judge(&seen(greeting, 1.0), &limits);
            assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
        }
    }

    #[test]
    fn slowness_begins_above_the_limit() {
        let limits = Limits {
            expect: None,
            slow_after: Some(Duration::from_millis(100)),
        };
        for (connect_ms, status) in [
            (99.0, Status::Ok),
            (100.0, Status::Ok),
            (100.1, Status::Degraded),
        ] {
            assert_eq!(
                judge(&seen(Greeting::NotAsked, connect_ms), &limits).status,
                status
            );
        }
    }
}
