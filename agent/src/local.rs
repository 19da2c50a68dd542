//! Answers on this host, with no network and no aggregator: the gRPC health protocol, the last results, the agent's state.
//!
//! **Invariant:** nothing depends on it. Where the socket cannot be had the agent goes on, and says so.

mod health;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blackstart_proto::limits::MESSAGE_BYTES_MAX;
use blackstart_proto::v1::local_service_server::{LocalService, LocalServiceServer};
use blackstart_proto::v1::{
    Facts as FactsMessage, FactsRequest, FactsResponse, ResultsRequest, ResultsResponse,
    StateRequest, StateResponse,
};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_server::HealthServer;

use crate::board::{Board, Subject};
use crate::spool::Spool;
use crate::wire;
use health::HealthOfComponents;

/// Streams of one connection: a caller has a question or two, and may watch some components.
const STREAMS_MAX: u32 = 64;

/// How long answers under way may take when the agent stops.
const STREAMS_END_WITHIN: Duration = Duration::from_millis(500);

/// The longest question: a thousand ids.
const QUESTION_BYTES_MAX: usize = 512 * 1024;

/// The most words in one question.
const WANTED_MAX: usize = 1_000;

/// What is answered from.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    pub(crate) host: String,
    pub(crate) state_dir: PathBuf,
    /// The configuration file; empty where there is none.
    pub(crate) configuration_file: String,
    pub(crate) started: Instant,
    pub(crate) spool: Arc<Spool>,
    pub(crate) board: Arc<Board>,
    pub(crate) facts: watch::Receiver<FactsMessage>,
}

/// Answers until `shutdown`, and takes the socket away then. Where there can be no socket, that is a problem on the board.
pub(crate) async fn serve(local: Local, shutdown: CancellationToken) {
    let board = local.board.clone();
    let problem = match socket::Socket::bind(&local.state_dir) {
        Err(error) => error.to_string(),
        Ok((socket, connections)) => {
            let ended = answer(local, connections, shutdown.clone()).await;
            drop(socket);
            match ended {
                Err(error) if !shutdown.is_cancelled() => error.to_string(),
                _ => return,
            }
        }
    };
    let told = format!("nobody can ask this agent on its host: {problem}");
    board.set_problem(Subject::Socket, Some(told));
}

async fn answer(
    local: Local,
    connections: socket::Connections,
    shutdown: CancellationToken,
) -> Result<(), tonic::transport::Error> {
    let health =
        HealthOfComponents::new(local.spool.clone(), local.board.clone(), shutdown.clone());
    let health = HealthServer::new(health).max_decoding_message_size(QUESTION_BYTES_MAX);
    let local = LocalServiceServer::new(local).max_decoding_message_size(QUESTION_BYTES_MAX);
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(blackstart_proto::DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1();
    let reflection = match reflection {
        Ok(reflection) => Some(reflection),
        Err(error) => {
            tracing::warn!(%error, "no reflection");
            None
        }
    };
    let server = Server::builder()
        .accept_http1(false)
        .max_concurrent_streams(STREAMS_MAX)
        .add_service(local)
        .add_service(health)
        .add_optional_service(reflection)
        .serve_with_incoming_shutdown(connections, shutdown.clone().cancelled_owned());
    tokio::select! {
        ended = server => ended,
        () = overdue(&shutdown) => Ok(()),
    }
}

/// A caller that does not close its connection holds nobody up.
async fn overdue(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(STREAMS_END_WITHIN).await;
}

#[tonic::async_trait]
impl LocalService for Local {
    async fn results(
        &self,
        request: Request<ResultsRequest>,
    ) -> Result<Response<ResultsResponse>, Status> {
        let wanted = request.into_inner().wanted;
        if wanted.len() > WANTED_MAX {
            return Err(Status::invalid_argument(format!(
                "{} words, and {WANTED_MAX} are read at most; ask with none for everything",
                wanted.len()
            )));
        }
        let latest = self.spool.latest();
        let room = MESSAGE_BYTES_MAX / 2;
        Ok(Response::new(wire::local::results(latest, &wanted, room)))
    }

    async fn facts(&self, _: Request<FactsRequest>) -> Result<Response<FactsResponse>, Status> {
        let facts = Some(self.facts.borrow().clone());
        Ok(Response::new(FactsResponse { facts }))
    }

    async fn state(&self, _: Request<StateRequest>) -> Result<Response<StateResponse>, Status> {
        Ok(Response::new(wire::local::state(self)))
    }
}
