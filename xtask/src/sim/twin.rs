//! Whether anybody could have told: the same estate with other faults, seen by the same agents.
//!
//! **The rule.** An answer is in the class of the truth at a moment when a world in which exactly the answer's causes are broken would, up to that
//! moment and without any noise, have told the aggregator the very same: every answer of every probe, every stream that went, every boot. For each cause
//! all that it can suffer is tried (off, cut off, only its agent dead, impaired), from the moment at which it was hit in truth, or else from that
//! of the first harm that shows; with and without batteries, whose charge nobody knows. A cause that is not true and without which it would have looked
//! the same is one too many: what another fault hides is no licence to invent.

use super::case::Case;
use super::estate::Ix;
use super::fault::{Fault, Word};
use super::fleet::{self, Listener, News};
use super::rng::mix;
use super::world::{Harm, Mode, World, place};
use blackstart_graph::Kind;

/// The most worlds that are tried for one answer; nearly all of them differ at their first second.
const WORLDS_MAX: usize = 1_024;
/// The most moments at which a cause that was not hit in truth is let begin: the first ones at which anything was hit.
const ONSETS_MAX: usize = 8;

/// What was told up to each second, as a number, and what was hit when.
#[derive(Debug, Clone, Default)]
pub(super) struct Record {
    pub(super) hashes: Vec<u64>,
    pub(super) went: Vec<Option<i64>>,
    pub(super) back: Vec<Option<i64>>,
    /// The aggregator was not there.
    pub(super) away: Vec<bool>,
}

/// Listens to a world.
#[derive(Debug, Default)]
pub(super) struct Twin<'a> {
    hash: u64,
    pub(super) hashes: Vec<u64>,
    pub(super) news: Vec<(i64, News)>,
    keeps_news: bool,
    pub(super) away: Vec<bool>,
    /// Whom it must not differ from.
    like: Option<&'a [u64]>,
    differs: bool,
}

impl<'a> Twin<'a> {
    /// Keeps everything.
    pub(super) fn recording() -> Self {
        Self {
            keeps_news: true,
            ..Self::default()
        }
    }

    /// Keeps the numbers alone.
    pub(super) fn hashing() -> Self {
        Self::default()
    }

    /// Stops where it differs.
    fn comparing(like: &'a [u64]) -> Self {
        Self {
            like: Some(like),
            ..Self::default()
        }
    }
}

impl Listener for Twin<'_> {
    fn tell(&mut self, now: i64, news: News) {
        let words = match news {
            News::Seen {
                watch,
                status,
                sampled,
                ..
            } => [1, watch as u64, status as u64, sampled as u64],
            News::Connected { host, boot, .. } => [2, host as u64, u64::from(boot), 0],
            News::Lost { host } => [3, host as u64, 0, 0],
            News::Restarted { watched_until } => [4, watched_until as u64, 0, 0],
        };
        self.hash = mix(&[
            self.hash, now as u64, words[0], words[1], words[2], words[3],
        ]);
        if self.keeps_news {
            self.news.push((now, news));
        }
    }

    fn goes_on(&mut self, now: i64, is_away: bool) -> bool {
        match self.like {
            Some(like) => {
                self.differs = like.get(place(now)) != Some(&self.hash);
                !self.differs
            }
            None => {
                self.hashes.push(self.hash);
                self.away.push(is_away);
                true
            }
        }
    }
}

/// Whether an answer is in the class of the truth.
pub(super) fn is_of_class(case: &Case, answer: &[String], second: i64) -> bool {
    let truth = case.causes(second);
    let is_idle = |id: &String| {
        let others: Vec<String> = answer
            .iter()
            .filter(|other| *other != id)
            .cloned()
            .collect();
        !truth.contains(id) && looks_alike(case, &others, second)
    };
    answer == truth || (looks_alike(case, answer, second) && !answer.iter().any(is_idle))
}

/// Whether these causes alone would have looked as it looked.
pub(super) fn looks_alike(case: &Case, answer: &[String], second: i64) -> bool {
    let choices: Option<Vec<Vec<Vec<Harm>>>> =
        answer.iter().map(|id| choices(case, id, second)).collect();
    let Some(choices) = choices else {
        return false;
    };
    let combinations: usize = choices.iter().map(Vec::len).product();
    (0..combinations.min(WORLDS_MAX)).any(|number| {
        let mut rest = number;
        let mut harms: Vec<Harm> = Vec::new();
        for of in &choices {
            harms.extend_from_slice(&of[rest % of.len()]);
            rest /= of.len();
        }
        told_the_same(case, &harms, second)
    })
}

