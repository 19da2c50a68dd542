//! The verdict on a RabbitMQ node as its clients see it. Pure.

use super::boot::Boot;
use super::seen::{Attempt, CanaryAnswer, QueueAnswer, Seen, Server};
use crate::observation::Finding;

/// The limits of the verdict.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Limits {
    /// Messages in one of the queues.
    pub(super) messages_warn: Option<u32>,
    pub(super) messages_fail: Option<u32>,
}

pub(super) fn judge(attempt: &Attempt, boot: Option<&Boot>, limits: Limits) -> Finding {
    match attempt {
        Attempt::Unreached(failure) => match boot {
            Some(boot) if !failure.is_local() => Finding::starting(boot.to_string(), None),
            _ => failure.finding(),
        },
        Attempt::Silent(timed_out) => Finding::failed(format!(
            "stalled: TCP connects, but AMQP is silent: {timed_out}"
        )),
        Attempt::Refused { step, code, text } => Finding::failed(refused(step, *code, text)),
        Attempt::Broken { step, reason } => Finding::failed(format!("{step}: {reason}")),
        Attempt::Local(reason) => Finding::unknown(reason.as_str()),
        Attempt::Greeted(server) => Finding::ok(format!(
            "{} greets; nobody logged in, as no user is configured",
            named(server)
        )),
        Attempt::Accepts => {
            Finding::ok("accepts connections; nobody logged in, as no user is configured")
        }
        Attempt::Session(seen) => with_values(inside(seen, limits), seen),
    }
}

/// The codes are those of AMQP 0-9-1 (`amqp0-9-1.xml`, constants).
fn refused(step: &str, code: u16, text: &str) -> String {
    const CONNECTION_FORCED: u16 = 320;
    const ACCESS_REFUSED: u16 = 403;
    const NOT_ALLOWED: u16 = 530;
    match code {
        ACCESS_REFUSED => format!("locked out: {text}"),
        NOT_ALLOWED => format!("the virtual host cannot be used: {text}"),
        CONNECTION_FORCED => format!("shutting down: {text}"),
        _ => format!("{step}: {text}"),
    }
}

fn named(server: &Server) -> String {
    let named = format!("{} {}", server.product, server.version);
    if named.trim().is_empty() {
        "an AMQP server".to_owned()
    } else {
        named.trim().to_owned()
    }
}

fn inside(seen: &Seen, limits: Limits) -> Finding {
    if let Some(reason) = &seen.blocked {
        return Finding::failed(format!("publishers are blocked: {reason}"));
    }
    match &seen.canary {
        Some(CanaryAnswer::Nack) => {
            return Finding::failed(
                "the canary queue does not take messages: nack (a quorum queue without its majority?)",
            );
        }
        Some(CanaryAnswer::NoConfirm(timed_out)) => {
            return Finding::failed(format!(
                "the canary queue does not take messages: {timed_out} (a quorum queue without its majority?)"
            ));
        }
        Some(CanaryAnswer::Refused(text)) => {
            return Finding::failed(format!("the canary queue refuses: {text}"));
        }
        Some(CanaryAnswer::Confirmed { .. }) | None => {}
    }
    if let Some(broken) = &seen.broken {
        return Finding::failed(format!("logged in, then {broken}"));
    }
    let (mut failed, mut degraded) = (Vec::new(), Vec::new());
    for (name, answer) in &seen.queues {
        match answer {
            QueueAnswer::Refused(text) => failed.push(format!("queue {name}: {text}")),
            QueueAnswer::There { messages, .. } => {
                let holds = || format!("queue {name} holds {messages} messages");
                if limits.messages_fail.is_some_and(|limit| *messages > limit) {
                    failed.push(holds());
                } else if limits.messages_warn.is_some_and(|limit| *messages > limit) {
                    degraded.push(holds());
                }
            }
        }
    }
    if !failed.is_empty() {
        failed.append(&mut degraded);
        return Finding::failed(failed.join("; "));
    }
    if !degraded.is_empty() {
        return Finding::degraded(degraded.join("; "));
    }
    let takes = if seen.canary.is_some() {
        "confirms the canary"
    } else {
        "lets clients in"
    };
    Finding::ok(format!("{} {takes}", named(&seen.server)))
}

