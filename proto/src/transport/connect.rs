//! The client's side: a channel to a server that has answered, or what is in the way.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rustls::{AlertDescription, CertificateError};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use super::address::HostPort;
use super::dial::{Dial, DialError, TcpDialer};
use super::greeting::{Greeted, Greeting};
use super::reload::chain;
use super::tls::ClientTls;

/// How long the parts of a connection may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first packet to the server's first answer.
    pub connect: Duration,
    /// Silence on a connection with an open call, after which HTTP/2 asks whether the peer is there.
    pub keepalive_interval: Duration,
    /// How long the answer to that may take before the connection is given up.
    pub keepalive_timeout: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // Two retransmissions of a lost SYN (1 s, then 2 s) still fit.
            connect: Duration::from_secs(5),
            // Together the 15 s of `limits::SILENCE_MAX`.
            keepalive_interval: Duration::from_secs(10),
            keepalive_timeout: Duration::from_secs(5),
        }
    }
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not on loopback, and no TLS configured.
    #[error("{address} is not on loopback, and without TLS nothing else is dialled")]
    NeedsTls {
        /// The address.
        address: HostPort,
    },
    /// Its name has no address, or no name service answers.
    #[error("the name of {address} cannot be resolved")]
    Name {
        /// The address.
        address: HostPort,
        /// Why.
        source: io::Error,
    },
    /// The host is there, and nothing listens on the port.
    #[error("{address} refuses connections: nothing listens there")]
    Refused {
        /// The address.
        address: HostPort,
    },
    /// The network says no: no route, host unreachable, connection reset.
    #[error("cannot reach {address}")]
    Network {
        /// The address.
        address: HostPort,
        /// Why.
        source: io::Error,
    },
    /// No answer in time.
    #[error("{address}: no answer within {} s while {step}", timeout.as_secs_f32())]
    TimedOut {
        /// The address.
        address: HostPort,
        /// What was waited for.
        step: &'static str,
        /// How long.
        timeout: Duration,
    },
    /// The server's certificate is not to be believed.
    #[error("{address} shows a certificate that is refused: {problem}")]
    ServerCertificate {
        /// The address.
        address: HostPort,
        /// What is wrong with it.
        problem: String,
    },
    /// The server does not believe our certificate.
    #[error("{address} refuses the certificate of this side: {problem}")]
    ClientCertificate {
        /// The address.
        address: HostPort,
        /// What it says.
        problem: &'static str,
    },
    /// The server wants TLS and none is configured here.
    #[error("{address} wants TLS")]
    WantsTls {
        /// The address.
        address: HostPort,
    },
    /// TLS is configured here and the server does not speak it.
    #[error("{address} does not speak TLS")]
    SpeaksNoTls {
        /// The address.
        address: HostPort,
    },
    /// TLS failed in another way.
    #[error("TLS with {address} failed")]
    Tls {
        /// The address.
        address: HostPort,
        /// How.
        source: io::Error,
    },
    /// Something answers, and it is no aggregator.
    #[error("what answers at {address} is no aggregator: {found}")]
    NotAnAggregator {
        /// The address.
        address: HostPort,
        /// What it is.
        found: &'static str,
    },
}

impl ConnectError {
    /// What to do about it.
    #[must_use]
    pub const fn help(&self) -> &'static str {
        match self {
            Self::NeedsTls { .. } | Self::WantsTls { .. } => {
                "name ca_file, certificate_file and key_file of this side"
            }
            Self::Name { .. } => "give a literal address, which needs no name service",
            Self::Refused { .. } => "is the aggregator running, and is the port right?",
            Self::Network { .. } | Self::TimedOut { .. } => {
                "is the host up, and the path to it? a firewall?"
            }
            Self::ServerCertificate { .. } => {
                "is the address in the server's certificate, and the certificate of this ca_file?"
            }
            Self::ClientCertificate { .. } => {
                "is this side's certificate of the CA that the server names, and still valid?"
            }
            Self::SpeaksNoTls { .. } => "does it listen without TLS, or is it another service?",
            Self::Tls { .. } | Self::NotAnAggregator { .. } => "is the port right?",
        }
    }

    /// Whether it can heal with nothing changed on this side.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        !matches!(self, Self::NeedsTls { .. })
    }

    /// The error and what is behind it, in one line.
    #[must_use]
    pub fn one_line(&self) -> String {
        chain(self)
    }
}