/// Whether a world with these harms would have told the same, with batteries or without.
fn told_the_same(case: &Case, harms: &[Harm], second: i64) -> bool {
    told(case, harms, second, false) || told(case, harms, second, true)
}

/// Whether a world with these harms would have told the same.
pub(super) fn told_exactly(case: &Case, harms: &[Harm], second: i64) -> bool {
    told(case, harms, second, false)
}

fn told(case: &Case, harms: &[Harm], second: i64, no_grace: bool) -> bool {
    let mut world = World::new(&case.estate, [harms, &case.background()].concat());
    world.no_grace = no_grace;
    let mut twin = Twin::comparing(&case.truth.hashes);
    fleet::run(world, second + 1, &mut twin);
    !twin.differs
}

/// Whether nothing was to be seen by then.
pub(super) fn is_unseen(case: &Case, second: i64) -> bool {
    let at = place(second);
    case.truth.hashes.get(at) == case.quiet.hashes.get(at)
}

/// All that a cause may have suffered, each as the harms that it stands for; `None` for what is no cause here.
fn choices(case: &Case, id: &str, second: i64) -> Option<Vec<Vec<Harm>>> {
    let (parts, modes) = parts(case, id)?;
    let known = known(case, id, &parts, second);
    if !known.is_empty() {
        return Some(vec![known]);
    }
    let onsets = onsets(case, &parts, second);
    let back = parts.iter().filter_map(|ix| case.truth.back[*ix]).max();
    let healed = case.faults().map(Fault::until).max()?;
    let start_s = parts
        .iter()
        .map(|ix| case.estate.parts[*ix].start_s)
        .max()?;
    let mut choices = Vec::new();
    for mode in modes {
        let until = match (back, mode) {
            // It was back when it had started.
            (Some(back), Mode::Off) => back - start_s,
            (Some(back), _) => back,
            (None, _) => healed,
        };
        choices.extend(onsets.iter().map(|from| {
            vec![Harm {
                parts: parts.clone(),
                mode: *mode,
                from: *from,
                until,
            }]
        }));
    }
    Some(choices)
}

/// What an id stands for, and what can happen to that.
fn parts(case: &Case, id: &str) -> Option<(Vec<Ix>, &'static [Mode])> {
    if let Some(label) = id.strip_prefix("label:") {
        let (key, value) = label.split_once('=')?;
        let mut parts = case.estate.labelled(key, value);
        parts.retain(|ix| *ix != case.estate.aggregator_host());
        return Some((parts, &[Mode::Off, Mode::AgentDead]));
    }
    if let Some(action) = id.strip_prefix("action:") {
        let affects = case.story.words.iter().find_map(|(_, word)| match word {
            Word::Action { id, affects } if id == action => Some(affects.clone()),
            _ => None,
        });
        return Some((affects?, &[Mode::Off, Mode::Impaired]));
    }
    let ours = (id == "aggregator").then_some(&case.estate.aggregator);
    let ix = *case.estate.by_id.get(id).or(ours)?;
    Some(match case.estate.parts[ix].kind {
        Kind::Aggregator => (vec![case.estate.aggregator_host()], &[Mode::Cut]),
        Kind::Host => (vec![ix], &[Mode::Off, Mode::Cut, Mode::AgentDead]),
        kind if kind < Kind::PowerFeed => (vec![ix], &[Mode::Off, Mode::Cut]),
        _ => (vec![ix], &[Mode::Off, Mode::Impaired]),
    })
}

/// What was done to it in truth: all of the fault where it is the fault's cause, else what was done to these parts.
fn known(case: &Case, id: &str, parts: &[Ix], second: i64) -> Vec<Harm> {
    let mut known = Vec::new();
    for fault in case.faults().filter(|fault| fault.from() <= second) {
        if *fault.causes == [id.to_owned()] {
            known.extend_from_slice(&fault.harms);
            continue;
        }
        for harm in &fault.harms {
            let mut own = harm.clone();
            own.parts.retain(|part| parts.contains(part));
            if !own.parts.is_empty() {
                known.push(own);
            }
        }
    }
    known
}

/// When it may have begun: when it was hit in truth, or else when anything was.
fn onsets(case: &Case, parts: &[Ix], second: i64) -> Vec<i64> {
    let hit = parts.iter().filter_map(|ix| case.truth.went[*ix]).min();
    if let Some(hit) = hit.filter(|hit| *hit <= second) {
        return vec![hit];
    }
    let mut onsets: Vec<i64> = case.faults().map(Fault::from).collect();
    onsets.extend(case.truth.went.iter().flatten());
    onsets.retain(|onset| *onset <= second);
    onsets.sort_unstable();
    onsets.dedup();
    onsets.truncate(ONSETS_MAX);
    onsets
}
