//! One AMQP session: log in, look at queues, publish a message to nowhere, and one to the canary queue if there is one.

use lapin::BasicProperties;
use lapin::protocol::{AMQPClass, basic, channel, confirm, connection, queue};
use lapin::types::{AMQPValue, ChannelId, FieldTable};
use secrecy::ExposeSecret as _;

use super::Login;
use super::seen::{Attempt, CanaryAnswer, QueueAnswer, Seen, Server};
use super::wire::{FRAME_BYTES_MAX, Wire, WireError};
use crate::net::connect::ConnectFailure;
use crate::net::{Address, Stream, TlsClient, connect, milliseconds};
use crate::probe::{Deadline, TimedOut};

/// A routing key that no queue has: what is published there is thrown away, and the answer tells whether publishers
/// are blocked.
const NOWHERE: &str = "blackstart.nowhere";

/// A canary that nobody fetches is gone by itself: sixty seconds, in milliseconds.
const CANARY_EXPIRES_MS: &str = "60000";

/// A session that has come to an end, and where.
#[derive(Debug)]
enum Ended {
    Silent(TimedOut),
    Wire(&'static str, WireError),
    Closed {
        step: &'static str,
        code: u16,
        text: String,
    },
}

impl From<TimedOut> for Ended {
    fn from(timed_out: TimedOut) -> Self {
        Self::Silent(timed_out)
    }
}

struct Session {
    wire: Wire<Stream>,
    deadline: Deadline,
    channel: ChannelId,
    blocked: Option<String>,
}

/// Connects and hears the greeting; does not log in.
pub(super) async fn greet(
    address: &Address,
    tls: Option<&TlsClient>,
    deadline: Deadline,
) -> Attempt {
    let mut session = match Session::connect(address, tls, deadline).await {
        Ok(session) => session,
        Err(failure) => return Attempt::Unreached(failure),
    };
    match session.hear_greeting().await {
        Ok(server) => Attempt::Greeted(server),
        Err(ended) => ended.into(),
    }
}

/// Logs in and asks everything.
pub(super) async fn open(
    address: &Address,
    tls: Option<&TlsClient>,
    login: &Login,
    queues: &[String],
    canary: Option<&str>,
    deadline: Deadline,
) -> Attempt {
    let begun = std::time::Instant::now();
    let password = match login.password.read() {
        Ok(password) => password,
        Err(error) => return Attempt::Local(error.to_string()),
    };
    let mut session = match Session::connect(address, tls, deadline).await {
        Ok(session) => session,
        Err(failure) => return Attempt::Unreached(failure),
    };
    let response = format!("\0{}\0{}", login.user, password.expose_secret());
    let server = match session.log_in(response, &login.vhost).await {
        Ok(server) => server,
        Err(ended) => return ended.into(),
    };
    let mut seen = Seen {
        server,
        login_ms: milliseconds(begun.elapsed()),
        ..Seen::default()
    };
    if let Err(ended) = session.ask(queues, canary, &mut seen).await {
        seen.broken = Some(ended.to_string());
    }
    seen.blocked = session.blocked.take();
    session.close(seen.blocked.is_some()).await;
    Attempt::Session(Box::new(seen))
}

impl Session {
    async fn connect(
        address: &Address,
        tls: Option<&TlsClient>,
        deadline: Deadline,
    ) -> Result<Self, ConnectFailure> {
        let connected = connect(address, tls, deadline).await?;
        Ok(Self {
            wire: Wire::new(connected.stream),
            deadline,
            channel: 0,
            blocked: None,
        })
    }

    async fn hear_greeting(&mut self) -> Result<Server, Ended> {
        const STEP: &str = "waiting for the greeting";
        self.wire
            .send_header()
            .await
            .map_err(|error| Ended::Wire(STEP, error))?;
        match self.receive(STEP).await? {
            AMQPClass::Connection(connection::AMQPMethod::Start(start)) => {
                Ok(Server::read(&start.server_properties))
            }
            _ => Err(Ended::Wire(STEP, WireError::NotAmqp)),
        }
    }

