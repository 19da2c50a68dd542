//! What the spool holds in memory, and what it may let go of. No input, no output.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blackstart_proto::limits::TARGETS_MAX;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::store::{Cursor, Lived, Store};
use crate::config::SpoolLimits;
use crate::result::{Incarnation, Numbered};

/// The most results in memory: what a minute of a busy agent gives, and all there is room for while the disk cannot be
/// written. Those that are on disk and that everybody has got go sooner.
pub(super) const MEMORY_RESULTS_MAX: usize = 4_000;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<State>,
    pub(super) wake: Condvar,
    /// Like `wake`, for a task.
    pub(super) wake_task: Notify,
}

impl Shared {
    /// There is something for the writer.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
        self.wake_task.notify_one();
    }
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) limits: SpoolLimits,
    pub(super) incarnation: Arc<Incarnation>,
    pub(super) incarnations: BTreeMap<u64, Lived>,
    pub(super) next_sequence: u64,
    pub(super) next_position: u64,
    /// The newest results, without gaps up to `next_position`.
    pub(super) memory: VecDeque<Numbered>,
    /// Results before this position are on disk, as far as they are kept.
    pub(super) written: u64,
    pub(super) cursors: BTreeMap<String, Cursor>,
    /// Counts the changes of the cursors, and how many of them are on disk.
    pub(super) cursor_changes: u64,
    pub(super) cursor_changes_written: u64,
    pub(super) dropped_total: u64,
    pub(super) store: Option<Arc<Store>>,
    /// Where the file is opened again after it could not be written: redb refuses everything after one error.
    pub(super) reopen: Option<PathBuf>,
    /// The last result of each component and check.
    pub(super) latest: BTreeMap<(String, String), Numbered>,
    pub(super) problem: Option<String>,
    /// When and why a damaged file was moved aside.
    pub(super) moved: Option<(Instant, String)>,
    /// [`super::FLUSH_AFTER`], except in tests.
    pub(super) flush_after: Duration,
    pub(super) flush_now: bool,
    /// The writer sleeps until a time, and need not be woken for what can wait.
    pub(super) writer_is_timed: bool,
    pub(super) stopping: bool,
}

/// The state, for as long as it takes to change it.
pub(super) fn lock(mutex: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic elsewhere leaves the state sound: every change below is complete before anything that may panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    pub(super) fn first_kept(&self) -> u64 {
        let first_in_memory = self
            .memory
            .front()
            .map_or(self.next_position, |first| first.position);
        self.store.as_ref().map_or(first_in_memory, |store| {
            store.first_position().unwrap_or(first_in_memory)
        })
    }

    /// Keeps memory within its bound: what is on disk goes first; what is not is dropped and counted.
    pub(super) fn bound_memory(&mut self) {
        while self.memory.len() > MEMORY_RESULTS_MAX {
            if let Some(oldest) = self.memory.pop_front()
                && oldest.position >= self.written
            {
                self.written = oldest.position + 1;
                if self.is_missed(oldest.position) {
                    self.dropped_total += 1;
                }
            }
        }
    }

    /// Lets go of what is on disk and what every aggregator has got.
    pub(super) fn trim_memory(&mut self) {
        if self.store.is_none() {
            return;
        }
        let until = self
            .cursors
            .values()
            .map(|cursor| cursor.position)
            .fold(self.written, u64::min);
        while self
            .memory
            .front()
            .is_some_and(|oldest| oldest.position < until)
        {
            self.memory.pop_front();
        }
        if self.memory.capacity() > 4 * self.memory.len().max(64) {
            self.memory.shrink_to(2 * self.memory.len());
        }
    }

    pub(super) fn note_latest(&mut self, result: &Numbered) {
        let observation = &result.observation;
        let key = (
            observation.component.clone(),
            observation.check.clone().into_owned(),
        );
        if self.latest.len() < TARGETS_MAX || self.latest.contains_key(&key) {
            self.latest.insert(key, result.clone());
        }
    }

    /// Whether some aggregator has not got the result at this position.
    pub(super) fn is_missed(&self, position: u64) -> bool {
        self.cursors
            .values()
            .any(|cursor| cursor.position <= position)
    }

    /// Before this position nothing needs to be kept: everybody has it, and it is older than the ring.
    pub(super) fn keep_from(&self) -> u64 {
        let ring = self.next_position.saturating_sub(self.limits.ring_results);
        self.cursors
            .values()
            .map(|cursor| cursor.position)
            .fold(ring, u64::min)
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.written < self.next_position || self.cursor_changes_written < self.cursor_changes
    }
}
