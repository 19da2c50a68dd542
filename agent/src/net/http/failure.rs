//! Why there is no whole answer to an HTTP request.

use std::error::Error as _;
use std::io;
use std::net::SocketAddr;

use blackstart_config::SecretError;

use crate::net::connect::{ConnectFailure, reason};
use crate::net::tls::{TlsFailure, failure_of};
use crate::observation::Finding;
use crate::probe::TimedOut;

/// Why there is no whole answer.
#[derive(Debug, thiserror::Error)]
pub enum HttpFailure {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectFailure),
    /// The server accepts connections and says nothing: it hangs, is stopped, or waits for something itself.
    #[error("{peer}: TCP connects, but HTTP is silent: {asked}: {timed_out}")]
    Silent {
        /// The server.
        peer: SocketAddr,
        /// Method and path.
        asked: String,
        /// The step and its time.
        timed_out: TimedOut,
    },
    /// The head of an answer came and the rest did not.
    #[error("{peer}: {asked}: status {status}, then silence: {timed_out}")]
    BodySilent {
        /// The server.
        peer: SocketAddr,
        /// Method and path.
        asked: String,
        /// The status of the answer.
        status: u16,
        /// The step and its time.
        timed_out: TimedOut,
    },
    /// The server closed the connection instead of answering.
    #[error("{peer}: {asked}: the server closed the connection without an answer")]
    Closed {
        /// The server.
        peer: SocketAddr,
        /// Method and path.
        asked: String,
    },
    /// The connection was cut in the middle of an answer.
    #[error("{peer}: {asked}: status {status}, then the answer broke off")]
    BrokenOff {
        /// The server.
        peer: SocketAddr,
        /// Method and path.
        asked: String,
        /// The status of the answer.
        status: u16,
    },
    /// What answers does not speak HTTP.
    #[error("{peer}: {asked}: what answers does not speak HTTP ({reason})")]
    NotHttp {
        /// The server.
        peer: SocketAddr,
        /// Method and path.
        asked: String,
        /// What was wrong with it.
        reason: String,
    },
    /// The server refuses after the handshake, as TLS 1.3 does for want of a client certificate.
    #[error("{peer}: {failure}")]
    Tls {
        /// The server.
        peer: SocketAddr,
        /// Why.
        failure: TlsFailure,
    },
    /// The password or token cannot be read. The fault is on this side.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The password or token holds characters that a header cannot.
    #[error("the password or token holds characters that a header cannot hold")]
    SecretNotSendable,
    /// The request cannot be put together.
    #[error("the request holds characters that HTTP cannot send")]
    NotSendable,
}

impl HttpFailure {
    /// Whether the fault is this host's own, so that the server's state is unknown.
    #[must_use]
    pub fn is_local(&self) -> bool {
        match self {
            Self::Connect(failure) => failure.is_local(),
            Self::Secret(_) | Self::SecretNotSendable | Self::NotSendable => true,
            _ => false,
        }
    }

    /// Whether TCP connects and the server then stays silent.
    #[must_use]
    pub fn is_silence(&self) -> bool {
        matches!(
            self,
            Self::Silent { .. }
                | Self::BodySilent { .. }
                | Self::Connect(ConnectFailure::TlsSilent { .. })
        )
    }

    /// What a probe says of such a server: failed, or unknown where the fault is on this side.
    #[must_use]
    pub fn finding(&self) -> Finding {
        match self {
            Self::Connect(failure) => failure.finding(),
            failure if failure.is_local() => Finding::unknown(failure.to_string()),
            failure => Finding::failed(failure.to_string()),
        }
    }
}

/// Where an exchange broke; becomes an [`HttpFailure`] with who was asked what.
pub(super) enum Broken {
    Silent(TimedOut),
    Head(hyper::Error),
    BodySilent { status: u16, timed_out: TimedOut },
    Body { status: u16 },
}

impl Broken {
    pub(super) fn into_failure(self, peer: SocketAddr, asked: String) -> HttpFailure {
        match self {
            Self::Silent(timed_out) => HttpFailure::Silent {
                peer,
                asked,
                timed_out,
            },
            Self::BodySilent { status, timed_out } => HttpFailure::BodySilent {
                peer,
                asked,
                status,
                timed_out,
            },
            Self::Body { status } => HttpFailure::BrokenOff {
                peer,
                asked,
                status,
            },
            Self::Head(error) => {
                let io = error
                    .source()
                    .and_then(|source| source.downcast_ref::<io::Error>());
                if let Some(io) = io.filter(|io| {
                    io.get_ref()
                        .is_some_and(|inner| inner.is::<rustls::Error>())
                }) {
                    HttpFailure::Tls {
                        peer,
                        failure: failure_of(io),
                    }
                } else if error.is_parse() || error.is_parse_too_large() {
                    HttpFailure::NotHttp {
                        peer,
                        asked,
                        reason: error.to_string(),
                    }
                } else if error.is_incomplete_message()
                    || error.is_canceled()
                    || error.is_closed()
                    || io.is_some_and(is_cut)
                {
                    HttpFailure::Closed { peer, asked }
                } else {
                    let reason = io.map_or_else(|| error.to_string(), reason);
                    HttpFailure::NotHttp {
                        peer,
                        asked,
                        reason,
                    }
                }
            }
        }
    }
}

fn is_cut(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof
    )
}
