//! The topology file: read at the start, read again on SIGHUP and when it changes.
//!
//! A file that is refused leaves the one before it in force and is shown in `blackstart status`. The text that was
//! accepted last is in the journal: an aggregator that comes up after a power cut beside a half-written
//! file goes on with it. A file that is not there yet is waited for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use blackstart_config::Report;
use blackstart_graph::Topology;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;

use crate::config::read_bounded;
use crate::ingest::Ingest;
use crate::problems::{Problems, Subject};

/// The largest topology file that is read: a hundred thousand components.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// How long a file must have been left alone before it is read: an editor writes more than once.
const SETTLED: Duration = Duration::from_millis(200);

/// How often the file is looked at in any case: on some file systems no change is told.
const LOOK_INTERVAL: Duration = Duration::from_secs(30);

/// A topology that was accepted, with its text.
pub(crate) struct Accepted {
    pub(crate) topology: Topology,
    pub(crate) text: String,
}

/// What an aggregator starts with.
pub(crate) struct Initial {
    pub(crate) accepted: Accepted,
    pub(crate) problem: Option<String>,
    /// Whether the text is news to the journal.
    pub(crate) is_new: bool,
}

/// Reads and checks a topology file.
///
/// # Errors
/// Every problem of the file.
pub(crate) fn read(file: &Path) -> Result<Accepted, Report> {
    let text = read_bounded(file, FILE_BYTES_MAX)?;
    let topology = Topology::parse(&file.display().to_string(), &text)?;
    Ok(Accepted { topology, text })
}

/// The topology to start with: the file's; if that is refused, the one that was accepted last.
///
/// # Errors
/// The file is refused and none was accepted before.
pub(crate) fn initial(file: Option<&Path>, last: Option<String>) -> Result<Initial, Report> {
    let empty = || Accepted {
        topology: Topology::empty(),
        text: String::new(),
    };
    let Some(file) = file else {
        return Ok(Initial {
            accepted: empty(),
            problem: None,
            is_new: false,
        });
    };
    let report = match read(file) {
        Ok(accepted) => {
            let is_new = last.as_deref() != Some(&accepted.text);
            return Ok(Initial {
                accepted,
                problem: None,
                is_new,
            });
        }
        Err(report) => report,
    };
    let before = last.and_then(|text| {
        let topology = Topology::parse(&file.display().to_string(), &text).ok()?;
        Some(Accepted { topology, text })
    });
    let (accepted, instead) = match before {
        Some(accepted) => (accepted, IN_FORCE),
        None if !file.exists() => (empty(), NONE_IN_FORCE),
        None => return Err(report),
    };
    Ok(Initial {
        accepted,
        problem: Some(problem(&report, instead)),
        is_new: false,
    })
}

/// What holds where a file was refused.
const IN_FORCE: &str = "the one before it stays in force";

/// What holds where the first file is still to come.
const NONE_IN_FORCE: &str = "waiting for it without any topology";

/// What is shown of a file that was refused.
fn problem(report: &Report, instead: &str) -> String {
    let first = report.problems.first();
    let detail = first.map_or_else(String::new, |first| {
        let place = if first.line == 0 {
            String::new()
        } else {
            format!("line {}: ", first.line)
        };
        let parts = [first.found.as_str(), first.expected.as_str()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        format!(": {place}{}", parts.join(", "))
    });
    let more = match report.problems.len() {
        0 | 1 => String::new(),
        n => format!(
            " (and {} more); all of them: blackstart topology validate {}",
            n - 1,
            report.file
        ),
    };
    format!(
        "topology file {} refused, {instead}{detail}{more}",
        report.file
    )
}

/// Reads the file again whenever it changes or `reload` is notified, for ever.
pub(crate) async fn watch(
    file: PathBuf,
    mut in_force: String,
    reload: Arc<Notify>,
    ingest: Arc<Ingest>,
    problems: Arc<Problems>,
) {
    let _watcher = match watcher(&file, reload.clone()) {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(%error, file = %file.display(), "changes of the topology file are seen late");
            None
        }
    };
    loop {
        // A timeout is as good as a change: the file is only compared.
        if tokio::time::timeout(LOOK_INTERVAL, reload.notified())
            .await
            .is_ok()
        {
            while tokio::time::timeout(SETTLED, reload.notified())
                .await
                .is_ok()
            {}
        }
        let path = file.clone();
        let Ok(read) = tokio::task::spawn_blocking(move || read(&path)).await else {
            continue;
        };
        match read {
            Ok(accepted) => {
                if accepted.text != in_force {
                    in_force.clone_from(&accepted.text);
                    tracing::info!(file = %file.display(), "topology file read again");
                    if ingest.topology(accepted.topology, accepted.text).is_err() {
                        return;
                    }
                }
                problems.set(Subject::Topology, None);
            }
            Err(report) => {
                tracing::warn!("{report}");
                let instead = if in_force.is_empty() {
                    NONE_IN_FORCE
                } else {
                    IN_FORCE
                };
                problems.set(Subject::Topology, Some(problem(&report, instead)));
            }
        }
    }
}

/// Watches the folder, as editors replace a file by another one of its name.
fn watcher(file: &Path, changed: Arc<Notify>) -> Result<RecommendedWatcher, notify::Error> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let name = file.file_name().map(ToOwned::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let concerns_us = event.is_ok_and(|event| {
            !event.kind.is_access()
                && event
                    .paths
                    .iter()
                    .any(|path| path.file_name() == name.as_deref())
        });
        if concerns_us {
            changed.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "[component.etcd-1]\nkind = \"etcd-member\"\n";
    const BAD: &str = "[component.etcd-1]\nkind = \"etcd-membr\"\n";

    #[test]
    fn a_bad_file_at_the_first_start_is_refused_and_later_the_last_good_one_serves() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("topology.toml");
        std::fs::write(&file, BAD).unwrap();
        assert!(initial(Some(&file), None).is_err());
        let later = initial(Some(&file), Some(GOOD.to_owned())).unwrap_or_else(|_| panic!());
        assert_eq!(later.accepted.text, GOOD);
        let problem = later.problem.unwrap();
        assert!(
            problem.contains("refused, the one before it stays in force: line 2"),
            "{problem}"
        );
    }

    #[test]
    fn a_file_that_is_not_there_yet_is_shown_and_waited_for() {
        let initial = initial(Some(Path::new("/nonexistent/topology.toml")), None);
        let problem = initial.unwrap_or_else(|_| panic!()).problem.unwrap();
        assert!(
            problem.contains("/nonexistent/topology.toml refused, waiting for it without any topology: cannot be read"),
            "{problem}"
        );
    }

    #[test]
    fn no_file_is_fine() {
        let initial = initial(None, None).unwrap_or_else(|_| panic!());
        assert!(initial.problem.is_none() && initial.accepted.text.is_empty());
    }
}
