//! From an address to a stream: look-up, TCP, TLS, each timed and each failing in its own words.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_rustls::client::TlsStream;

use super::address::{Address, Host};
use super::milliseconds;
use super::tls::{TlsClient, TlsFailure};
use crate::observation::Finding;
use crate::probe::{Deadline, TimedOut};

/// The most look-ups of names at a time. `getaddrinfo` cannot be interrupted: with a dead resolver each one sits in
/// a thread for half a minute, and this many threads is what that may cost.
const LOOKUPS_MAX: usize = 8;

/// The most addresses of one name that are tried: enough for both families of a redundant server, and each still
/// gets a fair share of the time.
const ADDRESSES_MAX: usize = 4;

static LOOKUPS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LOOKUPS_MAX)));

/// A connection that is ready for the first byte of the application.
#[derive(Debug)]
pub struct Connected {
    /// The stream.
    pub stream: Stream,
    /// The address that answered.
    pub peer: SocketAddr,
    /// How long each step took.
    pub phases: Phases,
    /// When the server's certificate ends, with TLS.
    pub certificate_expires: Option<jiff::Timestamp>,
}

/// How long the steps of connecting took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Phases {
    /// Looking the name up; absent for a literal address.
    pub dns_ms: Option<f64>,
    /// The TCP handshake.
    pub connect_ms: f64,
    /// The TLS handshake; absent without TLS.
    pub tls_ms: Option<f64>,
}

impl Phases {
    /// Adds them to a finding's values.
    #[must_use]
    pub fn add_to(&self, mut finding: Finding) -> Finding {
        if let Some(dns_ms) = self.dns_ms {
            finding = finding.with("dns_ms", dns_ms);
        }
        finding = finding.with("connect_ms", self.connect_ms);
        if let Some(tls_ms) = self.tls_ms {
            finding = finding.with("tls_ms", tls_ms);
        }
        finding
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectFailure {
    /// The name service says that there is no such name.
    #[error("the name {name} does not exist")]
    NameNotFound {
        /// The name.
        name: String,
    },
    /// The name service gave no answer that says yes or no.
    #[error("the name {name} cannot be looked up: {reason}")]
    NameUnresolved {
        /// The name.
        name: String,
        /// What the resolver library said.
        reason: String,
    },
    /// The name service was silent.
    #[error("the name {name} cannot be looked up: {timed_out}")]
    NameTimeout {
        /// The name.
        name: String,
        /// The step and its time.
        timed_out: TimedOut,
    },
    /// The host is there and nothing listens.
    #[error("{peer}: connection refused, nothing listens there")]
    Refused {
        /// The address that was tried.
        peer: SocketAddr,
    },
    /// The network says that there is no way.
    #[error("{peer}: no route ({reason})")]
    NoRoute {
        /// The address that was tried.
        peer: SocketAddr,
        /// What the system said.
        reason: String,
    },
    /// Neither a yes nor a no: packets are lost, or the host is off.
    #[error("{peer}: {timed_out}")]
    Timeout {
        /// The address that was tried.
        peer: SocketAddr,
        /// The step and its time.
        timed_out: TimedOut,
    },
    /// The connection was cut while it was set up.
    #[error("{peer}: connection reset while {step}")]
    Reset {
        /// The address that was tried.
        peer: SocketAddr,
        /// What was being done.
        step: &'static str,
    },
    /// TCP connects and TLS does not.
    #[error("{peer}: {failure}")]
    Tls {
        /// The address that was tried.
        peer: SocketAddr,
        /// Why.
        failure: TlsFailure,
        /// When the certificate ends, where one was seen.
        certificate_expires: Option<jiff::Timestamp>,
    },
    /// TCP connects and the TLS handshake gets no answer.
    #[error("{peer}: TCP connects, but {timed_out}")]
    TlsSilent {
        /// The address that was tried.
        peer: SocketAddr,
        /// The step and its time.
        timed_out: TimedOut,
    },
    /// The fault is on this side: no socket, no port, no trusted certificates. Says nothing of the server.
    #[error("cannot probe {target}: {reason}")]
    Local {
        /// What was to be reached.
        target: String,
        /// What is missing here.
        reason: String,
    },
}

impl ConnectFailure {
    /// Whether the fault is this host's own, so that the server's state is unknown.
    #[must_use]
    pub fn is_local(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    /// What a probe says of a server that it cannot reach: failed, or unknown where the fault is on this side. What
    /// is known of the certificate is among the values.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Local { .. } => Finding::unknown(self.to_string()),
            Self::Tls {
                certificate_expires: Some(expires),
                ..
            } => Finding::failed(self.to_string())
                .with("certificate_expires_in_s", seconds_until(*expires)),
            _ => Finding::failed(self.to_string()),
        }
    }
}

/// The time from now to a moment, in seconds; negative when it has passed.
#[must_use]
pub fn seconds_until(moment: jiff::Timestamp) -> f64 {
    #[expect(
        clippy::cast_precision_loss,
        reason = "seconds since 1970 stay far below 2^53"
    )]
    let seconds = (moment.as_second() - jiff::Timestamp::now().as_second()) as f64;
    seconds
}