/// Connects to `address` over TCP, with mutual TLS where given. The channel connects again by itself
/// after a break, and reads the TLS files again when they have changed.
///
/// # Errors
/// [`ConnectError`] when the server has not answered within `timeouts.connect`.
pub async fn connect(
    address: &HostPort,
    tls: Option<&ClientTls>,
    timeouts: Timeouts,
) -> Result<Channel, ConnectError> {
    let dialer = TcpDialer { tls: tls.is_some() };
    connect_with(dialer, address, tls, timeouts).await
}

/// Like [`connect`], over what `dialer` opens.
///
/// # Errors
/// [`ConnectError`] when the server has not answered within `timeouts.connect`.
pub async fn connect_with<D: Dial>(
    dialer: D,
    address: &HostPort,
    tls: Option<&ClientTls>,
    timeouts: Timeouts,
) -> Result<Channel, ConnectError> {
    let deadline = Instant::now() + timeouts.connect;
    let line = Line {
        dialer,
        address: address.clone(),
        tls: tls.cloned(),
        timeout: timeouts.connect,
    };
    let (first, greeting) = line.open().await?;
    let first = Arc::new(Mutex::new(Some(first)));
    let again = line.clone();
    let connector = tower::service_fn(move |_: Uri| {
        let first = first.lock().unwrap_or_else(PoisonError::into_inner).take();
        let line = again.clone();
        async move {
            let stream = match first {
                Some(stream) => stream,
                None => line.open().await?.0,
            };
            Ok::<_, ConnectError>(TokioIo::new(stream))
        }
    });
    let endpoint = endpoint(address, tls.is_some(), timeouts);
    let channel = line
        .limit(
            deadline,
            "opening HTTP/2",
            endpoint.connect_with_connector(connector),
        )
        .await?
        .map_err(|error| ConnectError::Network {
            address: address.clone(),
            source: io::Error::other(chain(&error)),
        })?;
    let greeting = line
        .limit(deadline, "waiting for its first answer", greeting)
        .await?
        .unwrap_or(Greeting::Closed);
    line.judge(greeting)?;
    Ok(channel)
}

fn endpoint(address: &HostPort, tls: bool, timeouts: Timeouts) -> Endpoint {
    let scheme = if tls { "https" } else { "http" };
    // Where an address makes no valid URI (a scoped IPv6 address), the authority is of no
    // importance: the connector dials the address itself.
    let uri = format!("{scheme}://{address}")
        .parse::<Uri>()
        .unwrap_or_else(|_| Uri::from_static("http://aggregator"));
    Endpoint::from(uri)
        .http2_keep_alive_interval(timeouts.keepalive_interval)
        .keep_alive_timeout(timeouts.keepalive_timeout)
        .keep_alive_while_idle(false)
}

/// Everything that is needed in order to dial, and dial again.
#[derive(Clone)]
struct Line<D> {
    dialer: D,
    address: HostPort,
    tls: Option<ClientTls>,
    timeout: Duration,
}

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

type Opened = (Greeted<Box<dyn Duplex>>, oneshot::Receiver<Greeting>);

impl<D: Dial> Line<D> {
    /// Dials and shakes hands.
    async fn open(&self) -> Result<Opened, ConnectError> {
        let deadline = Instant::now() + self.timeout;
        let stream = self
            .limit(deadline, "connecting", self.dialer.dial(&self.address))
            .await?
            .map_err(|error| self.dial_error(error))?;
        let Some(tls) = &self.tls else {
            return Ok(Greeted::new(Box::new(stream)));
        };
        let name = ServerName::try_from(self.address.host().to_owned()).map_err(|_| {
            ConnectError::ServerCertificate {
                address: self.address.clone(),
                problem: "no certificate can name this address".to_owned(),
            }
        })?;
        let handshake = async {
            TlsConnector::from(tls.config().await)
                .connect(name, stream)
                .await
        };
        let stream = self
            .limit(deadline, "shaking hands (TLS)", handshake)
            .await?
            .map_err(|error| self.tls_error(error))?;
        Ok(Greeted::new(Box::new(stream)))
    }

