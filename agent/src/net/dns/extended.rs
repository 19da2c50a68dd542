//! Extended DNS errors (RFC 8914): why a server says what it says.

use std::fmt;

use hickory_proto::op::Edns;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};

/// The option's number.
const OPTION: u16 = 15;

/// The most extended errors of one answer that are looked at, and the most letters of a text that are kept: a
/// server sends one or two short ones.
const ERRORS_MAX: usize = 4;
const TEXT_CHARS_MAX: usize = 160;

/// One extended error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtendedError {
    /// Its code.
    pub code: u16,
    /// What the server adds; often empty.
    pub text: String,
}

impl ExtendedError {
    /// Those in an answer.
    #[must_use]
    pub(super) fn all_of(edns: &Edns) -> Vec<Self> {
        edns.options()
            .options
            .iter()
            .filter_map(|(code, option)| match (code, option) {
                (EdnsCode::Unknown(OPTION), EdnsOption::Unknown(_, bytes)) => Self::read(bytes),
                _ => None,
            })
            .take(ERRORS_MAX)
            .collect()
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let (code, text) = bytes.split_first_chunk::<2>()?;
        let text = String::from_utf8_lossy(text);
        Some(Self {
            code: u16::from_be_bytes(*code),
            text: text
                .trim_end_matches('\0')
                .chars()
                .take(TEXT_CHARS_MAX)
                .collect(),
        })
    }

    /// Whether it says that the answer is an old one, kept since its servers cannot be reached.
    #[must_use]
    pub const fn is_stale(&self) -> bool {
        matches!(self.code, 3 | 19)
    }

    /// Whether it says that signatures are wrong or missing.
    #[must_use]
    pub const fn is_dnssec(&self) -> bool {
        matches!(self.code, 1 | 2 | 5..=12)
    }

    const fn name(&self) -> &'static str {
        match self.code {
            1 => "unsupported DNSKEY algorithm",
            2 => "unsupported DS digest type",
            3 => "stale answer",
            4 => "forged answer",
            5 => "DNSSEC indeterminate",
            6 => "DNSSEC bogus",
            7 => "signature expired",
            8 => "signature not yet valid",
            9 => "DNSKEY missing",
            10 => "RRSIGs missing",
            11 => "no zone key bit set",
            12 => "NSEC missing",
            13 => "cached error",
            14 => "not ready",
            15 => "blocked",
            16 => "censored",
            17 => "filtered",
            18 => "prohibited",
            19 => "stale NXDOMAIN answer",
            20 => "not authoritative",
            21 => "not supported",
            22 => "no reachable authority",
            23 => "network error",
            24 => "invalid data",
            25 => "signature expired before valid",
            26 => "too early",
            27 => "unsupported NSEC3 iterations value",
            _ => "other error",
        }
    }
}

impl fmt::Display for ExtendedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EDE {} {}", self.code, self.name())?;
        if self.text.is_empty() {
            Ok(())
        } else {
            write!(f, ": {}", self.text)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_and_shown() {
        let read = ExtendedError::read(b"\x00\x09no key for signed.test").unwrap();
        assert_eq!(
            read.to_string(),
            "EDE 9 DNSKEY missing: no key for signed.test"
        );
        assert!(read.is_dnssec() && !read.is_stale());
        assert_eq!(ExtendedError::read(b"\x00"), None);
    }
}
