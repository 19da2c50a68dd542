//! Results that wait for their acknowledgement, and the last ones that do not any more.
//!
//! Memory holds the newest, a file (redb) everything that is kept. A thread of its own writes: at once after a
//! change of status, otherwise a second after something came, in one transaction and with one sync; with nothing new it
//! sleeps. In a simulated network a task does the same in simulated time. The file outlives a `kill -9` and a power cut; what it cannot hold (a full, broken or read-only disk) stays in memory, bounded, and is shown.
//!
//! **Invariant:** a number is never used again. Sequences count within an incarnation, which ends with its process, so
//! losing the tail of the file loses results that were not acknowledged, and nothing else.

mod record;
mod state;
mod store;
mod writer;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tracing::warn;

use crate::config::SpoolLimits;
use crate::observation::Observation;
use crate::result::{Incarnation, Numbered};
use state::{Shared, State, lock};
pub use store::SpoolError;
use store::{Cursor, Lived, Loaded, Store, living};

/// How long something without news may wait for its way to the disk. Each time costs a sync; but a power cut takes that much of what was
/// seen last, and the last second before it is what somebody will ask for.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// How long a damaged file is a problem of the agent: long enough to be seen, and it was not for nothing kept.
const MOVED_TOLD: Duration = Duration::from_secs(3_600);

/// How far the spool is: what uplinks wait on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled {
    /// The position that the next result will get.
    pub next: u64,
    /// Results before this position are news that must not wait: a status changed.
    pub urgent: u64,
}

/// How much the spool holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpoolSize {
    /// Results in memory.
    pub memory_results: u64,
    /// Bytes of results on disk.
    pub disk_bytes: u64,
    /// The most bytes of results on disk.
    pub disk_bytes_max: u64,
}

/// The spool of one agent; shared by the scheduler, the uplinks and the local socket.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    filled: watch::Sender<Filled>,
    writer: Mutex<Option<Writer>>,
}

/// Who writes the file.
#[derive(Debug)]
enum Writer {
    Thread(JoinHandle<()>),
    /// A task of a simulated host: it ends with its host, and what it has not written is lost as in a crash.
    Task,
}

impl Spool {
    /// Opens the spool in a folder, which is made where there is none.
    ///
    /// A file that cannot be used is moved aside; where no file can be had, the spool works in memory and says so in [`Spool::problem`].
    ///
    /// # Errors
    /// Another agent has it open.
    pub fn open(
        folder: &Path,
        limits: SpoolLimits,
        incarnation: Incarnation,
    ) -> Result<Self, SpoolError> {
        Self::open_with(folder, limits, incarnation, FLUSH_AFTER)
    }

    /// Like [`Spool::open`], written by a task of the runtime that is there: for a simulated host, whose time does not pass
    /// for a thread. Dropping it is a crash.
    ///
    /// # Errors
    /// Like [`Spool::open`].
    pub fn open_in_task(
        folder: &Path,
        limits: SpoolLimits,
        incarnation: Incarnation,
    ) -> Result<Self, SpoolError> {
        let spool = Self::load(folder, limits, incarnation, FLUSH_AFTER)?;
        tokio::spawn(writer::run_in_task(spool.shared.clone()));
        Ok(spool.written_by(Writer::Task))
    }

    fn open_with(
        folder: &Path,
        limits: SpoolLimits,
        incarnation: Incarnation,
        flush_after: Duration,
    ) -> Result<Self, SpoolError> {
        let spool = Self::load(folder, limits, incarnation, flush_after)?;
        let shared = spool.shared.clone();
        let writer = std::thread::Builder::new()
            .name("spool".to_owned())
            .spawn(move || writer::run(&shared))
            .map_err(|source| SpoolError::Thread { source })?;
        Ok(spool.written_by(Writer::Thread(writer)))
    }

    fn written_by(self, writer: Writer) -> Self {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        self
    }

