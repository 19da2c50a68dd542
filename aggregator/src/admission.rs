//! Who may open a session now, and when the others come back.
//!
//! After a power cut thousands of agents return in the same second. Each that cannot be welcomed
//! now gets a time of its own; the times follow one another at the admitted rate. So nobody has to
//! guess with jitter, and the herd arrives as a queue. Pure: time comes in as a duration since
//! some start, nothing is drawn at random.
//!
//! **Invariant:** in any span of time at most `rate · span + burst` are admitted, whoever comes
//! when.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// The most hosts whose times are remembered; later ones get a time that is not kept for them.
const RESERVATIONS_MAX: usize = 100_000;

/// How long after its time a host may still come and find it kept: the slowest TLS handshake.
const RESERVATION_HELD: Duration = Duration::from_secs(10);

/// How much too early a host may come: its clock and ours tick differently by a hair.
const EARLY: Duration = Duration::from_millis(50);

/// The shortest wait that is told, so that nobody comes back in the same breath.
const WAIT_MIN: Duration = Duration::from_millis(20);

/// The bucket's depth in seconds at the full rate: a handful of agents restarted at once never
/// wait, and the herd's first wave stays small.
const BURST_SECONDS: f64 = 0.25;

/// What a host is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// Come in.
    Now,
    /// Come back after this time.
    After(Duration),
}

/// The state of admission.
#[derive(Debug)]
pub(crate) struct Admission {
    interval: Duration,
    burst: f64,
    tokens: f64,
    refilled: Duration,
    /// When the next time that is not given away begins.
    tail: Duration,
    reserved: HashMap<Box<str>, Duration>,
    by_time: VecDeque<(Duration, Box<str>)>,
}

impl Admission {
    /// Admits `rate` sessions a second.
    pub(crate) fn new(rate: u32) -> Self {
        let rate = rate.max(1);
        let burst = (f64::from(rate) * BURST_SECONDS).max(1.0);
        Self {
            interval: Duration::from_secs(1) / rate,
            burst,
            tokens: burst,
            refilled: Duration::ZERO,
            tail: Duration::ZERO,
            reserved: HashMap::new(),
            by_time: VecDeque::new(),
        }
    }

    /// A host asks to come in. `has_room` is false while what is behind cannot take more.
    pub(crate) fn ask(&mut self, host: &str, now: Duration, has_room: bool) -> Admitted {
        self.refill(now);
        self.expire(now);
        if let Some(time) = self.reserved.get(host).copied() {
            if now + EARLY < time {
                return wait(time - now);
            }
            self.reserved.remove(host);
            if has_room && self.take_token() {
                return Admitted::Now;
            }
        } else if has_room && self.tail <= now && self.take_token() {
            return Admitted::Now;
        }
        let time = self.next_time(now);
        if self.by_time.len() < RESERVATIONS_MAX {
            self.reserved.insert(host.into(), time);
            self.by_time.push_back((time, host.into()));
        }
        wait(time - now)
    }

    /// When somebody is to come back of whom nothing is known, not even the host.
    pub(crate) fn later(&mut self, now: Duration) -> Duration {
        (self.next_time(now) - now).max(WAIT_MIN)
    }

    /// How long it takes at this rate until `count` hosts have come in.
    pub(crate) fn time_for(&self, count: usize) -> Duration {
        self.interval
            .saturating_mul(u32::try_from(count).unwrap_or(u32::MAX))
    }

    fn next_time(&mut self, now: Duration) -> Duration {
        let time = self.tail.max(now) + self.interval;
        self.tail = time;
        time
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.refilled);
        self.refilled = self.refilled.max(now);
        let refilled = passed.as_secs_f64() / self.interval.as_secs_f64();
        self.tokens = (self.tokens + refilled).min(self.burst);
    }

    /// Forgets the times of hosts that did not come.
    fn expire(&mut self, now: Duration) {
        while let Some((time, host)) = self.by_time.front()
            && *time + RESERVATION_HELD < now
        {
            // A host may have a later time by now.
            if self.reserved.get(host) == Some(time) {
                self.reserved.remove(host);
            }
            self.by_time.pop_front();
        }
    }

    fn take_token(&mut self) -> bool {
        // Sums of thirds and the like fall short of one by a rounding error.
        let has_one = self.tokens >= 1.0 - 1e-9;
        if has_one {
            self.tokens -= 1.0;
        }
        has_one
    }
}

