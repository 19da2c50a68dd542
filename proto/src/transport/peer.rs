//! Who is at the other end of a connection: its address, and the names in its certificate.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use tonic::Request;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// The most names that are taken from a certificate; a host has a handful.
const NAMES_MAX: usize = 64;

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    address: SocketAddr,
    names: Option<Arc<[String]>>,
}

impl Peer {
    /// A peer that came without TLS.
    #[must_use]
    pub const fn plain(address: SocketAddr) -> Self {
        Self {
            address,
            names: None,
        }
    }

    /// A peer that showed this certificate.
    pub(super) fn certified(address: SocketAddr, certificate: Option<&CertificateDer<'_>>) -> Self {
        Self {
            address,
            names: Some(certificate.map(names).unwrap_or_default().into()),
        }
    }

    /// The peer that sent a request, where it came through [`super::incoming`].
    #[must_use]
    pub fn of<T>(request: &Request<T>) -> Option<&Self> {
        request.extensions().get()
    }

    /// Where it dials from.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The names in its certificate: DNS subject alternative names, else the common name. `None`
    /// without TLS, which only loopback is allowed.
    #[must_use]
    pub fn names(&self) -> Option<&[String]> {
        self.names.as_deref()
    }

    /// Whether it may report for this host: its certificate names it, or it came without TLS.
    #[must_use]
    pub fn may_report_for(&self, host: &str) -> bool {
        self.names()
            .is_none_or(|names| names.iter().any(|name| name.eq_ignore_ascii_case(host)))
    }
}

/// The DNS names of a certificate, else its common name.
fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else {
        return Vec::new();
    };
    let mut names: Vec<String> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .into_iter()
        .flat_map(|extension| &extension.value.general_names)
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        })
        .take(NAMES_MAX)
        .collect();
    if names.is_empty() {
        names = certificate
            .subject()
            .iter_common_name()
            .filter_map(|name| name.as_str().ok().map(str::to_owned))
            .take(1)
            .collect();
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_speaks_for_its_names_only() {
        let address = "10.0.0.7:1".parse().unwrap();
        let peer = Peer {
            address,
            names: Some(vec!["web-1".to_owned(), "WEB-2".to_owned()].into()),
        };
        assert!(peer.may_report_for("web-1"));
        assert!(peer.may_report_for("web-2"));
        assert!(!peer.may_report_for("web-3"));
        assert!(!peer.may_report_for(""));
    }

    #[test]
    fn a_certificate_without_names_speaks_for_nobody() {
        let peer = Peer::certified("10.0.0.7:1".parse().unwrap(), None);
        assert!(!peer.may_report_for("web-1"));
        assert!(Peer::plain("127.0.0.1:1".parse().unwrap()).may_report_for("web-1"));
    }
}
