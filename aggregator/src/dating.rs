//! Dates results whose clocks cannot be trusted.
//!
//! An agent's wall clock may be wrong by hours; its CLOCK_BOOTTIME is right in its rate. Each
//! message carries the boottime at which it was made, so (received − sent) is the offset between
//! the two clocks plus the way; the smallest one seen on a stream has the shortest way in it.
//! Results of an earlier boot are dated by that boot's wall clock, corrected by how wrong the
//! agent's wall clock is now.
//!
//! **Invariant:** nothing is dated later than now.

use tokio::time::Instant;

use crate::clock::Moment;

/// How results of a batch are dated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dating {
    /// Added to a result's boottime: microseconds since the Unix epoch.
    offset_us: i64,
    now_us: i64,
}

impl Dating {
    /// When a result was sampled, microseconds since the Unix epoch.
    pub(crate) fn date(self, sampled_boottime_us: u64) -> i64 {
        let boottime = i64::try_from(sampled_boottime_us).unwrap_or(i64::MAX);
        boottime
            .saturating_add(self.offset_us)
            .clamp(0, self.now_us)
    }
}

/// What one stream has shown of its agent's clocks.
#[derive(Debug, Clone)]
pub(crate) struct Offsets {
    /// Where the stream's microseconds count from.
    origin: Instant,
    /// The smallest (received − sent boottime), both in microseconds; received counts from `origin`.
    smallest_us: i64,
    /// The agent's wall clock minus ours, in microseconds.
    agent_ahead_us: i64,
}

impl Offsets {
    /// What the first message shows.
    pub(crate) fn new(received: Moment, sent_boottime_us: u64, sent_wall_us: i64) -> Self {
        let mut offsets = Self {
            origin: received.instant,
            smallest_us: i64::MAX,
            agent_ahead_us: sent_wall_us.saturating_sub(received.wall_us),
        };
        offsets.heard(received, sent_boottime_us);
        offsets
    }

    /// Takes what a further message of the present boot shows.
    pub(crate) fn heard(&mut self, received: Moment, sent_boottime_us: u64) {
        let received_us = crate::clock::micros(received.instant - self.origin);
        let sent_us = i64::try_from(sent_boottime_us).unwrap_or(i64::MAX);
        self.smallest_us = self.smallest_us.min(received_us.saturating_sub(sent_us));
    }

    /// The agent's wall clock minus ours, in milliseconds.
    pub(crate) const fn agent_ahead_ms(&self) -> i64 {
        self.agent_ahead_us / 1_000
    }

    /// Dates results of the present boot.
    pub(crate) fn present_boot(&self, now: Moment) -> Dating {
        let origin_us = now.wall_us_of(self.origin);
        Dating {
            offset_us: self.smallest_us.saturating_add(origin_us),
            now_us: now.wall_us,
        }
    }

    /// Dates results of an earlier boot, in which the agent's wall clock was `wall_offset_us`
    /// ahead of its boottime.
    pub(crate) fn earlier_boot(&self, now: Moment, wall_offset_us: i64) -> Dating {
        Dating {
            offset_us: wall_offset_us.saturating_sub(self.agent_ahead_us),
            now_us: now.wall_us,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000;

    fn at(start: Instant, seconds: u64) -> Moment {
        Moment {
            wall_us: 1_000_000 * SECOND + i64::try_from(seconds).unwrap() * SECOND,
            instant: start + Duration::from_secs(seconds),
        }
    }

    #[test]
    fn the_shortest_way_dates_best() {
        let start = Instant::now();
        // Made at boottime 100 s; three seconds under way.
        let mut offsets = Offsets::new(at(start, 3), 100_000_000, 0);
        // The next one, made at 105 s, is there at once.
        offsets.heard(at(start, 5), 105_000_000);
        // And one that was under way for ten changes nothing.
        offsets.heard(at(start, 20), 110_000_000);
        let dating = offsets.present_boot(at(start, 20));
        assert_eq!(dating.date(104_000_000), at(start, 4).wall_us);
    }

    #[test]
    fn an_agents_wrong_wall_clock_does_not_matter() {
        let start = Instant::now();
        let hours_off = at(start, 0).wall_us - 7_200 * SECOND;
        let offsets = Offsets::new(at(start, 0), 50_000_000, hours_off);
        assert_eq!(offsets.agent_ahead_ms(), -7_200_000);
        assert_eq!(
            offsets.present_boot(at(start, 1)).date(50_500_000),
            at(start, 0).wall_us + SECOND / 2
        );
    }

    #[test]
    fn an_earlier_boot_is_dated_by_its_wall_clock_corrected() {
        let start = Instant::now();
        let now = at(start, 0);
        // The agent's clock is an hour ahead, and was in the boot before.
        let offsets = Offsets::new(now, 10_000_000, now.wall_us + 3_600 * SECOND);
        // Sampled five minutes ago at boottime 900 s of that boot.
        let sampled_agent_wall = now.wall_us + 3_600 * SECOND - 300 * SECOND;
        let dating = offsets.earlier_boot(now, sampled_agent_wall - 900 * SECOND);
        assert_eq!(dating.date(900_000_000), now.wall_us - 300 * SECOND);
    }

    #[test]
    fn nothing_is_dated_later_than_now_or_before_the_epoch() {
        let start = Instant::now();
        let now = at(start, 0);
        let offsets = Offsets::new(now, 10_000_000, now.wall_us);
        assert_eq!(offsets.present_boot(now).date(99_000_000), now.wall_us);
        assert_eq!(offsets.present_boot(now).date(u64::MAX), now.wall_us);
        assert_eq!(offsets.earlier_boot(now, i64::MIN).date(0), 0);
    }

    #[test]
    fn a_step_of_the_aggregators_clock_moves_what_comes_behind_it() {
        let start = Instant::now();
        let offsets = Offsets::new(at(start, 0), 10_000_000, 0);
        let mut stepped = at(start, 10);
        stepped.wall_us += 7_200 * SECOND;
        assert_eq!(
            offsets.present_boot(stepped).date(20_000_000),
            stepped.wall_us
        );
    }
}
