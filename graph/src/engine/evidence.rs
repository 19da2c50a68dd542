//! Slots: the newest answer of each (component, check, vantage), and what they say together.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::node::PathId;
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

/// One answer that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Vote {
    /// From inside the component's host.
    pub(super) inside: bool,
    pub(super) status: Status,
}

/// The newest answer of one (component, check, vantage).
#[derive(Debug, Clone)]
pub(super) struct Slot {
    pub(super) component: ComponentIx,
    pub(super) vantage: ComponentIx,
    pub(super) path: PathId,
    /// How long the next answers hold.
    pub(super) ttl_ms: u32,
    pub(super) sampled_at: Timestamp,
    pub(super) expires: Timestamp,
    /// When the queue of expiries looks at it, which is not after it ends; `NEVER` when it does not.
    pub(super) queued: Timestamp,
    pub(super) check: Arc<str>,
    pub(super) value_names: Arc<[Box<str>]>,
    pub(super) values: Box<[f64]>,
    pub(super) detail: Box<str>,
    /// Not a number where none was told.
    progress: f32,
    pub(super) status: Status,
    /// How many answers in a row said `failed`, the last time that it did; no more than 255.
    pub(super) failures: u8,
    /// The vantage is in the component's host, or is it.
    pub(super) inside: bool,
    /// It still counts.
    pub(super) fresh: bool,
}

impl Slot {
    /// A slot that nothing was said about yet.
    pub(super) fn new(
        component: ComponentIx,
        vantage: ComponentIx,
        check: Arc<str>,
        value_names: Arc<[Box<str>]>,
    ) -> Self {
        Self {
            component,
            vantage,
            path: PathId::default(),
            ttl_ms: millis(TTL_DEFAULT),
            sampled_at: Timestamp::NEVER,
            expires: Timestamp::NEVER,
            queued: Timestamp::NEVER,
            check,
            value_names,
            values: Box::default(),
            detail: Box::default(),
            progress: f32::NAN,
            status: Status::Unknown,
            failures: 0,
            inside: false,
            fresh: false,
        }
    }

    pub(super) fn counts(&self) -> bool {
        self.fresh && self.status != Status::Unknown
    }

    /// What it has to say, if it counts.
    pub(super) fn vote(&self) -> Option<Vote> {
        let Self { inside, status, .. } = *self;
        self.counts().then_some(Vote { inside, status })
    }

    pub(super) fn progress(&self) -> Option<f32> {
        Some(self.progress).filter(|progress| !progress.is_nan())
    }

    pub(super) fn set_progress(&mut self, progress: Option<f32>) {
        self.progress = progress.unwrap_or(f32::NAN);
    }

    pub(super) fn set_values(&mut self, values: &[f64]) {
        if self.values.len() == values.len() {
            self.values.copy_from_slice(values);
        } else {
            self.values = values.into();
        }
    }

    /// When an answer of that moment ends.
    pub(super) fn end_of(&self, sampled_at: Timestamp) -> Timestamp {
        sampled_at.plus(Duration::from_millis(u64::from(self.ttl_ms)))
    }
}

/// A time to live in whole milliseconds, rounded up.
pub(super) fn millis(ttl: Duration) -> u32 {
    u32::try_from(ttl.as_micros().div_ceil(1_000)).unwrap_or(u32::MAX)
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
    // Slots of one check follow each other.
    let mut worst = None;
    let mut best: Option<(&str, Status)> = None;
    for slot in slots.filter(|slot| slot.counts()) {
        best = match best {
            Some((check, status)) if *check == *slot.check => {
                Some((check, status.min(slot.status)))
            }
            Some((_, status)) => {
                worst = worst.max(Some(status));
                Some((&slot.check, slot.status))
            }
            None => Some((&slot.check, slot.status)),
        };
    }
    worst.max(best.map(|(_, status)| status))
}

/// Texts and lists that many slots share, kept once.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared {
    checks: BTreeSet<Arc<str>>,
    value_names: BTreeSet<Arc<[Box<str>]>>,
}

impl Shared {
    /// The most that is remembered of each: some hundred kinds of checks exist. What comes beyond is
    /// kept by its slot alone.
    const REMEMBERED_MAX: usize = 16_384;

    pub(super) fn check(&mut self, check: &str) -> Arc<str> {
        if let Some(known) = self.checks.get(check) {
            return known.clone();
        }
        let check: Arc<str> = check.into();
        if self.checks.len() < Self::REMEMBERED_MAX {
            self.checks.insert(check.clone());
        }
        check
    }

    pub(super) fn value_names<S: AsRef<str>>(&mut self, names: &[S]) -> Arc<[Box<str>]> {
        let names: Vec<Box<str>> = names.iter().map(|name| name.as_ref().into()).collect();
        if let Some(known) = self.value_names.get(&*names) {
            return known.clone();
        }
        let names: Arc<[Box<str>]> = names.into();
        if self.value_names.len() < Self::REMEMBERED_MAX {
            self.value_names.insert(names.clone());
        }
        names
    }
}
