//! The ways in which a session ends, and what of each is shown.

use std::time::Duration;

use blackstart_proto::limits::SILENCE_MAX;

use super::handshake::HELLO_TIMEOUT;
use crate::ingest::Closed;
use crate::wire::{Invalid, RefusalKind};

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the agent closed it")]
    Gone,
    #[error("nothing was heard for {} s", SILENCE_MAX.as_secs())]
    Silent,
    #[error("it said nothing within {} s", HELLO_TIMEOUT.as_secs())]
    NoHello,
    #[error("a newer stream of this host took its place")]
    Superseded,
    #[error("to come back in {retry_after:?}: {reason}")]
    Wait {
        retry_after: Duration,
        reason: String,
    },
    #[error("refused: {reason}")]
    Refused { kind: RefusalKind, reason: String },
    #[error("broken: {}", .0.message())]
    Failed(tonic::Status),
}

impl End {
    /// What of it is shown beside the agent.
    pub(super) fn problem(&self) -> String {
        match self {
            Self::Refused { reason, .. } => reason.clone(),
            // With a source it is the connection that broke, and not what was said on it.
            Self::Failed(status) if std::error::Error::source(status).is_none() => {
                status.message().to_owned()
            }
            Self::Silent => self.to_string(),
            Self::Failed(_) | Self::Gone | Self::NoHello | Self::Superseded | Self::Wait { .. } => {
                String::new()
            }
        }
    }
}

impl From<Invalid> for End {
    fn from(invalid: Invalid) -> Self {
        Self::Refused {
            kind: RefusalKind::Invalid,
            reason: invalid.to_string(),
        }
    }
}

impl From<Closed> for End {
    fn from(_: Closed) -> Self {
        Self::Gone
    }
}
