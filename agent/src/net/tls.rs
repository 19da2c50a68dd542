//! TLS as a client that wants to know: what is wrong with a certificate, and until when it holds.
//!
//! The certificate is looked at after the handshake instead of in it, so that the end of a refused one is
//! known too. **Invariant:** `TlsClient::secure` hands no stream out before the certificate has been checked.

mod failure;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::SystemTime;

use blackstart_config::Section;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::address::Host;
use super::connect::ConnectFailure;
use crate::probe::Deadline;
use failure::certificate_failure;
pub use failure::{TlsFailure, failure_of};

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(rustls::crypto::ring::default_provider()));

/// How a probe speaks TLS. What it needs from files is read at its first use and again when a file has changed.
#[derive(Debug, Default)]
pub struct TlsClient {
    settings: TlsSettings,
    built: Mutex<Option<Built>>,
}

/// What is configured of TLS.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Certificates to trust, as PEM; without it the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificate must have; without it the host that is connected to.
    pub server_name: Option<String>,
    /// The client's certificate chain, as PEM.
    pub certificate_file: Option<PathBuf>,
    /// The client's key, as PEM.
    pub key_file: Option<PathBuf>,
    /// Any certificate will do. Its end is measured all the same.
    pub unverified: bool,
}

#[derive(Debug, Clone)]
struct Built {
    modified: Vec<Option<SystemTime>>,
    connector: Connector,
}

#[derive(Clone)]
struct Connector {
    config: Arc<ClientConfig>,
    verifier: Option<Arc<WebPkiServerVerifier>>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}

/// A TLS session whose certificate is good.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) certificate_expires: Option<jiff::Timestamp>,
}

impl TlsClient {
    /// A client of these settings. Reads nothing yet.
    #[must_use]
    pub fn new(settings: TlsSettings) -> Self {
        Self {
            settings,
            built: Mutex::default(),
        }
    }

    /// Reads the keys that every probe with TLS has: `tls_ca_file`, `tls_server_name`, `tls_certificate_file`,
    /// `tls_key_file` and `tls_verify`.
    pub fn configure(section: &mut Section<'_>) -> Option<Self> {
        let settings = TlsSettings {
            ca_file: section.path("tls_ca_file"),
            server_name: section.string("tls_server_name"),
            certificate_file: section.path("tls_certificate_file"),
            key_file: section.path("tls_key_file"),
            unverified: section.boolean("tls_verify") == Some(false),
        };
        let mut good = true;
        if let Some(name) = &settings.server_name
            && ServerName::try_from(name.clone()).is_err()
        {
            section.problem(
                "tls_server_name",
                "expected a host name or an IP address",
                "",
            );
            good = false;
        }
        if section.has("tls_certificate_file") != section.has("tls_key_file") {
            let (present, absent) = if section.has("tls_key_file") {
                ("tls_key_file", "tls_certificate_file")
            } else {
                ("tls_certificate_file", "tls_key_file")
            };
            section.problem(present, &format!("needs {absent} beside it"), "");
            good = false;
        }
        good.then(|| Self::new(settings))
    }

