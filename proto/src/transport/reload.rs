//! Something made of files, made anew when they change.
//!
//! The files are looked at when somebody asks for what was made of them, at most every
//! [`CHECK_INTERVAL`], off the runtime's threads: a file on a hung mount must not stop the others.
//!
//! **Invariant:** a bad new file leaves the old one in force and is told by [`Reloading::problems`].

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;

use super::files::{Material, Stamp, TlsFiles, TlsFilesError};

/// How often the files are looked at, at the most: three `stat` calls. A renewed certificate is
/// in use this soon after.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// How long a connection waits for a look at the files; a look that takes longer goes on without it.
const CHECK_PATIENCE: Duration = Duration::from_millis(250);

type Make<T> = fn(Material) -> Result<T, TlsFilesError>;

/// What was made of the files last, and what is wrong with them since.
pub(super) struct Reloading<T> {
    files: TlsFiles,
    make: Make<T>,
    current: ArcSwap<T>,
    checked: Mutex<Checked>,
}

struct Checked {
    at: Instant,
    stamp: Stamp,
    refused: Option<String>,
    warnings: Vec<String>,
}

impl<T: Send + Sync + 'static> Reloading<T> {
    /// Reads the files for the first time.
    pub(super) fn load(files: TlsFiles, make: Make<T>) -> Result<Self, TlsFilesError> {
        let stamp = files.stamp();
        let mut material = files.read(SystemTime::now())?;
        let warnings = std::mem::take(&mut material.warnings);
        Ok(Self {
            current: ArcSwap::from_pointee(make(material)?),
            checked: Mutex::new(Checked {
                at: Instant::now(),
                stamp,
                refused: None,
                warnings,
            }),
            files,
            make,
        })
    }

    /// What is in force, after a look at the files if the last one is long ago.
    pub(super) async fn current(self: &Arc<Self>) -> Arc<T> {
        if self.is_due() {
            let this = Arc::clone(self);
            let look = tokio::task::spawn_blocking(move || this.reload());
            // Late or lost, the answer is the same: what was made last stays in force.
            let _ = tokio::time::timeout(CHECK_PATIENCE, look).await;
        }
        self.current.load_full()
    }

    /// Looks at the files now; reads them if they changed or were bad. Blocks.
    pub(super) fn reload(&self) {
        let stamp = self.files.stamp();
        {
            let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
            if checked.stamp == stamp && checked.refused.is_none() {
                return;
            }
        }
        let made = self.files.read(SystemTime::now()).and_then(|mut material| {
            let warnings = std::mem::take(&mut material.warnings);
            Ok(((self.make)(material)?, warnings))
        });
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked.stamp = stamp;
        match made {
            Ok((made, warnings)) => {
                self.current.store(Arc::new(made));
                checked.refused = None;
                checked.warnings = warnings;
                tracing::info!(certificate_file = %self.files.certificate_file.display(), "TLS files reloaded");
            }
            Err(error) => {
                let refused = format!(
                    "new TLS files refused, the old ones stay in force: {}",
                    chain(&error)
                );
                if checked.refused.as_ref() != Some(&refused) {
                    tracing::warn!(problem = %refused, "TLS files refused");
                }
                checked.refused = Some(refused);
            }
        }
    }

    /// What is wrong with the files, for people; nothing as a rule.
    pub(super) fn problems(&self) -> Vec<String> {
        let checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        checked
            .refused
            .iter()
            .chain(&checked.warnings)
            .cloned()
            .collect()
    }

    /// Whether a look is due; the one who is told so has to take it.
    fn is_due(&self) -> bool {
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = checked.at.elapsed() >= CHECK_INTERVAL;
        if due {
            checked.at = Instant::now();
        }
        due
    }
}

/// An error and what is behind it, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let _ = write!(text, ": {error}");
        source = error.source();
    }
    text
}
