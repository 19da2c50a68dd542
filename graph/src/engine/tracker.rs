//! When an incident opens and when it is over.
//!
//! A failure opens one only after one observation period, so that a dependant that fails first does not win a race against what
//! it needs. It is over when everything that worked in the last stable time works again, and
//! has done so for the same time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Diagnosis, Fault, FaultKind, Finding, Incident, IncidentState, Timestamp};

/// One observation period (10 s by default) and half of it to spare.
pub(super) const SETTLE: Duration = Duration::from_secs(15);

/// The most entries of an incident's story.
const STORY_MAX: usize = 100;
/// Who is less likely than not is not named.
const NAMED_FROM: f64 = 0.5;

/// The state of the incident, without the components themselves.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Tracker {
    pub(super) incident: Option<Incident>,
    /// Components that are broken on their own, or silent, at this moment.
    broken: BTreeSet<Arc<str>>,
    /// Components that worked in the last stable time and do not now.
    pub(super) missing: usize,
    pending: Pending,
    /// How `pending` stood when the present instant began: what lasts no time restarts no wait.
    began: Option<(Timestamp, Pending)>,
    /// What joined the failed of the incident at the present instant.
    joined: BTreeSet<Arc<str>>,
    /// The failed of the incident are others than at the last look.
    #[serde(skip)]
    failed_changed: bool,
}

/// What is waited for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Pending {
    /// When the first broken component was seen, and which, while no incident is open.
    first: Option<(Timestamp, Arc<str>)>,
    /// Since when nothing is broken and nothing is missing, while an incident is open.
    back_since: Option<Timestamp>,
}

impl Tracker {
    /// No failure is known and none is being waited for.
    pub(super) fn is_stable(&self) -> bool {
        self.broken.is_empty() && self.pending.first.is_none() && !self.is_open()
    }

    pub(super) fn is_open(&self) -> bool {
        self.incident
            .as_ref()
            .is_some_and(|incident| incident.state != IncidentState::Resolved)
    }

    /// Notes whether a component is broken on its own.
    pub(super) fn note(&mut self, at: Timestamp, id: &Arc<str>, is_broken: bool) {
        self.begin(at);
        if is_broken {
            if self.broken.insert(id.clone()) && self.is_open() {
                self.join(id);
            }
        } else if self.broken.remove(id)
            && self.joined.remove(id)
            && let Some(incident) = &mut self.incident
        {
            self.failed_changed |= incident.failed.remove(&**id);
        }
    }

    /// A component is not there any more.
    pub(super) fn forget(&mut self, id: &str) {
        self.broken.remove(id);
    }

    fn join(&mut self, id: &Arc<str>) {
        if let Some(incident) = &mut self.incident
            && !incident.failed.contains(&**id)
        {
            incident.failed.insert(id.to_string());
            self.joined.insert(id.clone());
            self.failed_changed = true;
        }
    }

    fn begin(&mut self, at: Timestamp) {
        if self.began.as_ref().is_none_or(|(began, _)| *began != at) {
            self.began = Some((at, self.pending.clone()));
            self.joined.clear();
        }
    }

    /// Looks at what changed. Returns whether the incident did.
    pub(super) fn update(&mut self, at: Timestamp) -> bool {
        self.begin(at);
        let changed = if self.is_open() {
            self.follow(at)
        } else {
            self.wait(at)
        };
        changed | std::mem::take(&mut self.failed_changed)
    }

    /// Writes down who is named now, if that is news and likely enough to be told. Returns whether it did.
    pub(super) fn tell_story(&mut self, at: Timestamp, diagnosis: &Diagnosis) -> bool {
        let is_open = self.is_open();
        let (Some(incident), Some(first)) = (&mut self.incident, diagnosis.hypotheses.first())
        else {
            return false;
        };
        let likeliest = |fault: &Fault| {
            let kinds = fault.kind.iter();
            kinds
                .max_by(|a, b| a.1.total_cmp(b.1))
                .map(|(kind, _)| *kind)
        };
        let kinds: BTreeMap<String, FaultKind> = first
            .faults
            .iter()
            .filter_map(|(id, fault)| Some((id.clone(), likeliest(fault)?)))
            .collect();
        let is_known = incident
            .story
            .last()
            .is_some_and(|last| last.causes == first.causes && last.kinds == kinds);
        if !is_open || is_known || first.probability < NAMED_FROM {
            return false;
        }
        if incident.story.len() >= STORY_MAX {
            incident.story.remove(STORY_MAX / 2);
        }
        incident.story.push(Finding {
            at,
            causes: first.causes.clone(),
            probability: first.probability,
            kinds,
        });
        true
    }