    async fn limit<T>(
        &self,
        deadline: Instant,
        step: &'static str,
        future: impl Future<Output = T>,
    ) -> Result<T, ConnectError> {
        tokio::time::timeout_at(deadline, future)
            .await
            .map_err(|_| ConnectError::TimedOut {
                address: self.address.clone(),
                step,
                timeout: self.timeout,
            })
    }

    fn dial_error(&self, error: DialError) -> ConnectError {
        let address = self.address.clone();
        match error {
            DialError::Refused(_) => ConnectError::NeedsTls { address },
            DialError::Name(source) => ConnectError::Name { address, source },
            DialError::Connect(source) if source.kind() == io::ErrorKind::ConnectionRefused => {
                ConnectError::Refused { address }
            }
            DialError::Connect(source) if source.kind() == io::ErrorKind::TimedOut => {
                ConnectError::TimedOut {
                    address,
                    step: "connecting",
                    timeout: self.timeout,
                }
            }
            DialError::Connect(source) => ConnectError::Network { address, source },
        }
    }

    fn tls_error(&self, source: io::Error) -> ConnectError {
        let address = self.address.clone();
        let inner = source
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(rustls::Error::InvalidCertificate(error)) => ConnectError::ServerCertificate {
                address,
                problem: show_certificate_error(error),
            },
            Some(rustls::Error::AlertReceived(alert)) => match show_alert(*alert) {
                Some(problem) => ConnectError::ClientCertificate { address, problem },
                None => ConnectError::Tls { address, source },
            },
            Some(rustls::Error::InvalidMessage(_)) => ConnectError::SpeaksNoTls { address },
            None if source.kind() == io::ErrorKind::UnexpectedEof => {
                ConnectError::SpeaksNoTls { address }
            }
            _ => ConnectError::Tls { address, source },
        }
    }

    /// What the server's first bytes mean.
    fn judge(&self, greeting: Greeting) -> Result<(), ConnectError> {
        let address = self.address.clone();
        match greeting {
            Greeting::Http2 => Ok(()),
            Greeting::TlsRecord => Err(ConnectError::WantsTls { address }),
            Greeting::Http1 => Err(ConnectError::NotAnAggregator {
                address,
                found: "an HTTP/1 server",
            }),
            Greeting::Other => Err(ConnectError::NotAnAggregator {
                address,
                found: "it does not speak HTTP/2",
            }),
            Greeting::Closed => Err(ConnectError::NotAnAggregator {
                address,
                found: "it closes the connection at once",
            }),
            Greeting::Failed(source) if self.tls.is_some() => Err(self.tls_error(source)),
            Greeting::Failed(source) => Err(ConnectError::Network { address, source }),
        }
    }
}

fn show_certificate_error(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "it has expired, by this host's clock".to_owned()
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet, by this host's clock".to_owned()
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "it is not of this side's CA".to_owned()
        }
        CertificateError::NotValidForNameContext { presented, .. } => {
            let names: Vec<_> = presented.iter().map(|name| bare(name)).collect();
            format!("it is for {}", names.join(", "))
        }
        CertificateError::NotValidForName => "it is for another name".to_owned(),
        other => other.to_string(),
    }
}

/// The name in rustls' `DnsName("web-1")`.
fn bare(presented: &str) -> &str {
    let inside = presented
        .split_once('(')
        .map_or(presented, |(_, rest)| rest);
    inside.trim_end_matches(')').trim_matches('"')
}

/// What a server says of our certificate (RFC 8446, 6.2); `None` for an alert that is not about it.
const fn show_alert(alert: AlertDescription) -> Option<&'static str> {
    Some(match alert {
        AlertDescription::CertificateRequired => "it shows none",
        // A CA of the same name with another key shows as a signature that does not fit.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "it is not of the server's CA"
        }
        AlertDescription::CertificateExpired => "it has expired, by the server's clock",
        AlertDescription::CertificateRevoked => "it is revoked",
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => "the server does not take it",
        _ => return None,
    })
}
