//! What a probe found: the answer of one check to one component, before it goes anywhere.
//!
//! Plain data. How it is stored is `spool`'s business, how it is sent `wire`'s.

use std::borrow::Cow;

use blackstart_proto::limits::DETAIL_BYTES_MAX;

/// The status of one observation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// It works.
    Ok,
    /// It works, and something is wrong with it.
    Degraded,
    /// It is on its way up.
    Starting,
    /// It does not work.
    Failed,
    /// The probe itself could not run: says nothing about the component.
    Unknown,
}

impl Status {
    /// The word used in JSON, tables and the protocol's documentation.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// A measured value; the name carries its unit last (`rtt_ms`, `used_ratio`, `depth`).
pub type Value = (Cow<'static, str>, f64);

/// What a probe says of one component: status, one line for people, measured values.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What was found.
    pub status: Status,
    /// 0 to 1; only while starting, and only if the server tells.
    pub progress: Option<f32>,
    /// One line for people, at most [`DETAIL_BYTES_MAX`] bytes. Never holds a secret.
    pub detail: String,
    /// Measured values, in a fixed order for each check.
    pub values: Vec<Value>,
}

impl Finding {
    /// A finding with this status and detail; control characters become spaces and a long detail
    /// is cut at a character boundary.
    #[must_use]
    pub fn new(status: Status, detail: impl Into<String>) -> Self {
        Self {
            status,
            progress: None,
            detail: one_line(detail.into()),
            values: Vec::new(),
        }
    }

    /// It works.
    #[must_use]
    pub fn ok(detail: impl Into<String>) -> Self {
        Self::new(Status::Ok, detail)
    }

    /// It works, and something is wrong with it.
    #[must_use]
    pub fn degraded(detail: impl Into<String>) -> Self {
        Self::new(Status::Degraded, detail)
    }

    /// It is on its way up; `progress` from 0 to 1 if the server tells.
    #[must_use]
    pub fn starting(detail: impl Into<String>, progress: Option<f32>) -> Self {
        Self {
            progress: progress
                .filter(|p| p.is_finite())
                .map(|p| p.clamp(0.0, 1.0)),
            ..Self::new(Status::Starting, detail)
        }
    }

    /// It does not work.
    #[must_use]
    pub fn failed(detail: impl Into<String>) -> Self {
        Self::new(Status::Failed, detail)
    }

    /// The probe could not run.
    #[must_use]
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self::new(Status::Unknown, detail)
    }

    /// Adds a measured value.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'static, str>>, value: f64) -> Self {
        self.values.push((name.into(), value));
        self
    }
}

fn one_line(mut detail: String) -> String {
    if detail.chars().any(char::is_control) {
        detail = detail
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
    }
    if detail.len() > DETAIL_BYTES_MAX {
        let mut end = DETAIL_BYTES_MAX - '…'.len_utf8();
        while !detail.is_char_boundary(end) {
            end -= 1;
        }
        detail.truncate(end);
        detail.push('…');
    }
    detail
}

/// The answer of one check to one component.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The component that was asked.
    pub component: String,
    /// The check, such as `etcd.member`.
    pub check: Cow<'static, str>,
    /// What was found.
    pub finding: Finding,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_detail_is_cut_at_a_character_boundary() {
        let finding = Finding::failed("é".repeat(DETAIL_BYTES_MAX));
        assert!(finding.detail.len() <= DETAIL_BYTES_MAX);
        assert!(finding.detail.ends_with("é…"));
    }

    #[test]
    fn a_detail_is_one_line_without_control_characters() {
        assert_eq!(Finding::ok("a\nb\x1b[31m").detail, "a b [31m");
    }

    #[test]
    fn progress_stays_between_zero_and_one() {
        assert_eq!(Finding::starting("", Some(1.7)).progress, Some(1.0));
        assert_eq!(Finding::starting("", Some(f32::NAN)).progress, None);
    }
}
