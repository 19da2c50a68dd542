//! Which protocol versions this release speaks, and which one a session uses.

use std::ops::RangeInclusive;

/// The versions that this release speaks. A release speaks its own and the one before it; the
/// first release has none before it.
pub const SPOKEN: RangeInclusive<u32> = 1..=1;

/// The highest version that both ranges hold; `None` when they share none.
///
/// ```
/// use blackstart_proto::version::negotiate;
/// assert_eq!(negotiate(&(1..=2), &(1..=1)), Some(1));
/// assert_eq!(negotiate(&(2..=3), &(1..=1)), None);
/// ```
#[must_use]
pub fn negotiate(ours: &RangeInclusive<u32>, theirs: &RangeInclusive<u32>) -> Option<u32> {
    let highest = *ours.end().min(theirs.end());
    let lowest = *ours.start().max(theirs.start());
    (lowest <= highest).then_some(highest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_use_the_older_of_their_newest() {
        assert_eq!(negotiate(&(1..=2), &(2..=3)), Some(2));
        assert_eq!(negotiate(&(2..=3), &(1..=2)), Some(2));
    }

    #[test]
    fn versions_two_apart_share_none() {
        assert_eq!(negotiate(&(1..=1), &(2..=3)), None);
    }

    #[test]
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "what a broken peer may announce"
    )]
    fn a_range_turned_round_shares_none() {
        assert_eq!(negotiate(&(1..=1), &(3..=0)), None);
    }
}
