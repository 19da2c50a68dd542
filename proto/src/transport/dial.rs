//! How a client gets a byte stream to an address: TCP, or a simulated network.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::address::HostPort;
use super::policy::{DialRefused, dial_policy};

/// The most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Opens byte streams.
pub trait Dial: Clone + Send + Sync + 'static {
    /// What carries the bytes.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a stream. The caller limits the time.
    fn dial(
        &self,
        address: &HostPort,
    ) -> impl Future<Output = Result<Self::Stream, DialError>> + Send;
}

/// Why there is no byte stream.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the name cannot be resolved")]
    Name(#[source] io::Error),
    /// It may not be dialled without TLS.
    #[error(transparent)]
    Refused(#[from] DialRefused),
    /// The network or the host says no.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
}

/// Dials TCP. A literal address needs no name service; of a name, each address is tried in turn.
#[derive(Debug, Clone, Copy)]
pub struct TcpDialer {
    /// Whether TLS will be spoken; without it, only loopback is dialled.
    pub tls: bool,
}

impl Dial for TcpDialer {
    type Stream = TcpStream;

    async fn dial(&self, address: &HostPort) -> Result<TcpStream, DialError> {
        let mut last = None;
        for candidate in candidates(address).await? {
            dial_policy(candidate.ip(), self.tls)?;
            match TcpStream::connect(candidate).await {
                Ok(stream) => {
                    // A stream that is already gone says so on its first read.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = Some(error),
            }
        }
        Err(match last {
            Some(error) => DialError::Connect(error),
            None => DialError::Name(io::Error::new(io::ErrorKind::NotFound, "no address")),
        })
    }
}

async fn candidates(address: &HostPort) -> Result<Vec<SocketAddr>, DialError> {
    if let Some(ip) = address.literal() {
        let mut candidates = vec![SocketAddr::new(ip, address.port())];
        if address.host().parse::<IpAddr>().is_err() {
            candidates.push((Ipv6Addr::LOCALHOST, address.port()).into());
        }
        return Ok(candidates);
    }
    let found = tokio::net::lookup_host((address.host(), address.port()))
        .await
        .map_err(DialError::Name)?;
    Ok(found.take(ADDRESSES_MAX).collect())
}
