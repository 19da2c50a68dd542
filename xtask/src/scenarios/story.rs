//! What a probe would have answered about one part, from step to step.

use super::time::At;

/// A number that goes evenly from one value to another, beginning with its step.
#[derive(Debug, Clone, Copy)]
struct Ramp {
    from: f64,
    to: f64,
    /// When it arrives; it stays there.
    until: Option<At>,
}

impl Ramp {
    fn at(self, since: At, now: At) -> f64 {
        let Some(until) = self.until.filter(|until| *until > since) else {
            return self.to;
        };
        let part = now.ms_since(since) as f64 / until.ms_since(since) as f64;
        self.from + (self.to - self.from) * part.clamp(0.0, 1.0)
    }
}

/// One answer.
#[derive(Debug, Clone)]
pub(super) struct Look {
    pub(super) status: &'static str,
    pub(super) detail: String,
    progress: Option<Ramp>,
    values: Vec<(&'static str, Ramp)>,
}

impl Look {
    fn new(status: &'static str, detail: &str) -> Self {
        Self {
            status,
            detail: detail.to_owned(),
            progress: None,
            values: Vec::new(),
        }
    }

    /// With a measured value that stays.
    pub(super) fn value(self, name: &'static str, value: f64) -> Self {
        self.going(name, value, None, value)
    }

    /// With a measured value that goes evenly to another one.
    pub(super) fn ramp(self, name: &'static str, from: f64, until: At, to: f64) -> Self {
        self.going(name, from, Some(until), to)
    }

    fn going(mut self, name: &'static str, from: f64, until: Option<At>, to: f64) -> Self {
        self.values.push((name, Ramp { from, to, until }));
        self
    }

    /// With progress that begins at `from` and reaches `to` then.
    pub(super) fn progress(mut self, from: f64, until: At, to: f64) -> Self {
        let until = Some(until);
        self.progress = Some(Ramp { from, to, until });
        self
    }
}

/// It works.
pub(super) fn ok() -> Look {
    Look::new("ok", "")
}

/// It works, and something is wrong.
pub(super) fn degraded(detail: &str) -> Look {
    Look::new("degraded", detail)
}

/// It is on its way up.
pub(super) fn starting(detail: &str) -> Look {
    Look::new("starting", detail)
}

/// It does not work.
pub(super) fn failed(detail: &str) -> Look {
    Look::new("failed", detail)
}

/// What is seen of one part, step by step. Without a look: nobody asks.
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    steps: Vec<(At, Option<Look>)>,
    first: Option<Look>,
}

/// A story that begins with this look.
pub(super) fn story(first: Look) -> Story {
    Story {
        first: Some(first),
        steps: Vec::new(),
    }
}

/// A story in which nobody asks at first.
pub(super) fn unseen() -> Story {
    Story::default()
}

impl Story {
    /// From then on this.
    pub(super) fn then(mut self, at: At, look: Look) -> Self {
        self.steps.push((at, Some(look)));
        self
    }

    /// From then on nobody asks.
    pub(super) fn then_unseen(mut self, at: At) -> Self {
        self.steps.push((at, None));
        self
    }

    /// Between the two moments, what this says instead.
    pub(super) fn except(mut self, from: At, until: At, look: &Look) -> Self {
        let after = self.step_at(until).map(|(_, look)| look.clone());
        self.steps.retain(|(at, _)| *at < from || *at >= until);
        self.steps.push((from, Some(look.clone())));
        if !self.steps.iter().any(|(at, _)| *at == until) {
            self.steps.push((until, after));
        }
        self.steps.sort_by_key(|(at, _)| *at);
        self
    }

    /// Since when it is as it is now, and how; nothing where nobody asks.
    fn step_at(&self, now: At) -> Option<(At, &Look)> {
        match self.steps.iter().rev().find(|(at, _)| *at <= now) {
            Some((at, look)) => look.as_ref().map(|look| (*at, look)),
            None => self.first.as_ref().map(|look| (now, look)),
        }
    }

    /// What a probe sees now.
    pub(super) fn seen_at(&self, now: At) -> Option<Seen> {
        let (since, look) = self.step_at(now)?;
        Some(Seen {
            status: look.status,
            detail: look.detail.clone(),
            progress: look.progress.map(|ramp| ramp.at(since, now)),
            values: (look.values.iter())
                .map(|(name, ramp)| (*name, ramp.at(since, now)))
                .collect(),
        })
    }
}

/// One answer of one probe.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen {
    pub(super) status: &'static str,
    pub(super) detail: String,
    pub(super) progress: Option<f64>,
    pub(super) values: Vec<(&'static str, f64)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::time::Day;

    const DAY: Day = Day::new(2021, 3, 10);

    fn status(story: &Story, minute: i64) -> Option<&'static str> {
        story.seen_at(DAY.hm(1, minute)).map(|seen| seen.status)
    }

    #[test]
    fn each_step_holds_until_the_next() {
        let story = unseen()
            .then(DAY.hm(1, 10), failed("no answer"))
            .then(DAY.hm(1, 20), starting("coming up"))
            .then(DAY.hm(1, 30), ok());
        for (minute, expected) in [
            (9, None),
            (10, Some("failed")),
            (19, Some("failed")),
            (20, Some("starting")),
            (30, Some("ok")),
        ] {
            assert_eq!(status(&story, minute), expected, "minute {minute}");
        }
    }

    #[test]
    fn an_exception_ends_with_what_is_true_then() {
        let story = story(ok()).then(DAY.hm(1, 10), degraded("slow")).except(
            DAY.hm(1, 5),
            DAY.hm(1, 15),
            &failed("no path"),
        );
        for (minute, expected) in [(4, "ok"), (5, "failed"), (14, "failed"), (15, "degraded")] {
            assert_eq!(status(&story, minute), Some(expected), "minute {minute}");
        }
    }

    #[test]
    fn progress_and_values_go_evenly() {
        let look = starting("redo").progress(0.0, DAY.hm(1, 20), 1.0).ramp(
            "depth",
            100.0,
            DAY.hm(1, 20),
            0.0,
        );
        let story = unseen().then(DAY.hm(1, 10), look);
        let seen = story.seen_at(DAY.hm(1, 15)).unwrap();
        assert_eq!(seen.progress, Some(0.5));
        assert_eq!(seen.values, [("depth", 50.0)]);
    }
}
