//! How long a probe waits until its next run: faster while something is wrong, slower when all is well. Pure.

use std::time::Duration;

use crate::observation::Status;

/// While something is wrong a probe runs so many times as often: an operator who mends it sees it within seconds.
const FASTER: u32 = 4;

/// While all is well for long it waits so many times as long.
const SLOWER: u32 = 2;

/// Runs without a fault after which a probe slows down.
const CALM_RUNS: u32 = 12;

/// Never faster than this, whatever the configuration: a sick server is not helped by questions.
const FASTEST: Duration = Duration::from_secs(1);

/// The pace of one probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace {
    interval: Duration,
    calm_runs: u32,
    wrong: bool,
}

impl Pace {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            calm_runs: 0,
            wrong: false,
        }
    }

    /// Takes the worst status of a run. `Unknown` changes nothing: the probe could not look.
    pub(crate) fn saw(&mut self, worst: Status) {
        match worst {
            Status::Ok => {
                self.wrong = false;
                self.calm_runs = self.calm_runs.saturating_add(1);
            }
            Status::Degraded | Status::Starting | Status::Failed => {
                self.wrong = true;
                self.calm_runs = 0;
            }
            Status::Unknown => {}
        }
    }

    /// How long until the next run, before jitter.
    pub(crate) fn wait(&self) -> Duration {
        if self.wrong {
            (self.interval / FASTER).max(FASTEST).min(self.interval)
        } else if self.calm_runs >= CALM_RUNS {
            self.interval * SLOWER
        } else {
            self.interval
        }
    }

    /// How long an answer holds: two of the longest waits and a run, so that one lost answer ends nothing.
    pub(crate) fn ttl(&self, timeout: Duration) -> Duration {
        self.interval * SLOWER * 2 + timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_makes_it_faster_and_calm_makes_it_slower() {
        let mut pace = Pace::new(Duration::from_secs(10));
        assert_eq!(pace.wait(), Duration::from_secs(10));
        pace.saw(Status::Failed);
        assert_eq!(pace.wait(), Duration::from_millis(2_500));
        pace.saw(Status::Unknown);
        assert_eq!(pace.wait(), Duration::from_millis(2_500));
        for _ in 0..CALM_RUNS {
            pace.saw(Status::Ok);
        }
        assert_eq!(pace.wait(), Duration::from_secs(20));
    }

    #[test]
    fn it_is_never_faster_than_a_second_nor_slower_for_a_fault() {
        for (interval_s, expected_s) in [(1, 1), (2, 1), (3, 1), (60, 15)] {
            let mut pace = Pace::new(Duration::from_secs(interval_s));
            pace.saw(Status::Degraded);
            assert_eq!(pace.wait(), Duration::from_secs(expected_s));
        }
    }
}