    fn load(
        folder: &Path,
        limits: SpoolLimits,
        incarnation: Incarnation,
        flush_after: Duration,
    ) -> Result<Self, SpoolError> {
        let (store, loaded, moved, problem) = match Store::open(folder) {
            Ok((store, loaded, moved)) => (Some(Arc::new(store)), loaded, moved, None),
            Err(error @ SpoolError::InUse { .. }) => return Err(error),
            Err(error) => {
                let problem = format!("no spool on disk: {}", error.one_line());
                (None, Loaded::default(), None, Some(problem))
            }
        };
        if let Some(problem) = moved.as_ref().or(problem.as_ref()) {
            warn!(%problem, "spool");
        }
        let incarnation = Arc::new(incarnation);
        let mut incarnations = loaded.incarnations;
        let lived = Lived {
            incarnation: incarnation.clone(),
            first_position: loaded.next_position,
        };
        incarnations.insert(incarnation.id, lived);
        let state = State {
            limits,
            incarnation,
            incarnations,
            next_sequence: 1,
            next_position: loaded.next_position,
            memory: VecDeque::new(),
            written: loaded.next_position,
            cursors: loaded.cursors,
            cursor_changes: 0,
            cursor_changes_written: 0,
            dropped_total: loaded.dropped_total,
            store,
            reopen: None,
            latest: BTreeMap::new(),
            problem,
            moved: moved.map(|told| (Instant::now(), told)),
            flush_after,
            flush_now: false,
            writer_is_timed: false,
            stopping: false,
        };
        let filled = watch::Sender::new(Filled {
            next: state.next_position,
            urgent: state.next_position,
        });
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
            wake_task: Notify::new(),
        });
        Ok(Self {
            shared,
            filled,
            writer: Mutex::new(None),
        })
    }

    /// Adds results of this incarnation, sampled at this CLOCK_BOOTTIME. `urgent`: a status changed.
    pub fn push(
        &self,
        observations: Vec<Observation>,
        sampled_boottime_us: u64,
        ttl_ms: u32,
        urgent: bool,
    ) {
        if observations.is_empty() {
            return;
        }
        let mut state = lock(&self.shared.state);
        for observation in observations {
            let numbered = Numbered {
                position: state.next_position,
                incarnation: state.incarnation.clone(),
                sequence: state.next_sequence,
                sampled_boottime_us,
                ttl_ms,
                observation,
            };
            state.next_position += 1;
            state.next_sequence += 1;
            state.note_latest(&numbered);
            state.memory.push_back(numbered);
        }
        state.bound_memory();
        state.flush_now |= urgent;
        let next = state.next_position;
        let is_waited_for = state.flush_now || !state.writer_is_timed;
        drop(state);
        if is_waited_for {
            self.shared.wake();
        }
        self.filled.send_modify(|filled| {
            filled.next = next;
            if urgent {
                filled.urgent = next;
            }
        });
    }

    /// Tells when results come.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Filled> {
        self.filled.subscribe()
    }

    /// Up to `most` kept results from a position on, oldest first. Reads the disk where memory does not
    /// reach back so far.
    #[must_use]
    pub fn read(&self, from: u64, most: usize) -> Vec<Numbered> {
        let state = lock(&self.shared.state);
        let first_in_memory = state
            .memory
            .front()
            .map_or(state.next_position, |first| first.position);
        if from >= first_in_memory {
            let skip = usize::try_from(from - first_in_memory).unwrap_or(usize::MAX);
            return state.memory.iter().skip(skip).take(most).cloned().collect();
        }
        let (store, incarnations) = (state.store.clone(), state.incarnations.clone());
        drop(state);
        let mut found = store
            .map(|store| store.read(from, first_in_memory, most, &incarnations))
            .unwrap_or_default();
        let state = lock(&self.shared.state);
        let first = state.memory.front().map(|first| first.position);
        // Memory may have let go of more meanwhile; then the disk is asked again the next time.
        if found.is_empty() || first.is_some_and(|first| first <= first_in_memory) {
            let room = most - found.len();
            let behind = state
                .memory
                .iter()
                .filter(|result| result.position >= first_in_memory);
            found.extend(behind.take(room).cloned());
        }
        found
    }

    /// Where an aggregator's stream goes on. An aggregator that has not been met, or has lost its store
    /// (its id is new), gets everything that is kept.
    #[must_use]
    pub fn cursor(&self, aggregator: &str, aggregator_id: &str) -> u64 {
        let mut state = lock(&self.shared.state);
        match state.cursors.get(aggregator) {
            Some(cursor) if cursor.aggregator_id == aggregator_id => cursor.position,
            _ => {
                let cursor = Cursor {
                    aggregator_id: aggregator_id.to_owned(),
                    position: 0,
                };
                state.cursors.insert(aggregator.to_owned(), cursor);
                state.cursor_changes += 1;
                0
            }
        }
    }

    /// An aggregator holds everything before this position.
    pub fn acknowledge(&self, aggregator: &str, position: u64) {
        let mut state = lock(&self.shared.state);
        if let Some(cursor) = state
            .cursors
            .get_mut(aggregator)
            .filter(|cursor| cursor.position < position)
        {
            cursor.position = position;
            state.cursor_changes += 1;
            state.trim_memory();
        }
    }

    /// Forgets the cursors of aggregators that are configured no longer.
    pub fn keep_cursors(&self, aggregators: &[String]) {
        let mut state = lock(&self.shared.state);
        let before = state.cursors.len();
        state.cursors.retain(|name, _| aggregators.contains(name));
        state.cursor_changes += u64::from(state.cursors.len() != before);
        for name in aggregators {
            // An aggregator that was never met holds back what it has not got.
            state.cursors.entry(name.clone()).or_default();
        }
    }

    /// Incarnations with results that an aggregator has not acknowledged, oldest first, this one last. Beyond `most` the
    /// younger ones are left out: what was sent before a break is older.
    #[must_use]
    pub fn incarnations(&self, aggregator: &str, most: usize) -> Vec<u64> {
        let state = lock(&self.shared.state);
        let from = state
            .cursors
            .get(aggregator)
            .map_or(0, |cursor| cursor.position)
            .max(state.first_kept());
        let own = state.incarnation.id;
        let mut ids = living(&state.incarnations, from);
        ids.retain(|id| *id != own);
        ids.truncate(most.saturating_sub(1));
        ids.push(own);
        ids
    }

    /// The last result of each component and check of this process, sorted.
    #[must_use]
    pub fn latest(&self) -> Vec<Numbered> {
        lock(&self.shared.state).latest.values().cloned().collect()
    }

    /// The last results of one component.
    #[must_use]
    pub fn latest_of(&self, component: &str) -> Vec<Numbered> {
        lock(&self.shared.state)
            .latest
            .range((component.to_owned(), String::new())..)
            .take_while(|((id, _), _)| id == component)
            .map(|(_, result)| result.clone())
            .collect()
    }

    /// Forgets the last result of a check that nobody makes any more. What waits to be acknowledged stays.
    pub fn forget_latest(&self, component: String, check: String) {
        lock(&self.shared.state).latest.remove(&(component, check));
    }

    /// Other limits from now on.
    pub fn set_limits(&self, limits: SpoolLimits) {
        lock(&self.shared.state).limits = limits;
    }

    /// How much it holds.
    #[must_use]
    pub fn size(&self) -> SpoolSize {
        let state = lock(&self.shared.state);
        SpoolSize {
            memory_results: state.memory.len() as u64,
            disk_bytes: state.store.as_ref().map_or(0, |store| store.bytes()),
            disk_bytes_max: state.limits.bytes_max,
        }
    }

    /// This process.
    #[must_use]
    pub fn incarnation(&self) -> Arc<Incarnation> {
        lock(&self.shared.state).incarnation.clone()
    }

    /// Results that a full spool has dropped since it was made.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        lock(&self.shared.state).dropped_total
    }

    /// How many results an aggregator has not acknowledged.
    #[must_use]
    pub fn waiting(&self, aggregator: &str) -> u64 {
        let state = lock(&self.shared.state);
        let position = state
            .cursors
            .get(aggregator)
            .map_or(0, |cursor| cursor.position);
        state
            .next_position
            .saturating_sub(position.max(state.first_kept()))
    }

    /// What is wrong with the spool, if anything. A file that had to be moved aside is told of for an hour.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let state = lock(&self.shared.state);
        let moved = || {
            let (when, told) = state.moved.as_ref()?;
            (when.elapsed() < MOVED_TOLD).then(|| told.clone())
        };
        state.problem.clone().or_else(moved)
    }

    /// Writes what is new and ends the writer. Results that come later stay in memory.
    pub fn close(&self) {
        lock(&self.shared.state).stopping = true;
        self.shared.wake();
        match self.take_writer() {
            // A panic of the writer was reported where it happened.
            Some(Writer::Thread(writer)) => writer.join().unwrap_or(()),
            // Once it is stopping, nothing is waited for any more.
            Some(Writer::Task) => writer::run(&self.shared),
            None => {}
        }
    }

    fn take_writer(&self) -> Option<Writer> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.take()
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        if let Some(Writer::Task) = *self.writer.lock().unwrap_or_else(PoisonError::into_inner) {
            return;
        }
        self.close();
    }
}

#[cfg(test)]
mod tests;
