//! How much a counter has grown lately: kills and restarts stay in sight for a while instead of flapping.

use std::time::{Duration, Instant};

/// How long growth stays in sight: longer than the pause between two rounds of a crash loop.
pub(super) const SHOWN_FOR: Duration = Duration::from_secs(300);

/// What is remembered of a counter between runs.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct RecentGrowth {
    counted: Option<u64>,
    seen: Option<(Instant, u64)>,
}

impl RecentGrowth {
    /// Takes the counter as it stands now and returns what it grew by lately. The first count is history; a counter
    /// that fell was started anew.
    pub(super) fn count(&mut self, counter: Option<u64>, now: Instant) -> Option<u64> {
        let new = match (self.counted, counter) {
            (Some(before), Some(after)) => after.saturating_sub(before),
            _ => 0,
        };
        self.counted = counter.or(self.counted);
        self.seen = match self.seen {
            Some((since, _)) if new == 0 && now.duration_since(since) >= SHOWN_FOR => None,
            Some(seen) if new == 0 => Some(seen),
            Some((_, grown)) => Some((now, grown + new)),
            None => (new > 0).then_some((now, new)),
        };
        self.seen.map(|(_, grown)| grown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_shown_for_a_while_and_history_is_not() {
        let mut growth = RecentGrowth::default();
        let begun = Instant::now();
        assert_eq!(growth.count(Some(7), begun), None);
        assert_eq!(growth.count(Some(8), begun), Some(1));
        assert_eq!(growth.count(None, begun), Some(1));
        let later = begun + SHOWN_FOR - Duration::from_secs(1);
        assert_eq!(growth.count(Some(8), later), Some(1));
        assert_eq!(growth.count(Some(10), later), Some(3));
        assert_eq!(growth.count(Some(10), begun + SHOWN_FOR), Some(3));
        assert_eq!(growth.count(Some(10), later + SHOWN_FOR), None);
        assert_eq!(growth.count(Some(2), later + SHOWN_FOR), None);
    }
}