    async fn log_in(&mut self, response: String, vhost: &str) -> Result<Server, Ended> {
        const STEP: &str = "logging in";
        const OPENING: &str = "opening the virtual host";
        let server = self.hear_greeting().await?;
        let start_ok = connection::StartOk {
            client_properties: client_properties(),
            mechanism: "PLAIN".into(),
            response: response.into(),
            locale: "en_US".into(),
        };
        self.send(
            STEP,
            0,
            AMQPClass::Connection(connection::AMQPMethod::StartOk(start_ok)),
        )
        .await?;
        let tune = match self.receive(STEP).await? {
            AMQPClass::Connection(connection::AMQPMethod::Tune(tune)) => tune,
            _ => return Err(Ended::Wire(STEP, WireError::NotAmqp)),
        };
        let frame_max = if tune.frame_max == 0 {
            FRAME_BYTES_MAX
        } else {
            tune.frame_max.min(FRAME_BYTES_MAX)
        };
        // No heartbeats: the session is over before the first would be due.
        let tune_ok = connection::TuneOk {
            channel_max: tune.channel_max,
            frame_max,
            heartbeat: 0,
        };
        self.send(
            OPENING,
            0,
            AMQPClass::Connection(connection::AMQPMethod::TuneOk(tune_ok)),
        )
        .await?;
        let open = connection::Open {
            virtual_host: vhost.into(),
        };
        self.send(
            OPENING,
            0,
            AMQPClass::Connection(connection::AMQPMethod::Open(open)),
        )
        .await?;
        match self.receive(OPENING).await? {
            AMQPClass::Connection(connection::AMQPMethod::OpenOk(_)) => Ok(server),
            _ => Err(Ended::Wire(OPENING, WireError::NotAmqp)),
        }
    }

    async fn ask(
        &mut self,
        queues: &[String],
        canary: Option<&str>,
        seen: &mut Seen,
    ) -> Result<(), Ended> {
        self.open_channel().await?;
        for name in queues {
            let answer = self.look_at(name).await?;
            seen.queues.push((name.clone(), answer));
        }
        // Last, as a blocked connection answers nothing more.
        if let Some(name) = canary {
            seen.canary = Some(self.send_canary(name).await?);
        } else {
            self.publish_to_nowhere().await?;
        }
        Ok(())
    }

    async fn open_channel(&mut self) -> Result<(), Ended> {
        const STEP: &str = "opening a channel";
        self.channel += 1;
        let open = channel::AMQPMethod::Open(channel::Open {});
        self.send(STEP, self.channel, AMQPClass::Channel(open))
            .await?;
        match self.receive(STEP).await? {
            AMQPClass::Channel(channel::AMQPMethod::OpenOk(_)) => Ok(()),
            _ => Err(Ended::Wire(STEP, WireError::NotAmqp)),
        }
    }

    /// Asks for a queue without making one: a passive declaration.
    async fn look_at(&mut self, name: &str) -> Result<QueueAnswer, Ended> {
        const STEP: &str = "looking at a queue";
        let declare = queue::Declare {
            queue: name.into(),
            passive: true,
            durable: false,
            exclusive: false,
            auto_delete: false,
            nowait: false,
            arguments: FieldTable::default(),
        };
        self.send(
            STEP,
            self.channel,
            AMQPClass::Queue(queue::AMQPMethod::Declare(declare)),
        )
        .await?;
        match self.receive(STEP).await? {
            AMQPClass::Queue(queue::AMQPMethod::DeclareOk(found)) => Ok(QueueAnswer::There {
                messages: found.message_count,
                consumers: found.consumer_count,
            }),
            AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                self.reopen_channel().await?;
                Ok(QueueAnswer::Refused(close.reply_text.to_string()))
            }
            _ => Err(Ended::Wire(STEP, WireError::NotAmqp)),
        }
    }

    async fn reopen_channel(&mut self) -> Result<(), Ended> {
        let close_ok = channel::AMQPMethod::CloseOk(channel::CloseOk {});
        self.send(
            "closing a channel",
            self.channel,
            AMQPClass::Channel(close_ok),
        )
        .await?;
        self.open_channel().await
    }

    async fn select_confirms(&mut self) -> Result<(), Ended> {
        const STEP: &str = "asking for confirms";
        let select = confirm::AMQPMethod::Select(confirm::Select { nowait: false });
        self.send(STEP, self.channel, AMQPClass::Confirm(select))
            .await?;
        match self.receive(STEP).await? {
            AMQPClass::Confirm(confirm::AMQPMethod::SelectOk(_)) => Ok(()),
            _ => Err(Ended::Wire(STEP, WireError::NotAmqp)),
        }
    }

    /// Publishes to nobody. A broker under an alarm answers with `Connection.Blocked` instead of a confirm; a user
    /// who may not publish is not told, and that is no fault of the broker.
    async fn publish_to_nowhere(&mut self) -> Result<(), Ended> {
        self.select_confirms().await?;
        match self.publish(NOWHERE, &BasicProperties::default()).await? {
            CanaryAnswer::NoConfirm(timed_out) if self.blocked.is_none() => {
                Err(Ended::Silent(timed_out))
            }
            _ => Ok(()),
        }
    }

    async fn send_canary(&mut self, name: &str) -> Result<CanaryAnswer, Ended> {
        // Published to a queue that is not there it would be confirmed all the same.
        if let QueueAnswer::Refused(text) = self.look_at(name).await? {
            return Ok(CanaryAnswer::Refused(text));
        }
        self.select_confirms().await?;
        // Persistent, as what matters is.
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_expiration(CANARY_EXPIRES_MS.into());
        self.publish(name, &properties).await
    }

