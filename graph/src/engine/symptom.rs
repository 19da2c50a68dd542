//! What was seen to be wrong with a component in the course of an incident.
//!
//! The engine's conditions are those of now; a cause may have healed while what it broke has not returned, so the diagnosis
//! needs to know what was, and when. Written only when an instant has ended, from the state that lasted: the order of
//! events of one instant leaves no trace.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::node::{Node, Stream};
use crate::{ComponentIx, Status, Timestamp};

/// A blip that passed longer ago than this before an incident is not part of it: long enough for a sag of the supply that
/// trips what it feeds only minutes later.
pub(super) const FORGET_AFTER: Duration = Duration::from_secs(600);

/// What is wrong with a component now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Ill {
    /// Nothing that is known.
    #[default]
    No,
    /// It is on its way up.
    Starting,
    /// It says that something is wrong.
    Degraded,
    /// Its agent fell silent, and nobody else looks at it.
    Silent,
    /// It is seen to fail.
    Failed,
}

/// What is wrong with it now, by its own evidence.
fn ill(node: &Node) -> Ill {
    if node.gone || node.is_stopped() {
        return Ill::No;
    }
    let is_silent = node.stream() == Some(Stream::Lost);
    match node.evidence {
        Some(Status::Failed) => Ill::Failed,
        _ if is_silent => Ill::Silent,
        Some(Status::Degraded) => Ill::Degraded,
        Some(Status::Starting) => Ill::Starting,
        Some(Status::Ok | Status::Unknown) | None => Ill::No,
    }
}

/// How a component looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct View {
    pub(super) ill: Ill,
    /// It is seen to work.
    pub(super) well: bool,
    /// How its host came back.
    pub(super) came_back: Option<Return>,
}

impl View {
    /// Whether something is wrong with it.
    pub(super) fn is_ill(&self) -> bool {
        self.ill != Ill::No
    }

    /// How it looks now.
    pub(super) fn of(node: &Node) -> Self {
        Self {
            ill: ill(node),
            well: node.evidence == Some(Status::Ok),
            came_back: node.agent.as_ref().and_then(|agent| agent.came_back),
        }
    }
}

/// How a host came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Return {
    /// The same boot: it had run on.
    SameBoot,
    /// Another boot, and the one before did not end in order.
    Unclean,
    /// Another boot.
    Rebooted,
}

/// What was seen to be wrong with a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Symptom {
    /// When it began.
    pub(super) onset: Timestamp,
    /// When the worst of it began.
    pub(super) worst_since: Timestamp,
    /// The worst of it.
    pub(super) worst: Ill,
    /// It works again since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) well_since: Option<Timestamp>,
    /// It worked before.
    pub(super) worked: bool,
    /// More than one look said that it failed, or from more than one place.
    #[serde(default)]
    pub(super) confirmed: bool,
    /// How its host came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) returned: Option<Return>,
}

/// What is known after an instant, from what was known before it. `worked`: it was there when the instant began.
pub(super) fn follow(
    before: Option<Symptom>,
    view: View,
    worked: bool,
    at: Timestamp,
) -> Option<Symptom> {
    let View { ill, well, .. } = view;
    let after = match (before, ill) {
        (None, Ill::No) => None,
        (None, _) => Some(Symptom {
            onset: at,
            worst_since: at,
            worst: ill,
            well_since: None,
            worked,
            confirmed: false,
            returned: None,
        }),
        (Some(known), Ill::No) => Some(Symptom {
            well_since: known.well_since.or(well.then_some(at)),
            ..known
        }),
        (Some(known), _) => {
            let is_worse = ill > known.worst;
            Some(Symptom {
                worst: known.worst.max(ill),
                worst_since: if is_worse { at } else { known.worst_since },
                well_since: None,
                ..known
            })
        }
    };
    after.map(|symptom| Symptom {
        returned: view.came_back.or(symptom.returned),
        ..symptom
    })
}

