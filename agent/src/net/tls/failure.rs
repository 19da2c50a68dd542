//! Why there is no TLS session, told apart as far as the other end lets it.

use std::io;

use rustls::CertificateError;

use crate::net::connect::reason;

/// The most alternative names of a certificate that a detail shows.
const NAMES_SHOWN_MAX: usize = 3;

/// Why there is no TLS session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// The certificate's time is over.
    #[error("the certificate expired on {}", show(*.0))]
    Expired(Option<jiff::Timestamp>),
    /// The certificate's time has not begun; or this host's clock is behind.
    #[error("the certificate is not valid yet: it starts on {}, or this host's clock is wrong", show(*.0))]
    NotValidYet(Option<jiff::Timestamp>),
    /// Nobody whom we trust signed it.
    #[error("the certificate is signed by nobody whom this probe trusts")]
    UnknownIssuer,
    /// It is somebody else's.
    #[error("the certificate is not for {expected}{presented}")]
    WrongName {
        /// The name that was asked for.
        expected: String,
        /// `, it is for a, b`; empty when not known.
        presented: String,
    },
    /// Something else is wrong with it.
    #[error("the certificate is refused: {0}")]
    Certificate(String),
    /// What answers does not speak TLS.
    #[error("TCP connects, but what answers does not speak TLS")]
    NotTls,
    /// The server ended the handshake: it wants a client certificate, or has no common version.
    #[error("the server refuses the TLS handshake: {0}")]
    Alert(String),
    /// The server hung up in the handshake.
    #[error("the server closed the connection during the TLS handshake")]
    Closed,
    /// Anything else.
    #[error("the TLS handshake failed: {0}")]
    Other(String),
}

fn show(date: Option<jiff::Timestamp>) -> String {
    date.map_or_else(
        || "an unknown date".to_owned(),
        |date| date.strftime("%Y-%m-%d %H:%M UTC").to_string(),
    )
}

/// What an error of a TLS stream means; also for one that comes after the handshake, as a server of TLS 1.3 refuses a
/// client's certificate only then.
#[must_use]
pub fn failure_of(error: &io::Error) -> TlsFailure {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe => TlsFailure::Closed,
            _ => TlsFailure::Other(reason(error)),
        };
    };
    match tls {
        rustls::Error::InvalidMessage(_) => TlsFailure::NotTls,
        rustls::Error::AlertReceived(alert) => TlsFailure::Alert(match alert {
            rustls::AlertDescription::CertificateRequired => {
                "it wants a client certificate".to_owned()
            }
            rustls::AlertDescription::UnrecognisedName => {
                "it does not know the name asked for".to_owned()
            }
            alert => format!("{alert:?}"),
        }),
        error => certificate_failure(error, None),
    }
}

/// What is wrong with a certificate; `expires` is its end, where it was seen.
pub(super) fn certificate_failure(
    error: &rustls::Error,
    expires: Option<jiff::Timestamp>,
) -> TlsFailure {
    let rustls::Error::InvalidCertificate(error) = error else {
        return TlsFailure::Other(error.to_string());
    };
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            TlsFailure::Expired(expires)
        }
        CertificateError::NotValidYet => TlsFailure::NotValidYet(None),
        CertificateError::NotValidYetContext { not_before, .. } => TlsFailure::NotValidYet(
            i64::try_from(not_before.as_secs())
                .ok()
                .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()),
        ),
        // A bad signature is that of an authority with the name of a trusted one and another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            TlsFailure::UnknownIssuer
        }
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => TlsFailure::WrongName {
            expected: expected.to_str().into_owned(),
            presented: if presented.is_empty() {
                String::new()
            } else {
                let names: Vec<_> = presented
                    .iter()
                    .take(NAMES_SHOWN_MAX)
                    .map(|name| plain_name(name))
                    .collect();
                format!(", it is for {}", names.join(", "))
            },
        },
        CertificateError::NotValidForName => TlsFailure::WrongName {
            expected: "this name".to_owned(),
            presented: String::new(),
        },
        other => TlsFailure::Certificate(other.to_string()),
    }
}

/// `a.test` out of `DnsName("a.test")`, which is how the verifier names what a certificate is for.
fn plain_name(shown: &str) -> &str {
    shown.split('"').nth(1).unwrap_or(shown)
}
