//! `http.get`: does the page answer, with the right status and content, in time, under a certificate that still holds?
//!
//! ```toml
//! [probe.shop]
//! kind = "http.get"
//! url = "https://shop.corp.test/health"
//! expect_status = ["200-299"]     # default: 200-399
//! expect_body = "\"ready\":true"  # a part of the body, letter by letter; no pattern
//! ```
//!
//! Further keys: `refuse_body`, `slow_after`, `certificate_warn` (default 14 days: degraded), `certificate_fail`,
//! `follow_redirects` (how many; default none), `headers`, `user` with `password_file`, `bearer_token_file`, the `tls_…`
//! keys. Only the first 64 KiB of a body are read.

use std::time::Duration;

use blackstart_config::{Section, show_duration};
use http::{HeaderName, HeaderValue, header};

use crate::host::HostView;
use crate::net::connect::seconds_until;
use crate::net::http::{HttpAnswer, HttpFailure, Options, Url, get};
use crate::observation::{Finding, Observation};
use crate::probe::{Deadline, Privilege, Probe, ProbeIdentity, ProbeKind, Run, Target};

const NAME: &str = "http.get";

/// The most redirects that may be asked for: more is a loop (browsers stop at 20, curl's users at 10).
const REDIRECTS_MAX: i64 = 10;

/// A certificate that has fewer days left than this should have been renewed: Let's Encrypt's renewals begin at thirty.
const CERTIFICATE_WARN: Duration = Duration::from_secs(14 * 86_400);

const DAYS: std::ops::RangeInclusive<Duration> =
    Duration::ZERO..=Duration::from_secs(3_650 * 86_400);
const SLOW: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(300);

/// The registry's entry.
pub static KIND: ProbeKind = ProbeKind {
    name: NAME,
    component_kind: "service",
    summary: "a page answers over HTTP or HTTPS, with the right status and content",
    privilege: Privilege::None,
    interval: Duration::from_secs(10),
    timeout: Duration::from_secs(10),
    configure,
    discover: |_: &HostView, _| Vec::new(),
    recall: None,
};

#[derive(Debug)]
struct HttpGet {
    component: String,
    url: Url,
    options: Options,
    redirects: i64,
    expected: Expected,
}

#[derive(Debug, Clone, PartialEq)]
struct Expected {
    /// Ranges of status codes, both ends included.
    status: Vec<(u16, u16)>,
    body: Option<String>,
    not_body: Option<String>,
    slow_after: Option<Duration>,
    certificate_warn: Duration,
    certificate_fail: Option<Duration>,
}

fn configure(section: &mut Section<'_>, identity: &ProbeIdentity) -> Option<Box<dyn Probe>> {
    let url = Url::configure(section, "url");
    let options = Options::configure(section);
    let headers = headers(section);
    let redirects = section
        .integer("follow_redirects", 0..=REDIRECTS_MAX)
        .unwrap_or(0);
    let status = expected_status(section);
    let expected = Expected {
        status: Vec::new(),
        body: section
            .string("expect_body")
            .filter(|text| !text.is_empty()),
        not_body: section
            .string("refuse_body")
            .filter(|text| !text.is_empty()),
        slow_after: section.duration("slow_after", SLOW),
        certificate_warn: section
            .duration("certificate_warn", DAYS)
            .unwrap_or(CERTIFICATE_WARN),
        certificate_fail: section.duration("certificate_fail", DAYS),
    };
    Some(Box::new(HttpGet {
        component: identity.component.clone(),
        url: url?,
        options: Options {
            headers: headers?,
            ..options?
        },
        redirects,
        expected: Expected {
            status: status?,
            ..expected
        },
    }))
}

fn headers(section: &mut Section<'_>) -> Option<Vec<(HeaderName, HeaderValue)>> {
    let mut headers = Vec::new();
    for (name, value) in section.labels("headers") {
        let header = HeaderName::try_from(name.as_str())
            .ok()
            .zip(HeaderValue::try_from(value).ok());
        match header {
            Some((header::AUTHORIZATION | header::COOKIE, _)) => {
                // Named, not shown.
                section.problem_at(
                    section.line(),
                    "headers",
                    "must hold no secret",
                    "use bearer_token_file, or user and password_file",
                );
                return None;
            }
            Some(header) => headers.push(header),
            None => {
                section.problem(
                    "headers",
                    &format!("{name:?} cannot be sent as a header"),
                    "",
                );
                return None;
            }
        }
    }
    Some(headers)
}

