//! When the engine draws its conclusions: which diagnosis holds, what follows from it for what nobody observes, and who was
//! named at which moment of an incident.
//!
//! At moments that the events alone decide, never because somebody asked: a replay and a replica conclude the same.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Changes, Engine};
use crate::{ComponentIx, Diagnosis, Timestamp};

/// What is news within this time after the first of it is taken together.
const TOGETHER: Duration = Duration::from_millis(100);
/// Conclusions are at least this far apart.
const APART_MIN: Duration = Duration::from_secs(1);
/// …and further by this for each symptom and candidate that the last one compared: about ten times what that takes.
const APART_EACH: Duration = Duration::from_micros(1);

/// What the engine concluded last, and when it looks again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Conclusion {
    /// `None` while nothing has a symptom.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) diagnosis: Option<Arc<Diagnosis>>,
    /// Not before this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    not_before: Option<Timestamp>,
    /// Since when there is news that it does not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    news_since: Option<Timestamp>,
    /// Something of the present instant may be news.
    #[serde(default)]
    may_be_news: bool,
    /// Something of the present instant is news.
    #[serde(default)]
    is_news: bool,
    /// Components that a verdict was passed on.
    #[serde(skip)]
    pub(super) judged: BTreeSet<ComponentIx>,
}

impl Conclusion {
    /// Notes that the present instant may bring news.
    pub(super) const fn suspect(&mut self) {
        self.may_be_news = true;
    }

    /// Notes that the present instant brings news.
    pub(super) const fn tell(&mut self) {
        self.may_be_news = true;
        self.is_news = true;
    }

    /// Whether it says anything that news may change.
    pub(super) fn holds_something(&self) -> bool {
        self.diagnosis.is_some() || !self.judged.is_empty()
    }

    /// Ends an instant. `lasted`: what is seen of something is different now; `matters`: there is something to conclude from.
    pub(super) fn end_instant(&mut self, now: Timestamp, lasted: bool, matters: bool) {
        self.may_be_news = false;
        if (std::mem::take(&mut self.is_news) || lasted) && matters {
            self.news_since.get_or_insert(now);
        }
    }

    /// When there is a conclusion to draw, as far as ended instants tell.
    fn due(&self) -> Option<Timestamp> {
        let since = self.news_since?.plus(TOGETHER);
        Some(self.not_before.map_or(since, |at| at.max(since)))
    }

    /// When there may be one to draw.
    pub(super) fn deadline(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.may_be_news {
            return self.due();
        }
        let since = self.news_since.unwrap_or(now).plus(TOGETHER);
        Some(self.not_before.map_or(since, |at| at.max(since)))
    }
}

impl Engine {
    /// What the engine concluded last, by itself; `None` while nothing has a symptom. At most some seconds older than
    /// [`Engine::diagnosis`], and free.
    #[must_use]
    pub const fn held_diagnosis(&self) -> Option<&Arc<Diagnosis>> {
        self.conclusion.diagnosis.as_ref()
    }

    /// Draws the conclusion now, whether or not it is due.
    fn conclude_now(&mut self, changes: &mut Changes) {
        let told = self.diagnose();
        let (diagnosis, verdicts, work) = (told.diagnosis, told.verdicts, told.work);
        let apart = APART_MIN + APART_EACH * u32::try_from(work).unwrap_or(u32::MAX);
        self.conclusion.news_since = None;
        self.conclusion.not_before = Some(self.now.plus(apart));
        let diagnosis = (!diagnosis.hypotheses.is_empty()).then(|| Arc::new(diagnosis));
        if self.conclusion.diagnosis != diagnosis {
            self.conclusion.diagnosis = diagnosis;
            changes.diagnosis = true;
        }
        let mut turned = Vec::new();
        let before = std::mem::take(&mut self.conclusion.judged);
        for ix in before {
            if !verdicts.contains_key(&ix) {
                self.model.node_mut(ix).verdict = None;
                turned.push(ix);
            }
        }
        for (ix, verdict) in &verdicts {
            let node = self.model.node_mut(*ix);
            if node.verdict.replace(*verdict) != Some(*verdict) {
                turned.push(*ix);
            }
        }
        self.conclusion.judged = verdicts.into_keys().collect();
        turned.sort_unstable();
        self.settle(&turned, changes);
        if let Some(diagnosis) = &self.conclusion.diagnosis
            && self.tracker.tell_story(self.now, diagnosis)
        {
            changes.incident = true;
        }
        self.settle_incident(changes);
    }

    /// Draws the conclusion if it is due.
    pub(super) fn conclude(&mut self, changes: &mut Changes) {
        if self.conclusion.due().is_some_and(|due| due <= self.now) {
            self.conclude_now(changes);
        }
    }

    /// Passes a verdict as a conclusion would.
    #[cfg(test)]
    pub(super) fn judge(
        &mut self,
        at: Timestamp,
        component: &str,
        verdict: Option<super::Verdict>,
    ) -> Changes {
        let mut changes = self.advance(at);
        if let Some(ix) = self.model.find(component) {
            self.model.node_mut(ix).verdict = verdict;
            if verdict.is_some() {
                self.conclusion.judged.insert(ix);
            }
            self.settle(&[ix], &mut changes);
            self.settle_incident(&mut changes);
        }
        changes.settle();
        changes
    }
}
