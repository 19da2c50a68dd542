//! What a unit's state says of it. Pure.

use std::time::Duration;

use blackstart_config::show_duration;

use super::{Expected, Seen};
use crate::observation::Finding;

/// The whole decision; `restarted` is how often it was restarted lately.
pub(super) fn judge(seen: &Seen, restarted: Option<u64>, expected: Expected) -> Finding {
    let mut finding = verdict(seen, restarted, expected);
    if let Some(restarts) = seen.restarts {
        finding = finding.with("restarts", f64::from(restarts));
    }
    if let Some(since_s) = seen.since_s {
        #[expect(clippy::cast_precision_loss, reason = "an uptime in seconds")]
        let since_s = since_s as f64;
        finding = finding.with("in_state_s", since_s);
    }
    finding
}

fn verdict(seen: &Seen, restarted: Option<u64>, expected: Expected) -> Finding {
    match seen.load.as_str() {
        "not-found" => return Finding::failed("no such unit is installed"),
        "masked" if seen.active != "active" => {
            return Finding::failed("masked: it cannot be started");
        }
        "bad-setting" | "error" => {
            return Finding::failed(format!("its unit file is broken ({})", seen.load));
        }
        _ => {}
    }
    let sub = &seen.sub;
    match seen.active.as_str() {
        "active" | "reloading" | "refreshing" => match restarted {
            Some(times) => Finding::degraded(format!(
                "{sub}, but restarted {} lately{}",
                show_times(times),
                why(seen)
            )),
            None => Finding::ok(sub.clone()),
        },
        "activating" if sub.starts_with("auto-restart") => {
            let restarts = u64::from(seen.restarts.unwrap_or(0));
            Finding::failed(format!(
                "dies again and again: restarted {}{}",
                show_times(restarts),
                why(seen)
            ))
        }
        "activating" => match restarted {
            Some(times) if times > 1 => Finding::failed(format!(
                "dies again and again: restarted {}{}",
                show_times(times),
                why(seen)
            )),
            _ => Finding::starting(format!("starting{}", since(seen)), None),
        },
        "deactivating" => Finding::degraded(format!("stopping{}", since(seen))),
        "maintenance" => Finding::degraded("under maintenance".to_owned()),
        "failed" => Finding::failed(format!("failed{}{}", why(seen), since(seen))),
        "inactive" if seen.queued => {
            Finding::starting("waits for other units to start first", None)
        }
        "inactive" => match (expected, seen.result.as_deref()) {
            (Expected::Done, Some("success")) if seen.since_s.is_some() => Finding::ok("done"),
            (Expected::Done, _) => Finding::starting("has not run yet", None),
            (Expected::Active, _) => Finding::failed(format!("stopped{}", since(seen))),
        },
        other => Finding::unknown(format!(
            "in a state that this agent does not know: {other} ({sub})"
        )),
    }
}

/// ` (exit-code, status 1)`; empty when the last end was a good one.
fn why(seen: &Seen) -> String {
    let status = seen.exit_status.filter(|status| *status != 0);
    match (
        seen.result.as_deref().filter(|result| *result != "success"),
        status,
    ) {
        (Some(result), Some(status)) => format!(" ({result}, status {status})"),
        (Some(result), None) => format!(" ({result})"),
        (None, Some(status)) => format!(" (status {status})"),
        (None, None) => String::new(),
    }
}

fn since(seen: &Seen) -> String {
    seen.since_s.map_or(String::new(), |seconds| {
        format!(" since {}", show_since(seconds))
    })
}

/// Two digits are enough to see whether it was just now or long ago.
fn show_since(seconds: u64) -> String {
    let unit = match seconds {
        0..120 => 1,
        120..7_200 => 60,
        7_200..172_800 => 3_600,
        _ => 86_400,
    };
    show_duration(Duration::from_secs(seconds - seconds % unit))
}

fn show_times(times: u64) -> String {
    if times == 1 {
        "once".to_owned()
    } else {
        format!("{times} times")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Status::{self, Degraded, Failed, Ok, Starting};

    fn seen(active: &str, sub: &str) -> Seen {
        Seen {
            load: "loaded".to_owned(),
            active: active.to_owned(),
            sub: sub.to_owned(),
            since_s: Some(90),
            queued: false,
            result: Some("success".to_owned()),
            exit_status: Some(0),
            restarts: Some(0),
        }
    }

    fn dead(active: &str, sub: &str) -> Seen {
        Seen {
            result: Some("exit-code".to_owned()),
            exit_status: Some(1),
            restarts: Some(12),
            ..seen(active, sub)
        }
    }

    #[test]
    fn every_state_has_its_verdict() {
        use Expected::{Active, Done};
        let table: Vec<(Seen, Option<u64>, Expected, Status, &str)> = vec![
            (seen("active", "running"), None, Active, Ok, "running"),
            (seen("active", "exited"), None, Done, Ok, "exited"),
            (
                seen("active", "running"),
                Some(1),
                Active,
                Degraded,
                "running, but restarted once lately",
            ),
            (
                seen("activating", "start-pre"),
                None,
                Active,
                Starting,
                "starting since 90s",
            ),
            (
                dead("activating", "auto-restart"),
                Some(3),
                Active,
                Failed,
                "dies again and again: restarted 12 times (exit-code, status 1)",
            ),
            (
                dead("failed", "failed"),
                None,
                Active,
                Failed,
                "failed (exit-code, status 1) since 90s",
            ),
            (
                Seen {
                    since_s: Some(7_300),
                    ..seen("inactive", "dead")
                },
                None,
                Active,
                Failed,
                "stopped since 2h",
            ),
            (
                Seen {
                    queued: true,
                    ..seen("inactive", "dead")
                },
                None,
                Active,
                Starting,
                "waits for other units to start first",
            ),
            (seen("inactive", "dead"), None, Done, Ok, "done"),
            (
                Seen {
                    since_s: None,
                    ..seen("inactive", "dead")
                },
                None,
                Done,
                Starting,
                "has not run yet",
            ),
            (
                seen("deactivating", "stop"),
                None,
                Active,
                Degraded,
                "stopping since 90s",
            ),
            (
                Seen {
                    load: "not-found".to_owned(),
                    ..seen("inactive", "dead")
                },
                None,
                Active,
                Failed,
                "no such unit is installed",
            ),
            (
                Seen {
                    load: "masked".to_owned(),
                    ..seen("inactive", "dead")
                },
                None,
                Active,
                Failed,
                "masked: it cannot be started",
            ),
        ];
        for (seen, restarted, expected, status, detail) in table {
            let finding = judge(&seen, restarted, expected);
            assert_eq!(
                (finding.status, finding.detail.as_str()),
                (status, detail),
                "{seen:?}"
            );
        }
    }
}
