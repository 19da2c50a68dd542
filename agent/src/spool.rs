//! Results that wait for their acknowledgement, and the last ones that do not any more.
//!
//! Memory holds the newest, a file (redb) everything that is kept. A thread of its own writes: at once after a
//! change of status, otherwise a second after something came, in one transaction and with one sync; with nothing new it
//! sleeps. The file outlives a `kill -9` and a power cut; what it cannot hold (a full, broken or read-only disk) stays in memory, bounded, and is shown.
//!
//! **Invariant:** a number is never used again. Sequences count within an incarnation, which ends with its process, so
//! losing the tail of the file loses results that were not acknowledged, and nothing else.

mod store;

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config::SpoolLimits;
use crate::observation::Observation;
use crate::result::{Incarnation, Numbered};
pub use store::SpoolError;
use store::{Cursor, Loaded, Store};

/// The most results in memory: what a minute of a busy agent gives, and all there is room for while the disk cannot be written.
const MEMORY_RESULTS_MAX: usize = 4_000;

/// How long something new may wait for its way to the disk.
const FLUSH_AFTER: Duration = Duration::from_secs(1);

/// How far the spool is: what uplinks wait on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filled {
    /// The position that the next result will get.
    pub next: u64,
    /// Results before this position are news that must not wait: a status changed.
    pub urgent: u64,
}

/// The spool of one agent; shared by the scheduler, the uplinks and the local socket.
#[derive(Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    filled: watch::Sender<Filled>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    limits: SpoolLimits,
    incarnation: Arc<Incarnation>,
    incarnations: BTreeMap<u64, Arc<Incarnation>>,
    next_sequence: u64,
    next_position: u64,
    /// The newest results, without gaps up to `next_position`.
    memory: VecDeque<Numbered>,
    /// Results before this position are on disk, as far as they are kept.
    written: u64,
    cursors: BTreeMap<String, Cursor>,
    cursors_changed: bool,
    dropped_total: u64,
    store: Option<Arc<Store>>,
    problem: Option<String>,
    flush_now: bool,
    stopping: bool,
}

fn lock(mutex: &Mutex<State>) -> MutexGuard<'_, State> {
    // A panic elsewhere leaves the state sound: every change below is complete before anything that may panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let (store, loaded, problem) = match Store::open(folder) {
            Ok((store, loaded, moved)) => (Some(Arc::new(store)), loaded, moved),
            Err(error @ SpoolError::InUse { .. }) => return Err(error),
            Err(error) => (
                None,
                Loaded::default(),
                Some(format!("no spool on disk: {}", error.one_line())),
            ),
        };
        let incarnation = Arc::new(incarnation);
        let mut incarnations = loaded.incarnations;
        incarnations.insert(incarnation.id, incarnation.clone());
        let state = State {
            limits,
            incarnation,
            incarnations,
            next_sequence: 1,
            next_position: loaded.next_position,
            memory: VecDeque::new(),
            written: loaded.next_position,
            cursors: loaded.cursors,
            cursors_changed: false,
            dropped_total: loaded.dropped_total,
            store,
            problem,
            flush_now: false,
            stopping: false,
        };
        let filled = watch::Sender::new(Filled {
            next: state.next_position,
            urgent: state.next_position,
        });
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            wake: Condvar::new(),
        });
        let writer = {
            let shared = shared.clone();
            std::thread::Builder::new()
                .name("spool".to_owned())
                .spawn(move || write_loop(&shared))
        };
        let writer = writer.map_err(|source| SpoolError::Thread { source })?;
        Ok(Self {
            shared,
            filled,
            writer: Mutex::new(Some(writer)),
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
            state.memory.push_back(numbered);
        }
        state.bound_memory();
        state.flush_now |= urgent;
        let next = state.next_position;
        drop(state);
        self.shared.wake.notify_one();
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
        let from_disk = store
            .map(|store| store.read(from, first_in_memory, most, &incarnations))
            .unwrap_or_default();
        if from_disk.is_empty() {
            self.read(first_in_memory, most)
        } else {
            from_disk
        }
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
                state.cursors_changed = true;
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
            state.cursors_changed = true;
        }
    }

    /// Forgets the cursors of aggregators that are configured no longer.
    pub fn keep_cursors(&self, aggregators: &[String]) {
        let mut state = lock(&self.shared.state);
        let before = state.cursors.len();
        state.cursors.retain(|name, _| aggregators.contains(name));
        state.cursors_changed |= state.cursors.len() != before;
        for name in aggregators {
            // An aggregator that was never met holds back what it has not got.
            state.cursors.entry(name.clone()).or_default();
        }
    }

    /// Incarnations with results in the spool, oldest first, this one last.
    #[must_use]
    pub fn incarnations(&self) -> Vec<u64> {
        let state = lock(&self.shared.state);
        let mut ids: Vec<u64> = state
            .incarnations
            .keys()
            .copied()
            .filter(|id| *id != state.incarnation.id)
            .collect();
        ids.push(state.incarnation.id);
        ids
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

    /// What is wrong with the spool, if anything.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        lock(&self.shared.state).problem.clone()
    }

    /// Writes what is new and ends the writer. Results that come later stay in memory.
    pub fn close(&self) {
        lock(&self.shared.state).stopping = true;
        self.shared.wake.notify_one();
        let writer = self
            .writer
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(writer) = writer {
            // A panic of the writer was reported where it happened.
            writer.join().unwrap_or(());
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.close();
    }
}

