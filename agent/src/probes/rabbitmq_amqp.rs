//! `rabbitmq.amqp`: do clients get into RabbitMQ, are publishers blocked, do the queues that matter take messages?
//!
//! ```toml
//! [probe.queue]
//! kind = "rabbitmq.amqp"
//! address = "10.0.0.5:5672"
//! user = "blackstart"
//! password_file = "/etc/blackstart/rabbitmq-password"
//! vhost = "/"                              # default
//! queues = ["orders", "mails"]             # looked at, not touched: messages and consumers
//! canary_queue = "blackstart.canary"       # a confirmed message is published to it in every run
//! log_file = "/var/log/rabbitmq/rabbit@web-1.log"   # on this host: a node that boots is told from one that is gone
//! ```
//!
//! Further keys: `messages_warn` and `messages_fail` (for each of the queues), `tls = true` with the `tls_…` keys.
//!
//! | what it finds | status |
//! | --- | --- |
//! | refused while the log says that the node boots, or waits for other nodes | starting |
//! | refused · accepts and stays silent (stalled) · login refused · virtual host missing or down | failed |
//! | `Connection.Blocked`: an alarm for memory or disk, nobody can publish | failed |
//! | a queue is missing, down or above `messages_fail` | failed; above `messages_warn` degraded |
//! | the canary is not confirmed: a quorum queue without its majority looks healthy everywhere else | failed |
//!
//! A broker tells only those of an alarm that publish. So each run publishes one message, to a routing key that no
//! queue has: it is thrown away, and nothing changes. Only `canary_queue` makes it write something that stays; its messages
//! expire after a minute.
//!
//! Each run opens a connection and ends it. One that is kept would not show that no new client gets in, and would
//! have to be opened again by all probes at once after every restart of a broker.
//!
//! Without `user` only the greeting is asked for, and that every five minutes: RabbitMQ logs a warning for each client
//! that leaves after it. In between it is enough that it accepts.

mod boot;
mod judge;
mod seen;
mod session;
mod wire;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use blackstart_config::{Secret, Section};
use tokio::sync::Semaphore;

use crate::host::HostView;
use crate::net::address::Host;
use crate::net::{Address, TlsClient, connect};
use crate::observation::Observation;
use crate::probe::{Deadline, Discovered, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

use boot::Boot;
use judge::Limits;
use seen::Attempt;

const NAME: &str = "rabbitmq.amqp";

/// The registered port of AMQP.
const PORT: u16 = 5672;

/// The most queues of one probe: two values each, of at most 32.
const QUEUES_MAX: usize = 12;

/// The longest name of a queue (a short string of AMQP), less room for what is put behind it in a value's name.
const QUEUE_BYTES_MAX: usize = 100;

/// How often a broker is greeted to which nobody logs in.
const GREETING_INTERVAL: Duration = Duration::from_secs(300);

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "queue",
    summary: "RabbitMQ lets clients in: alarms, queues, a confirmed message if allowed",
    privilege: Privilege::Helps(
        "to see a node boot: read its log, as a member of the group rabbitmq",
    ),
    interval: Duration::from_secs(15),
    timeout: Duration::from_secs(8),
    configure,
    discover,
    recall: Some(recall),
};

#[derive(Debug)]
struct RabbitmqAmqp {
    component: String,
    address: Address,
    tls: Option<TlsClient>,
    login: Option<Login>,
    queues: Vec<String>,
    canary: Option<String>,
    log_file: Option<PathBuf>,
    limits: Limits,
    /// A disk that hangs costs one thread, not one for each run.
    reading: Arc<Semaphore>,
    /// When it last greeted, where nobody logs in.
    greeted: Mutex<Option<Instant>>,
}

/// How a session is opened.
#[derive(Debug)]
struct Login {
    user: String,
    password: Secret,
    vhost: String,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let address = Address::configure(section, "address", Some(PORT));
    let with_tls = section.boolean("tls").unwrap_or(false);
    let tls = TlsClient::configure(section);
    let user = section.string("user").filter(|user| !user.is_empty());
    let password = section.secret(["password", "password_file", "password_env"]);
    let vhost = section.string("vhost").unwrap_or_else(|| "/".to_owned());
    let queues = section.strings("queues").unwrap_or_default();
    let canary = section
        .string("canary_queue")
        .filter(|name| !name.is_empty());
    let log_file = section.path("log_file");
    let mut messages = |key| {
        let limit = section.integer(key, 0..=i64::from(u32::MAX))?;
        u32::try_from(limit).ok()
    };
    let limits = Limits {
        messages_warn: messages("messages_warn"),
        messages_fail: messages("messages_fail"),
    };
    let login = match (user, password) {
        (Some(user), Some(password)) => Some(Login {
            user,
            password,
            vhost,
        }),
        (Some(_), None) => {
            section.problem(
                "user",
                "needs a password beside it",
                "add password_file or password_env",
            );
            return None;
        }
        (None, Some(_)) => {
            let key = if section.has("password_file") {
                "password_file"
            } else {
                "password_env"
            };
            section.problem(key, "needs a user beside it", "");
            return None;
        }
        (None, None) => None,
    };
    if login.is_none() && (canary.is_some() || !queues.is_empty()) {
        let key = if canary.is_some() {
            "canary_queue"
        } else {
            "queues"
        };
        section.problem(key, "needs a user and a password beside it", "");
        return None;
    }
    if queues.len() > QUEUES_MAX {
        section.problem(
            "queues",
            &format!("at most {QUEUES_MAX} queues"),
            "give the others a probe of their own",
        );
        return None;
    }
    let too_long = |name: &String| name.is_empty() || name.len() > QUEUE_BYTES_MAX;
    if queues.iter().chain(&canary).any(too_long) {
        let key = if queues.iter().any(too_long) {
            "queues"
        } else {
            "canary_queue"
        };
        section.problem(
            key,
            &format!("expected names of 1 to {QUEUE_BYTES_MAX} bytes"),
            "",
        );
        return None;
    }
    Some(Box::new(RabbitmqAmqp {
        component: identity.component.clone(),
        address: address?,
        tls: tls.filter(|_| with_tls),
        login,
        queues,
        canary,
        log_file,
        limits,
        reading: Arc::new(Semaphore::new(1)),
        greeted: Mutex::default(),
    }))
}

