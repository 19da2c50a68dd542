//! What one run saw of a broker, before it is judged.

use lapin::types::{AMQPValue, FieldTable};

use crate::net::connect::ConnectFailure;
use crate::probe::TimedOut;

/// What one run saw.
#[derive(Debug)]
pub(super) enum Attempt {
    /// There is no connection.
    Unreached(ConnectFailure),
    /// It accepts and then does not answer.
    Silent(TimedOut),
    /// It said no while the session was opened.
    Refused {
        step: &'static str,
        code: u16,
        text: String,
    },
    /// The connection ended or made no sense.
    Broken { step: &'static str, reason: String },
    /// The probe could not ask.
    Local(String),
    /// It speaks AMQP; nobody logged in.
    Greeted(Server),
    /// It accepts connections; it was greeted not long ago, and not again now.
    Accepts,
    /// Logged in and asked.
    Session(Box<Seen>),
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Server {
    pub(super) product: String,
    pub(super) version: String,
}

/// What a session told.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Seen {
    pub(super) server: Server,
    pub(super) login_ms: f64,
    /// Why publishers are blocked.
    pub(super) blocked: Option<String>,
    pub(super) queues: Vec<(String, QueueAnswer)>,
    pub(super) canary: Option<CanaryAnswer>,
    /// Something went wrong behind the login.
    pub(super) broken: Option<String>,
}

/// What is said of a queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum QueueAnswer {
    There { messages: u32, consumers: u32 },
    Refused(String),
}

/// What became of the canary.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum CanaryAnswer {
    Confirmed {
        took_ms: f64,
    },
    /// The broker did not take it.
    Nack,
    NoConfirm(TimedOut),
    Refused(String),
}

impl Server {
    pub(super) fn read(properties: &FieldTable) -> Self {
        let text = |name: &str| match properties.inner().get(name) {
            Some(AMQPValue::LongString(text)) => {
                String::from_utf8_lossy(text.as_bytes()).into_owned()
            }
            Some(AMQPValue::ShortString(text)) => text.to_string(),
            _ => String::new(),
        };
        Self {
            product: text("product"),
            version: text("version"),
        }
    }
}
