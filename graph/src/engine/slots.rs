//! Answers come in, hold for their time, and end.
//!
//! [`Engine::observe`] is the hot path: an answer that says what the last one said costs a few comparisons.

use std::time::Duration;

use super::crowd::{CROWD_MIN, Crowd};
use super::evidence::{Sample, Slot, SlotId, millis};
use super::model::index;
use super::{ApplyError, Changes, Engine};
use crate::{ComponentIx, Status, Timestamp};

/// The most slots: far above the largest fleet measured, far below the memory of a machine.
const SLOTS_MAX: usize = 50_000_000;

impl Engine {
    /// The slot of a (component, check, vantage); made where it is new, together with components that nobody
    /// declared.
    ///
    /// # Errors
    /// There are too many slots or components.
    pub fn slot(
        &mut self,
        component: &str,
        check: &str,
        vantage: &str,
    ) -> Result<SlotId, ApplyError> {
        let vantage = self.host(vantage)?;
        let component = self.ensure(component)?;
        let at = match self.place_of(component, check, vantage) {
            Ok(at) => return Ok(self.model.node(component).slots[at]),
            Err(at) => at,
        };
        let full = || ApplyError::TooMany {
            what: "checks",
            limit: SLOTS_MAX,
        };
        if self.slots.len() >= SLOTS_MAX {
            return Err(full());
        }
        u32::try_from(self.slots.len()).map_err(|_| full())?;
        let check = self.shared.check(check);
        let no_names = self.shared.value_names::<&str>(&[]);
        Ok(self.add_slot(at, Slot::new(component, vantage, check, no_names)))
    }

    /// Puts a slot at its place among those of its component.
    pub(super) fn add_slot(&mut self, at: usize, slot: Slot) -> SlotId {
        let id = SlotId(index(self.slots.len()).0);
        let (component, vantage) = (slot.component, slot.vantage);
        let node = self.model.node_mut(component);
        node.slots.insert(at, id);
        if let Some(crowd) = &mut node.crowd {
            crowd.change(&slot.check, None, slot.vote());
        }
        self.slots.push(slot);
        self.model.node_mut(vantage).seen_from_here.push(id);
        self.look_again(id);
        let node = self.model.node(component);
        if node.crowd.is_none() && node.slots.len() >= CROWD_MIN {
            let slots = node.slots.iter().map(|slot| &self.slots[slot.index()]);
            let crowd = Crowd::of(slots);
            self.model.node_mut(component).crowd = Some(Box::new(crowd));
        }
        id
    }

    /// Changes a slot, and what is counted of it.
    pub(super) fn change_slot<T>(&mut self, id: SlotId, change: impl FnOnce(&mut Slot) -> T) -> T {
        let slot = &mut self.slots[id.index()];
        let before = slot.vote();
        let done = change(slot);
        let now = slot.vote();
        if before != now
            && let Some(crowd) = &mut self.model.node_mut(slot.component).crowd
        {
            crowd.change(&slot.check, before, now);
        }
        done
    }

    /// Where the slot is among those of its component, or where it belongs.
    pub(super) fn place_of(
        &self,
        component: ComponentIx,
        check: &str,
        vantage: ComponentIx,
    ) -> Result<usize, usize> {
        let slots = &self.model.node(component).slots;
        slots.binary_search_by(|id| {
            let slot = &self.slots[id.index()];
            (&*slot.check, slot.vantage).cmp(&(check, vantage))
        })
    }

    /// Finds out from where and by which path a vantage looks at a component.
    pub(super) fn look_again(&mut self, id: SlotId) {
        let Slot {
            component, vantage, ..
        } = self.slots[id.index()];
        let path = self.model.path(vantage, component);
        self.model.depend_on_path(component, path);
        let inside =
            self.model.is_inside(component, vantage) || self.model.is_inside(vantage, component);
        self.change_slot(id, |slot| {
            slot.path = path;
            slot.inside = inside;
        });
    }

    /// Says how long the next answers of a slot hold, and what their values are called.
    pub fn define(&mut self, slot: SlotId, ttl: Duration, value_names: &[String]) {
        let Some(slot) = self.slots.get_mut(slot.index()) else {
            return;
        };
        slot.ttl_ms = millis(ttl);
        let same = slot.value_names.len() == value_names.len()
            && slot
                .value_names
                .iter()
                .zip(value_names)
                .all(|(a, b)| **a == **b);
        if !same {
            slot.value_names = self.shared.value_names(value_names);
        }
    }

    /// Takes one answer. What is older than the slot's newest changes nothing: it is history.
    pub fn observe(
        &mut self,
        at: Timestamp,
        slot: SlotId,
        sample: &Sample<'_>,
        changes: &mut Changes,
    ) {
        self.tell(at, changes);
        let now = self.now;
        let Some(known) = self.slots.get(slot.index()) else {
            return;
        };
        let (component, queued) = (known.component, known.queued);
        let sampled_at = sample.sampled_at.min(now);
        if sampled_at < known.sampled_at {
            return;
        }
        let expires = known.end_of(sampled_at);
        let fresh = expires > now;
        let is_first = known.sampled_at == Timestamp::NEVER;
        let says_the_same = known.fresh == fresh && known.status == sample.status;
        let mut looks_the_same = says_the_same && !is_first && known.progress() == sample.progress;
        self.change_slot(slot, |known| {
            if let Some(detail) = sample.detail
                && *detail != *known.detail
            {
                known.detail = detail.into();
                looks_the_same = false;
            }
            if sample.status == Status::Failed && sampled_at > known.sampled_at {
                let goes_on = known.status == Status::Failed && !is_first;
                known.failures = if goes_on {
                    known.failures.saturating_add(1)
                } else {
                    1
                };
            }
            known.status = sample.status;
            known.set_progress(sample.progress);
            known.sampled_at = sampled_at;
            known.expires = expires;
            known.fresh = fresh;
            known.set_values(sample.values);
            if fresh && (queued == Timestamp::NEVER || expires < queued) {
                known.queued = expires;
            }
        });
        let known = &self.slots[slot.index()];
        if !fresh && known.inside && known.status == Status::Failed {
            self.note_past_failure(component, sampled_at);
        }
        let known = &self.slots[slot.index()];
        let may_confirm = !says_the_same || known.failures == 2;
        if may_confirm && known.status == Status::Failed {
            self.instant.mark(component, self.model.node_mut(component));
            self.conclusion.tell();
        }
        if fresh && (queued == Timestamp::NEVER || expires < queued) {
            self.expiries.remove(&(queued, slot));
            self.expiries.insert((expires, slot));
        }
        if !says_the_same || self.model.node(component).held {
            self.evidence_changed(&[component], changes);
            self.settle_incident(changes);
        } else if !looks_the_same {
            changes.components.push(component);
        }
    }

    /// Ends what held until now.
    pub(super) fn expire(&mut self, changes: &mut Changes) {
        let mut stale = Vec::new();
        while let Some((at, id)) = self.expiries.first().copied()
            && at <= self.now
        {
            self.expiries.pop_first();
            let slot = &mut self.slots[id.index()];
            if slot.fresh && slot.expires > self.now {
                // It was renewed since.
                slot.queued = slot.expires;
                self.expiries.insert((slot.expires, id));
                continue;
            }
            slot.queued = Timestamp::NEVER;
            if slot.fresh {
                stale.push(slot.component);
                self.change_slot(id, |slot| slot.fresh = false);
            }
        }
        stale.sort_unstable();
        stale.dedup();
        self.evidence_changed(&stale, changes);
    }
}
