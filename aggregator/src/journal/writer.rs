//! Decides when to commit, to try again, to snapshot and to prune.
//!
//! Takes what waits, all of it, and commits it in one transaction; then, and only then, tells
//! whoever waits for an acknowledgement. A failed commit is tried again with a growing pause for
//! as long as it takes; what waits meanwhile is bounded by [`crate::ingest`]. A snapshot that is ahead of the
//! disk waits until the disk has caught up.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::{Entry, Journal, JournalError, Snapshot};
use crate::clock::{Clock, micros};
use crate::engine::EngineHandle;
use crate::ingest::JournalRoom;
use crate::problems::{Problems, Subject};
use crate::roster::Roster;
use crate::sequences::Sequences;
use crate::series::SeriesTable;

/// The most entries in one commit: a commit of that many takes some milliseconds.
const GROUP_ENTRIES_MAX: usize = 8_192;

/// Commits begin at least this far apart, so that a fast disk is not asked to flush for every
/// message: each commit costs a third of a millisecond of CPU beside the flush. Adds at most this to an acknowledgement
/// and nothing to what is visible.
const COMMIT_INTERVAL: Duration = Duration::from_millis(10);

/// The pause after the first failed commit; it doubles to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest pause between attempts: a disk that was freed serves again within it.
const RETRY_LONGEST: Duration = Duration::from_secs(5);

/// Results behind the last snapshot that make a new one due: a restart replays some million a
/// second, so this many cost a quarter of one.
const SNAPSHOT_RESULTS: u64 = 250_000;

/// Entries that make one due, whatever is in them.
const SNAPSHOT_ENTRIES: u64 = 50_000;

/// The longest time between snapshots while anything comes.
const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(300);

/// How often retention is looked at.
const PRUNE_INTERVAL: Duration = Duration::from_secs(30);

/// What the writer is told.
pub(crate) enum JournalCommand {
    /// Write this.
    Write(Entry),
    /// Remember the topology that was accepted last.
    Topology(String),
    /// Write what waits and a last snapshot, then end. Answers whether the disk holds all of it.
    Stop(oneshot::Sender<bool>),
}

/// How far the journal is.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct JournalProgress {
    /// Entries in it.
    pub(crate) entries: u64,
    /// Whether it cannot write just now.
    pub(crate) is_failing: bool,
}

/// What the writer shares with the other parts.
pub(crate) struct WriterContext {
    pub(crate) clock: Arc<Clock>,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) sequences: Arc<Sequences>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) problems: Arc<Problems>,
    pub(crate) engine: EngineHandle,
    pub(crate) room: Arc<JournalRoom>,
    pub(crate) progress: watch::Sender<JournalProgress>,
    pub(crate) retention: Duration,
    pub(crate) bytes_max: u64,
}

/// The writer.
pub(crate) struct Writer {
    journal: Journal,
    context: WriterContext,
    commands: mpsc::UnboundedReceiver<JournalCommand>,
    /// The last entry on the disk.
    committed: u64,
    first_index: u64,
    since_snapshot: SinceSnapshot,
    /// A snapshot that waits for the disk to catch up.
    ahead: Option<Snapshot>,
    pruned: Instant,
}

struct SinceSnapshot {
    entries: u64,
    results: u64,
    taken: Instant,
}

impl SinceSnapshot {
    fn new() -> Self {
        Self {
            entries: 0,
            results: 0,
            taken: Instant::now(),
        }
    }

    fn is_due(&self) -> bool {
        self.entries >= SNAPSHOT_ENTRIES
            || self.results >= SNAPSHOT_RESULTS
            || (self.entries > 0 && self.taken.elapsed() >= SNAPSHOT_INTERVAL)
    }
}

impl Writer {
    /// A writer that goes on behind entry `committed`.
    pub(crate) fn new(
        journal: Journal,
        context: WriterContext,
        commands: mpsc::UnboundedReceiver<JournalCommand>,
        bounds: super::recovery::Bounds,
    ) -> Self {
        let first_index = if bounds.first_index == 0 {
            bounds.last_index + 1
        } else {
            bounds.first_index
        };
        let writer = Self {
            journal,
            context,
            commands,
            committed: bounds.last_index,
            first_index,
            since_snapshot: SinceSnapshot::new(),
            ahead: None,
            pruned: Instant::now(),
        };
        writer.publish(false);
        writer
    }

    /// Writes until it is told to stop or nobody is left to tell. Returns whom to tell that it
    /// ended, and whether the disk holds everything.
    pub(crate) async fn run(mut self) -> (Option<oneshot::Sender<bool>>, bool) {
        let mut waiting = Vec::new();
        let mut entries = Vec::new();
        loop {
            let idle = tokio::time::timeout(
                PRUNE_INTERVAL,
                self.commands.recv_many(&mut waiting, GROUP_ENTRIES_MAX),
            );
            let ended = matches!(idle.await, Ok(0));
            let mut stop = None;
            for command in waiting.drain(..) {
                match command {
                    JournalCommand::Write(entry) => entries.push(entry),
                    JournalCommand::Topology(text) => self.remember_topology(&text),
                    JournalCommand::Stop(answer) => stop = Some(answer),
                }
            }
            if stop.is_some() || ended {
                let kept = self.finish(&mut entries).await;
                self.journal.close();
                return (stop, kept);
            }
            if !entries.is_empty() {
                let woken = Instant::now();
                self.commit_until_kept(&mut entries).await;
                self.snapshot_if_due().await;
                tokio::time::sleep_until(woken + COMMIT_INTERVAL).await;
            }
            self.prune_if_due();
        }
    }

