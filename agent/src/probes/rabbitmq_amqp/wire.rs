//! AMQP 0-9-1 frames over any stream, with lapin's codec for what is in them.
//!
//! lapin's own connection runs in a thread that outlives a handshake which gets no answer, once for each run of a
//! probe. Here a run owns its stream: dropped at its deadline, it leaves nothing behind.

use std::io;

use lapin::BasicProperties;
use lapin::protocol::{AMQPClass, basic, constants, gen_class, parse_class};
use lapin::types::ChannelId;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// The largest frame that is read: what RabbitMQ offers by itself (`frame_max`).
pub(super) const FRAME_BYTES_MAX: u32 = 131_072;

/// What a client says first, and what a server answers when it speaks another version.
const HEADER: &[u8; 8] = b"AMQP\0\0\x09\x01";

/// Type, channel and size.
const ENVELOPE_BYTES: usize = 7;

/// The class of messages.
const BASIC_CLASS: u16 = 60;

/// A connection at the level of frames.
#[derive(Debug)]
pub(super) struct Wire<S> {
    stream: S,
}

/// Why there is no next method.
#[derive(Debug, thiserror::Error)]
pub(super) enum WireError {
    /// It was cut, or cannot be written to.
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    /// The peer hung up.
    #[error("the server closed the connection without a word")]
    Closed,
    /// What answers is no AMQP 0-9-1.
    #[error("what answers does not speak AMQP 0-9-1")]
    NotAmqp,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream }
    }

    /// Begins the conversation.
    pub(super) async fn send_header(&mut self) -> Result<(), WireError> {
        self.stream.write_all(HEADER).await?;
        Ok(self.stream.flush().await?)
    }

    /// Sends a method.
    pub(super) async fn send(
        &mut self,
        channel: ChannelId,
        class: AMQPClass,
    ) -> Result<(), WireError> {
        let mut frames = Vec::new();
        push_frame(
            &mut frames,
            constants::FRAME_METHOD,
            channel,
            &method_bytes(&class)?,
        );
        self.stream.write_all(&frames).await?;
        Ok(self.stream.flush().await?)
    }

    /// Publishes a message: method, header and body in one write.
    pub(super) async fn publish(
        &mut self,
        channel: ChannelId,
        publish: basic::Publish,
        properties: &BasicProperties,
        body: &[u8],
    ) -> Result<(), WireError> {
        let class = AMQPClass::Basic(basic::AMQPMethod::Publish(publish));
        let mut header = Vec::new();
        header.extend(BASIC_CLASS.to_be_bytes());
        header.extend(0_u16.to_be_bytes());
        header.extend((body.len() as u64).to_be_bytes());
        let (properties, _) = basic::gen_properties(properties)(Vec::new().into())
            .map_err(|_| WireError::NotAmqp)?
            .into_inner();
        header.extend(properties);
        let mut frames = Vec::new();
        push_frame(
            &mut frames,
            constants::FRAME_METHOD,
            channel,
            &method_bytes(&class)?,
        );
        push_frame(&mut frames, constants::FRAME_HEADER, channel, &header);
        push_frame(&mut frames, constants::FRAME_BODY, channel, body);
        self.stream.write_all(&frames).await?;
        Ok(self.stream.flush().await?)
    }

    /// The next method; heartbeats and the content of returned messages are passed over.
    pub(super) async fn receive(&mut self) -> Result<AMQPClass, WireError> {
        loop {
            let mut envelope = [0; ENVELOPE_BYTES];
            self.fill(&mut envelope).await?;
            let [kind, _, _, a, b, c, d] = envelope;
            if envelope.starts_with(b"AMQP") {
                return Err(WireError::NotAmqp);
            }
            let size = u32::from_be_bytes([a, b, c, d]);
            if size > FRAME_BYTES_MAX || kind > constants::FRAME_HEARTBEAT {
                return Err(WireError::NotAmqp);
            }
            let mut payload = vec![0; usize::try_from(size).map_err(|_| WireError::NotAmqp)? + 1];
            self.fill(&mut payload).await?;
            if payload.pop() != Some(constants::FRAME_END) {
                return Err(WireError::NotAmqp);
            }
            if kind == constants::FRAME_METHOD {
                let (_, class) = parse_class(payload.as_slice()).map_err(|_| WireError::NotAmqp)?;
                return Ok(class);
            }
        }
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<(), WireError> {
        match self.stream.read_exact(buffer).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(WireError::Closed),
            Err(error) => Err(error.into()),
        }
    }
}

fn method_bytes(class: &AMQPClass) -> Result<Vec<u8>, WireError> {
    let written = gen_class(class)(Vec::new().into()).map_err(|_| WireError::NotAmqp)?;
    Ok(written.into_inner().0)
}

fn push_frame(frames: &mut Vec<u8>, kind: u8, channel: ChannelId, payload: &[u8]) {
    frames.push(kind);
    frames.extend(channel.to_be_bytes());
    // What a probe sends has some hundred bytes.
    frames.extend(
        u32::try_from(payload.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    frames.extend(payload);
    frames.push(constants::FRAME_END);
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::confirm;

    fn wire(bytes: &[u8]) -> Wire<tokio_test_stream::Stream> {
        Wire::new(tokio_test_stream::Stream::new(bytes))
    }

    /// A stream that reads what it was given and keeps what is written.
    mod tokio_test_stream {
        use std::io;
        use std::pin::Pin;
        use std::task::{Context, Poll};

        use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

        #[derive(Debug)]
        pub(super) struct Stream {
            to_read: io::Cursor<Vec<u8>>,
            pub(super) written: Vec<u8>,
        }

        impl Stream {
            pub(super) fn new(bytes: &[u8]) -> Self {
                Self {
                    to_read: io::Cursor::new(bytes.to_vec()),
                    written: Vec::new(),
                }
            }
        }

        impl AsyncRead for Stream {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.to_read).poll_read(cx, buf)
            }
        }

        impl AsyncWrite for Stream {
            fn poll_write(
                mut self: Pin<&mut Self>,
                _: &mut Context<'_>,
                bytes: &[u8],
            ) -> Poll<io::Result<usize>> {
                self.written.extend(bytes);
                Poll::Ready(Ok(bytes.len()))
            }

            fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }

            fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
                Poll::Ready(Ok(()))
            }
        }
    }

    #[tokio::test]
    async fn what_is_sent_is_received_the_same() {
        let select = AMQPClass::Confirm(confirm::AMQPMethod::Select(confirm::Select {
            nowait: false,
        }));
        let mut sender = wire(b"");
        sender.send(1, select.clone()).await.unwrap();
        let mut bytes = vec![
            constants::FRAME_HEARTBEAT,
            0,
            0,
            0,
            0,
            0,
            0,
            constants::FRAME_END,
        ];
        bytes.extend(&sender.stream.written);
        assert_eq!(wire(&bytes).receive().await.unwrap(), select);
    }

    #[tokio::test]
    async fn garbage_is_refused_and_never_read_at_length() {
        for garbage in [
            &b"AMQP\x00\x00\x08\x00"[..],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &[1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0],
            &[1, 0, 0, 0, 0, 0, 1, 7, 0],
            &[1, 0, 0, 0, 0, 0, 1, 7, constants::FRAME_END],
        ] {
            assert!(
                matches!(wire(garbage).receive().await, Err(WireError::NotAmqp)),
                "{garbage:?}"
            );
        }
        assert!(matches!(wire(b"").receive().await, Err(WireError::Closed)));
        assert!(matches!(
            wire(&[1, 0, 0, 0, 0, 0, 9, 1]).receive().await,
            Err(WireError::Closed)
        ));
    }
}
