//! The thread that writes the spool's file: at once after a change of status, otherwise in one transaction for all that came meanwhile.
//! What the disk does not take stays in memory, and is tried again.

use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::state::{Shared, State, lock};
use super::store::{Store, living};
use crate::result::Numbered;

/// How long a file that could not be written is left alone: a full disk stays full for a while.
const REOPEN_AFTER: Duration = Duration::from_secs(2);

/// What a writer does next.
enum Step {
    /// Waits for something new.
    Idle,
    /// Waits so long, or until it is woken.
    Wait(Duration),
    Write,
    Reopen(PathBuf),
    End,
}

/// Since when a writer has something to write, and until when it leaves a broken file alone.
#[derive(Debug, Default)]
struct Writing {
    dirty_since: Option<Instant>,
    not_before: Option<Instant>,
    given_up: bool,
}

impl Writing {
    fn next(&mut self, state: &mut State, now: Instant) -> Step {
        if !state.is_dirty() {
            self.dirty_since = None;
            return if state.stopping {
                Step::End
            } else {
                Step::Idle
            };
        }
        if self.given_up {
            return Step::End;
        }
        if let Some(not_before) = self.not_before.filter(|_| !state.stopping) {
            let left = not_before.saturating_duration_since(now);
            if !left.is_zero() {
                return Step::Wait(left);
            }
        }
        let since = *self.dirty_since.get_or_insert(now);
        let left = state
            .flush_after
            .saturating_sub(now.saturating_duration_since(since));
        if !state.flush_now && !state.stopping && !left.is_zero() {
            return Step::Wait(left);
        }
        self.dirty_since = None;
        state.flush_now = false;
        match &state.reopen {
            Some(folder) => Step::Reopen(folder.clone()),
            None => Step::Write,
        }
    }

    /// A write was tried.
    fn tried(&mut self, state: &State) {
        let has_failed = state.reopen.is_some();
        self.not_before = has_failed.then(|| Instant::now() + REOPEN_AFTER);
        // The disk does not take it: the next start has what was written so far.
        self.given_up = has_failed && state.stopping;
    }
}

/// Sleeps while there is nothing to write; writes all that there is in one transaction.
pub(super) fn run(shared: &Shared) {
    let mut writing = Writing::default();
    let mut state = lock(&shared.state);
    loop {
        match writing.next(&mut state, Instant::now()) {
            Step::Idle => {
                state = shared
                    .wake
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            Step::Wait(left) => {
                state.writer_is_timed = true;
                state = shared
                    .wake
                    .wait_timeout(state, left)
                    .unwrap_or_else(PoisonError::into_inner)
                    .0;
                state.writer_is_timed = false;
                continue;
            }
            Step::Write => state = write_once(shared, state),
            Step::Reopen(folder) => state = reopen(shared, state, &folder),
            Step::End => return,
        }
        writing.tried(&state);
    }
}

/// [`run`] in simulated time. The disk takes none of it.
pub(super) async fn run_in_task(shared: Arc<Shared>) {
    let mut writing = Writing::default();
    loop {
        let step = writing.next(&mut lock(&shared.state), Instant::now());
        match step {
            Step::Idle => {
                shared.wake_task.notified().await;
                continue;
            }
            Step::Wait(left) => {
                // Woken or not: the next step is decided by what there is then.
                let _ = tokio::time::timeout(left, shared.wake_task.notified()).await;
                continue;
            }
            Step::Write => drop(write_once(&shared, lock(&shared.state))),
            Step::Reopen(folder) => drop(reopen(&shared, lock(&shared.state), &folder)),
            Step::End => return,
        }
        writing.tried(&lock(&shared.state));
    }
}

/// Opens the file again. What it lacks is still in memory, as far as there is room.
fn reopen<'a>(
    shared: &'a Shared,
    state: MutexGuard<'a, State>,
    folder: &Path,
) -> MutexGuard<'a, State> {
    drop(state);
    let opened = Store::open(folder);
    let mut state = lock(&shared.state);
    match opened {
        Ok((store, loaded, moved)) => {
            state.written = state.written.max(loaded.next_position);
            state.store = Some(Arc::new(store));
            state.reopen = None;
            if let Some(told) = moved {
                state.moved = Some((Instant::now(), told));
            }
            // The problem is over with the first write that succeeds.
        }
        Err(error) => {
            state.problem = Some(format!("cannot write the spool: {}", error.one_line()));
        }
    }
    state
}

fn write_once<'a>(shared: &'a Shared, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
    let Some(store) = state.store.clone() else {
        // In memory only: nothing more can be done for what is new.
        state.written = state.next_position;
        state.cursor_changes_written = state.cursor_changes;
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
    let (bytes_max, incarnations, dropped) = (
        state.limits.bytes_max,
        state.incarnations.clone(),
        state.dropped_total,
    );
    let cursor_changes = state.cursor_changes;
    drop(state);
    let outcome = store.write(&new, &cursors, &incarnations, keep_from, bytes_max, dropped);
    let mut state = lock(&shared.state);
    match outcome {
        Ok(done) => {
            state.written = state.written.max(written);
            state.cursor_changes_written = cursor_changes;
            state.dropped_total += done.dropped;
            if state.problem.take().is_some() {
                info!("the spool is written again");
            }
            // What was dropped is not sent either: it is counted.
            let first = store.first_position().unwrap_or(written);
            while state
                .memory
                .front()
                .is_some_and(|oldest| oldest.position < first)
            {
                state.memory.pop_front();
            }
            let own = state.incarnation.id;
            let living = living(&state.incarnations, first);
            state
                .incarnations
                .retain(|id, _| *id == own || living.contains(id));
            state.trim_memory();
        }
        Err(error) => {
            let problem = format!("cannot write the spool: {}", error.one_line());
            warn!(%problem, "spool");
            state.problem = Some(problem);
            // The file stays locked until its last reader is done; opening it again is tried until then.
            state.store = None;
            state.reopen = Some(store.folder().to_path_buf());
        }
    }
    state
}