impl State {
    fn first_kept(&self) -> u64 {
        let first_in_memory = self
            .memory
            .front()
            .map_or(self.next_position, |first| first.position);
        self.store.as_ref().map_or(first_in_memory, |store| {
            store.first_position().unwrap_or(first_in_memory)
        })
    }

    /// Keeps memory within its bound: what is on disk goes first; what is not is dropped and counted.
    fn bound_memory(&mut self) {
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

    /// Whether some aggregator has not got the result at this position.
    fn is_missed(&self, position: u64) -> bool {
        self.cursors
            .values()
            .any(|cursor| cursor.position <= position)
    }

    /// Before this position nothing needs to be kept: everybody has it, and it is older than the ring.
    fn keep_from(&self) -> u64 {
        let ring = self.next_position.saturating_sub(self.limits.ring_results);
        self.cursors
            .values()
            .map(|cursor| cursor.position)
            .fold(ring, u64::min)
    }

    fn is_dirty(&self) -> bool {
        self.written < self.next_position || self.cursors_changed
    }
}

/// Sleeps while there is nothing to write; writes all that there is in one transaction.
fn write_loop(shared: &Shared) {
    let mut state = lock(&shared.state);
    let mut dirty_since: Option<Instant> = None;
    loop {
        if !state.is_dirty() {
            dirty_since = None;
            if state.stopping {
                return;
            }
            state = shared
                .wake
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
            continue;
        }
        let since = *dirty_since.get_or_insert_with(Instant::now);
        let left = FLUSH_AFTER.saturating_sub(since.elapsed());
        if !state.flush_now && !state.stopping && !left.is_zero() {
            state = shared
                .wake
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            continue;
        }
        dirty_since = None;
        state.flush_now = false;
        state = write_once(shared, state);
        if state.stopping && state.store.is_some() && state.problem.is_some() {
            // The disk does not take it: the next start has what was written so far.
            return;
        }
        if state.problem.is_some() && state.is_dirty() && !state.stopping {
            // Not again at once: a full disk stays full for a while.
            state = shared
                .wake
                .wait_timeout(state, FLUSH_AFTER)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

fn write_once<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let Some(store) = state.store.clone() else {
        // In memory only: nothing more can be done for what is new.
        state.written = state.next_position;
        state.cursors_changed = false;
        return state;
    };
    let new: Vec<Numbered> = state
        .memory
        .iter()
        .filter(|result| result.position >= state.written)
        .cloned()
        .collect();
    let (written, cursors, keep_from) = (
        state.next_position,
        state.cursors.clone(),
        state.keep_from(),
    );
    let (bytes_max, incarnation, dropped) = (
        state.limits.bytes_max,
        state.incarnation.clone(),
        state.dropped_total,
    );
    state.cursors_changed = false;
    drop(state);
    let outcome = store.write(&new, &cursors, &incarnation, keep_from, bytes_max, dropped);
    let mut state = lock(&shared.state);
    match outcome {
        Ok(done) => {
            state.written = state.written.max(written);
            state.dropped_total += done.dropped;
            state.problem = None;
            let own = state.incarnation.id;
            state
                .incarnations
                .retain(|id, _| *id == own || done.incarnations.contains(id));
        }
        Err(error) => {
            state.cursors_changed = true;
            state.problem = Some(format!("cannot write the spool: {}", error.one_line()));
        }
    }
    state
}

#[cfg(test)]
mod tests;