impl Engine {
    /// What a component's symptom is at the end of the present instant.
    fn symptom_of(&self, ix: ComponentIx) -> Option<Symptom> {
        let node = self.model.node(ix);
        let known = self.symptoms.get(&ix).copied();
        let before = self.instant.before(node);
        let worked = before.is_some_and(|before| before.condition.is_there());
        let view = View::of(node);
        let after = follow(known, view, worked || node.ran, self.now);
        after.map(|symptom| Symptom {
            confirmed: symptom.confirmed || (view.ill == Ill::Failed && self.is_confirmed(node)),
            ..symptom
        })
    }

    /// Whether more than one look says now that it fails, or more than one vantage.
    fn is_confirmed(&self, node: &Node) -> bool {
        let slots = node.slots.iter().map(|slot| &self.slots[slot.index()]);
        let mut failing = slots.filter(|slot| slot.counts() && slot.status == Status::Failed);
        let Some(first) = failing.next() else {
            return false;
        };
        first.failures > 1 || failing.any(|slot| slot.failures > 1 || slot.vantage != first.vantage)
    }

    /// Writes down what lasted to the end of an instant. Returns whether it looks different.
    pub(super) fn note_symptom(&mut self, ix: ComponentIx) -> bool {
        match self.symptom_of(ix) {
            Some(symptom) => self.symptoms.insert(ix, symptom),
            None => self.symptoms.remove(&ix),
        };
        let now = self.now;
        let node = self.model.node_mut(ix);
        let view = View::of(node);
        if view.well != node.view.well {
            node.well_since = if view.well { now } else { Timestamp::FAR };
        }
        std::mem::replace(&mut node.view, view) != view
    }

    /// Writes down that something was seen to fail from inside a while ago, as an agent tells that was cut off and is back.
    /// Such tidings may come in any order.
    pub(super) fn note_past_failure(&mut self, ix: ComponentIx, at: Timestamp) {
        let node = self.model.node(ix);
        if at.plus(FORGET_AFTER) < self.now && !self.tracker.is_open() {
            return;
        }
        let known = self.symptoms.get(&ix).copied();
        let symptom = match known {
            None => Symptom {
                onset: at,
                worst_since: at,
                worst: Ill::Failed,
                well_since: (node.evidence == Some(Status::Ok)).then_some(self.now),
                worked: node.ran,
                confirmed: false,
                returned: None,
            },
            Some(known) => Symptom {
                onset: known.onset.min(at),
                worst_since: match known.worst {
                    Ill::Failed => known.worst_since.min(at),
                    _ => at,
                },
                worst: Ill::Failed,
                confirmed: known.confirmed || known.worst == Ill::Failed,
                ..known
            },
        };
        self.symptoms.insert(ix, symptom);
        self.conclusion.tell();
    }

    /// Every symptom, the present instant included.
    pub(super) fn symptoms_now(&self) -> BTreeMap<ComponentIx, Symptom> {
        let mut symptoms = self.symptoms.clone();
        for ix in self.instant.touched() {
            match self.symptom_of(ix) {
                Some(symptom) => symptoms.insert(ix, symptom),
                None => symptoms.remove(&ix),
            };
        }
        symptoms
    }

    /// Forgets blips that passed long ago, once a minute while no incident is open.
    pub(super) fn forget_symptoms(&mut self) {
        let now = self.now;
        self.symptoms.retain(|_, symptom| {
            let well_since = symptom.well_since;
            well_since.is_none_or(|well| well.plus(FORGET_AFTER) >= now)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn view(ill: Ill, well: bool) -> View {
        View {
            ill,
            well,
            came_back: None,
        }
    }

    #[test]
    fn the_worst_and_the_first_moment_stay() {
        let first = follow(None, view(Ill::Degraded, false), true, at(1));
        let worse = follow(first, view(Ill::Failed, false), false, at(5));
        let well = follow(worse, view(Ill::No, true), false, at(9)).unwrap();
        assert_eq!((well.onset, well.worst_since), (at(1), at(5)));
        assert_eq!((well.worst, well.worked), (Ill::Failed, true));
        assert_eq!(well.well_since, Some(at(9)));
    }

    #[test]
    fn who_is_not_looked_at_any_more_is_not_well() {
        let failed = follow(None, view(Ill::Failed, false), true, at(1));
        let unseen = follow(failed, view(Ill::No, false), false, at(61)).unwrap();
        assert_eq!(unseen.well_since, None);
    }
}
