//! The three files of mutual TLS: read, checked against each other, and what is odd about them.
//!
//! An error here means that no connection could work. What may be right after all (a certificate
//! that this host's clock calls expired: the clock may be wrong) is a warning: nobody's start
//! depends on a right clock.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::RootCertStore;
use rustls_pki_types::pem::{PemObject, SectionKind};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The longest file that is read: room for a bundle of a few hundred CA certificates.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where the files of mutual TLS are; all in PEM form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificates of the authorities whose peers are believed.
    pub ca_file: PathBuf,
    /// This side's certificate, with what leads to the authority behind it.
    pub certificate_file: PathBuf,
    /// The private key of that certificate.
    pub key_file: PathBuf,
}

/// Why the files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFilesError {
    /// A file cannot be read.
    #[error("{key} {path} cannot be read", path = path.display())]
    Read {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is longer than any such file is.
    #[error("{key} {path} is longer than 1 MiB; is it the right file?", path = path.display())]
    TooLong {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// A file does not hold what it should.
    #[error("{key} {path} holds {found}; expected {expected} in PEM form", path = path.display())]
    Content {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it holds.
        found: &'static str,
        /// What it should hold.
        expected: &'static str,
    },
    /// The PEM form is broken.
    #[error("{key} {path} is broken: {problem}; was it cut short?", path = path.display())]
    Broken {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Where it breaks.
        problem: &'static str,
    },
    /// TLS does not take what the file holds.
    #[error("{key} {path} cannot be used", path = path.display())]
    Unusable {
        /// The configuration's key.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: rustls::Error,
    },
    /// The key belongs to another certificate.
    #[error(
        "key_file {key} does not belong to certificate_file {certificate}; name the key that this \
         certificate was made for",
        key = key.display(),
        certificate = certificate.display()
    )]
    KeyOfAnother {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}

/// What the files held at one moment.
pub(super) struct Material {
    /// The authorities.
    pub(super) roots: RootCertStore,
    /// This side's certificate and what leads to the authority.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub(super) key: PrivateKeyDer<'static>,
    /// No clock is right that is before this: a certificate or a file is that old.
    pub(super) not_before: Duration,
    /// What is odd about the files, for people.
    pub(super) warnings: Vec<String>,
}

/// Tells one state of the files from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stamp([Option<(u64, i64, i64, u64)>; 3]);

impl TlsFiles {
    /// What the files look like now, without reading them.
    pub(super) fn stamp(&self) -> Stamp {
        let of = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((
                metadata.ino(),
                metadata.mtime(),
                metadata.mtime_nsec(),
                metadata.size(),
            ))
        };
        Stamp([
            of(&self.ca_file),
            of(&self.certificate_file),
            of(&self.key_file),
        ])
    }

    /// Reads the files and checks that they fit each other.
    pub(super) fn read(&self, now: SystemTime) -> Result<Material, TlsFilesError> {
        let (ca, ca_metadata) = read("ca_file", &self.ca_file)?;
        let (certificate, certificate_metadata) = read("certificate_file", &self.certificate_file)?;
        let (key, key_metadata) = read("key_file", &self.key_file)?;
        let roots = self.roots(&ca)?;
        let chain = certificates("certificate_file", &self.certificate_file, &certificate)?;
        let key = self.private_key(&key)?;
        self.check_pair(&chain, &key)?;
        let (not_before, not_after) = self.validity(&chain)?;
        let oldest_now = [ca_metadata, certificate_metadata]
            .iter()
            .filter_map(|metadata| metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok())
            .fold(not_before, Duration::max);
        let mut warnings = Vec::new();
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        if now > not_after {
            warnings.push(format!(
                "certificate_file {} expired {} ago by this host's clock: peers will refuse it; \
                 renew it, or set the clock",
                self.certificate_file.display(),
                show_age(now.saturating_sub(not_after))
            ));
        }
        if key_metadata.mode() & 0o007 != 0 {
            warnings.push(format!(
                "key_file {} can be read by every user of this host; run: chmod o= {0}",
                self.key_file.display()
            ));
        }
        Ok(Material {
            roots,
            chain,
            key,
            not_before: oldest_now,
            warnings,
        })
    }

    fn roots(&self, pem: &[u8]) -> Result<RootCertStore, TlsFilesError> {
        let mut roots = RootCertStore::empty();
        for authority in certificates("ca_file", &self.ca_file, pem)? {
            roots
                .add(authority)
                .map_err(|source| TlsFilesError::Unusable {
                    key: "ca_file",
                    path: self.ca_file.clone(),
                    source,
                })?;
        }
        Ok(roots)
    }

    fn private_key(&self, pem: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFilesError> {
        let (key, path) = ("key_file", self.key_file.as_path());
        let mut sections = sections(key, path, pem)?;
        let found = if memory_contains(pem, b"ENCRYPTED") {
            "an encrypted key"
        } else {
            what_is_there(&sections)
        };
        sections
            .drain(..)
            .find_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der))
            .ok_or_else(|| TlsFilesError::Content {
                key,
                path: path.to_owned(),
                found,
                expected: "an unencrypted private key",
            })
    }

    fn check_pair(
        &self,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'static>,
    ) -> Result<(), TlsFilesError> {
        let provider = rustls::crypto::ring::default_provider();
        let signer = provider
            .key_provider
            .load_private_key(key.clone_key())
            .map_err(|source| TlsFilesError::Unusable {
                key: "key_file",
                path: self.key_file.clone(),
                source,
            })?;
        match rustls::sign::CertifiedKey::new(chain.to_vec(), signer).keys_match() {
            // A kind of key that cannot tell its public half is not wrong for that.
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {
                Ok(())
            }
            Err(rustls::Error::InconsistentKeys(_)) => Err(TlsFilesError::KeyOfAnother {
                certificate: self.certificate_file.clone(),
                key: self.key_file.clone(),
            }),
            Err(source) => Err(TlsFilesError::Unusable {
                key: "certificate_file",
                path: self.certificate_file.clone(),
                source,
            }),
        }
    }

    /// From when to when this side's certificate is valid, since the Unix epoch.
    fn validity(
        &self,
        chain: &[CertificateDer<'static>],
    ) -> Result<(Duration, Duration), TlsFilesError> {
        let broken = || TlsFilesError::Broken {
            key: "certificate_file",
            path: self.certificate_file.clone(),
            problem: "its first certificate cannot be decoded",
        };
        let (_, certificate) =
            X509Certificate::from_der(chain.first().ok_or_else(broken)?).map_err(|_| broken())?;
        let seconds = |time: i64| Duration::from_secs(u64::try_from(time).unwrap_or(0));
        let validity = certificate.validity();
        Ok((
            seconds(validity.not_before.timestamp()),
            seconds(validity.not_after.timestamp()),
        ))
    }
}

