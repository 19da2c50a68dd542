//! How far a PostgreSQL that does not let anybody in has come, read from its data folder on this host.
//!
//! A server in crash recovery tells its clients nothing but "starting up". What it is at stands in the title of its
//! startup process (`startup recovering 00000001000000000000005D`), where it began in `global/pg_control`, where it
//! will end in `pg_wal`, and, finer than a segment, in its log (`redo in progress … current LSN`). Whatever cannot be
//! read is left out; nothing is ever written.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::super::log_tail::log_tail;
use super::wal::{Lsn, SegmentName, extent};

/// The most children of a postmaster that are looked at; the startup process is among its first.
const CHILDREN_MAX: usize = 2_000;

/// The versions of `pg_control` whose beginning is laid out as this reader expects: PostgreSQL 11 and later.
const CONTROL_VERSIONS: std::ops::RangeInclusive<u32> = 1_100..=1_899;

/// Where to look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Files {
    /// Where `proc` is.
    pub(super) root: PathBuf,
    /// The data folder.
    pub(super) data_dir: PathBuf,
    /// The log, where it is not the one named in `current_logfiles`.
    pub(super) log_file: Option<PathBuf>,
}

/// What was found there.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Recovery {
    /// Line 8 of `postmaster.pid`: `starting`, `ready`, `standby`, `stopping`.
    pub(super) postmaster: Option<String>,
    /// It recovers an archive or follows a primary.
    pub(super) is_standby: bool,
    /// What its processes say that they do.
    pub(super) titles: Titles,
    /// Where redo began.
    pub(super) redo_start: Option<Lsn>,
    /// Where redo is at least.
    pub(super) redo_at: Option<Lsn>,
    /// Where the log ends.
    pub(super) end: Option<Lsn>,
    /// What the log tells.
    pub(super) log: LogTail,
}

/// What the titles of the postmaster's children tell.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Titles {
    /// The segment that is redone.
    pub(super) recovering: Option<SegmentName>,
    /// Redo is over and its result is written to disk.
    pub(super) end_of_recovery_checkpoint: bool,
}

/// What the end of a log tells about the last start.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LogTail {
    /// It makes sure that all files are on disk; no redo yet.
    pub(super) syncing: bool,
    /// Where redo is.
    pub(super) redo_at: Option<Lsn>,
    /// The last `PANIC`, or `FATAL` of the server itself, behind which nothing good came.
    pub(super) last_words: Option<String>,
}

impl Recovery {
    /// Reads what there is to read. Blocks on the disk.
    pub(super) fn read(files: &Files) -> Self {
        let data_dir = &files.data_dir;
        let pid_file = std::fs::read_to_string(data_dir.join("postmaster.pid")).unwrap_or_default();
        let mut lines = pid_file.lines();
        let pid: Option<u32> = lines.next().and_then(|line| line.trim().parse().ok());
        let postmaster = lines.nth(6).map(|line| line.trim().to_owned());
        let titles = pid
            .map(|pid| read_titles(&files.root, pid))
            .unwrap_or_default();
        let log = log_path(files)
            .map(|path| LogTail::parse(&log_tail(&path)))
            .unwrap_or_default();
        let control = read_control(&data_dir.join("global/pg_control"));
        let mut recovery = Self {
            postmaster,
            is_standby: data_dir.join("standby.signal").exists()
                || data_dir.join("recovery.signal").exists(),
            titles,
            log,
            ..Self::default()
        };
        if let Some((redo_start, timeline)) = control {
            recovery.redo_start = Some(redo_start);
            if let Ok(Some(extent)) = extent(&data_dir.join("pg_wal"), timeline, redo_start) {
                recovery.end = Some(extent.end);
                let segment = recovery.titles.recovering;
                let of_title = segment.map(|segment| segment.start(extent.segment_bytes));
                recovery.redo_at = of_title
                    .max(recovery.log.redo_at)
                    .filter(|at| *at <= extent.end);
                // In its first segment redo is at least where it began.
                recovery.redo_at = recovery.redo_at.map(|at| at.max(redo_start));
            }
        }
        recovery
    }

    /// How much of the redo is done, from 0 to 1.
    pub(super) fn redo_ratio(&self) -> Option<f64> {
        let (start, at, end) = (self.redo_start?, self.redo_at?, self.end?);
        let whole = end.0.checked_sub(start.0).filter(|&bytes| bytes > 0)?;
        #[expect(
            clippy::cast_precision_loss,
            reason = "a ratio needs no more than six digits"
        )]
        let ratio = at.0.saturating_sub(start.0) as f64 / whole as f64;
        Some(ratio.clamp(0.0, 1.0))
    }
}

impl Titles {
    fn add(&mut self, title: &str) {
        if let Some((_, segment)) = title.split_once("startup recovering ") {
            let segment = segment.split_whitespace().next().unwrap_or_default();
            self.recovering = SegmentName::parse(segment).or(self.recovering);
        }
        if title.contains("checkpointer") && title.contains("end-of-recovery") {
            self.end_of_recovery_checkpoint = true;
        }
    }
}

impl LogTail {
    /// Reads the end of a log. Its texts are those of an English server; of another one less is known.
    pub(super) fn parse(text: &str) -> Self {
        let mut seen = Self::default();
        for line in text.lines() {
            if line.contains("starting PostgreSQL")
                || line.contains("ready to accept")
                || line.contains("all server processes terminated; reinitializing")
            {
                seen = Self::default();
            } else if line.contains("syncing data directory") {
                seen.syncing = true;
            } else if let Some(at) =
                behind(line, "redo starts at ").or_else(|| behind(line, "current LSN: "))
            {
                seen.syncing = false;
                seen.redo_at = Lsn::parse(at).or(seen.redo_at);
            } else if let Some(words) = last_words(line) {
                seen.last_words = Some(words.to_owned());
            }
        }
        seen
    }
}

