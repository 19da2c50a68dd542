//! The service that agents call: hands each stream to a session.

use std::pin::Pin;
use std::sync::Arc;

use blackstart_proto::transport::Peer;
use blackstart_proto::v1::agent_service_server::AgentService;
use blackstart_proto::v1::{SessionRequest, SessionResponse};
use futures::{Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming};

use crate::session::Session;
use crate::session::shared::Shared;

/// The service that agents call.
#[derive(Clone)]
pub(crate) struct Agents(Arc<Shared>);

impl Agents {
    pub(crate) const fn new(shared: Arc<Shared>) -> Self {
        Self(shared)
    }
}

#[tonic::async_trait]
impl AgentService for Agents {
    type SessionStream = Pin<Box<dyn Stream<Item = Result<SessionResponse, Status>> + Send>>;

    async fn session(
        &self,
        request: Request<Streaming<SessionRequest>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let peer = Peer::of(&request).cloned();
        let inbound = request
            .into_inner()
            .map(|message| message.map(TryInto::try_into));
        let answers = Session::answers(self.0.clone(), peer, inbound.boxed());
        let answers = answers.map(|answer| answer.map(Into::into));
        Ok(Response::new(Box::pin(answers)))
    }
}