    async fn publish(
        &mut self,
        routing_key: &str,
        properties: &BasicProperties,
    ) -> Result<CanaryAnswer, Ended> {
        const STEP: &str = "waiting for a confirm";
        let begun = std::time::Instant::now();
        let publish = basic::Publish {
            exchange: "".into(),
            routing_key: routing_key.into(),
            mandatory: false,
            immediate: false,
        };
        let sent = self
            .wire
            .publish(self.channel, publish, properties, b"blackstart")
            .await;
        sent.map_err(|error| Ended::Wire(STEP, error))?;
        loop {
            let received = match self.receive_any(STEP).await {
                Ok(received) => received,
                Err(Ended::Silent(timed_out)) => return Ok(CanaryAnswer::NoConfirm(timed_out)),
                Err(ended) => return Err(ended),
            };
            match received {
                AMQPClass::Basic(basic::AMQPMethod::Ack(_)) => {
                    return Ok(CanaryAnswer::Confirmed {
                        took_ms: milliseconds(begun.elapsed()),
                    });
                }
                AMQPClass::Basic(basic::AMQPMethod::Nack(_)) => return Ok(CanaryAnswer::Nack),
                AMQPClass::Channel(channel::AMQPMethod::Close(close)) => {
                    return Ok(CanaryAnswer::Refused(close.reply_text.to_string()));
                }
                AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked)) => {
                    self.blocked = Some(blocked.reason.to_string());
                    let timed_out = TimedOut {
                        step: STEP,
                        budget: begun.elapsed(),
                    };
                    return Ok(CanaryAnswer::NoConfirm(timed_out));
                }
                _ => {}
            }
        }
    }

    /// Says goodbye; a server that does not answer has been told. One that has blocked the connection reads it no
    /// more, and is not waited for.
    async fn close(mut self, is_blocked: bool) {
        let close = connection::Close {
            reply_code: 200,
            reply_text: "goodbye".into(),
            class_id: 0,
            method_id: 0,
        };
        let close = AMQPClass::Connection(connection::AMQPMethod::Close(close));
        if self.send("closing", 0, close).await.is_err() || is_blocked {
            return;
        }
        while let Ok(received) = self.receive_any("closing").await {
            if matches!(
                received,
                AMQPClass::Connection(connection::AMQPMethod::CloseOk(_))
            ) {
                return;
            }
        }
    }

    async fn send(
        &mut self,
        step: &'static str,
        channel: ChannelId,
        class: AMQPClass,
    ) -> Result<(), Ended> {
        let sent = self
            .deadline
            .limit(step, self.wire.send(channel, class))
            .await?;
        sent.map_err(|error| Ended::Wire(step, error))
    }

    /// The next method but for what a broker says in between.
    async fn receive(&mut self, step: &'static str) -> Result<AMQPClass, Ended> {
        loop {
            match self.receive_any(step).await? {
                AMQPClass::Connection(connection::AMQPMethod::Blocked(blocked)) => {
                    self.blocked = Some(blocked.reason.to_string());
                }
                AMQPClass::Connection(connection::AMQPMethod::Unblocked(_)) => self.blocked = None,
                other => return Ok(other),
            }
        }
    }

    async fn receive_any(&mut self, step: &'static str) -> Result<AMQPClass, Ended> {
        let received = self.deadline.limit(step, self.wire.receive()).await?;
        match received.map_err(|error| Ended::Wire(step, error))? {
            AMQPClass::Connection(connection::AMQPMethod::Close(close)) => Err(Ended::Closed {
                step,
                code: close.reply_code,
                text: close.reply_text.to_string(),
            }),
            other => Ok(other),
        }
    }
}

/// A broker tells only those of an alarm, and why a login was refused, that say they understand it.
fn client_properties() -> FieldTable {
    let mut capabilities = FieldTable::default();
    for name in [
        "connection.blocked",
        "authentication_failure_close",
        "publisher_confirms",
    ] {
        capabilities.insert(name.into(), AMQPValue::Boolean(true));
    }
    let mut properties = FieldTable::default();
    properties.insert("product".into(), AMQPValue::LongString("blackstart".into()));
    properties.insert(
        "connection_name".into(),
        AMQPValue::LongString("blackstart".into()),
    );
    properties.insert("capabilities".into(), AMQPValue::FieldTable(capabilities));
    properties
}

impl From<Ended> for Attempt {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Silent(timed_out) => Self::Silent(timed_out),
            Ended::Wire(step, error) => Self::Broken {
                step,
                reason: error.to_string(),
            },
            Ended::Closed { step, code, text } => Self::Refused { step, code, text },
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Silent(timed_out) => timed_out.fmt(f),
            Self::Wire(step, error) => write!(f, "{step}: {error}"),
            Self::Closed { step, text, .. } => write!(f, "{step}: {text}"),
        }
    }
}