    /// The TLS handshake and the check of the certificate.
    pub(crate) async fn secure(
        &self,
        stream: TcpStream,
        host: &Host,
        peer: SocketAddr,
        deadline: Deadline,
    ) -> Result<Secured, ConnectFailure> {
        let local = |reason| ConnectFailure::Local {
            target: peer.to_string(),
            reason,
        };
        let connector = self.connector().map_err(local)?;
        let name = self.server_name(host).map_err(local)?;
        let fail = |failure, certificate_expires| ConnectFailure::Tls {
            peer,
            failure,
            certificate_expires,
        };
        let handshake =
            TlsConnector::from(Arc::clone(&connector.config)).connect(name.clone(), stream);
        let stream = deadline
            .limit("TLS handshake", handshake)
            .await
            .map_err(|timed_out| ConnectFailure::TlsSilent { peer, timed_out })?
            .map_err(|error| fail(failure_of(&error), None))?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(fail(
                TlsFailure::Certificate("there is none".to_owned()),
                None,
            ));
        };
        let expires = not_after(leaf);
        if let Some(verifier) = &connector.verifier {
            verifier
                .verify_server_cert(leaf, intermediates, &name, &[], UnixTime::now())
                .map_err(|error| fail(certificate_failure(&error, expires), expires))?;
        }
        Ok(Secured {
            certificate_expires: expires,
            stream,
        })
    }

    fn server_name(&self, host: &Host) -> Result<ServerName<'static>, String> {
        match (&self.settings.server_name, host) {
            (Some(name), _) | (None, Host::Name(name)) => ServerName::try_from(name.clone())
                .map_err(|_| format!("{name} is no name that a certificate can have")),
            (None, Host::Literal(ip)) => Ok(ServerName::IpAddress((*ip).into())),
        }
    }

    /// The connector; built again when one of its files has changed. A certificate that was renewed counts at once.
    fn connector(&self) -> Result<Connector, String> {
        let modified: Vec<_> = self.settings.files().map(modified_at).collect();
        let mut built = self.built.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = built.as_ref().filter(|built| built.modified == modified) {
            return Ok(built.connector.clone());
        }
        let connector = self.settings.build()?;
        *built = Some(Built {
            modified,
            connector: connector.clone(),
        });
        Ok(connector)
    }
}

fn modified_at(path: &PathBuf) -> Option<SystemTime> {
    std::fs::metadata(path)
        .and_then(|metadata| metadata.modified())
        .ok()
}

impl TlsSettings {
    fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.ca_file, &self.certificate_file, &self.key_file]
            .into_iter()
            .flatten()
    }

    fn build(&self) -> Result<Connector, String> {
        let verifier = if self.unverified {
            None
        } else {
            let roots = Arc::new(self.roots()?);
            Some(
                WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&PROVIDER))
                    .build()
                    .map_err(|error| format!("cannot use the trusted certificates: {error}"))?,
            )
        };
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(LookLater));
        let mut config = match (&self.certificate_file, &self.key_file) {
            (Some(certificate), Some(key)) => {
                let chain = certificates(certificate)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                    format!("cannot read the key in {}: {error}", key.display())
                })?;
                builder.with_client_auth_cert(chain, key).map_err(|error| {
                    format!(
                        "cannot use the certificate in {}: {error}",
                        certificate.display()
                    )
                })?
            }
            _ => builder.with_no_client_auth(),
        };
        // A resumed session shows no certificate, and its end is what we look at.
        config.resumption = rustls::client::Resumption::disabled();
        Ok(Connector {
            config: Arc::new(config),
            verifier,
        })
    }

    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        match &self.ca_file {
            Some(path) => {
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|error| {
                        format!("cannot trust a certificate in {}: {error}", path.display())
                    })?;
                }
            }
            None => {
                roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            }
        }
        if roots.is_empty() {
            return Err(match &self.ca_file {
                Some(path) => format!("{} holds no certificate", path.display()),
                None => {
                    "this host has no trusted certificates; name some with tls_ca_file".to_owned()
                }
            });
        }
        Ok(roots)
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| {
            format!(
                "cannot read the certificates in {}: {error}",
                path.display()
            )
        })
}

fn not_after(certificate: &CertificateDer<'_>) -> Option<jiff::Timestamp> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    jiff::Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()
}

/// Lets the handshake pass, so that the certificate is at hand whatever is wrong with it. Signatures of the handshake
/// are checked as ever.
#[derive(Debug)]
struct LookLater;

impl ServerCertVerifier for LookLater {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            certificate,
            signature,
            &PROVIDER.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            certificate,
            signature,
            &PROVIDER.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER
            .signature_verification_algorithms
            .supported_schemes()
    }
}
