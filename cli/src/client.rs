//! The way to the aggregator, and what to say when there is none.

use std::future::Future;
use std::time::Duration;

use blackstart_config::nearest;
use blackstart_proto::limits::MESSAGE_BYTES_MAX;
use blackstart_proto::transport::{ClientTls, HostPort, Timeouts, TlsFiles, connect};
use blackstart_proto::v1::TopologyRequest;
use blackstart_proto::v1::operator_service_client::OperatorServiceClient;
use tonic::transport::Channel;
use tonic::{Code, Response, Status};

use crate::Connection;
use crate::exit::Exit;
use crate::text::clean;

/// The picture of a large fleet is larger than what agents may send.
const PICTURE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// How long an answer may take: it comes from memory, so only a sick aggregator or path needs longer.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What an operator asks with.
pub(crate) type Client = OperatorServiceClient<Channel>;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Unreachable(String),
    #[error("the aggregator at {address} answers: {message}")]
    Answer { address: String, message: String },
}

impl ClientError {
    pub(crate) const fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Unreachable(_) | Self::Answer { .. } => Exit::CannotSay,
        }
    }

    /// Shows the error with what to try, and ends the command.
    pub(crate) fn show(&self) -> Exit {
        // What an aggregator says may quote what others say.
        let text: String = self
            .to_string()
            .chars()
            .map(|c| if c == '\n' { c } else { clean(c) })
            .collect();
        eprintln!("blackstart: {text}");
        if matches!(self, Self::Unreachable(_)) {
            eprintln!("  without it: `blackstart check` asks this host's probes directly");
        }
        self.exit()
    }
}

/// Connects to the aggregator.
pub(crate) async fn open(connection: &Connection) -> Result<Client, ClientError> {
    let files = match (
        &connection.ca_file,
        &connection.certificate_file,
        &connection.key_file,
    ) {
        (None, None, None) => None,
        (Some(ca_file), Some(certificate_file), Some(key_file)) => Some(TlsFiles {
            ca_file: ca_file.clone(),
            certificate_file: certificate_file.clone(),
            key_file: key_file.clone(),
        }),
        _ => {
            let message = "--ca-file, --certificate-file and --key-file go together: mutual TLS needs all three";
            return Err(ClientError::Usage(message.to_owned()));
        }
    };
    let tls = files
        .as_ref()
        .map(ClientTls::load)
        .transpose()
        .map_err(|error| ClientError::Usage(with_causes(&error)))?;
    open_at(&connection.aggregator, tls.as_ref()).await
}

/// Connects to an address.
pub(crate) async fn open_at(
    address: &HostPort,
    tls: Option<&ClientTls>,
) -> Result<Client, ClientError> {
    let channel = connect(address, tls, Timeouts::default())
        .await
        .map_err(|error| {
            let message = format!("{}\n  {}", error.one_line(), error.help());
            if error.is_retryable() {
                ClientError::Unreachable(message)
            } else {
                ClientError::Usage(message)
            }
        })?;
    Ok(OperatorServiceClient::new(channel)
        .max_decoding_message_size(PICTURE_BYTES_MAX)
        .max_encoding_message_size(MESSAGE_BYTES_MAX))
}

/// An error and everything behind it, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

/// Waits for an answer, no longer than [`ANSWER_MAX`].
pub(crate) async fn answer<T>(
    call: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(ANSWER_MAX, call).await {
        Ok(answer) => answer.map(Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer in time")),
    }
}

/// The component whose id is nearest to one that does not exist, as a hint.
pub(crate) async fn did_you_mean(client: &mut Client, id: &str) -> String {
    let Ok(topology) = answer(client.topology(TopologyRequest {})).await else {
        return String::new();
    };
    let ids = topology
        .components
        .iter()
        .map(|component| component.id.as_str());
    nearest(id, ids).map_or_else(String::new, |near| format!("; did you mean {near:?}?"))
}

/// What the aggregator said instead of an answer.
pub(crate) fn answered(connection: &Connection, status: &Status) -> ClientError {
    let address = connection.aggregator.to_string();
    match status.code() {
        Code::DeadlineExceeded => ClientError::Unreachable(format!(
            "the aggregator at {address} accepts and does not answer within {} s",
            ANSWER_MAX.as_secs()
        )),
        Code::Unavailable => ClientError::Unreachable(format!(
            "the aggregator at {address} went away: {}",
            status.message()
        )),
        Code::NotFound | Code::InvalidArgument => ClientError::Usage(status.message().to_owned()),
        _ => ClientError::Answer {
            address,
            message: format!("{} ({})", status.message(), status.code()),
        },
    }
}
