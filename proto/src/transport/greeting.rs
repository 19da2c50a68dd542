//! The first bytes of a server: they tell whether it took our certificate and what it speaks.
//!
//! In TLS 1.3 a client's handshake is over before the server has judged its certificate; a refusal
//! arrives as the answer to the first read. So a connection counts as made when the server's first
//! bytes are there.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

/// Enough to know a protocol by: the head of an HTTP/2 frame.
const HEAD_BYTES: usize = 9;

/// What came first from a server.
#[derive(Debug)]
pub(super) enum Greeting {
    /// An HTTP/2 settings frame, as it has to be.
    Http2,
    /// A TLS record: the server wants TLS and got none.
    TlsRecord,
    /// An HTTP/1 answer.
    Http1,
    /// Something else.
    Other,
    /// The server closed.
    Closed,
    /// The read failed.
    Failed(io::Error),
}

/// A stream that tells what came first.
pub(super) struct Greeted<S> {
    stream: S,
    head: Vec<u8>,
    tell: Option<oneshot::Sender<Greeting>>,
}

impl<S> Greeted<S> {
    /// Wraps a stream; the receiver gets the greeting once it is known.
    pub(super) fn new(stream: S) -> (Self, oneshot::Receiver<Greeting>) {
        let (tell, told) = oneshot::channel();
        let greeted = Self {
            stream,
            head: Vec::with_capacity(HEAD_BYTES),
            tell: Some(tell),
        };
        (greeted, told)
    }

    fn tell(&mut self, greeting: Greeting) {
        if let Some(tell) = self.tell.take() {
            // Nobody waits any more when the caller gave up.
            let _ = tell.send(greeting);
        }
    }
}

/// What the head of a stream says; `None` while it is too short to tell.
fn judge(head: &[u8]) -> Option<Greeting> {
    match head {
        // RFC 8446, 5.1: alert (21) or handshake (22), legacy version 3.x.
        [21 | 22, 3, ..] => Some(Greeting::TlsRecord),
        [b'H', b'T', b'T', b'P', b'/', ..] => Some(Greeting::Http1),
        // RFC 9113, 3.4: the server's preface is a settings frame (type 4) on stream 0.
        [_, _, _, 4, _, 0, 0, 0, 0, ..] => Some(Greeting::Http2),
        _ if head.len() >= HEAD_BYTES => Some(Greeting::Other),
        _ => None,
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Greeted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if self.tell.is_none() {
            return polled;
        }
        match &polled {
            Poll::Pending => {}
            Poll::Ready(Err(error)) => {
                let copy = copy(error);
                self.tell(Greeting::Failed(copy));
            }
            Poll::Ready(Ok(())) => {
                let came = &buf.filled()[before..];
                if came.is_empty() {
                    let greeting = judge(&self.head).unwrap_or(Greeting::Closed);
                    self.tell(greeting);
                } else {
                    let room = HEAD_BYTES - self.head.len();
                    self.head.extend_from_slice(&came[..came.len().min(room)]);
                    if let Some(greeting) = judge(&self.head) {
                        self.tell(greeting);
                    }
                }
            }
        }
        polled
    }
}

/// An `io::Error` cannot be cloned; what we look for in it can.
fn copy(error: &io::Error) -> io::Error {
    match error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        Some(tls) => io::Error::new(error.kind(), tls.clone()),
        None => match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => io::Error::new(error.kind(), error.to_string()),
        },
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Greeted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_the_protocol() {
        let http2 = [0, 0, 18, 4, 0, 0, 0, 0, 0];
        assert!(matches!(judge(&http2), Some(Greeting::Http2)));
        assert!(judge(&http2[..8]).is_none());
        assert!(matches!(
            judge(&[21, 3, 3, 0, 2, 2, 40]),
            Some(Greeting::TlsRecord)
        ));
        assert!(matches!(judge(b"HTTP/1.1 400"), Some(Greeting::Http1)));
        assert!(matches!(judge(b"SSH-2.0-OpenSSH"), Some(Greeting::Other)));
        assert!(judge(b"SSH").is_none());
    }
}
