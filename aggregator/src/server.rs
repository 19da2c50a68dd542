//! The gRPC server: what one connection may ask for, and how much.

use std::future::Future;
use std::io;
use std::time::Duration;

use blackstart_proto::limits::{HEARTBEAT_INTERVAL, MESSAGE_BYTES_MAX};
use blackstart_proto::transport::Io;
use blackstart_proto::v1::agent_service_server::AgentServiceServer;
use blackstart_proto::v1::operator_service_server::OperatorServiceServer;
use futures::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use tonic::transport::Server;

use crate::agents::Agents;
use crate::health::v1::health_server::HealthServer;
use crate::operator::Operator;

/// Streams of one connection: an agent has one, an operator's tools a handful.
const STREAMS_MAX: u32 = 64;

/// The headers of a request: a gRPC path and a few words.
const HEADER_BYTES_MAX: u32 = 16 * 1_024;

/// What a stream may send ahead of being read: a few full batches.
const STREAM_WINDOW_BYTES: u32 = 256 * 1_024;

/// What a connection may send ahead of being read.
const CONNECTION_WINDOW_BYTES: u32 = 512 * 1_024;

/// A question of an operator: at most a thousand ids.
const QUESTION_BYTES_MAX: usize = 512 * 1_024;

/// A connection whose other end is gone without a word is found by HTTP/2 pings.
const KEEPALIVE_INTERVAL: Duration = HEARTBEAT_INTERVAL.saturating_mul(2);

/// How long the answer to such a ping may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves connections until `shutdown`.
pub(crate) async fn serve_on<S>(
    connections: impl Stream<Item = io::Result<Io<S>>> + Send,
    agents: Agents,
    operator: Operator,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), tonic::transport::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let agents = AgentServiceServer::new(agents).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let health = HealthServer::new(operator.clone()).max_decoding_message_size(QUESTION_BYTES_MAX);
    let operator =
        OperatorServiceServer::new(operator).max_decoding_message_size(QUESTION_BYTES_MAX);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(blackstart_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(crate::health::DESCRIPTORS)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => Some(reflection),
        Err(error) => {
            tracing::warn!(%error, "no reflection");
            None
        }
    };
    Server::builder()
        .accept_http1(false)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(agents)
        .add_service(operator)
        .add_service(health)
        .add_optional_service(reflection)
        .serve_with_incoming_shutdown(connections, shutdown)
        .await
}
