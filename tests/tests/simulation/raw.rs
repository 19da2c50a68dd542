//! Both ends of the protocol by hand, byte for byte: what a release says that does not exist yet, and peers that misbehave.

use std::convert::Infallible;
use std::task::{Context, Poll};

use blackstart_proto::transport::{Timeouts, connect_with, incoming};
use blackstart_proto::v1::{Hello, SessionRequest, SessionResponse};
use bytes::{Buf, BufMut};
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use http::uri::PathAndQuery;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{NamedService, StreamingService};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response, Status, Streaming};
use tower::Service;

use crate::network::{Dialer, Port};
use crate::world::AGGREGATOR;

/// Messages as the bytes that they are.
#[derive(Debug, Clone, Copy, Default)]
struct Bytes;

impl Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining()).to_vec()))
    }
}

/// A field of a message with bytes in it (protobuf's wire type 2).
pub(crate) fn field(number: u64, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    prost::encoding::encode_varint(number << 3 | 2, &mut bytes);
    prost::encoding::encode_varint(content.len() as u64, &mut bytes);
    bytes.extend_from_slice(content);
    bytes
}

/// A message and a field that this release does not know.
pub(crate) fn with_more(message: &impl Message) -> Vec<u8> {
    let mut bytes = message.encode_to_vec();
    bytes.extend(field(900, b"of a later release"));
    bytes
}

/// A connection to the aggregator.
pub(crate) async fn connect() -> Channel {
    let address = AGGREGATOR.parse().unwrap();
    connect_with(Dialer::default(), &address, None, Timeouts::default())
        .await
        .unwrap()
}

/// An agent's stream by hand.
pub(crate) struct Peer {
    say: mpsc::Sender<Vec<u8>>,
    answers: Streaming<Vec<u8>>,
}

impl Peer {
    /// Opens a stream whose first message is this. An aggregator answers a stream at once, so that one without a first
    /// message is opened as well.
    pub(crate) async fn open(channel: Channel, first: Option<Vec<u8>>) -> Self {
        let (say, said) = mpsc::channel(64);
        if let Some(first) = first {
            say.send(first).await.unwrap();
        }
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/blackstart.v1.AgentService/Session");
        let request = Request::new(ReceiverStream::new(said));
        let answer = client.streaming(request, path, Bytes).await.unwrap();
        Self {
            say,
            answers: answer.into_inner(),
        }
    }

    pub(crate) async fn say(&self, message: Vec<u8>) {
        self.say.send(message).await.unwrap();
    }

    /// The next answer; `None` at the end of the stream.
    pub(crate) async fn hear(&mut self) -> Option<SessionResponse> {
        let bytes = self.answers.message().await.unwrap()?;
        Some(SessionResponse::decode(&bytes[..]).unwrap())
    }
}

/// A hello as this release says it.
pub(crate) fn hello(host: &str, versions: (u32, u32)) -> Hello {
    Hello {
        protocol_min: versions.0,
        protocol_max: versions.1,
        host: host.to_owned(),
        boot_id: "boot".to_owned(),
        incarnation: 7,
        spooled_incarnations: vec![7],
        sent_boottime_us: 1_000_000,
        ..Hello::default()
    }
}

/// What an aggregator made by hand does with a stream: it gets what the agent says and says what it wants.
pub(crate) type Conversation =
    fn(mpsc::Receiver<SessionRequest>, mpsc::Sender<Vec<u8>>) -> BoxFuture<'static, ()>;

/// An aggregator made by hand.
#[derive(Clone)]
struct Scripted(Conversation);

impl NamedService for Scripted {
    const NAME: &'static str = "blackstart.v1.AgentService";
}

impl Service<http::Request<Body>> for Scripted {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let scripted = self.clone();
        Box::pin(async move {
            let mut server = tonic::server::Grpc::new(Bytes);
            Ok(server.streaming(scripted, request).await)
        })
    }
}

impl StreamingService<Vec<u8>> for Scripted {
    type Response = Vec<u8>;
    type ResponseStream = BoxStream<'static, Result<Vec<u8>, Status>>;
    type Future = BoxFuture<'static, Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: Request<Streaming<Vec<u8>>>) -> Self::Future {
        let (hear, heard) = mpsc::channel(64);
        let (say, said) = mpsc::channel(64);
        let mut inbound = request.into_inner();
        tokio::spawn(async move {
            while let Ok(Some(bytes)) = inbound.message().await {
                let message = SessionRequest::decode(&bytes[..]).unwrap();
                if hear.send(message).await.is_err() {
                    return;
                }
            }
        });
        tokio::spawn((self.0)(heard, say));
        let answers = futures::StreamExt::map(ReceiverStream::new(said), Ok);
        Box::pin(async { Ok(Response::new(Box::pin(answers) as Self::ResponseStream)) })
    }
}

/// Runs an aggregator made by hand.
pub(crate) async fn aggregate(conversation: Conversation) -> turmoil::Result {
    let port = Port::bind(blackstart_proto::limits::AGGREGATOR_PORT).await?;
    Server::builder()
        .add_service(Scripted(conversation))
        .serve_with_incoming(incoming(port, None))
        .await?;
    Ok(())
}