/// Connects by TCP, and by TLS where asked to; the server's certificate has been checked when this returns.
///
/// Names are looked up the way every program of this host does it (`getaddrinfo`); a literal address needs nobody.
///
/// # Errors
/// The first address's failure, told apart as [`ConnectFailure`] says.
pub async fn connect(
    address: &Address,
    tls: Option<&TlsClient>,
    deadline: Deadline,
) -> Result<Connected, ConnectFailure> {
    let begun = Instant::now();
    let (peers, dns_ms) = match &address.host {
        Host::Literal(ip) => (vec![SocketAddr::new(*ip, address.port)], None),
        Host::Name(name) => {
            let peers = look_up(name, address.port, deadline).await?;
            (peers, Some(milliseconds(begun.elapsed())))
        }
    };
    let begun = Instant::now();
    let (stream, peer) = connect_any(&peers, deadline).await?;
    let mut phases = Phases {
        dns_ms,
        connect_ms: milliseconds(begun.elapsed()),
        tls_ms: None,
    };
    let Some(tls) = tls else {
        return Ok(Connected {
            stream: Stream::Plain(stream),
            peer,
            phases,
            certificate_expires: None,
        });
    };
    let begun = Instant::now();
    let secured = tls.secure(stream, &address.host, peer, deadline).await?;
    phases.tls_ms = Some(milliseconds(begun.elapsed()));
    Ok(Connected {
        stream: Stream::Tls(Box::new(secured.stream)),
        peer,
        phases,
        certificate_expires: secured.certificate_expires,
    })
}

async fn look_up(
    name: &str,
    port: u16,
    deadline: Deadline,
) -> Result<Vec<SocketAddr>, ConnectFailure> {
    let timeout = |timed_out| ConnectFailure::NameTimeout {
        name: name.to_owned(),
        timed_out,
    };
    let unresolved = |reason: String| ConnectFailure::NameUnresolved {
        name: name.to_owned(),
        reason,
    };
    let permit = deadline
        .limit(
            "waiting for other look-ups that hang",
            Arc::clone(&LOOKUPS).acquire_owned(),
        )
        .await
        .map_err(timeout)?
        .map_err(|_| unresolved("the agent is stopping".to_owned()))?;
    let host = name.to_owned();
    let lookup = tokio::task::spawn_blocking(move || {
        let _held_until_the_thread_is_free = permit;
        (host.as_str(), port)
            .to_socket_addrs()
            .map(|found| found.take(ADDRESSES_MAX).collect::<Vec<_>>())
    });
    match deadline
        .limit("asking the resolver", lookup)
        .await
        .map_err(timeout)?
    {
        Ok(Ok(peers)) if !peers.is_empty() => Ok(peers),
        Ok(Ok(_)) => Err(ConnectFailure::NameNotFound {
            name: name.to_owned(),
        }),
        Ok(Err(error)) => {
            let text = error.to_string();
            let reason = text.rsplit(": ").next().unwrap_or(&text);
            // The standard library keeps only the text of EAI_NONAME and EAI_NODATA.
            if matches!(
                reason,
                "Name or service not known" | "No address associated with hostname"
            ) {
                Err(ConnectFailure::NameNotFound {
                    name: name.to_owned(),
                })
            } else {
                Err(unresolved(reason.to_owned()))
            }
        }
        Err(_) => Err(unresolved("the look-up broke off".to_owned())),
    }
}

