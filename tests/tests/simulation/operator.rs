//! Somebody who looks at the aggregator's picture all the time, and what is to be seen in it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use blackstart_proto::transport::{Timeouts, connect_with};
use blackstart_proto::v1::operator_service_client::OperatorServiceClient;
use blackstart_proto::v1::{
    AgentState, ComponentState, Condition, StatusRequest, StatusResponse, WatchStatusRequest,
};

use crate::network::Dialer;
use crate::world::AGGREGATOR;

/// How long the operator waits before it asks again an aggregator that did not answer.
const ASK_AGAIN: Duration = Duration::from_millis(50);

/// What the operator saw last, and how often it saw something.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) picture: StatusResponse,
    pub(crate) looks: u64,
}

/// Looks at the picture, whatever happens to the aggregator: whenever it changes, or with a pause between two looks.
pub(crate) async fn watch(seen: Arc<Mutex<Seen>>, pause: Option<Duration>) -> turmoil::Result {
    let address = AGGREGATOR.parse()?;
    let note = |picture| {
        let mut seen = seen.lock().unwrap();
        seen.picture = picture;
        seen.looks += 1;
    };
    loop {
        let connected = connect_with(Dialer::default(), &address, None, Timeouts::default()).await;
        if let Ok(channel) = connected {
            let mut client =
                OperatorServiceClient::new(channel).max_decoding_message_size(64 << 20);
            if let Some(pause) = pause {
                while let Ok(answer) = client.status(StatusRequest::default()).await {
                    note(answer.into_inner());
                    tokio::time::sleep(pause).await;
                }
            } else if let Ok(pictures) = client.watch_status(WatchStatusRequest::default()).await {
                let mut pictures = pictures.into_inner();
                while let Ok(Some(answer)) = pictures.message().await {
                    note(answer.status.unwrap());
                }
            }
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// The condition of a component in a picture.
pub(crate) fn condition(picture: &StatusResponse, id: &str) -> Option<Condition> {
    component(picture, id).map(ComponentState::condition)
}

/// A component in a picture.
fn component<'a>(picture: &'a StatusResponse, id: &str) -> Option<&'a ComponentState> {
    picture
        .components
        .iter()
        .find(|component| component.id == id)
}

/// An agent in a picture.
pub(crate) fn agent<'a>(picture: &'a StatusResponse, host: &str) -> Option<&'a AgentState> {
    picture.agents.iter().find(|agent| agent.host == host)
}

/// Whether an agent's stream is open.
pub(crate) fn is_connected(picture: &StatusResponse, host: &str) -> bool {
    agent(picture, host).is_some_and(|agent| agent.connected)
}