fn read(key: &'static str, path: &Path) -> Result<(Vec<u8>, Metadata), TlsFilesError> {
    let failed = |source| TlsFilesError::Read {
        key,
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut content)
        .map_err(failed)?;
    if content.len() as u64 > FILE_BYTES_MAX {
        return Err(TlsFilesError::TooLong {
            key,
            path: path.to_owned(),
        });
    }
    Ok((content, metadata))
}

fn certificates(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsFilesError> {
    let sections = sections(key, path, pem)?;
    let found = what_is_there(&sections);
    let certificates: Vec<_> = sections
        .into_iter()
        .filter_map(|(kind, der)| CertificateDer::from_pem(kind, der))
        .collect();
    if certificates.is_empty() {
        return Err(TlsFilesError::Content {
            key,
            path: path.to_owned(),
            found,
            expected: "a certificate",
        });
    }
    Ok(certificates)
}

fn sections(
    key: &'static str,
    path: &Path,
    pem: &[u8],
) -> Result<Vec<(SectionKind, Vec<u8>)>, TlsFilesError> {
    use rustls_pki_types::pem::Error;
    <(SectionKind, Vec<u8>)>::pem_slice_iter(pem)
        .collect::<Result<_, Error>>()
        .map_err(|error| TlsFilesError::Broken {
            key,
            path: path.to_owned(),
            // The error's own text may quote lines of the file, so of a key.
            problem: match error {
                Error::MissingSectionEnd { .. } => "a section has no END line",
                Error::IllegalSectionStart { .. } => "a BEGIN line is malformed",
                Error::Base64Decode(_) => "a section is not base64",
                _ => "it is not PEM",
            },
        })
}

fn what_is_there(sections: &[(SectionKind, Vec<u8>)]) -> &'static str {
    match sections.first().map(|(kind, _)| *kind) {
        None => "nothing in PEM form",
        Some(SectionKind::Certificate) => "a certificate",
        Some(SectionKind::PublicKey) => "a public key",
        Some(SectionKind::Csr) => "a certificate request",
        Some(SectionKind::Crl) => "a revocation list",
        Some(SectionKind::RsaPrivateKey | SectionKind::PrivateKey | SectionKind::EcPrivateKey) => {
            "a private key"
        }
        Some(_) => "something else",
    }
}

fn memory_contains(memory: &[u8], word: &[u8]) -> bool {
    memory.windows(word.len()).any(|window| window == word)
}

fn show_age(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..3_600 => format!("{} min", seconds / 60),
        seconds @ 3_600..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
