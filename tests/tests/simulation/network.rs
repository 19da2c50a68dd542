//! Simulated TCP where agent and aggregator would have the machine's.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use blackstart_proto::transport::{Dial, DialError, HostPort, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use turmoil::net::{TcpListener, TcpStream};

/// Dials hosts of the simulated network by their names.
#[derive(Debug, Clone, Default)]
pub(crate) struct Dialer {
    broken: Arc<Mutex<CancellationToken>>,
    dialled: Arc<AtomicU64>,
}

impl Dialer {
    /// Breaks every stream that was dialled, on this side only, as a router does that forgot them: the other side hears
    /// nothing of it.
    pub(crate) fn break_streams(&self) {
        let old = std::mem::take(&mut *self.broken.lock().unwrap());
        old.cancel();
    }

    /// How often it was asked to dial.
    pub(crate) fn dialled(&self) -> u64 {
        self.dialled.load(Ordering::Relaxed)
    }
}

impl Dial for Dialer {
    type Stream = Wire;

    async fn dial(&self, address: &HostPort) -> Result<Wire, DialError> {
        self.dialled.fetch_add(1, Ordering::Relaxed);
        let broken = self.broken.lock().unwrap().clone();
        let stream = TcpStream::connect((address.host(), address.port()))
            .await
            .map_err(DialError::Connect)?;
        Ok(Wire {
            stream: Some(stream),
            breaks: Box::pin(broken.clone().cancelled_owned()),
            broken,
        })
    }
}

/// A stream that can be broken on this side only.
pub(crate) struct Wire {
    stream: Option<TcpStream>,
    breaks: Pin<Box<WaitForCancellationFutureOwned>>,
    broken: CancellationToken,
}

impl Wire {
    fn sound(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        match &mut self.stream {
            Some(stream) if !self.broken.is_cancelled() => Ok(Pin::new(stream)),
            _ => Err(io::ErrorKind::ConnectionReset.into()),
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.broken.is_cancelled() {
            // Dropped as usual it would tell the other side.
            std::mem::forget(self.stream.take());
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.breaks.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        self.sound()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sound()?.poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sound()?.poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.sound()?.poll_shutdown(cx)
    }
}

/// Listens on a host of the simulated network.
pub(crate) struct Port(TcpListener);

impl Port {
    pub(crate) async fn bind(port: u16) -> io::Result<Self> {
        let anywhere = IpAddr::from(Ipv4Addr::UNSPECIFIED);
        TcpListener::bind((anywhere, port)).await.map(Self)
    }
}

impl Listener for Port {
    type Stream = TcpStream;

    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.accept().await
    }
}