    /// Commits what waits; tries again until the disk takes it.
    async fn commit_until_kept(&mut self, entries: &mut Vec<Entry>) {
        let mut pause = RETRY_FIRST;
        while let Err(error) = self.commit(entries) {
            self.failing(&error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_LONGEST);
        }
        self.context.problems.set(Subject::Journal, None);
    }

    fn failing(&self, error: &JournalError) {
        let problem = format!(
            "the journal cannot write; agents keep their results until it can ({})",
            error.chain()
        );
        self.context.problems.set(Subject::Journal, Some(problem));
        self.publish(true);
    }

    /// Commits entries and hands out their receipts.
    fn commit(&mut self, entries: &mut Vec<Entry>) -> Result<(), JournalError> {
        if entries.is_empty() {
            return Ok(());
        }
        let (first_series, series) = self.context.series.unstored();
        self.journal.commit(entries, (first_series, &series))?;
        self.context.series.mark_stored(first_series + series.len());
        let mut bytes = 0;
        for entry in entries.drain(..) {
            self.committed = entry.index;
            self.since_snapshot.entries += 1;
            self.since_snapshot.results += u64::from(entry.results);
            // Events take no room: they are few, or waited for it before.
            bytes += if entry.results > 0 {
                entry.bytes.len()
            } else {
                0
            };
            if let Some(receipt) = entry.receipt {
                receipt
                    .host
                    .kept(receipt.incarnation, receipt.last_sequence);
            }
        }
        self.context.room.give_back(bytes);
        self.publish(false);
        Ok(())
    }

    async fn snapshot_if_due(&mut self) {
        if self.ahead.is_none() && self.since_snapshot.is_due() {
            self.take_snapshot().await;
        }
        self.save_snapshot();
    }

    /// Asks the engine for its state.
    async fn take_snapshot(&mut self) {
        let Some((index, engine)) = self.context.engine.save().await else {
            return;
        };
        self.ahead = Some(Snapshot {
            index,
            at_us: self.context.clock.now().wall_us,
            sequences: Vec::new(),
            agents: Vec::new(),
            engine,
        });
        self.since_snapshot = SinceSnapshot::new();
    }

    /// Writes the snapshot that waits, if the disk holds everything in it.
    fn save_snapshot(&mut self) {
        let Some(mut snapshot) = self.ahead.take_if(|ahead| ahead.index <= self.committed) else {
            return;
        };
        snapshot.sequences = self.context.sequences.save();
        snapshot.agents = self.context.roster.save();
        if let Err(error) = self.journal.save(&snapshot) {
            // The journal still holds everything; the next one is due soon enough.
            tracing::warn!(error = error.chain(), "snapshot not written");
        }
    }

    fn prune_if_due(&mut self) {
        if self.pruned.elapsed() < PRUNE_INTERVAL {
            return;
        }
        let before_us = self.context.clock.now().wall_us - micros(self.context.retention);
        match self.journal.prune(before_us, self.context.bytes_max) {
            // More to delete: go on after the next commit.
            Ok(true) => {
                if let Ok(bounds) = self.journal.bounds() {
                    self.first_index = bounds.first_index;
                    self.publish(false);
                }
            }
            Ok(false) => self.pruned = Instant::now(),
            Err(error) => {
                tracing::warn!(error = error.chain(), "journal not pruned");
                self.pruned = Instant::now();
            }
        }
    }

    fn remember_topology(&mut self, text: &str) {
        if let Err(error) = self.journal.set_meta(TOPOLOGY_KEY, text) {
            tracing::warn!(error = error.chain(), "topology not remembered");
        }
    }

    /// Writes what waits and a last snapshot, once each. True if the disk holds it all.
    async fn finish(&mut self, entries: &mut Vec<Entry>) -> bool {
        while let Ok(command) = self.commands.try_recv() {
            if let JournalCommand::Write(entry) = command {
                entries.push(entry);
            }
        }
        if let Err(error) = self.commit(entries) {
            tracing::error!(error = error.chain(), "last entries not written");
            return false;
        }
        self.ahead = None;
        self.take_snapshot().await;
        self.save_snapshot();
        true
    }

    fn publish(&self, is_failing: bool) {
        self.context.progress.send_replace(JournalProgress {
            entries: (self.committed + 1).saturating_sub(self.first_index),
            is_failing,
        });
    }
}

/// Under which key the last accepted topology is remembered.
pub(crate) const TOPOLOGY_KEY: &str = "topology";