    fn wait(&mut self, at: Timestamp) -> bool {
        let before = self
            .began
            .as_ref()
            .and_then(|(_, began)| began.first.clone());
        self.pending.first = match self.broken.first() {
            None => None,
            Some(id) => before.or_else(|| Some((at, id.clone()))),
        };
        let Some((opened, first)) = &self.pending.first else {
            return false;
        };
        if at < opened.plus(SETTLE) {
            return false;
        }
        self.incident = Some(Incident {
            id: format!("{opened}/{first}"),
            state: IncidentState::Open,
            opened: *opened,
            resolved: None,
            failed: self.broken.iter().map(|id| id.to_string()).collect(),
            story: Vec::new(),
        });
        self.rest(at);
        true
    }

    fn follow(&mut self, at: Timestamp) -> bool {
        let before = self.began.as_ref().and_then(|(_, began)| began.back_since);
        let is_back = self.broken.is_empty() && self.missing == 0;
        self.pending.back_since = is_back.then(|| before.unwrap_or(at));
        let over = self
            .pending
            .back_since
            .filter(|since| at >= since.plus(SETTLE));
        let Some(incident) = &mut self.incident else {
            return false;
        };
        let state = match over {
            Some(_) => IncidentState::Resolved,
            None if self.broken.is_empty() => IncidentState::Recovering,
            None => IncidentState::Open,
        };
        let changed = incident.state != state;
        incident.state = state;
        incident.resolved = over;
        if over.is_some() {
            self.rest(at);
        }
        changed
    }

    /// Nothing is waited for: what was has come, and not again at this instant.
    fn rest(&mut self, at: Timestamp) {
        self.pending = Pending::default();
        self.began = Some((at, Pending::default()));
        self.joined.clear();
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let first = self.pending.first.as_ref().map(|(at, _)| at);
        first
            .or(self.pending.back_since.as_ref())
            .map(|at| at.plus(SETTLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn set(tracker: &mut Tracker, seconds: i64, id: &str, is_broken: bool) {
        tracker.note(at(seconds), &Arc::from(id), is_broken);
    }

    #[test]
    fn a_failure_that_passes_within_a_period_opens_nothing() {
        let mut tracker = Tracker::default();
        set(&mut tracker, 0, "a", true);
        assert!(!tracker.update(at(0)) && !tracker.is_stable());
        assert_eq!(tracker.deadline(), Some(at(15)));
        set(&mut tracker, 10, "a", false);
        assert!(!tracker.update(at(10)) && tracker.is_stable());
        assert_eq!(tracker.incident, None);
    }

    #[test]
    fn an_incident_opens_at_its_first_failure_and_closes_when_all_is_back() {
        let mut tracker = Tracker::default();
        set(&mut tracker, 0, "b", true);
        tracker.missing = 2;
        tracker.update(at(0));
        set(&mut tracker, 15, "a", true);
        assert!(tracker.update(at(15)));
        let opened = tracker.incident.clone().unwrap();
        assert_eq!((opened.opened, opened.state), (at(0), IncidentState::Open));
        assert_eq!(opened.id, "1970-01-01T00:00:00.000Z/b");
        set(&mut tracker, 60, "a", false);
        set(&mut tracker, 60, "b", false);
        tracker.update(at(60));
        assert_eq!(
            tracker.incident.as_ref().unwrap().state,
            IncidentState::Recovering
        );
        tracker.missing = 0;
        tracker.update(at(70));
        assert!(tracker.update(at(85)) && tracker.is_stable());
        assert_eq!(tracker.incident.unwrap().resolved, Some(at(70)));
    }

    #[test]
    fn a_relapse_before_the_end_goes_on_with_the_same_incident() {
        let mut tracker = Tracker::default();
        set(&mut tracker, 0, "b", true);
        tracker.update(at(0));
        tracker.update(at(15));
        set(&mut tracker, 20, "b", false);
        tracker.update(at(20));
        set(&mut tracker, 30, "c", true);
        tracker.update(at(30));
        let incident = tracker.incident.unwrap();
        assert_eq!(
            (incident.opened, incident.state),
            (at(0), IncidentState::Open)
        );
        assert_eq!(incident.failed.len(), 2);
    }

    #[test]
    fn what_lasts_no_time_restarts_no_wait_and_is_not_among_the_failed() {
        let mut tracker = Tracker::default();
        set(&mut tracker, 0, "b", true);
        tracker.update(at(0));
        for is_broken in [false, true] {
            set(&mut tracker, 5, "b", is_broken);
            tracker.update(at(5));
        }
        assert!(tracker.update(at(15)));
        set(&mut tracker, 20, "b", false);
        tracker.update(at(20));
        for is_broken in [true, false] {
            set(&mut tracker, 30, "c", is_broken);
            tracker.update(at(30));
        }
        assert_eq!(tracker.deadline(), Some(at(35)));
        assert_eq!(tracker.incident.unwrap().failed.len(), 1);
    }

    #[test]
    fn of_those_that_break_at_once_the_first_by_id_names_the_incident() {
        let mut tracker = Tracker::default();
        for id in ["b", "a"] {
            set(&mut tracker, 0, id, true);
            tracker.update(at(0));
        }
        tracker.update(at(15));
        assert_eq!(tracker.incident.unwrap().id, "1970-01-01T00:00:00.000Z/a");
    }
}
