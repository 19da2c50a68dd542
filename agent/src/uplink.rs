//! The way to one aggregator: connects, streams what is not acknowledged, and comes back after every break.
//!
//! **Invariant:** an agent never joins a herd: it returns after an exponential back-off with full jitter, or when
//! the aggregator told it to, and not before.

mod all;
mod backoff;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use blackstart_proto::limits::{MESSAGE_BYTES_MAX, SILENCE_MAX};
use blackstart_proto::transport::{
    ClientTls, ConnectError, Dial, HostPort, Timeouts, connect_with,
};
use blackstart_proto::v1::agent_service_client::AgentServiceClient;
use blackstart_proto::v1::{Discovery, Facts as FactsMessage};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;
use tracing::{info, warn};

pub(crate) use all::Uplinks;

use crate::board::Board;
use crate::spool::Spool;
use crate::surroundings::{Draw, Surroundings};
use backoff::Backoff;

/// Why a stream to the aggregator ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UplinkError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the aggregator broke the stream: {0}")]
    Broken(String),
    #[error("the aggregator was silent for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("the aggregator asks to wait {retry_after_ms} ms: {reason}")]
    Wait { retry_after_ms: u32, reason: String },
    #[error("the aggregator refuses this agent: {reason}")]
    Refused { reason: String },
    #[error("the aggregator broke the protocol: {0}")]
    Protocol(&'static str),
}

/// After a refusal: something has to be changed first, by a person.
const AFTER_REFUSAL: Duration = Duration::from_secs(60);

/// What all uplinks of an agent send.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) host: String,
    pub(crate) spool: Arc<Spool>,
    pub(crate) board: Arc<Board>,
    pub(crate) facts: watch::Receiver<FactsMessage>,
    pub(crate) discovery: watch::Receiver<Discovery>,
    /// The versions that this agent speaks; another range than the release's only in tests.
    pub(crate) versions: std::ops::RangeInclusive<u32>,
    pub(crate) surroundings: Surroundings,
}

/// Keeps a stream to one aggregator until told to stop.
pub(crate) async fn run<D: Dial>(
    address: HostPort,
    tls: Option<ClientTls>,
    dialer: D,
    source: Source,
    shutdown: CancellationToken,
) {
    let mut backoff = Backoff::new(source.surroundings.random(Draw::Backoff));
    let name = address.to_string();
    let mut held = None;
    source.board.closed(&name, "not connected yet".to_owned());
    loop {
        let attempt = once(
            &address,
            tls.as_ref(),
            dialer.clone(),
            &source,
            &shutdown,
            &mut backoff,
            &mut held,
        );
        let outcome = tokio::select! {
            outcome = attempt => outcome,
            // The stream itself says goodbye when it is told to stop; this ends an attempt to connect.
            () = stopped_for_long(&shutdown) => return,
        };
        if shutdown.is_cancelled() {
            return;
        }
        let Err(error) = outcome else { return };
        source.board.closed(&name, one_line(&error));
        let wait = match &error {
            UplinkError::Wait {
                retry_after_ms,
                reason,
            } => {
                info!(aggregator = %name, retry_after_ms, reason, "asked to wait");
                Duration::from_millis(u64::from(*retry_after_ms))
            }
            UplinkError::Refused { .. } => {
                warn!(aggregator = %name, %error, "refused");
                AFTER_REFUSAL + backoff.next()
            }
            _ => {
                let wait = backoff.next();
                let text = one_line(&error);
                warn!(aggregator = %name, error = %text, retry_ms = %wait.as_millis(), "no stream");
                wait
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

fn one_line(error: &UplinkError) -> String {
    match error {
        UplinkError::Connect(error) => error.one_line(),
        other => other.to_string(),
    }
}

/// How long a stream may take to say goodbye.
const GOODBYE_MAX: Duration = Duration::from_secs(2);

async fn stopped_for_long(shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    tokio::time::sleep(GOODBYE_MAX).await;
}

async fn once<D: Dial>(
    address: &HostPort,
    tls: Option<&ClientTls>,
    dialer: D,
    source: &Source,
    shutdown: &CancellationToken,
    backoff: &mut Backoff,
    held: &mut Option<Channel>,
) -> Result<(), UplinkError> {
    let channel = match held.take() {
        Some(channel) => channel,
        None => connect_with(dialer, address, tls, Timeouts::default()).await?,
    };
    let client = AgentServiceClient::new(channel.clone())
        .max_decoding_message_size(MESSAGE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX);
    let outcome = stream::run(client, &address.to_string(), source, shutdown, backoff).await;
    if matches!(outcome, Err(UplinkError::Wait { .. })) {
        // A second handshake would cost the aggregator more than everything else in a herd's return.
        *held = Some(channel);
    }
    outcome
}