fn wait(time: Duration) -> Admitted {
    Admitted::After(time.max(WAIT_MIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_few_come_in_at_once() {
        let mut admission = Admission::new(200);
        for host in 0..50 {
            assert_eq!(
                admission.ask(&format!("h{host}"), Duration::ZERO, true),
                Admitted::Now
            );
        }
        assert_ne!(admission.ask("h50", Duration::ZERO, true), Admitted::Now);
    }

    #[test]
    fn a_herd_that_obeys_comes_in_at_the_admitted_rate_and_asks_twice() {
        const HOSTS: usize = 1_000;
        let mut admission = Admission::new(200);
        let mut waiting: Vec<(Duration, usize, u32)> =
            (0..HOSTS).map(|host| (Duration::ZERO, host, 0)).collect();
        let mut admitted = Vec::new();
        let mut asked_most = 0;
        while !waiting.is_empty() {
            waiting.sort_unstable();
            let (now, host, asked) = waiting.remove(0);
            asked_most = asked_most.max(asked + 1);
            match admission.ask(&format!("h{host}"), now, true) {
                Admitted::Now => admitted.push(now),
                Admitted::After(wait) => waiting.push((now + wait, host, asked + 1)),
            }
        }
        assert_eq!(asked_most, 2);
        let last = admitted.last().unwrap().as_secs_f64();
        assert!((4.5..=5.1).contains(&last), "{last}");
    }

    #[test]
    fn who_comes_too_early_keeps_the_time_it_was_given() {
        let mut admission = Admission::new(1);
        assert_eq!(admission.ask("a", Duration::ZERO, true), Admitted::Now);
        let Admitted::After(first) = admission.ask("b", Duration::ZERO, true) else {
            panic!("b came in")
        };
        let half = first / 2;
        assert_eq!(
            admission.ask("b", half, true),
            Admitted::After(first - half)
        );
        assert_eq!(admission.ask("b", first, true), Admitted::Now);
    }

    #[test]
    fn nobody_overtakes_those_who_were_told_to_wait() {
        let mut admission = Admission::new(4);
        for host in ["a", "b", "c"] {
            admission.ask(host, Duration::ZERO, true);
        }
        // c's time is at 0.5 s; d comes when the bucket has a token again.
        assert_ne!(
            admission.ask("d", Duration::from_millis(300), true),
            Admitted::Now
        );
    }

    #[test]
    fn without_room_behind_nobody_comes_in() {
        let mut admission = Admission::new(200);
        assert_ne!(admission.ask("a", Duration::ZERO, false), Admitted::Now);
    }

    proptest! {
        #[test]
        fn never_more_than_rate_and_burst(
            rate in 1_u32..50,
            asks in proptest::collection::vec((0_u64..400, 0_u8..30), 1..300),
        ) {
            let mut admission = Admission::new(rate);
            let mut now = Duration::ZERO;
            let mut admitted = Vec::new();
            for (step_ms, host) in asks {
                now += Duration::from_millis(step_ms);
                if admission.ask(&host.to_string(), now, true) == Admitted::Now {
                    admitted.push(now);
                }
            }
            let burst = (f64::from(rate) * BURST_SECONDS).max(1.0);
            for (index, start) in admitted.iter().enumerate() {
                for (further, end) in admitted[index..].iter().enumerate() {
                    let span = (*end - *start).as_secs_f64();
                    let most = f64::from(rate) * span + burst + 1e-6;
                    prop_assert!((further + 1) as f64 <= most, "{} in {span} s", further + 1);
                }
            }
        }
    }
}