fn expected_status(section: &mut Section<'_>) -> Option<Vec<(u16, u16)>> {
    const KEY: &str = "expect_status";
    let Some(texts) = section.strings(KEY) else {
        return (!section.has(KEY)).then(|| vec![(200, 399)]);
    };
    let mut ranges = Vec::with_capacity(texts.len());
    for text in &texts {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        match (first.trim().parse(), last.trim().parse()) {
            (Ok(first @ 100..=599), Ok(last @ 100..=599)) if first <= last => {
                ranges.push((first, last))
            }
            _ => {
                section.problem(
                    KEY,
                    "expected status codes from 100 to 599, like [\"200-299\", \"401\"]",
                    "",
                );
                return None;
            }
        }
    }
    if ranges.is_empty() {
        section.problem(KEY, "must not be empty", "");
        return None;
    }
    Some(ranges)
}

impl Probe for HttpGet {
    fn targets(&self) -> Vec<Target> {
        vec![Target {
            component: self.component.clone(),
            check: NAME,
        }]
    }

    fn run(&self, deadline: Deadline) -> Run<'_> {
        Box::pin(async move {
            let finding = match self.observe(deadline).await {
                Ok(answer) => {
                    let left = answer.certificate_expires.map(seconds_until);
                    let shown = self.options.without_secrets(&answer.body);
                    let page = Page::of(&answer, &shown, left);
                    answer.add_to(judge(&page, &self.expected))
                }
                Err(failure) => failure.finding(),
            };
            vec![Observation {
                component: self.component.clone(),
                check: NAME.into(),
                finding,
            }]
        })
    }
}

impl HttpGet {
    async fn observe(&self, deadline: Deadline) -> Result<HttpAnswer, HttpFailure> {
        let mut answer = get(&self.url, &self.options, deadline).await?;
        let mut url = self.url.clone();
        for _ in 0..self.redirects {
            let location = answer
                .headers
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok());
            let next = match location {
                Some(location) if (300..400).contains(&answer.status) => url.follow(location),
                _ => break,
            };
            let Ok(next) = next else { break };
            // A password is for the server that it was configured for, and for no other.
            answer = if next.address() == url.address() && next.is_tls() == url.is_tls() {
                get(&next, &self.options, deadline).await?
            } else {
                let bare = Options {
                    body_bytes_max: self.options.body_bytes_max,
                    ..Options::default()
                };
                get(&next, &bare, deadline).await?
            };
            url = next;
        }
        Ok(answer)
    }
}

/// What is judged of an answer.
#[derive(Debug)]
struct Page<'a> {
    status: u16,
    location: Option<&'a str>,
    body: &'a [u8],
    /// The body as it may be shown.
    shown: &'a [u8],
    body_cut: bool,
    total_ms: f64,
    certificate_left_s: Option<f64>,
}

impl<'a> Page<'a> {
    fn of(answer: &'a HttpAnswer, shown: &'a [u8], certificate_left_s: Option<f64>) -> Self {
        Self {
            status: answer.status,
            location: answer
                .headers
                .get(header::LOCATION)
                .and_then(|value| value.to_str().ok()),
            body: &answer.body,
            shown,
            body_cut: answer.body_cut,
            total_ms: answer.total_ms,
            certificate_left_s,
        }
    }

    fn holds(&self, text: &str) -> bool {
        self.body
            .windows(text.len())
            .any(|window| window == text.as_bytes())
    }
}

fn judge(page: &Page<'_>, expected: &Expected) -> Finding {
    let finding = verdict(page, expected).with("status", f64::from(page.status));
    match page.certificate_left_s {
        Some(left) => finding.with("certificate_expires_in_s", left),
        None => finding,
    }
}

