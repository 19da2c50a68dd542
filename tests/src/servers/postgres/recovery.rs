//! A crash recovery that stands still in its redo, or in the checkpoint at its end, for as long as a test looks.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Postgres, READY_MAX, command_line, signal};
use crate::wait::{wait_for, wait_until};

/// In the title of the process that redoes WAL, before the segment.
const REDO: &str = "startup recovering ";

/// In the title of the checkpointer while it writes the checkpoint at the end.
const LAST_CHECKPOINT: &str = "end-of-recovery checkpoint";

/// A process that there is only when the recovery is over.
const OVER: &str = "walwriter";

/// How many segments of 16 MB may be redone when it is frozen: about half of what tests write.
const EARLY_SEGMENTS: u64 = 10;

/// How often a recovery is begun again that was quicker than we are.
const RECOVERIES_MAX: usize = 10;

/// How much WAL is written for another one.
const AGAIN_MEGABYTES: u32 = 300;

/// How long the checkpointer runs between two looks: short against a checkpoint of many dirty pages.
const STEP: Duration = Duration::from_millis(1);

impl Postgres {
    /// Starts it after a crash and freezes its redo in the first half; gives the pid for
    /// [`Postgres::freeze_last_checkpoint`].
    ///
    /// # Panics
    /// It is too quick each time, or does not recover.
    pub fn launch_and_freeze_redo(&mut self) -> u32 {
        for _ in 0..RECOVERIES_MAX {
            self.launch();
            let seen = wait_for("the redo of postgres", READY_MAX, || {
                let redo = self.child(REDO);
                (redo.is_some() || self.child(OVER).is_some()).then_some(redo)
            });
            match seen {
                Some(startup) => {
                    freeze(startup);
                    let redone = self.redone_segments(startup);
                    if redone.is_some_and(|redone| redone <= EARLY_SEGMENTS) {
                        return startup;
                    }
                    self.kill();
                }
                None => self.crash_again(),
            }
        }
        panic!("postgres recovered {RECOVERIES_MAX} times before it could be frozen");
    }

    /// Lets a frozen redo go on to its end and freezes the checkpoint behind it; gives the pid for [`signal`].
    ///
    /// # Panics
    /// It is too quick each time, or does not get there.
    pub fn freeze_last_checkpoint(&mut self, mut startup: u32) -> u32 {
        for _ in 0..RECOVERIES_MAX {
            let checkpointer = wait_for("the checkpointer of postgres", READY_MAX, || {
                self.child("checkpointer")
            });
            // It runs by steps, so that its one short moment cannot pass between two looks.
            freeze(checkpointer);
            signal(startup, Signal::CONT);
            let deadline = Instant::now() + READY_MAX;
            while self.child(OVER).is_none() {
                if command_line(checkpointer).contains(LAST_CHECKPOINT) {
                    return checkpointer;
                }
                assert!(
                    Instant::now() < deadline,
                    "waited {READY_MAX:?} in vain for the checkpoint of postgres\n{}",
                    self.log()
                );
                signal(checkpointer, Signal::CONT);
                std::thread::sleep(STEP);
                freeze(checkpointer);
            }
            signal(checkpointer, Signal::CONT);
            self.crash_again();
            startup = self.launch_and_freeze_redo();
        }
        panic!("postgres recovered {RECOVERIES_MAX} times before its checkpoint could be frozen");
    }

    /// It has recovered already: once more.
    fn crash_again(&mut self) {
        self.wait_ready();
        self.write_wal(AGAIN_MEGABYTES);
        self.kill();
    }

    /// A child with this in its title.
    fn child(&self, title: &str) -> Option<u32> {
        let children = self.children();
        let found = children.iter().find(|(_, shown)| shown.contains(title));
        found.map(|(pid, _)| *pid)
    }

    /// How many segments a frozen redo has behind it; `None` when that cannot be told, or it has ended.
    fn redone_segments(&self, startup: u32) -> Option<u64> {
        let title = command_line(startup);
        let at = segment(title.split_once(REDO)?.1)?;
        let mut control = self.program("pg_controldata");
        let output = control.arg("-D").arg(self.data()).output().ok()?;
        let told = String::from_utf8_lossy(&output.stdout).into_owned();
        let (_, start) = told.split_once("REDO WAL file:")?;
        at.checked_sub(segment(start)?)
    }
}

/// Stops a process and waits until it stands still.
fn freeze(pid: u32) {
    signal(pid, Signal::STOP);
    wait_until("a process stands still", READY_MAX, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // One that has ended stands still, too.
        let state = stat.rsplit(") ").next().unwrap_or_default();
        !state.starts_with(['R', 'S', 'D'])
    });
}

/// The number of a segment of 16 MB by its name, the first word of the text: timeline, then twice eight digits.
fn segment(text: &str) -> Option<u64> {
    const PER_LOG: u64 = 256;
    let name = text.split_whitespace().next()?;
    let part = |range| u64::from_str_radix(name.get(range)?, 16).ok();
    Some(part(8..16)? * PER_LOG + part(16..24)?)
}
