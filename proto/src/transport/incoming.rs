//! The server's side: accepted connections, with their TLS handshakes done, for tonic.
//!
//! Handshakes run side by side. At most [`HANDSHAKES_MAX`] are under way; when that many are, no
//! more are accepted (the kernel holds them) until one ends or the oldest has had
//! [`HANDSHAKE_GRACE`] and gives way. So silent clients cost memory with a bound, and honest ones
//! at most that grace, however many silent ones there are.
//!
//! **Invariant:** the stream ends only when it is dropped, and then at once.

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::opening::{DoorLog, Heard, Opening};
use super::peer::Peer;
use super::tls::ServerTls;

/// The most handshakes under way: a thousand agents that come back at once shake hands together,
/// at some 30 KiB each.
const HANDSHAKES_MAX: usize = 1_024;

/// What a handshake is sure to have before it gives way to a newer one.
const HANDSHAKE_GRACE: Duration = Duration::from_secs(1);

/// The longest handshake. Five round trips over the worst link fit; a silent client does not stay.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The pause after a failed `accept` (too many open files, say), which would else spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from: TCP, or a simulated network.
pub trait Listener: Send + 'static {
    /// What carries the bytes.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next connection and where it comes from. Dropping the future loses no connection.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
}

impl Listener for TcpListener {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let (stream, address) = Self::accept(self).await?;
        // Acknowledgements are small and waited for. A stream that is already gone says so on its
        // first read.
        let _ = stream.set_nodelay(true);
        Ok((stream, address))
    }
}

/// The connections of `listener`, each with its handshake done and its [`Peer`] known; for
/// tonic's `serve_with_incoming`. It yields no errors: a failed handshake is logged and concerns
/// nobody else.
pub fn incoming<L: Listener>(
    listener: L,
    tls: Option<ServerTls>,
) -> impl Stream<Item = io::Result<Io<L::Stream>>> + Send {
    let state = Incoming {
        listener,
        tls,
        handshakes: JoinSet::new(),
        oldest_first: VecDeque::new(),
        log: Arc::default(),
    };
    futures::stream::unfold(state, |mut state| async move {
        let io = state.next().await;
        Some((Ok(io), state))
    })
}

struct Incoming<L: Listener> {
    listener: L,
    tls: Option<ServerTls>,
    handshakes: JoinSet<Option<Io<L::Stream>>>,
    oldest_first: VecDeque<(Instant, AbortHandle)>,
    log: Arc<DoorLog>,
}

impl<L: Listener> Incoming<L> {
    async fn next(&mut self) -> Io<L::Stream> {
        loop {
            while let Some((_, handle)) = self.oldest_first.front()
                && handle.is_finished()
            {
                self.oldest_first.pop_front();
            }
            let full = self.handshakes.len() >= HANDSHAKES_MAX;
            let gives_way_at = self
                .oldest_first
                .front()
                .map(|(since, _)| *since + HANDSHAKE_GRACE);
            tokio::select! {
                Some(ended) = self.handshakes.join_next() => {
                    if let Ok(Some(io)) = ended {
                        return io;
                    }
                }
                accepted = self.listener.accept(), if !full => {
                    if let Some(io) = self.accepted(accepted).await {
                        return io;
                    }
                }
                () = sleep_until(gives_way_at), if full => {
                    if let Some((_, handle)) = self.oldest_first.pop_front() {
                        tracing::debug!("oldest handshake gives way to newer connections");
                        handle.abort();
                    }
                }
            }
        }
    }

    /// A connection that needs no handshake is ready now; the handshake of another one starts.
    async fn accepted(
        &mut self,
        accepted: io::Result<(L::Stream, SocketAddr)>,
    ) -> Option<Io<L::Stream>> {
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => return None,
            Err(error) => {
                tracing::warn!(%error, "cannot accept connections");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                return None;
            }
        };
        let Some(tls) = self.tls.clone() else {
            return Some(Io {
                stream: Carrier::Plain(stream),
                peer: Peer::plain(address),
                opening: Some(Opening::new(address, self.log.clone())),
            });
        };
        let log = self.log.clone();
        let handle = self
            .handshakes
            .spawn(shake_hands(stream, address, tls, log));
        self.oldest_first.push_back((Instant::now(), handle));
        None
    }
}

/// Whether a failed `accept` says something of that connection only (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

async fn shake_hands<S>(
    stream: S,
    address: SocketAddr,
    tls: ServerTls,
    log: Arc<DoorLog>,
) -> Option<Io<S>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = async { TlsAcceptor::from(tls.config().await).accept(stream).await };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(Ok(stream)) => {
            let certificate = stream
                .get_ref()
                .1
                .peer_certificates()
                .and_then(<[_]>::first);
            Some(Io {
                peer: Peer::certified(address, certificate),
                stream: Carrier::Tls(Box::new(stream)),
                opening: Some(Opening::new(address, log)),
            })
        }
        Ok(Err(error)) if is_a_look(&error) => None,
        Ok(Err(error)) => {
            log.tell(address, &handshake_failure(&error));
            None
        }
        Err(_) => {
            log.tell(address, "its TLS handshake was not done in time");
            None
        }
    }
}

/// Whether somebody only looked whether the port is open, as TCP probes and load balancers do.
fn is_a_look(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// What is in the way of a handshake, for who has to mend it on the other side.
fn handshake_failure(error: &io::Error) -> String {
    let tls = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidMessage(_)) => {
            "it does not speak TLS, which this aggregator asks for: give it ca_file, certificate_file and key_file"
                .to_owned()
        }
        Some(rustls::Error::NoCertificatesPresented) => {
            "it shows no certificate: TLS is mutual here".to_owned()
        }
        _ => format!("its TLS handshake failed: {error}"),
    }
}

/// A connection, with or without TLS.
#[derive(Debug)]
pub struct Io<S> {
    stream: Carrier<S>,
    peer: Peer,
    /// Until the client has said its first words.
    opening: Option<Opening>,
}

#[derive(Debug)]
enum Carrier<S> {
    Plain(S),
    Tls(Box<TlsStream<S>>),
}

impl<S> Io<S> {
    /// Who is at the other end.
    #[must_use]
    pub const fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl<S> Connected for Io<S> {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Io<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Carrier::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        let Some(opening) = &mut self.opening else {
            return polled;
        };
        match &polled {
            Poll::Pending if opening.is_over(cx) => {
                self.opening = None;
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            Poll::Pending => {}
            Poll::Ready(Ok(())) => {
                if opening.heard(&buf.filled()[before..]) == Heard::Enough {
                    self.opening = None;
                }
            }
            Poll::Ready(Err(_)) => self.opening = None,
        }
        polled
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Io<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Carrier::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Carrier::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.stream {
            Carrier::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Carrier::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Carrier::Plain(stream) => stream.is_write_vectored(),
            Carrier::Tls(stream) => stream.is_write_vectored(),
        }
    }
}