/// The first peer that accepts; each gets an equal share of the time that is left.
async fn connect_any(
    peers: &[SocketAddr],
    deadline: Deadline,
) -> Result<(TcpStream, SocketAddr), ConnectFailure> {
    let mut first_failure = None;
    for (tried, peer) in peers.iter().enumerate() {
        let left = peers.len() - tried;
        #[expect(clippy::cast_precision_loss, reason = "at most a handful of addresses")]
        let share = if left == 1 {
            deadline
        } else {
            deadline.share(1.0 / left as f64)
        };
        let failure = match share.limit("connecting", TcpStream::connect(*peer)).await {
            Ok(Ok(stream)) => return Ok((stream, *peer)),
            Ok(Err(error)) => connect_failure(*peer, &error),
            Err(timed_out) => ConnectFailure::Timeout {
                peer: *peer,
                timed_out,
            },
        };
        first_failure.get_or_insert(failure);
    }
    Err(first_failure.unwrap_or_else(|| ConnectFailure::Local {
        target: "nothing".to_owned(),
        reason: "no address to try".to_owned(),
    }))
}

fn connect_failure(peer: SocketAddr, error: &io::Error) -> ConnectFailure {
    use io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused => ConnectFailure::Refused { peer },
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            ConnectFailure::Reset {
                peer,
                step: "connecting",
            }
        }
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable | ErrorKind::NetworkDown => {
            ConnectFailure::NoRoute {
                peer,
                reason: reason(error),
            }
        }
        // The kernel's own limit on attempts ran out, or a router said so.
        ErrorKind::TimedOut => ConnectFailure::NoRoute {
            peer,
            reason: reason(error),
        },
        _ => ConnectFailure::Local {
            target: peer.to_string(),
            reason: reason(error),
        },
    }
}

/// An error's text without the number that the standard library adds.
pub(crate) fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_lowercase(),
        None => text,
    }
}

/// A connection, with or without TLS.
#[derive(Debug)]
pub enum Stream {
    /// TCP alone.
    Plain(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text, None).unwrap()
    }

    #[tokio::test]
    async fn a_closed_port_is_refused_and_an_open_one_connects() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let peer = listener.local_addr().unwrap();
        let deadline = || Deadline::after(Duration::from_secs(5));
        let connected = connect(&peer.into(), None, deadline()).await.unwrap();
        assert_eq!((connected.peer, connected.phases.dns_ms), (peer, None));
        drop((listener, connected));
        let failure = connect(&peer.into(), None, deadline()).await.unwrap_err();
        assert_eq!(
            failure.to_string(),
            format!("{peer}: connection refused, nothing listens there")
        );
        assert_eq!(failure.finding().status, crate::observation::Status::Failed);
    }

    #[tokio::test]
    async fn a_name_of_the_hosts_file_is_looked_up_and_timed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connected = connect(
            &address(&format!("localhost:{port}")),
            None,
            Deadline::after(Duration::from_secs(5)),
        )
        .await
        .unwrap();
        assert!(connected.phases.dns_ms.is_some());
    }

    #[test]
    fn errors_of_this_side_are_told_apart_from_the_servers() {
        let peer: SocketAddr = "127.0.0.1:1".parse().unwrap();
        for (errno, local) in [
            (111, false),
            (113, false),
            (101, false),
            (104, false),
            (24, true),
            (99, true),
        ] {
            let failure = connect_failure(peer, &io::Error::from_raw_os_error(errno));
            assert_eq!(failure.is_local(), local, "{errno}: {failure}");
        }
    }
}
