//! Whether a node that refuses connections is on its way up, read from its log on this host.
//!
//! A node opens its port at the very end of its boot. Before, it may wait minutes for the nodes that were up when it went
//! down (`Waiting for Mnesia tables for 30000 ms, 9 retries left`).

use std::fmt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::super::log_tail::log_tail;

/// A node that boots writes at the latest when it has waited for its tables in vain, every thirty seconds; one that was
/// killed while it booted writes no more.
const QUIET_MAX: Duration = Duration::from_secs(45);

/// What a node is at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Boot {
    /// It boots.
    Booting,
    /// It waits for other nodes; what it says of that.
    Waiting(String),
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Booting => f.write_str("boots"),
            Self::Waiting(words) => write!(
                f,
                "boots, and waits for nodes that were up when it went down: {words}"
            ),
        }
    }
}

impl Boot {
    /// Reads what the log says, unless it has been quiet for too long. Blocks on the disk.
    pub(super) fn read(log_file: &Path) -> Option<Self> {
        let written = std::fs::metadata(log_file)
            .and_then(|metadata| metadata.modified())
            .ok()?;
        // A clock that was set back makes a log of the future: not quiet.
        let quiet = SystemTime::now()
            .duration_since(written)
            .unwrap_or_default();
        if quiet > QUIET_MAX {
            None
        } else {
            Self::parse(&log_tail(log_file))
        }
    }

    fn parse(log: &str) -> Option<Self> {
        let mut boot = None;
        for line in log.lines() {
            if line.contains("Starting RabbitMQ") || line.contains("Starting broker") {
                boot = Some(Self::Booting);
            } else if line.contains("Waiting for Mnesia tables") {
                let words = line
                    .find("Waiting for Mnesia tables")
                    .and_then(|at| line.get(at..));
                boot = words.map(|words| Self::Waiting(words.trim_end().to_owned()));
            } else if [
                "Server startup complete",
                "Successfully stopped RabbitMQ",
                "Stopping RabbitMQ",
                "BOOT FAILED",
                "completed with",
            ]
            .iter()
            .any(|end| line.contains(end))
            {
                boot = None;
            }
        }
        boot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_log_tells_whether_a_node_boots() {
        let started =
            "2026-11-21 00:00:00 [info] <0.2.0>  Starting RabbitMQ 3.10.8 on Erlang 25.2.3\n";
        let waits = "2026-11-21 00:00:01 [info] <0.2.0> Waiting for Mnesia tables for 30000 ms, 9 retries left\n";
        let complete =
            "2026-11-21 00:00:09 [info] <0.5.0> Server startup complete; 4 plugins started.\n";
        for (log, expected) in [
            (String::new(), None),
            (started.to_owned(), Some(Boot::Booting)),
            (
                format!("{started}{waits}"),
                Some(Boot::Waiting(
                    "Waiting for Mnesia tables for 30000 ms, 9 retries left".to_owned(),
                )),
            ),
            (format!("{started}{waits}{complete}"), None),
            (format!("{started}{complete}{started}"), Some(Boot::Booting)),
        ] {
            assert_eq!(Boot::parse(&log), expected, "{log}");
        }
    }

    #[test]
    fn a_log_that_is_long_quiet_tells_nothing() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "Starting RabbitMQ 3.10.8").unwrap();
        assert_eq!(Boot::read(file.path()), Some(Boot::Booting));
        let long_ago = SystemTime::now() - QUIET_MAX - Duration::from_secs(1);
        file.as_file().set_modified(long_ago).unwrap();
        assert_eq!(Boot::read(file.path()), None);
    }
}
