//! When an incident opens and when it is over.
//!
//! A failure opens one only after one observation period, so that a dependant that fails first does not win a race against what
//! it needs. It is over when everything that worked in the last stable time works again, and
//! has done so for the same time.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{Incident, IncidentState, Timestamp};

/// One observation period (10 s by default) and half of it to spare.
pub(super) const SETTLE: Duration = Duration::from_secs(15);

/// The state of the incident, without the components themselves.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tracker {
    pub(super) incident: Option<Incident>,
    /// Components that are broken on their own, or silent, at this moment.
    pub(super) broken: BTreeSet<String>,
    /// When the first of them was seen, and which, while no incident is open.
    first: Option<(Timestamp, String)>,
    /// Components that worked in the last stable time and do not now.
    pub(super) missing: usize,
    /// Since when nothing is broken and nothing is missing, while an incident is open.
    back_since: Option<Timestamp>,
}

impl Tracker {
    /// No failure is known and none is being waited for.
    pub(super) fn is_stable(&self) -> bool {
        self.broken.is_empty() && self.first.is_none() && !self.is_open()
    }

    pub(super) fn is_open(&self) -> bool {
        self.incident
            .as_ref()
            .is_some_and(|incident| incident.state != IncidentState::Resolved)
    }

    /// Looks at what changed. Returns whether the incident did, and whether a stable time begins.
    pub(super) fn update(&mut self, at: Timestamp) -> (bool, bool) {
        let before = (self.incident.clone(), self.is_stable());
        if self.is_open() {
            self.follow(at);
        } else {
            self.wait(at);
        }
        (self.incident != before.0, self.is_stable() && !before.1)
    }

    fn wait(&mut self, at: Timestamp) {
        match (&self.first, self.broken.first()) {
            (None, Some(id)) => self.first = Some((at, id.clone())),
            (Some(_), None) => self.first = None,
            (Some((opened, first)), Some(_)) if at >= opened.plus(SETTLE) => {
                self.incident = Some(Incident {
                    id: format!("{opened}/{first}"),
                    state: IncidentState::Open,
                    opened: *opened,
                    resolved: None,
                    failed: self.broken.clone(),
                });
                self.first = None;
                self.back_since = None;
            }
            _ => {}
        }
    }

    fn follow(&mut self, at: Timestamp) {
        let back = self.broken.is_empty() && self.missing == 0;
        match (back, self.back_since) {
            (true, None) => self.back_since = Some(at),
            (false, Some(_)) => self.back_since = None,
            _ => {}
        }
        let over = self.back_since.filter(|since| at >= since.plus(SETTLE));
        let Some(incident) = &mut self.incident else {
            return;
        };
        for id in &self.broken {
            if !incident.failed.contains(id) {
                incident.failed.insert(id.clone());
            }
        }
        incident.state = match over {
            Some(since) => {
                incident.resolved = Some(since);
                IncidentState::Resolved
            }
            None if self.broken.is_empty() => IncidentState::Recovering,
            None => IncidentState::Open,
        };
        if over.is_some() {
            self.back_since = None;
        }
    }

    /// When time alone changes something.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let waiting = self
            .first
            .as_ref()
            .filter(|_| !self.is_open())
            .map(|(at, _)| at);
        waiting
            .or(self.back_since.as_ref())
            .map(|at| at.plus(SETTLE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn a_failure_that_passes_within_a_period_opens_nothing() {
        let mut tracker = Tracker::default();
        tracker.broken.insert("a".to_owned());
        assert_eq!(tracker.update(at(0)), (false, false));
        assert_eq!(tracker.deadline(), Some(at(15)));
        tracker.broken.clear();
        assert_eq!(tracker.update(at(10)), (false, true));
        assert_eq!(tracker.incident, None);
    }

    #[test]
    fn an_incident_opens_at_its_first_failure_and_closes_when_all_is_back() {
        let mut tracker = Tracker::default();
        tracker.broken.insert("b".to_owned());
        tracker.missing = 2;
        tracker.update(at(0));
        tracker.broken.insert("a".to_owned());
        assert!(tracker.update(at(15)).0);
        let opened = tracker.incident.clone().unwrap();
        assert_eq!((opened.opened, opened.state), (at(0), IncidentState::Open));
        assert_eq!(opened.id, "1970-01-01T00:00:00.000Z/b");
        tracker.broken.clear();
        tracker.update(at(60));
        assert_eq!(
            tracker.incident.as_ref().unwrap().state,
            IncidentState::Recovering
        );
        tracker.missing = 0;
        tracker.update(at(70));
        assert_eq!(tracker.update(at(85)), (true, true));
        assert_eq!(tracker.incident.unwrap().resolved, Some(at(70)));
    }

    #[test]
    fn a_relapse_before_the_end_goes_on_with_the_same_incident() {
        let mut tracker = Tracker::default();
        tracker.broken.insert("b".to_owned());
        tracker.update(at(0));
        tracker.update(at(15));
        tracker.broken.clear();
        tracker.update(at(20));
        tracker.broken.insert("c".to_owned());
        tracker.update(at(30));
        let incident = tracker.incident.unwrap();
        assert_eq!(
            (incident.opened, incident.state),
            (at(0), IncidentState::Open)
        );
        assert_eq!(incident.failed.len(), 2);
    }
}