fn behind<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    line.split_once(marker)?.1.split([' ', ',']).next()
}

/// What ended a server. Clients that were turned away are `FATAL` too, and say nothing of it.
fn last_words(line: &str) -> Option<&str> {
    const TURNED_AWAY: [&str; 8] = [
        "the database system is",
        "remaining connection slots",
        "too many clients",
        "authentication failed",
        "pg_hba.conf",
        "does not exist",
        "terminating connection",
        "canceling",
    ];
    let begin = line.find("PANIC:  ").or_else(|| line.find("FATAL:  "))?;
    let words = line.get(begin..)?;
    (!TURNED_AWAY.iter().any(|text| words.contains(text))).then_some(words)
}

fn read_titles(root: &Path, postmaster: u32) -> Titles {
    let process = |pid: &str, file: &str| root.join("proc").join(pid).join(file);
    let postmaster = postmaster.to_string();
    let children = process(&postmaster, &format!("task/{postmaster}/children"));
    let children = std::fs::read_to_string(children).unwrap_or_default();
    let mut titles = Titles::default();
    for pid in children.split_whitespace().take(CHILDREN_MAX) {
        let title = std::fs::read(process(pid, "cmdline")).unwrap_or_default();
        titles.add(&String::from_utf8_lossy(&title).replace('\0', " "));
    }
    titles
}

/// Where redo begins after a crash, and on which timeline: of `ControlFileData` (`catalog/pg_control.h`) the version
/// stands at byte 8, the redo position of the last checkpoint at 40 and its timeline at 48.
fn read_control(path: &Path) -> Option<(Lsn, u32)> {
    let mut bytes = [0; 52];
    File::open(path).ok()?.read_exact_at(&mut bytes, 0).ok()?;
    let version = u32::from_ne_bytes(bytes.get(8..12)?.try_into().ok()?);
    let redo = u64::from_ne_bytes(bytes.get(40..48)?.try_into().ok()?);
    let timeline = u32::from_ne_bytes(bytes.get(48..52)?.try_into().ok()?);
    CONTROL_VERSIONS
        .contains(&version)
        .then_some((Lsn(redo), timeline))
}

fn log_path(files: &Files) -> Option<PathBuf> {
    if let Some(path) = &files.log_file {
        return Some(path.clone());
    }
    // One line for each kind: `stderr log/postgresql-2026-01-01.log`.
    let current = std::fs::read_to_string(files.data_dir.join("current_logfiles")).ok()?;
    let name = current
        .lines()
        .find_map(|line| line.strip_prefix("stderr "))?;
    Some(files.data_dir.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_tell_the_segment_and_the_checkpoint() {
        let mut titles = Titles::default();
        titles.add("postgres: main: startup recovering 00000001000000000000005D ");
        assert_eq!(
            titles.recovering,
            SegmentName::parse("00000001000000000000005D")
        );
        assert!(!titles.end_of_recovery_checkpoint);
        titles.add("postgres: checkpointer performing end-of-recovery checkpoint");
        assert!(titles.end_of_recovery_checkpoint);
        titles.add("postgres: startup recovering garbage");
        assert_eq!(
            titles.recovering,
            SegmentName::parse("00000001000000000000005D")
        );
    }

    #[test]
    fn the_log_tells_how_far_redo_is() {
        let log = "LOG:  starting PostgreSQL 15.14\n\
                   LOG:  syncing data directory (fsync), elapsed time: 1.00 s, current path: ./base\n";
        assert!(LogTail::parse(log).syncing);
        let log = format!(
            "{log}LOG:  redo starts at 0/2F8AD3B8\nFATAL:  the database system is not yet accepting connections\n"
        );
        assert_eq!(
            LogTail::parse(&log),
            LogTail {
                redo_at: Lsn::parse("0/2F8AD3B8"),
                ..LogTail::default()
            }
        );
        let log =
            format!("{log}LOG:  redo in progress, elapsed time: 3.00 s, current LSN: 0/4BFE1E10\n");
        assert_eq!(LogTail::parse(&log).redo_at, Lsn::parse("0/4BFE1E10"));
        let log = format!("{log}LOG:  database system is ready to accept connections\n");
        assert_eq!(LogTail::parse(&log), LogTail::default());
    }

    #[test]
    fn last_words_are_those_of_the_server() {
        let log = "2026-11-21 00:00:00 UTC [7] PANIC:  could not write to file \"pg_wal/xlogtemp.7\": No space left on device\n\
                   2026-11-21 00:00:01 UTC [9] FATAL:  the database system is in recovery mode\n\
                   2026-11-21 00:00:01 UTC [9] FATAL:  password authentication failed for user \"x\"\n";
        let expected =
            "PANIC:  could not write to file \"pg_wal/xlogtemp.7\": No space left on device";
        assert_eq!(LogTail::parse(log).last_words.as_deref(), Some(expected));
    }

    #[test]
    fn the_ratio_stays_between_zero_and_one() {
        let at = |start, at, end| {
            Recovery {
                redo_start: Some(Lsn(start)),
                redo_at: Some(Lsn(at)),
                end: Some(Lsn(end)),
                ..Recovery::default()
            }
            .redo_ratio()
        };
        for (start, now, end, ratio) in [
            (100, 100, 200, Some(0.0)),
            (100, 158, 200, Some(0.58)),
            (100, 200, 200, Some(1.0)),
            (100, 300, 200, Some(1.0)),
            (100, 50, 200, Some(0.0)),
            (100, 100, 100, None),
            (200, 100, 100, None),
        ] {
            assert_eq!(at(start, now, end), ratio, "{start} {now} {end}");
        }
    }
}
