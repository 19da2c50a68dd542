//! What an exchange with a DNS server says of it. Pure.

use hickory_proto::op::ResponseCode;

use super::{Expected, Match, Mode, Seen};
use crate::net::dns::extended::ExtendedError;
use crate::net::dns::{Answer, Exchange, serial_is_older, show_rcode};
use crate::observation::Finding;

/// The most records that a detail shows.
const SHOWN_MAX: usize = 4;

/// The whole decision.
pub(super) fn judge(seen: &Seen, expected: &Expected) -> Finding {
    let finding = match &seen.main {
        Exchange::Answered(answer) if answer.truncated && !seen.over_tcp => {
            truncated(seen, expected)
        }
        Exchange::Answered(answer) => judge_answer(answer, seen.unchecked.as_ref(), expected),
        Exchange::Silent(timed_out) => silent(seen, &timed_out.to_string()),
        other => Finding::failed(describe(other)),
    };
    let finding = match &seen.main {
        Exchange::Local(_) => Finding::unknown(describe(&seen.main)),
        _ => finding,
    };
    match answer_of(seen) {
        Some(answer) => with_values(finding, answer),
        None => finding,
    }
}

/// The answer whose figures are shown: the whole one where there are two.
fn answer_of(seen: &Seen) -> Option<&Answer> {
    match (&seen.main, &seen.tcp) {
        (Exchange::Answered(cut), Some(Exchange::Answered(whole))) if cut.truncated => Some(whole),
        (Exchange::Answered(answer), _) => Some(answer),
        _ => None,
    }
}

fn with_values(finding: Finding, answer: &Answer) -> Finding {
    let mut finding = finding.with("rtt_ms", answer.rtt_ms);
    if let Some(ttl_s) = answer.ttl_s {
        finding = finding.with("ttl_s", f64::from(ttl_s));
    }
    if let Some(serial) = answer.serial {
        finding = finding.with("serial", f64::from(serial));
    }
    finding
}

fn describe(exchange: &Exchange) -> String {
    match exchange {
        Exchange::Answered(answer) => show_rcode(answer.rcode),
        Exchange::Silent(timed_out) => timed_out.to_string(),
        Exchange::Refused => "nothing listens on the port: connection refused".to_owned(),
        Exchange::Unreachable(reason) => format!("no route ({reason})"),
        Exchange::Closed => "the server closed the connection without an answer".to_owned(),
        Exchange::Garbage(reason) => format!("what answers does not speak DNS ({reason})"),
        Exchange::Local(reason) => format!("cannot ask: {reason}"),
    }
}

fn silent(seen: &Seen, timed_out: &str) -> Finding {
    let answered = |exchange: &Option<Exchange>| matches!(exchange, Some(Exchange::Answered(_)));
    if answered(&seen.tcp) {
        return Finding::failed(format!(
            "{timed_out}, but TCP answers: UDP is filtered or lost"
        ));
    }
    if answered(&seen.unrecursive) {
        return Finding::failed(format!(
            "{timed_out}; the server itself lives: those whom it asks for this name are silent"
        ));
    }
    Finding::failed(match &seen.tcp {
        Some(Exchange::Silent(_)) => format!("{timed_out}; TCP is silent too"),
        Some(Exchange::Refused) => format!("{timed_out}; TCP is refused"),
        _ => timed_out.to_owned(),
    })
}

fn truncated(seen: &Seen, expected: &Expected) -> Finding {
    match &seen.tcp {
        Some(Exchange::Answered(answer)) => judge_answer(answer, None, expected),
        Some(other) => Finding::failed(format!(
            "the answer is truncated over UDP, and over TCP: {}: nobody gets the whole of it",
            describe(other)
        )),
        None => Finding::unknown("the answer is truncated over UDP; TCP was not asked"),
    }
}

fn judge_answer(answer: &Answer, unchecked: Option<&Exchange>, expected: &Expected) -> Finding {
    if answer.rcode != expected.rcode {
        return wrong_rcode(answer, unchecked, expected);
    }
    if answer.rcode != ResponseCode::NoError {
        return Finding::ok(format!("{}, as expected", show_rcode(answer.rcode)));
    }
    if expected.mode == Mode::Authoritative && !answer.authoritative {
        return Finding::failed("answers without authority: the zone is not served here (lame)");
    }
    if answer.records.is_empty() {
        let why = if expected.mode != Mode::Authoritative && !answer.recursion_available {
            ", and does not resolve for others"
        } else {
            ""
        };
        return Finding::failed(format!(
            "the name has no {} record{why}",
            expected.record_type
        ));
    }
    if let Some(finding) = wrong_records(answer, expected) {
        return finding;
    }
    let shown = show_list(&answer.records);
    if let Some((least, serial)) = expected.serial_min.zip(answer.serial)
        && serial_is_older(serial, least)
    {
        return Finding::degraded(format!(
            "an old copy of the zone: serial {serial}, expected {least} or newer"
        ));
    }
    if let Some(stale) = answer.extended.iter().find(|error| error.is_stale()) {
        return Finding::degraded(format!(
            "{shown}, but stale ({stale}): the servers that know cannot be reached"
        ));
    }
    if expected.dnssec && !answer.authenticated {
        return Finding::degraded(format!(
            "{shown}, but the signatures were not checked (no AD flag)"
        ));
    }
    Finding::ok(shown)
}

