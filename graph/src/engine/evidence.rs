//! Slots: the newest answer of each (component, check, vantage), and what they say together.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::model::PathId;
use crate::{ComponentIx, Status, Timestamp};

/// The place of a (component, check, vantage); dense, and the same after save and load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SlotId(pub u32);

impl SlotId {
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// How long an observation holds unless it says otherwise.
pub(super) const TTL_DEFAULT: Duration = Duration::from_secs(60);

/// One answer, as the engine takes it on the hot path.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// When the probe ran.
    pub sampled_at: Timestamp,
    /// What it found.
    pub status: Status,
    /// 0 to 1, while starting.
    pub progress: Option<f32>,
    /// One line for people; `None`: the same as before.
    pub detail: Option<&'a str>,
    /// Measured values, in the order of the slot's names.
    pub values: &'a [f64],
}

#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) component: ComponentIx,
    pub(super) vantage: ComponentIx,
    pub(super) check: Arc<str>,
    /// The vantage is in the component's host, or is it.
    pub(super) inside: bool,
    pub(super) path: PathId,
    pub(super) ttl: Duration,
    pub(super) value_names: Arc<[String]>,
    pub(super) status: Status,
    pub(super) progress: Option<f32>,
    pub(super) detail: Box<str>,
    pub(super) values: Vec<f64>,
    pub(super) sampled_at: Timestamp,
    pub(super) expires: Timestamp,
    /// It still counts.
    pub(super) fresh: bool,
    /// An entry for it is in the queue of expiries.
    pub(super) queued: bool,
}

impl Slot {
    pub(super) fn counts(&self) -> bool {
        self.fresh && self.status != Status::Unknown
    }
}

/// What fresh observations say together.
///
/// The worst that is seen from inside the component's host counts; one from outside that is worse speaks about
/// the path. Where nobody looks from inside, each check counts as its best vantage sees it,
/// for the same reason.
pub(super) fn together<'a>(slots: impl Iterator<Item = &'a Slot> + Clone) -> Option<Status> {
    let inside = slots
        .clone()
        .filter(|slot| slot.inside && slot.counts())
        .map(|slot| slot.status)
        .max();
    if inside.is_some() {
        return inside;
    }
    let mut best: Vec<(&str, Status)> = Vec::new();
    for slot in slots.filter(|slot| slot.counts()) {
        match best.iter_mut().find(|(check, _)| *check == &*slot.check) {
            Some((_, status)) => *status = (*status).min(slot.status),
            None => best.push((&slot.check, slot.status)),
        }
    }
    best.into_iter().map(|(_, status)| status).max()
}
