//! From evidence to conditions: what changed is carried along the edges, and every condition that it may touch is decided.

use super::condition::{Facts, decide};
use super::evidence::together;
use super::node::{Node, Stream};
use super::symptom::View;
use super::{Changes, Engine, propagate};
use crate::{ComponentIx, Condition, Kind, Status};

impl Engine {
    /// Looks again at what the slots and the agents of some components say.
    pub(super) fn evidence_changed(&mut self, components: &[ComponentIx], changes: &mut Changes) {
        for ix in components {
            self.model.node_mut(*ix).evidence = self.evidence(*ix);
        }
        self.settle(components, changes);
    }

    pub(super) fn evidence(&self, ix: ComponentIx) -> Option<Status> {
        let node = self.model.node(ix);
        let seen = match &node.crowd {
            Some(crowd) => crowd.together(),
            None => together(node.slots.iter().map(|slot| &self.slots[slot.index()])),
        };
        if node.has_open_stream() {
            // Somebody inside is alive.
            return seen.max(Some(Status::Ok));
        }
        seen
    }

    /// Carries a change along the edges and decides every condition that it may touch.
    pub(super) fn settle(&mut self, seeds: &[ComponentIx], changes: &mut Changes) {
        if seeds.is_empty() {
            return;
        }
        let flipped = propagate::refresh(&mut self.model, seeds);
        let mut touched: Vec<ComponentIx> = seeds.to_vec();
        for ix in &flipped {
            touched.push(*ix);
            touched.extend_from_slice(&self.model.node(*ix).dependents);
        }
        touched.sort_unstable();
        touched.dedup();
        changes.components.extend_from_slice(seeds);
        let mut moved = flipped;
        for ix in touched {
            if self.decide(ix) {
                changes.components.push(ix);
                moved.push(ix);
            }
        }
        // What is blocked says by what, and what became of that.
        moved.sort_unstable();
        moved.dedup();
        for ix in moved {
            let dependents = self.model.node(ix).dependents.iter();
            changes.components.extend(
                dependents.filter(|dependent| speaks_of_needs(self.model.node(**dependent))),
            );
        }
    }

    pub(super) fn facts(&self, ix: ComponentIx) -> Facts {
        let node = self.model.node(ix);
        let running = node.is_running();
        let needs = propagate::lost_needs(&self.model, node, running);
        let need_lost = if running {
            needs.to_run
        } else {
            needs.to_start
        };
        Facts {
            evidence: node.evidence,
            verdict: node.verdict,
            stopped: node.gone || node.is_stopped(),
            need_lost,
            start_need_lost: needs.to_start,
            run_need_lost: needs.to_run,
            use_lost: needs.used,
            seen_through_lost_path: node.evidence == Some(Status::Failed)
                && self.seen_through_lost_path(node),
            held: node.evidence == Some(Status::Failed)
                && !need_lost
                && self.fails_from_then(node, running),
            group_is_there: node.component.kind == Kind::Group && node.there,
        }
    }

    fn failing<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a super::Slot> {
        node.slots
            .iter()
            .map(|slot| &self.slots[slot.index()])
            .filter(|slot| slot.counts() && slot.status == Status::Failed)
    }

    fn seen_through_lost_path(&self, node: &Node) -> bool {
        self.failing(node)
            .all(|slot| !slot.inside && self.model.path_is_lost(slot.path))
    }

    /// Whether a need was lost and is back, and nobody has seen the component fail since.
    fn fails_from_then(&self, node: &Node, running: bool) -> bool {
        let (was_lost, until) = if running {
            (node.run_lost, node.run_lost_until)
        } else {
            (node.start_lost, node.start_lost_until)
        };
        let until = if was_lost { self.now } else { until };
        self.failing(node).all(|slot| slot.sampled_at <= until)
    }

    /// Decides a condition. Returns whether the component looks different now.
    pub(super) fn decide(&mut self, ix: ComponentIx) -> bool {
        let facts = self.facts(ix);
        let (condition, _) = decide(&facts);
        let now = self.now;
        let node = self.model.node_mut(ix);
        let changed = node.condition != condition || node.held != facts.held;
        let leaves_a_trace = node.condition != condition
            || node.view != View::of(node)
            || node.running != node.is_running()
            || node.start_lost != facts.start_need_lost
            || node.run_lost != facts.run_need_lost;
        if leaves_a_trace {
            let is_ill = View::of(node).is_ill();
            self.instant.mark(ix, node);
            if is_ill || !self.symptoms.is_empty() || self.conclusion.holds_something() {
                self.conclusion.suspect();
            }
        }
        node.start_is_lost = facts.start_need_lost;
        node.run_is_lost = facts.run_need_lost;
        node.held = facts.held;
        if node.condition != condition {
            if !node.gone {
                self.counts[node.condition as usize] -= 1;
                self.counts[condition as usize] += 1;
            }
            node.condition = condition;
            node.since = match self.instant.before(node) {
                Some(before) if before.condition == condition => before.since,
                _ => now,
            };
            self.account(ix);
        }
        changed
    }

    /// Keeps the incident's accounts: what is broken on its own, what is missing of what worked.
    pub(super) fn account(&mut self, ix: ComponentIx) {
        let counted = !self.maintenance.contains_key(&ix);
        let now = self.now;
        let node = self.model.node_mut(ix);
        let counted = counted && !node.gone;
        let is_silent = node
            .agent
            .as_ref()
            .is_some_and(|agent| agent.stream == Stream::Lost && !agent.stopping);
        // What the diagnosis says of the silent takes them out of no account: they are silent.
        let is_missed = is_silent && node.ran && node.condition != Condition::Blocked;
        let is_seen_down =
            node.condition == Condition::Down && node.evidence == Some(Status::Failed);
        let is_broken = counted && !node.is_stopped() && (is_seen_down || is_missed);
        self.tracker.note(now, &node.component.id, is_broken);
        let missing = counted && node.ran && !node.condition.is_there();
        let was_missing = std::mem::replace(&mut node.missing, missing);
        match (was_missing, missing) {
            (false, true) => self.tracker.missing += 1,
            (true, false) => self.tracker.missing = self.tracker.missing.saturating_sub(1),
            _ => {}
        }
    }

    pub(super) fn settle_incident(&mut self, changes: &mut Changes) {
        if self.tracker.update(self.now) {
            changes.incident = true;
            self.conclusion.tell();
        }
    }
}

/// Whether its reason names what it needs.
fn speaks_of_needs(node: &Node) -> bool {
    match node.condition {
        Condition::Blocked => !node.held,
        Condition::Degraded => node.evidence == Some(Status::Ok),
        _ => false,
    }
}
