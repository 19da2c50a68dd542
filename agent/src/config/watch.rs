//! Tells when the configuration file has changed, or somebody asked to read it again.
//!
//! The file is looked at every few seconds: three words of its metadata. That works on every file system, needs no
//! thread, and sees a file that an editor replaced by another one.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

/// How often the file is looked at. One that looks the same twice has been left alone: an editor writes more than once.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// Tells one state of a file from another; `None`: there is none.
type Stamp = Option<(u64, i64, i64, u64)>;

/// Watches a configuration file.
#[derive(Debug)]
pub(crate) struct Watch {
    file: Option<PathBuf>,
    asked: Arc<Notify>,
    /// What it looked like when it was read.
    read: Stamp,
    /// What it looked like at the last look.
    seen: Stamp,
}

impl Watch {
    /// Watches from now on; what is there now counts as read. `asked` is notified when somebody wants it read again.
    pub(crate) fn new(file: Option<PathBuf>, asked: Arc<Notify>) -> Self {
        let now = file.as_deref().and_then(stamp);
        Self {
            file,
            asked,
            read: now,
            seen: now,
        }
    }

    /// Waits until the file has to be read. Dropping the future loses nothing.
    pub(crate) async fn changed(&mut self) {
        loop {
            let Some(file) = &self.file else {
                return self.asked.notified().await;
            };
            tokio::select! {
                () = self.asked.notified() => {
                    self.read = stamp(file);
                    self.seen = self.read;
                    return;
                }
                () = tokio::time::sleep(LOOK_INTERVAL) => {}
            }
            let now = stamp(file);
            let is_settled = now == self.seen;
            self.seen = now;
            if is_settled && now != self.read {
                self.read = now;
                return;
            }
        }
    }
}

fn stamp(file: &Path) -> Stamp {
    let metadata = std::fs::metadata(file).ok()?;
    Some((
        metadata.ino(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        metadata.size(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once_when_the_file_is_left_alone() {
        let folder = tempfile::TempDir::new().unwrap();
        let file = folder.path().join("agent.toml");
        std::fs::write(&file, "a").unwrap();
        let mut watch = Watch::new(Some(file.clone()), Arc::default());
        let quiet = LOOK_INTERVAL * 5;
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
        std::fs::write(&file, "ab").unwrap();
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_ok());
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_err());
        std::fs::remove_file(&file).unwrap();
        assert!(tokio::time::timeout(quiet, watch.changed()).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_asks_does_not_wait_and_without_a_file_may_ask_too() {
        for file in [None, Some(PathBuf::from("/nonexistent"))] {
            let asked = Arc::new(Notify::new());
            let mut watch = Watch::new(file, asked.clone());
            asked.notify_one();
            let soon = tokio::time::timeout(LOOK_INTERVAL / 2, watch.changed()).await;
            assert!(soon.is_ok());
        }
    }
}
