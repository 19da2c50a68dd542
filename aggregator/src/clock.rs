//! The aggregator's time: never goes back, and needs no right clock to be of use.
//!
//! A time is the wall clock's, carried on by the monotonic clock whenever the wall clock stands
//! still or steps back. So entries are in the order of their times on any machine, also on one
//! that came up in 1970; a step forward (the clock was set right) is taken at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// How far the wall clock may fall behind before that is worth telling.
const BEHIND_SHOWN: Duration = Duration::from_secs(2);

/// Tells microseconds since the Unix epoch; a simulated network puts its own here.
pub type WallClock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A moment in both measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Microseconds since the Unix epoch, never going back.
    pub(crate) wall_us: i64,
    /// The monotonic clock.
    pub(crate) instant: Instant,
}

impl Moment {
    /// The wall time of another instant, near this one.
    pub(crate) fn wall_us_of(self, instant: Instant) -> i64 {
        if instant >= self.instant {
            self.wall_us.saturating_add(micros(instant - self.instant))
        } else {
            self.wall_us.saturating_sub(micros(self.instant - instant))
        }
    }

    /// The instant at which the clock will show this time; now, if it does already.
    pub(crate) fn instant_of(self, wall_us: i64) -> Instant {
        let ahead = u64::try_from(wall_us.saturating_sub(self.wall_us)).unwrap_or(0);
        // A deadline in a far year must not overflow the monotonic clock.
        self.instant + Duration::from_micros(ahead).min(FAR)
    }
}

/// Later than anything waits.
const FAR: Duration = Duration::from_secs(86_400);

/// Tells the time.
pub(crate) struct Clock {
    wall: WallClock,
    anchor: Mutex<Moment>,
}

impl Clock {
    /// The machine's clock.
    pub(crate) fn system() -> Self {
        Self::new(Arc::new(|| {
            SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, micros)
        }))
    }

    /// A clock with its own source of wall time.
    pub(crate) fn new(wall: WallClock) -> Self {
        let anchor = Moment {
            wall_us: wall(),
            instant: Instant::now(),
        };
        Self {
            wall,
            anchor: Mutex::new(anchor),
        }
    }

    /// Now.
    pub(crate) fn now(&self) -> Moment {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let instant = Instant::now().max(anchor.instant);
        let carried = anchor.wall_us_of(instant);
        *anchor = Moment {
            wall_us: carried.max((self.wall)()),
            instant,
        };
        *anchor
    }

    /// Lets no time be before this one: the newest time in the journal.
    pub(crate) fn start_after(&self, wall_us: i64) {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        anchor.wall_us = anchor.wall_us.max(wall_us);
    }

    /// What is wrong with the wall clock, for people.
    pub(crate) fn problem(&self) -> Option<String> {
        let now = self.now();
        let behind = now.wall_us.saturating_sub((self.wall)());
        (behind > micros(BEHIND_SHOWN)).then(|| {
            format!(
                "the clock of this machine went back by {} s; times shown are ahead of it by that",
                behind / 1_000_000
            )
        })
    }
}

/// A duration in microseconds.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicI64, Ordering};

    fn clock_at(start: i64) -> (Clock, Arc<AtomicI64>) {
        let wall = Arc::new(AtomicI64::new(start));
        let source = wall.clone();
        (
            Clock::new(Arc::new(move || source.load(Ordering::SeqCst))),
            wall,
        )
    }

    #[test]
    fn a_step_forward_is_taken_at_once() {
        let (clock, wall) = clock_at(1_000);
        wall.store(7_200_000_000, Ordering::SeqCst);
        assert!(clock.now().wall_us >= 7_200_000_000);
        assert_eq!(clock.problem(), None);
    }

    #[test]
    fn a_step_back_is_not_followed_and_is_shown() {
        let (clock, wall) = clock_at(7_200_000_000);
        let before = clock.now().wall_us;
        wall.store(0, Ordering::SeqCst);
        assert!(clock.now().wall_us >= before);
        assert!(clock.problem().unwrap().contains("went back by 7200 s"));
    }

    #[test]
    fn time_goes_on_from_what_the_journal_holds() {
        let (clock, _) = clock_at(1_000);
        clock.start_after(5_000_000);
        assert!(clock.now().wall_us >= 5_000_000);
    }

    #[test]
    fn a_deadline_in_a_far_year_does_not_overflow() {
        let (clock, _) = clock_at(0);
        let now = clock.now();
        assert_eq!(now.instant_of(i64::MAX), now.instant + FAR);
        assert_eq!(now.instant_of(i64::MIN), now.instant);
    }
}