impl Probe for RabbitmqAmqp {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let tls = self.tls.as_ref();
            let attempt = match &self.login {
                Some(login) => {
                    let canary = self.canary.as_deref();
                    session::open(&self.address, tls, login, &self.queues, canary, deadline).await
                }
                None => self.greet(deadline).await,
            };
            let boot = match attempt {
                Attempt::Unreached(_) => self.boot(deadline).await,
                _ => None,
            };
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding: judge::judge(&attempt, boot.as_ref(), self.limits),
            }]
        })
    }
}

impl RabbitmqAmqp {
    async fn greet(&self, deadline: Deadline) -> Attempt {
        let remembered = || self.greeted.lock().unwrap_or_else(PoisonError::into_inner);
        let greeted = *remembered();
        if greeted.is_some_and(|at| at.elapsed() < GREETING_INTERVAL) {
            return match connect(&self.address, None, deadline).await {
                Ok(_) => Attempt::Accepts,
                Err(failure) => {
                    *remembered() = None;
                    Attempt::Unreached(failure)
                }
            };
        }
        let attempt = session::greet(&self.address, self.tls.as_ref(), deadline).await;
        *remembered() = matches!(attempt, Attempt::Greeted(_)).then(Instant::now);
        attempt
    }

    async fn boot(&self, deadline: Deadline) -> Option<Boot> {
        let log_file = self.log_file.clone()?;
        let permit = Arc::clone(&self.reading).try_acquire_owned().ok()?;
        let reading = tokio::task::spawn_blocking(move || {
            let _held_until_the_thread_is_free = permit;
            Boot::read(&log_file)
        });
        deadline
            .limit("reading the log", reading)
            .await
            .ok()?
            .ok()?
    }
}

fn discover(view: &HostView, host: &str) -> Vec<Discovered> {
    // The Erlang machine runs much else: it is RabbitMQ where it serves AMQP.
    let listener = view.listening.iter().find(|listener| {
        listener.process.as_deref() == Some("beam.smp") && listener.address.port() == PORT
    });
    let Some(listener) = listener else {
        return Vec::new();
    };
    vec![found_broker(listener.reachable_at(), host)]
}

/// A broker that nobody configured.
fn found_broker(address: SocketAddr, host: &str) -> Discovered {
    let component = format!("{host}/rabbitmq:{PORT}");
    Discovered {
        component: component.clone(),
        component_kind: KIND.component_kind,
        in_host: true,
        uses: Vec::new(),
        trace: Some(address.to_string()),
        probe: Box::new(RabbitmqAmqp {
            component,
            address: Address {
                host: Host::Literal(address.ip()),
                port: PORT,
            },
            tls: None,
            login: None,
            queues: Vec::new(),
            canary: None,
            log_file: None,
            limits: Limits::default(),
            reading: Arc::new(Semaphore::new(1)),
            greeted: Mutex::default(),
        }),
    }
}

/// The address.
fn recall(trace: &str, host: &str) -> Option<Discovered> {
    let address: SocketAddr = trace.parse().ok()?;
    (address.port() == PORT).then(|| found_broker(address, host))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Listener;

    #[test]
    fn an_erlang_machine_is_rabbitmq_where_it_serves_amqp() {
        let listener = |process: &str, address: &str| Listener {
            address: address.parse().unwrap(),
            process: Some(process.to_owned()),
            pid: Some(7),
            arguments: Vec::new(),
        };
        let view = HostView {
            listening: vec![
                listener("beam.smp", "0.0.0.0:25672"),
                listener("beam.smp", "[::]:5672"),
                listener("beam.smp", "0.0.0.0:5672"),
                listener("other", "127.0.0.1:5672"),
            ],
            ..HostView::default()
        };
        let found: Vec<_> = discover(&view, "h")
            .into_iter()
            .map(|found| found.component)
            .collect();
        assert_eq!(found, ["h/rabbitmq:5672"]);
    }
}
