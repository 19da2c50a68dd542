//! Whether anybody could have told: the same estate with other faults, seen by the same agents.
//!
//! **The rule.** An answer is in the class of the truth at a moment when a world in which exactly the answer's causes are broken would, up to that
//! moment and without any noise, have told the aggregator the very same: every answer of every probe, every stream that went, every boot. For each cause
//! all that it can suffer is tried (off, cut off, only its agent dead, impaired), from the moment at which it was hit in truth, or else from that
//! of the first harm that shows; with and without batteries, whose charge nobody knows.

use super::case::Case;
use super::estate::Ix;
use super::fault::Word;
use super::fleet::{self, Listener, News};
use super::rng::mix;
use super::world::{Harm, Mode, World};
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
                self.differs = like.get(now as usize) != Some(&self.hash);
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

/// Whether these causes alone would have looked as it looked.
pub(super) fn looks_alike(case: &Case, answer: &[String], second: i64) -> bool {
    let choices: Option<Vec<Vec<Harm>>> =
        answer.iter().map(|id| choices(case, id, second)).collect();
    let Some(choices) = choices else {
        return false;
    };
    if choices.iter().any(Vec::is_empty) {
        return false;
    }
    let combinations: usize = choices.iter().map(Vec::len).product();
    (0..combinations.min(WORLDS_MAX)).any(|number| {
        let mut rest = number;
        let mut harms: Vec<Harm> = case.dead.clone();
        for of in &choices {
            harms.push(of[rest % of.len()].clone());
            rest /= of.len();
        }
        [false, true].into_iter().any(|no_grace| {
            let mut world = World::new(&case.estate, harms.clone());
            world.no_grace = no_grace;
            let mut twin = Twin::comparing(&case.truth.hashes);
            fleet::run(world, second + 1, &mut twin);
            !twin.differs
        })
    })
}

/// Whether nothing was to be seen by then.
pub(super) fn is_unseen(case: &Case, second: i64) -> bool {
    let at = second as usize;
    case.truth.hashes.get(at) == case.quiet.hashes.get(at)
}

/// All that a cause may have suffered; `None` for what is no cause here.
fn choices(case: &Case, id: &str, second: i64) -> Option<Vec<Harm>> {
    let known = |parts: &[Ix]| -> Vec<Harm> {
        let harms = case.story.faults.iter().flat_map(|fault| &fault.harms);
        harms
            .filter(|harm| {
                harm.from <= second && parts.iter().any(|part| harm.parts.contains(part))
            })
            .map(|harm| Harm {
                parts: parts.to_vec(),
                ..harm.clone()
            })
            .collect()
    };
    let (parts, modes): (Vec<Ix>, &[Mode]) = if let Some(label) = id.strip_prefix("label:") {
        let (key, value) = label.split_once('=')?;
        let mut parts = case.estate.labelled(key, value);
        parts.retain(|ix| *ix != case.estate.aggregator_host());
        (parts, &[Mode::Off, Mode::AgentDead])
    } else if let Some(action) = id.strip_prefix("action:") {
        let words = case.story.words.iter();
        let affects = words.filter_map(|(_, word)| match word {
            Word::Action { id, affects } if id == action => Some(affects.clone()),
            _ => None,
        });
        (affects.last()?, &[Mode::Off, Mode::Impaired])
    } else {
        let ix = *case
            .estate
            .by_id
            .get(id)
            .or((id == "aggregator").then_some(&case.estate.aggregator))?;
        match case.estate.parts[ix].kind {
            Kind::Aggregator => (vec![case.estate.aggregator_host()], &[Mode::Cut]),
            Kind::Host => (vec![ix], &[Mode::Off, Mode::Cut, Mode::AgentDead]),
            kind if kind < Kind::PowerFeed => (vec![ix], &[Mode::Off, Mode::Cut]),
            _ => (vec![ix], &[Mode::Off, Mode::Impaired]),
        }
    };
    let known = known(&parts);
    if !known.is_empty() {
        return Some(known);
    }
    let hit = parts.iter().filter_map(|ix| case.truth.went[*ix]).min();
    let faults = case.story.faults.iter();
    let mut onsets: Vec<i64> = hit.into_iter().collect();
    if onsets.is_empty() {
        onsets.extend(faults.clone().map(super::fault::Fault::from));
        onsets.extend(case.truth.went.iter().flatten());
        onsets.retain(|onset| *onset <= second);
    }
    onsets.sort_unstable();
    onsets.dedup();
    onsets.truncate(ONSETS_MAX);
    let back = parts.iter().filter_map(|ix| case.truth.back[*ix]).max();
    let healed = faults.map(super::fault::Fault::until).max()?;
    let start_s = parts
        .iter()
        .map(|ix| case.estate.parts[*ix].start_s)
        .max()?;
    let of_mode = |mode: Mode| {
        let until = match (back, mode) {
            // It was back when it had started.
            (Some(back), Mode::Off) => back - start_s,
            (Some(back), _) => back,
            (None, _) => healed,
        };
        let parts = &parts;
        onsets.iter().map(move |from| Harm {
            parts: parts.clone(),
            mode,
            from: *from,
            until,
        })
    };
    Some(modes.iter().flat_map(|mode| of_mode(*mode)).collect())
}
