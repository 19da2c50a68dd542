//! One aggregator to a state folder: a second one is refused with the pid of the first.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file's name in the state folder.
const FILE_NAME: &str = "aggregator.lock";

/// How long a process that is just ending may take to let go: one that was killed with much
/// memory needs a moment.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);

/// Between two looks whether it has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why the state folder cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The folder cannot be made or written.
    #[error("cannot use the state folder {path}; choose another one with --state-dir")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Another process has it.
    #[error("the state folder {path} is in use by the process {pid}")]
    InUse {
        /// The folder.
        path: PathBuf,
        /// The process, as far as it can be told.
        pid: String,
    },
}

/// A state folder that is ours until this is dropped or the process ends.
#[derive(Debug)]
pub(crate) struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes a state folder, and makes it if need be.
    pub(crate) fn take(state_dir: &Path) -> Result<Self, LockError> {
        let failed = |source| LockError::Folder {
            path: state_dir.to_owned(),
            source,
        };
        std::fs::create_dir_all(state_dir).map_err(failed)?;
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(state_dir.join(FILE_NAME))
            .map_err(failed)?;
        let began = Instant::now();
        let mut locked = file.try_lock();
        while matches!(locked, Err(TryLockError::WouldBlock)) && began.elapsed() < LET_GO_WITHIN {
            std::thread::sleep(LOOK_AGAIN);
            locked = file.try_lock();
        }
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Who holds it writes its pid right behind taking it; no pid is no harm.
                let _ = file.take(20).read_to_string(&mut pid);
                return Err(LockError::InUse {
                    path: state_dir.to_owned(),
                    pid: pid.trim().to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| write!(file, "{}", std::process::id()))
            .map_err(failed)?;
        Ok(Self { _file: file })
    }
}

/// Whether an aggregator has the state folder now. Looking takes nothing from one that is about to start: it tries for
/// [`LET_GO_WITHIN`].
pub(crate) fn is_held(state_dir: &Path) -> bool {
    let Ok(file) = File::open(state_dir.join(FILE_NAME)) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_with_the_pid_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let state_dir = folder.path().join("deep/aggregator");
        let first = StateLock::take(&state_dir).unwrap();
        let second = StateLock::take(&state_dir).unwrap_err();
        assert_eq!(
            second.to_string(),
            format!(
                "the state folder {} is in use by the process {}",
                state_dir.display(),
                std::process::id()
            )
        );
        assert!(is_held(&state_dir));
        drop(first);
        assert!(!is_held(&state_dir));
        StateLock::take(&state_dir).unwrap();
    }
}
