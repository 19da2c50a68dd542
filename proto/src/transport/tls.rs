//! Mutual TLS 1.3 for both ends, from files, with one provider (ring) that is named here and
//! installed nowhere.
//!
//! Nothing is resumed: every connection proves its certificate anew, so a revoked or expired one
//! ends with its connection.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::UnixTime;

use super::files::{Material, TlsFiles, TlsFilesError};
use super::reload::Reloading;

/// gRPC is HTTP/2 and nothing else.
const ALPN: &[u8] = b"h2";

/// The server's half: asks every client for a certificate of the CA. Clones share one state.
#[derive(Clone)]
pub struct ServerTls(Arc<Reloading<ServerConfig>>);

/// The client's half: shows its certificate and checks the server's, name included. Clones share
/// one state.
#[derive(Clone)]
pub struct ClientTls(Arc<Reloading<ClientConfig>>);

impl ServerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFilesError`] naming the file, what was found and what to do.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsFilesError> {
        Ok(Self(Arc::new(Reloading::load(
            files.clone(),
            server_config,
        )?)))
    }

    /// Looks at the files now, and reads them if they changed. Blocks while it reads.
    pub fn reload(&self) {
        self.0.reload();
    }

    /// What is wrong with the files, for people: a new one that was refused, an expired one.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.0.problems()
    }

    pub(super) async fn config(&self) -> Arc<ServerConfig> {
        self.0.current().await
    }
}

impl ClientTls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFilesError`] naming the file, what was found and what to do.
    pub fn load(files: &TlsFiles) -> Result<Self, TlsFilesError> {
        Ok(Self(Arc::new(Reloading::load(
            files.clone(),
            client_config,
        )?)))
    }

    /// Looks at the files now, and reads them if they changed. Blocks while it reads.
    pub fn reload(&self) {
        self.0.reload();
    }

    /// What is wrong with the files, for people: a new one that was refused, an expired one.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        self.0.problems()
    }

    pub(super) async fn config(&self) -> Arc<ClientConfig> {
        self.0.current().await
    }
}

impl fmt::Debug for ServerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerTls")
    }
}

impl fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientTls")
    }
}

/// A clock that is never before the moment when our own files were made: a host that lost its
/// clock's battery comes back in the year 1970 and still gets its verdict out.
#[derive(Debug)]
struct FlooredClock {
    not_before: Duration,
}

impl TimeProvider for FlooredClock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = Duration::from_secs(UnixTime::now().as_secs());
        Some(UnixTime::since_unix_epoch(now.max(self.not_before)))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn server_config(material: Material) -> Result<ServerConfig, TlsFilesError> {
    let provider = provider();
    let verifier = WebPkiClientVerifier::builder_with_provider(
        Arc::new(material.roots),
        Arc::clone(&provider),
    )
    .build()
    .map_err(|error| unusable(rustls::Error::General(error.to_string())))?;
    let clock = FlooredClock {
        not_before: material.not_before,
    };
    let mut config = ServerConfig::builder_with_details(provider, Arc::new(clock))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(material.chain, material.key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_config(material: Material) -> Result<ClientConfig, TlsFilesError> {
    let clock = FlooredClock {
        not_before: material.not_before,
    };
    let mut config = ClientConfig::builder_with_details(provider(), Arc::new(clock))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(unusable)?
        .with_root_certificates(material.roots)
        .with_client_auth_cert(material.chain, material.key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// The files were checked one by one; what is left is a certificate that TLS does not take.
fn unusable(source: rustls::Error) -> TlsFilesError {
    TlsFilesError::Unusable {
        key: "certificate_file",
        path: "with its ca_file and key_file".into(),
        source,
    }
}
