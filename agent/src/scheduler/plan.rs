//! Which probe runs next and when: plain data and `now` in, plain data out. Asks no clock, starts nothing.
//!
//! **Invariant:** no probe runs twice at once, and no more than [`RUNNING_MAX`] run together.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use tokio::time::Instant;

/// The most probes that run at a time. Sixteen waits of a few milliseconds each cover hundreds of probes in ten
/// seconds; more at once would only be felt.
pub(super) const RUNNING_MAX: usize = 16;

/// First runs are spread over this time, so that a start is no burst and still quick.
pub(super) const START_SPREAD: Duration = Duration::from_secs(1);

/// Each wait varies by this share in both directions, so that no two hosts stay in step.
const JITTER: f64 = 0.1;

/// The schedule of all probes, each known by its number.
#[derive(Debug)]
pub(super) struct Plan {
    due: BinaryHeap<Reverse<(Instant, usize)>>,
    /// Due, and without a slot yet: since when.
    waiting: VecDeque<(Instant, usize)>,
    running: usize,
    random: StdRng,
}

impl Plan {
    pub(super) const fn new(random: StdRng) -> Self {
        Self {
            due: BinaryHeap::new(),
            waiting: VecDeque::new(),
            running: 0,
            random,
        }
    }

    /// Takes in a probe: its first run comes within [`START_SPREAD`].
    pub(super) fn add(&mut self, probe: usize, interval: Duration, now: Instant) {
        let spread = START_SPREAD.min(interval);
        let first = now + spread.mul_f64(self.random.random_range(0.0..1.0));
        self.due.push(Reverse((first, probe)));
    }

    /// The next probe to start, which has a slot from now on; `None` when nothing is due or every slot is taken.
    pub(super) fn next_start(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse((at, probe))) = self.due.peek().copied()
            && at <= now
        {
            self.due.pop();
            self.waiting.push_back((at, probe));
        }
        if self.running >= RUNNING_MAX {
            return None;
        }
        let (_, probe) = self.waiting.pop_front()?;
        self.running += 1;
        Some(probe)
    }

    /// Takes out a probe. One that runs keeps its slot until [`Plan::left`].
    pub(super) fn remove(&mut self, probe: usize) {
        self.due.retain(|Reverse((_, other))| *other != probe);
        self.waiting.retain(|(_, other)| *other != probe);
    }

    /// Gives back the slot of a probe that was taken out while it ran.
    pub(super) fn left(&mut self) {
        self.running = self.running.saturating_sub(1);
    }

    /// Gives a probe's slot back and plans its next run.
    pub(super) fn ended(&mut self, probe: usize, wait: Duration, now: Instant) {
        self.running = self.running.saturating_sub(1);
        let share = 1.0 + self.random.random_range(-JITTER..JITTER);
        self.due.push(Reverse((now + wait.mul_f64(share), probe)));
    }

    /// When something is due that is not yet.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// How many have a slot.
    pub(super) const fn running(&self) -> usize {
        self.running
    }

    /// How many are due and have no slot.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// How long the first of them has waited.
    pub(super) fn late(&self, now: Instant) -> Duration {
        self.waiting
            .front()
            .map(|(since, _)| now.saturating_duration_since(*since))
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use rand::SeedableRng;

    use super::*;

    fn plan(seed: u64) -> Plan {
        Plan::new(StdRng::seed_from_u64(seed))
    }

    #[test]
    fn first_runs_are_spread_and_none_is_later_than_the_spread() {
        let (mut plan, now) = (plan(7), Instant::now());
        for probe in 0..100 {
            plan.add(probe, Duration::from_secs(10), now);
        }
        let mut at_once = 0;
        while plan.next_start(now + START_SPREAD / 10).is_some() {
            at_once += 1;
            plan.ended(at_once, Duration::from_secs(10), now);
        }
        assert!((1..=30).contains(&at_once), "{at_once}");
        assert!(plan.next_due().is_some_and(|at| at <= now + START_SPREAD));
    }

    #[test]
    fn what_has_no_slot_waits_in_the_order_in_which_it_was_due() {
        let (mut plan, now) = (plan(1), Instant::now());
        for probe in 0..=RUNNING_MAX {
            plan.add(probe, Duration::from_secs(10), now);
        }
        let later = now + START_SPREAD;
        let started: BTreeSet<usize> = std::iter::from_fn(|| plan.next_start(later)).collect();
        assert_eq!((started.len(), plan.waiting()), (RUNNING_MAX, 1));
        assert!(plan.late(later + Duration::from_secs(9)) >= Duration::from_secs(9));
        plan.ended(0, Duration::from_secs(10), later);
        let last = plan.next_start(later).unwrap();
        assert!(!started.contains(&last));
        assert_eq!((plan.waiting(), plan.late(later)), (0, Duration::ZERO));
    }

    proptest! {
        /// Whatever ends when: the slots hold, nobody runs twice at once, nobody is forgotten.
        #[test]
        fn slots_hold_and_nobody_is_forgotten(seed: u64, probes in 1_usize..40, steps in prop::collection::vec((0_u64..3_000, any::<u8>()), 1..200)) {
            let (mut plan, mut now) = (plan(seed), Instant::now());
            for probe in 0..probes {
                plan.add(probe, Duration::from_secs(1), now);
            }
            let mut running = BTreeSet::new();
            for (pause_ms, which) in steps {
                now += Duration::from_millis(pause_ms);
                while let Some(probe) = plan.next_start(now) {
                    prop_assert!(running.insert(probe), "probe {probe} runs twice");
                }
                prop_assert!(running.len() <= RUNNING_MAX);
                prop_assert_eq!(running.len() + plan.due.len() + plan.waiting(), probes);
                if let Some(probe) = running.iter().nth(usize::from(which) % running.len().max(1)).copied() {
                    running.remove(&probe);
                    plan.ended(probe, Duration::from_secs(1), now);
                }
            }
        }
    }
}
