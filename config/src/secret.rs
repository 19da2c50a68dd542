//! A secret that stands in a file or in the environment, and nowhere else.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;

use secrecy::SecretString;

/// The longest secret: a password or a token, not a document.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Where a secret stands. Reading it is left to the moment of use, so that a changed password
/// counts without a restart and no copy lies about.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The content of a file, without its last line break.
    File(PathBuf),
    /// An environment variable.
    Environment(String),
}

/// Why a secret cannot be read. Never holds any of it.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too long, or is no text.
    #[error("the secret in {} is not one line of text", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
    },
    /// The variable is not set, or is no text.
    #[error("the environment variable {name}, which should hold a secret, is not set")]
    Environment {
        /// The variable.
        name: String,
    },
}

impl Secret {
    /// Reads the secret.
    ///
    /// # Errors
    /// The file or the variable cannot be read.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        match self {
            Self::File(path) => {
                let mut text = String::new();
                let file = std::fs::File::open(path).map_err(|source| SecretError::File {
                    path: path.clone(),
                    source,
                })?;
                let not_text = || SecretError::NotText { path: path.clone() };
                file.take(SECRET_BYTES_MAX + 1)
                    .read_to_string(&mut text)
                    .map_err(|_| not_text())?;
                if text.len() as u64 > SECRET_BYTES_MAX {
                    return Err(not_text());
                }
                let line = text.strip_suffix('\n').unwrap_or(&text);
                let line = line.strip_suffix('\r').unwrap_or(line);
                if line.contains('\n') {
                    return Err(not_text());
                }
                Ok(SecretString::from(line))
            }
            Self::Environment(name) => std::env::var(name)
                .map(SecretString::from)
                .map_err(|_| SecretError::Environment { name: name.clone() }),
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "Secret(in {})", path.display()),
            Self::Environment(name) => write!(f, "Secret(in ${name})"),
        }
    }
}