fn wrong_rcode(answer: &Answer, unchecked: Option<&Exchange>, expected: &Expected) -> Finding {
    let why = in_words(&answer.extended);
    let rcode = show_rcode(answer.rcode);
    let authoritative = expected.mode == Mode::Authoritative;
    if expected.rcode != ResponseCode::NoError {
        return Finding::failed(format!(
            "{rcode}, expected {}{why}",
            show_rcode(expected.rcode)
        ));
    }
    match answer.rcode {
        ResponseCode::ServFail => {
            let answers_unchecked = matches!(unchecked, Some(Exchange::Answered(answer)) if answer.rcode == ResponseCode::NoError);
            if answers_unchecked || answer.extended.iter().any(ExtendedError::is_dnssec) {
                let cure = if answers_unchecked {
                    ": without the check it answers"
                } else {
                    ""
                };
                Finding::failed(format!("SERVFAIL: DNSSEC validation fails{why}{cure}"))
            } else if authoritative {
                Finding::failed(format!(
                    "SERVFAIL{why}: the zone is configured and cannot be served: not loaded, or a secondary's copy that expired"
                ))
            } else {
                Finding::failed(format!("SERVFAIL{why}: it cannot resolve this name"))
            }
        }
        ResponseCode::NXDomain | ResponseCode::Refused if expected.mode == Mode::FoundResolver => {
            Finding::degraded(format!(
                "answers, but does not resolve the root: {rcode}{why}"
            ))
        }
        ResponseCode::NXDomain => {
            Finding::failed(format!("NXDOMAIN{why}: the name does not exist"))
        }
        ResponseCode::Refused if authoritative => Finding::failed(format!(
            "REFUSED{why}: not a zone of this server, or not for this client"
        )),
        ResponseCode::Refused => {
            Finding::failed(format!("REFUSED{why}: it does not resolve for this client"))
        }
        _ => Finding::failed(format!("{rcode}{why}")),
    }
}

fn wrong_records(answer: &Answer, expected: &Expected) -> Option<Finding> {
    let (how, records) = expected.records.as_ref()?;
    let right = match how {
        Match::Same => answer.records == *records,
        Match::Contains => records.iter().all(|record| answer.records.contains(record)),
    };
    (!right).then(|| {
        Finding::failed(format!(
            "wrong answer: {}, expected {}",
            show_list(&answer.records),
            show_list(records)
        ))
    })
}

fn show_list(records: &[String]) -> String {
    let mut shown = records
        .iter()
        .take(SHOWN_MAX)
        .cloned()
        .collect::<Vec<_>>()
        .join(", ");
    if records.len() > SHOWN_MAX {
        shown.push_str(&format!(" and {} more", records.len() - SHOWN_MAX));
    }
    shown
}

