//! The present instant: everything that is told with the same time.
//!
//! Events of one instant come in whatever order the streams of many agents were read, so what lasted no time must leave
//! no trace: a component that looks broken between two events of one microsecond was not broken. Conditions are always
//! those of now. What outlives them (the phase, what was lost until when, what ran, since when a condition holds) is written
//! down only when time moves on, from the state that lasted.

use super::node::UNMARKED;
use super::{Engine, Node};
use crate::{ComponentIx, Condition, Timestamp};

/// How a component stood when the instant began.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) ix: ComponentIx,
    pub(super) condition: Condition,
    pub(super) since: Timestamp,
}

/// What the present instant touched, each component once.
#[derive(Debug, Clone, Default)]
pub(super) struct Instant {
    before: Vec<Before>,
}

impl Instant {
    /// Notes how a component stood, unless that was noted.
    pub(super) fn mark(&mut self, ix: ComponentIx, node: &mut Node) {
        if node.mark == UNMARKED {
            self.restore(ix, node, node.condition, node.since);
        }
    }

    /// Notes how a component stood, as a snapshot says.
    pub(super) fn restore(
        &mut self,
        ix: ComponentIx,
        node: &mut Node,
        condition: Condition,
        since: Timestamp,
    ) {
        // No more entries than components, whose indices fit.
        node.mark = u32::try_from(self.before.len()).unwrap_or(UNMARKED);
        self.before.push(Before {
            ix,
            condition,
            since,
        });
    }

    /// What the instant touched.
    pub(super) fn touched(&self) -> impl Iterator<Item = ComponentIx> + '_ {
        self.before.iter().map(|before| before.ix)
    }

    /// How a component stood when the instant began; `None` where nothing touched it.
    pub(super) fn before(&self, node: &Node) -> Option<&Before> {
        self.before.get(node.mark as usize)
    }
}

impl Engine {
    /// Moves time on; it never goes back.
    pub(super) fn begin_instant(&mut self, at: Timestamp) {
        if at <= self.now {
            return;
        }
        let minute = |at: Timestamp| at.as_micros().div_euclid(60_000_000);
        let is_next_minute = minute(at) > minute(self.now);
        self.end_instant();
        self.now = at;
        if is_next_minute && self.tracker.is_stable() {
            self.forget_symptoms();
        }
    }

    /// Writes down what lasted.
    fn end_instant(&mut self) {
        let is_stable = self.tracker.is_stable();
        let mut is_news = false;
        for at in 0..self.instant.before.len() {
            is_news |= self.note_symptom(self.instant.before[at].ix);
        }
        let matters = !self.symptoms.is_empty() || self.conclusion.holds_something();
        self.conclusion.end_instant(self.now, is_news, matters);
        let mut before = std::mem::take(&mut self.instant.before);
        for Before { ix, .. } in before.drain(..) {
            let now = self.now;
            let node = self.model.node_mut(ix);
            node.mark = UNMARKED;
            node.running = node.is_running();
            if node.start_lost && !node.start_is_lost {
                node.start_lost_until = now;
            }
            if node.run_lost && !node.run_is_lost {
                node.run_lost_until = now;
            }
            node.start_lost = node.start_is_lost;
            node.run_lost = node.run_is_lost;
            if node.condition.is_there() && !node.ran {
                self.working.insert(ix);
            }
        }
        self.instant.before = before;
        if is_stable {
            for ix in std::mem::take(&mut self.working) {
                let node = self.model.node_mut(ix);
                node.ran |= node.condition.is_there() && !node.gone;
            }
        }
    }
}