fn with_values(finding: Finding, seen: &Seen) -> Finding {
    let mut finding = finding.with("login_ms", seen.login_ms);
    if let Some(CanaryAnswer::Confirmed { took_ms }) = seen.canary {
        finding = finding.with("confirm_ms", took_ms);
    }
    for (name, answer) in &seen.queues {
        if let QueueAnswer::There {
            messages,
            consumers,
        } = answer
        {
            finding = finding
                .with(format!("{name}_messages"), f64::from(*messages))
                .with(format!("{name}_consumers"), f64::from(*consumers));
        }
    }
    finding
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::net::connect::ConnectFailure;
    use crate::observation::Status;
    use crate::probe::TimedOut;

    const LIMITS: Limits = Limits {
        messages_warn: Some(100),
        messages_fail: Some(1_000),
    };

    fn seen() -> Seen {
        let server = Server {
            product: "RabbitMQ".to_owned(),
            version: "3.10.8".to_owned(),
        };
        Seen {
            server,
            ..Seen::default()
        }
    }

    fn timed_out() -> TimedOut {
        TimedOut {
            step: "waiting for a confirm",
            budget: Duration::from_secs(5),
        }
    }

    #[track_caller]
    fn assert_verdict(attempt: &Attempt, status: Status, detail: &str) {
        let finding = judge(attempt, None, LIMITS);
        assert_eq!((finding.status, finding.detail.as_str()), (status, detail));
    }

    #[test]
    fn every_end_of_a_session_has_its_words() {
        let refused = |code, text: &str| Attempt::Refused {
            step: "logging in",
            code,
            text: text.to_owned(),
        };
        for (attempt, status, detail) in [
            (
                refused(403, "ACCESS_REFUSED - Login was refused"),
                Status::Failed,
                "locked out: ACCESS_REFUSED - Login was refused",
            ),
            (
                refused(530, "NOT_ALLOWED - vhost x not found"),
                Status::Failed,
                "the virtual host cannot be used: NOT_ALLOWED - vhost x not found",
            ),
            (
                refused(320, "CONNECTION_FORCED"),
                Status::Failed,
                "shutting down: CONNECTION_FORCED",
            ),
            (
                refused(541, "INTERNAL_ERROR"),
                Status::Failed,
                "logging in: INTERNAL_ERROR",
            ),
            (
                Attempt::Silent(timed_out()),
                Status::Failed,
                "stalled: TCP connects, but AMQP is silent: waiting for a confirm: no answer within 5 s",
            ),
            (
                Attempt::Local("no secret".to_owned()),
                Status::Unknown,
                "no secret",
            ),
            (
                Attempt::Greeted(seen().server),
                Status::Ok,
                "RabbitMQ 3.10.8 greets; nobody logged in, as no user is configured",
            ),
            (
                Attempt::Session(Box::new(seen())),
                Status::Ok,
                "RabbitMQ 3.10.8 lets clients in",
            ),
        ] {
            assert_verdict(&attempt, status, detail);
        }
    }

    #[test]
    fn blocked_publishers_and_a_silent_canary_are_failures() {
        let with = |change: fn(&mut Seen)| {
            let mut seen = seen();
            change(&mut seen);
            Attempt::Session(Box::new(seen))
        };
        for (attempt, status, detail) in [
            (
                with(|seen| seen.blocked = Some("low on memory".to_owned())),
                Status::Failed,
                "publishers are blocked: low on memory",
            ),
            (
                with(|seen| seen.canary = Some(CanaryAnswer::Nack)),
                Status::Failed,
                "the canary queue does not take messages: nack (a quorum queue without its majority?)",
            ),
            (
                with(|seen| seen.canary = Some(CanaryAnswer::NoConfirm(timed_out()))),
                Status::Failed,
                "the canary queue does not take messages: waiting for a confirm: no answer within 5 s (a quorum queue without its majority?)",
            ),
            (
                with(|seen| seen.canary = Some(CanaryAnswer::Refused("NOT_FOUND".to_owned()))),
                Status::Failed,
                "the canary queue refuses: NOT_FOUND",
            ),
            (
                with(|seen| seen.canary = Some(CanaryAnswer::Confirmed { took_ms: 1.0 })),
                Status::Ok,
                "RabbitMQ 3.10.8 confirms the canary",
            ),
            (
                with(|seen| seen.broken = Some("closing: x".to_owned())),
                Status::Failed,
                "logged in, then closing: x",
            ),
        ] {
            assert_verdict(&attempt, status, detail);
        }
    }

    #[test]
    fn a_queue_is_too_full_above_the_limits() {
        for (messages, status) in [
            (100, Status::Ok),
            (101, Status::Degraded),
            (1_000, Status::Degraded),
            (1_001, Status::Failed),
        ] {
            let queues = vec![(
                "q".to_owned(),
                QueueAnswer::There {
                    messages,
                    consumers: 0,
                },
            )];
            let attempt = Attempt::Session(Box::new(Seen { queues, ..seen() }));
            assert_eq!(judge(&attempt, None, LIMITS).status, status, "{messages}");
        }
        let queues = vec![(
            "q".to_owned(),
            QueueAnswer::Refused("NOT_FOUND - no queue 'q'".to_owned()),
        )];
        assert_verdict(
            &Attempt::Session(Box::new(Seen { queues, ..seen() })),
            Status::Failed,
            "queue q: NOT_FOUND - no queue 'q'",
        );
    }

    #[test]
    fn a_node_that_boots_is_starting() {
        let refused = Attempt::Unreached(ConnectFailure::Refused {
            peer: ([127, 0, 0, 1], 5672).into(),
        });
        let finding = judge(&refused, Some(&Boot::Booting), LIMITS);
        assert_eq!(
            (finding.status, finding.detail.as_str()),
            (Status::Starting, "boots")
        );
        assert_eq!(judge(&refused, None, LIMITS).status, Status::Failed);
    }
}