fn in_words(errors: &[ExtendedError]) -> String {
    if errors.is_empty() {
        return String::new();
    }
    let shown: Vec<_> = errors.iter().map(ToString::to_string).collect();
    format!(" ({})", shown.join("; "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observation::Status;
    use crate::probe::TimedOut;

    fn answer(rcode: ResponseCode, records: &[&str]) -> Answer {
        Answer {
            rcode,
            authoritative: true,
            truncated: false,
            recursion_available: true,
            authenticated: false,
            records: records.iter().map(|record| (*record).to_owned()).collect(),
            ttl_s: Some(60),
            serial: None,
            extended: Vec::new(),
            rtt_ms: 0.5,
        }
    }

    fn good() -> Answer {
        answer(ResponseCode::NoError, &["10.0.0.1"])
    }

    fn extended(code: u16) -> Vec<ExtendedError> {
        vec![ExtendedError {
            code,
            text: String::new(),
        }]
    }

    fn seen(main: Exchange) -> Seen {
        Seen {
            main,
            over_tcp: false,
            tcp: None,
            unchecked: None,
            unrecursive: None,
        }
    }

    fn silence() -> Exchange {
        Exchange::Silent(TimedOut {
            step: "asking over UDP",
            budget: Duration::from_secs(3),
        })
    }

    fn expected(mode: Mode) -> Expected {
        Expected {
            mode,
            record_type: "A",
            rcode: ResponseCode::NoError,
            records: Some((Match::Same, vec!["10.0.0.1".to_owned()])),
            serial_min: None,
            dnssec: false,
        }
    }

    #[test]
    fn every_exchange_has_its_verdict() {
        use Mode::{Authoritative, FoundResolver, Resolver};
        use Status::{Degraded, Failed, Ok, Unknown};
        let answered = |answer: Answer| seen(Exchange::Answered(answer));
        let servfail = answer(ResponseCode::ServFail, &[]);
        let cut = Answer {
            truncated: true,
            ..answer(ResponseCode::NoError, &[])
        };
        for (seen, mode, status, detail) in [
            (answered(good()), Resolver, Ok, "10.0.0.1"),
            (
                answered(answer(ResponseCode::NoError, &["10.0.0.2"])),
                Resolver,
                Failed,
                "wrong answer: 10.0.0.2, expected 10.0.0.1",
            ),
            (
                answered(answer(ResponseCode::NoError, &[])),
                Resolver,
                Failed,
                "the name has no A record",
            ),
            (
                answered(Answer {
                    authoritative: false,
                    ..good()
                }),
                Authoritative,
                Failed,
                "answers without authority: the zone is not served here (lame)",
            ),
            (
                answered(answer(ResponseCode::NXDomain, &[])),
                Resolver,
                Failed,
                "NXDOMAIN: the name does not exist",
            ),
            (
                answered(answer(ResponseCode::Refused, &[])),
                FoundResolver,
                Degraded,
                "answers, but does not resolve the root: REFUSED",
            ),
            (
                answered(Answer {
                    extended: extended(22),
                    ..servfail.clone()
                }),
                Resolver,
                Failed,
                "SERVFAIL (EDE 22 no reachable authority): it cannot resolve this name",
            ),
            (
                Seen {
                    unchecked: Some(Exchange::Answered(good())),
                    ..answered(Answer {
                        extended: extended(7),
                        ..servfail.clone()
                    })
                },
                Resolver,
                Failed,
                "SERVFAIL: DNSSEC validation fails (EDE 7 signature expired): without the check it answers",
            ),
            (
                answered(Answer {
                    extended: extended(3),
                    ..good()
                }),
                Resolver,
                Degraded,
                "10.0.0.1, but stale (EDE 3 stale answer): the servers that know cannot be reached",
            ),
            (
                Seen {
                    tcp: Some(Exchange::Refused),
                    ..answered(cut.clone())
                },
                Resolver,
                Failed,
                "the answer is truncated over UDP, and over TCP: nothing listens on the port: connection refused: nobody gets the whole of it",
            ),
            (
                Seen {
                    tcp: Some(Exchange::Answered(good())),
                    ..answered(cut)
                },
                Resolver,
                Ok,
                "10.0.0.1",
            ),
            (
                Seen {
                    tcp: Some(Exchange::Answered(good())),
                    ..seen(silence())
                },
                Resolver,
                Failed,
                "asking over UDP: no answer within 3 s, but TCP answers: UDP is filtered or lost",
            ),
            (
                Seen {
                    unrecursive: Some(Exchange::Answered(servfail)),
                    ..seen(silence())
                },
                Resolver,
                Failed,
                "asking over UDP: no answer within 3 s; the server itself lives: those whom it asks for this name are silent",
            ),
            (
                seen(Exchange::Refused),
                Resolver,
                Failed,
                "nothing listens on the port: connection refused",
            ),
            (
                seen(Exchange::Local("too many open files".to_owned())),
                Resolver,
                Unknown,
                "cannot ask: too many open files",
            ),
        ] {
            let finding = judge(&seen, &expected(mode));
            assert_eq!(
                (finding.status, finding.detail.as_str()),
                (status, detail),
                "{seen:?}"
            );
        }
    }

    #[test]
    fn a_serial_on_the_limit_is_new_enough() {
        let expected = Expected {
            serial_min: Some(7),
            records: None,
            ..expected(Mode::Authoritative)
        };
        for (serial, status) in [(6, Status::Degraded), (7, Status::Ok), (8, Status::Ok)] {
            let seen = seen(Exchange::Answered(Answer {
                serial: Some(serial),
                ..good()
            }));
            assert_eq!(judge(&seen, &expected).status, status);
        }
    }
}
