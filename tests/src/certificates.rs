//! Certificates for mutual TLS, made for one test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use crate::home::TempHome;

/// A certificate authority and the folder that its certificates are in.
#[derive(Debug)]
pub struct Certificates {
    home: TempHome,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// The files of one certificate.
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The authority's certificate.
    pub ca_file: PathBuf,
    /// The certificate.
    pub certificate_file: PathBuf,
    /// Its key.
    pub key_file: PathBuf,
}

impl CertificateFiles {
    /// The `[tls]` table of a configuration file.
    pub fn toml(&self) -> String {
        format!(
            "[tls]\nca_file = {:?}\ncertificate_file = {:?}\nkey_file = {:?}\n",
            self.ca_file, self.certificate_file, self.key_file
        )
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificates {
    /// A new authority, which nobody else trusts.
    ///
    /// # Panics
    /// When no key can be made.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "Blackstart test CA");
        let key = KeyPair::generate().expect("a key can be made");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("the CA can be signed");
        Self {
            home: TempHome::new("certificates"),
            issuer,
        }
    }

    /// The folder that the files are in.
    pub fn folder(&self) -> &Path {
        self.home.path()
    }

    /// A certificate for a host or a person, good now; the names may be addresses.
    pub fn issue(&self, name: &str, names: &[&str]) -> CertificateFiles {
        self.issue_until(name, names, None)
    }

    /// A certificate for `127.0.0.1` and `localhost`, for an aggregator.
    pub fn aggregator(&self) -> CertificateFiles {
        self.issue("aggregator", &["127.0.0.1", "localhost"])
    }

    /// A certificate that ends at the start of that day (year, month, day). A file of the same
    /// name is replaced.
    ///
    /// # Panics
    /// When the files cannot be written.
    pub fn issue_until(
        &self,
        name: &str,
        names: &[&str],
        not_after: Option<(i32, u8, u8)>,
    ) -> CertificateFiles {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names are names");
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some((year, month, day)) = not_after {
            params.not_before = rcgen::date_time_ymd(2001, 1, 1);
            params.not_after = rcgen::date_time_ymd(year, month, day);
        }
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params
            .signed_by(&key, &self.issuer)
            .expect("the certificate can be signed");
        CertificateFiles {
            ca_file: self.home.write("ca.pem", &self.issuer.pem()),
            key_file: self
                .home
                .write(&format!("{name}.key"), &key.serialize_pem()),
            certificate_file: self.home.write(&format!("{name}.pem"), &certificate.pem()),
        }
    }
}
