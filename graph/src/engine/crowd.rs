//! What very many vantages say of one component, counted: what one more answer changes does not cost a look at all of them.

use std::sync::Arc;

use super::evidence::{Slot, Vote};
use crate::Status;

/// From so many slots on, the answers about a component are counted; below, looking at all of them is as quick and
/// takes no memory. Small in tests, so that small worlds have both.
pub(super) const CROWD_MIN: usize = if cfg!(test) { 3 } else { 32 };

/// How many answers of each status count, from best to worst.
type Counts = [u32; 4];

const STATUSES: [Status; 4] = [
    Status::Ok,
    Status::Degraded,
    Status::Starting,
    Status::Failed,
];

/// The answers about one component.
#[derive(Debug, Clone, Default)]
pub(super) struct Crowd {
    tallies: Vec<Tally>,
}

/// The answers to one check.
#[derive(Debug, Clone)]
struct Tally {
    check: Arc<str>,
    inside: Counts,
    outside: Counts,
}

impl Crowd {
    pub(super) fn of<'a>(slots: impl Iterator<Item = &'a Slot>) -> Self {
        let mut crowd = Self::default();
        for slot in slots {
            crowd.change(&slot.check, None, slot.vote());
        }
        crowd
    }

    /// Takes back what was counted of a slot, and counts what it says now.
    pub(super) fn change(&mut self, check: &Arc<str>, before: Option<Vote>, now: Option<Vote>) {
        let known = self.tallies.iter().position(|tally| tally.check == *check);
        let at = known.unwrap_or_else(|| {
            self.tallies.push(Tally {
                check: check.clone(),
                inside: Counts::default(),
                outside: Counts::default(),
            });
            self.tallies.len() - 1
        });
        let tally = &mut self.tallies[at];
        for (vote, adds) in [(before, false), (now, true)] {
            let Some(Vote { inside, status }) = vote else {
                continue;
            };
            let counts = if inside {
                &mut tally.inside
            } else {
                &mut tally.outside
            };
            if let Some(count) = counts.get_mut(status as usize) {
                *count = count.saturating_add_signed(if adds { 1 } else { -1 });
            }
        }
    }

    /// What they say together: as [`super::evidence::together`].
    pub(super) fn together(&self) -> Option<Status> {
        let worst = |counts: &Counts| STATUSES.into_iter().rfind(|s| counts[*s as usize] > 0);
        let best = |counts: &Counts| STATUSES.into_iter().find(|s| counts[*s as usize] > 0);
        let inside = self.tallies.iter().filter_map(|tally| worst(&tally.inside));
        let outside = self.tallies.iter().filter_map(|tally| best(&tally.outside));
        inside.max().or_else(|| outside.max())
    }
}