fn verdict(page: &Page<'_>, expected: &Expected) -> Finding {
    let status = page.status;
    if !expected
        .status
        .iter()
        .any(|(first, last)| (*first..=*last).contains(&status))
    {
        let to = page.location.map_or(String::new(), |to| {
            format!(" to {}", to.split('?').next().unwrap_or_default())
        });
        let body = first_line(page.shown);
        return Finding::failed(format!(
            "status {status}{to}, expected {}{body}",
            show(&expected.status)
        ));
    }
    let cut = if page.body_cut {
        " in the part that was read"
    } else {
        ""
    };
    if let Some(text) = expected.body.as_deref().filter(|text| !page.holds(text)) {
        return Finding::failed(format!(
            "status {status}, but the body does not hold {text:?}{cut}"
        ));
    }
    if let Some(text) = expected.not_body.as_deref().filter(|text| page.holds(text)) {
        return Finding::failed(format!("status {status}, but the body holds {text:?}"));
    }
    if let Some(left) = page.certificate_left_s {
        if expected
            .certificate_fail
            .is_some_and(|limit| left < limit.as_secs_f64())
        {
            return Finding::failed(format!(
                "status {status}, the certificate ends in {}",
                show_left(left)
            ));
        }
        if left < expected.certificate_warn.as_secs_f64() {
            return Finding::degraded(format!(
                "status {status}, the certificate ends in {}",
                show_left(left)
            ));
        }
    }
    match expected.slow_after {
        Some(limit) if page.total_ms > limit.as_secs_f64() * 1_000.0 => Finding::degraded(format!(
            "status {status} after {:.0} ms, slower than {}",
            page.total_ms,
            show_duration(limit)
        )),
        _ => Finding::ok(format!("status {status}")),
    }
}

fn show(ranges: &[(u16, u16)]) -> String {
    let shown: Vec<_> = ranges
        .iter()
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first}-{last}")
            }
        })
        .collect();
    shown.join(", ")
}

fn show_left(seconds: f64) -> String {
    if seconds < 0.0 {
        "the past".to_owned()
    } else if seconds < 2.0 * 86_400.0 {
        format!("{:.0} h", seconds / 3_600.0)
    } else {
        format!("{:.0} days", seconds / 86_400.0)
    }
}

/// The beginning of a body that is short text: an error's own words.
fn first_line(body: &[u8]) -> String {
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(body.get(..body.len().min(4 * SHOWN)).unwrap_or_default());
    let line = text.trim().lines().next().unwrap_or_default();
    if line.is_empty() || line.starts_with('<') {
        return String::new();
    }
    format!(": {}", line.chars().take(SHOWN).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observation::Status;

    fn expected() -> Expected {
        Expected {
            status: vec![(200, 299), (401, 401)],
            body: Some("ready".to_owned()),
            not_body: Some("maintenance".to_owned()),
            slow_after: Some(Duration::from_millis(500)),
            certificate_warn: CERTIFICATE_WARN,
            certificate_fail: Some(Duration::from_secs(86_400)),
        }
    }

    const GOOD: Page<'static> = Page {
        status: 200,
        location: None,
        body: b"ready",
        shown: b"",
        body_cut: false,
        total_ms: 500.0,
        certificate_left_s: Some(14.0 * 86_400.0),
    };

    #[test]
    fn every_expectation_has_its_verdict() {
        for (page, status, detail) in [
            (GOOD, Status::Ok, "status 200"),
            (
                Page {
                    status: 401,
                    ..GOOD
                },
                Status::Ok,
                "status 401",
            ),
            (
                Page {
                    status: 503,
                    shown: b"no backend\n",
                    ..GOOD
                },
                Status::Failed,
                "status 503, expected 200-299, 401: no backend",
            ),
            (
                Page {
                    status: 502,
                    shown: b"<html>",
                    ..GOOD
                },
                Status::Failed,
                "status 502, expected 200-299, 401",
            ),
            (
                Page {
                    status: 302,
                    location: Some("/login?token=x"),
                    body: b"",
                    ..GOOD
                },
                Status::Failed,
                "status 302 to /login, expected 200-299, 401",
            ),
            (
                Page {
                    body: b"starting",
                    ..GOOD
                },
                Status::Failed,
                "status 200, but the body does not hold \"ready\"",
            ),
            (
                Page {
                    body: b"ready for maintenance",
                    ..GOOD
                },
                Status::Failed,
                "status 200, but the body holds \"maintenance\"",
            ),
            (
                Page {
                    certificate_left_s: Some(14.0 * 86_400.0 - 1.0),
                    ..GOOD
                },
                Status::Degraded,
                "status 200, the certificate ends in 14 days",
            ),
            (
                Page {
                    certificate_left_s: Some(86_399.0),
                    ..GOOD
                },
                Status::Failed,
                "status 200, the certificate ends in 24 h",
            ),
            (
                Page {
                    total_ms: 500.1,
                    ..GOOD
                },
                Status::Degraded,
                "status 200 after 500 ms, slower than 500ms",
            ),
        ] {
            let finding = judge(&page, &expected());
            assert_eq!(
                (finding.status, finding.detail.as_str()),
                (status, detail),
                "{page:?}"
            );
        }
    }
}
