//! `rabbitmq.management`: what RabbitMQ knows of itself: alarms, nodes, partitions, majorities, depth.
//!
//! ```toml
//! [probe.queue-management]
//! kind = "rabbitmq.management"
//! url = "http://10.0.0.5:15672"
//! user = "blackstart"               # with the tag `monitoring`
//! password_file = "/etc/blackstart/rabbitmq-password"
//! ```
//!
//! Further keys: `messages_warn` and `messages_fail` (for each queue), the `tls_…` keys.
//!
//! | what it finds | status |
//! | --- | --- |
//! | an alarm (memory, disk) of any node: publishers are blocked | failed |
//! | a network partition | failed |
//! | a quorum queue with fewer than a majority of its members: it takes no messages, and is called `running` all the same | failed |
//! | a virtual host that is down | failed |
//! | a node that does not run · queues that would lose their majority with this node | degraded |
//! | a queue above `messages_fail` | failed; above `messages_warn` degraded |
//! | the login is refused | unknown: this says nothing of the queues |
//!
//! It asks five questions, each with an answer of a bounded size: of the queues only the hundred with the most messages.
//! A broker with many thousand queues computes their statistics anyway; with `management_agent.disable_metrics_collector`
//! it does not, and depths are then left out.

mod answer;
mod judge;

use std::time::Duration;

use blackstart_config::Section;

use crate::host::HostView;
use crate::net::http::{HttpFailure, Options, Url, get};
use crate::observation::Observation;
use crate::probe::{Deadline, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

use answer::{Answer, Seen};
use judge::Limits;

const NAME: &str = "rabbitmq.management";

/// The most of one answer that is read: a hundred queues of a cluster of seven with long names.
const BODY_BYTES_MAX: usize = 512 * 1024;

const ALARMS: &str = "/api/health/checks/alarms";
const VIRTUAL_HOSTS: &str = "/api/health/checks/virtual-hosts";
const CRITICAL: &str = "/api/health/checks/node-is-quorum-critical";
const NODES: &str = "/api/nodes?columns=name,running,partitions,mem_alarm,disk_free_alarm";
const QUEUES: &str = "/api/queues?page=1&page_size=100&sort=messages&sort_reverse=true&columns=\
    name,vhost,type,state,messages,messages_unacknowledged,members,online";

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "queue",
    summary: "RabbitMQ's own view: alarms, nodes, partitions, majorities, depth of queues",
    privilege: Privilege::None,
    interval: Duration::from_secs(15),
    timeout: Duration::from_secs(8),
    configure,
    // Without a login it tells nothing.
    discover: |_: &HostView, _| Vec::new(),
    recall: None,
};

#[derive(Debug)]
struct RabbitmqManagement {
    component: String,
    url: Url,
    options: Options,
    limits: Limits,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let url = Url::configure(section, "url");
    let options = Options::configure(section);
    let mut messages = |key| {
        let limit = section.integer(key, 0..=i64::from(u32::MAX))?;
        u64::try_from(limit).ok()
    };
    let limits = Limits {
        messages_warn: messages("messages_warn"),
        messages_fail: messages("messages_fail"),
    };
    let options = options?;
    if options.basic_auth.is_none() && options.bearer.is_none() {
        section.problem(
            "user",
            "is missing",
            "add user and password_file, or bearer_token_file",
        );
        return None;
    }
    Some(Box::new(RabbitmqManagement {
        component: identity.component.clone(),
        url: url?,
        options: Options {
            body_bytes_max: BODY_BYTES_MAX,
            ..options
        },
        limits,
    }))
}

impl Probe for RabbitmqManagement {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding: judge::judge(&self.observe(deadline).await, self.limits),
            }]
        })
    }
}

impl RabbitmqManagement {
    async fn observe(&self, deadline: Deadline) -> Result<Seen, HttpFailure> {
        let alarms = self.ask(ALARMS, deadline).await?;
        if !alarms.is_whole() {
            // Neither yes nor no: the others would not be either.
            return Ok(Seen {
                alarms,
                ..Seen::default()
            });
        }
        // What a hanging node does not answer is left out; the first answer says that it can be asked.
        let rest = deadline.share(0.9);
        let (nodes, virtual_hosts, critical, queues) = tokio::join!(
            self.ask(NODES, rest),
            self.ask(VIRTUAL_HOSTS, rest),
            self.ask(CRITICAL, rest),
            self.ask(QUEUES, rest),
        );
        let read = |answer: Result<Answer, HttpFailure>| match answer {
            Ok(answer) => answer,
            Err(failure) => Answer::failed(&failure),
        };
        Ok(Seen {
            alarms,
            nodes: read(nodes),
            virtual_hosts: read(virtual_hosts),
            critical: read(critical),
            queues: read(queues),
        })
    }

    async fn ask(&self, path: &str, deadline: Deadline) -> Result<Answer, HttpFailure> {
        let url = self
            .url
            .with_path(path)
            .map_err(|_| HttpFailure::NotSendable)?;
        get(&url, &self.options, deadline)
            .await
            .map(|answer| Answer::read(&answer))
    }
}
