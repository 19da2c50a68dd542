//! One case: an estate, what happens to it, and what the aggregator is told, as the engine's events.

use std::collections::BTreeMap;

use blackstart_graph::{Event, EventKind, Timestamp};

use super::build::{self, Size};
use super::estate::{Estate, Ix};
use super::fault::{self, Fault, Story, Word};
use super::fleet::{self, News};
use super::noise::{self, Cell, Flappers, Told};
use super::rng::{Rng, between, mix};
use super::twin::{Record, Twin};
use super::world::{Harm, Mode, ROUND_S, World, place};

/// The second 0 of every case: 2030-01-01T00:00:00Z.
const EPOCH_US: i64 = 1_893_456_000_000_000;
/// After the last fault has healed the case goes on for so long.
const RETURN_S: i64 = 300;

/// One case.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) estate: Estate,
    pub(super) story: Story,
    /// Agents that do not work, whatever else happens.
    pub(super) dead: Vec<Harm>,
    pub(super) flappers: Flappers,
    pub(super) told: Vec<Told>,
    pub(super) truth: Record,
    pub(super) quiet: Record,
    pub(super) end: i64,
}

/// When an answer is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Moment {
    After20,
    After60,
    Heal,
    End,
}

impl Moment {
    pub(super) const ALL: [Self; 4] = [Self::After20, Self::After60, Self::Heal, Self::End];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::After20 => "+20 s",
            Self::After60 => "+60 s",
            Self::Heal => "heal",
            Self::End => "end",
        }
    }
}

impl Case {
    /// The case of a seed.
    pub(super) fn new(size: Size, seed: u64, cell: &Cell) -> Self {
        let estate = build::estate(size, seed, cell.wishes());
        let mut rng = Rng::new(seed, 2);
        let own = cell.is_own_ground().then(|| estate.aggregator_host());
        let story = fault::story(&estate, &mut rng, own);
        let until = story.faults.iter().map(Fault::until).max().unwrap_or(0);
        let end = until + RETURN_S;
        let dead = dead(&estate, cell, until);
        let harms = all(&story, &dead);
        let mut record = Twin::recording();
        let world = fleet::run(World::new(&estate, harms), end, &mut record);
        let (went, back) = (world.went, world.back);
        let mut quiet = Twin::hashing();
        fleet::run(World::new(&estate, dead.clone()), end, &mut quiet);
        let flappers = noise::flappers(&estate, cell);
        let told = noise::tell(&estate, cell, &flappers, &record.news);
        Self {
            dead,
            flappers,
            told,
            truth: Record {
                hashes: record.hashes,
                went,
                back,
                away: record.away,
            },
            quiet: Record {
                hashes: quiet.hashes,
                ..Record::default()
            },
            end,
            story,
            estate,
        }
    }

    /// The faults that are to be found.
    pub(super) fn faults(&self) -> impl Iterator<Item = &Fault> {
        self.story
            .faults
            .iter()
            .filter(|fault| !fault.is_consequence)
    }

    /// What is so whichever the faults are: dead agents, and what the faults lead to by itself.
    pub(super) fn background(&self) -> Vec<Harm> {
        let led_to = self
            .story
            .faults
            .iter()
            .filter(|fault| fault.is_consequence);
        let led_to = led_to.flat_map(|fault| fault.harms.iter().cloned());
        self.dead.iter().cloned().chain(led_to).collect()
    }

    /// The second of a moment.
    pub(super) fn second(&self, moment: Moment) -> i64 {
        let last = self.faults().map(Fault::from).max().unwrap_or(0);
        let heal = self.faults().map(Fault::until).min().unwrap_or(0);
        match moment {
            Moment::After20 => last + 20,
            Moment::After60 => last + 60,
            Moment::Heal => heal - 1,
            Moment::End => self.end - 1,
        }
    }

    /// Whether the aggregator was there: one that is away is asked nothing.
    pub(super) fn is_heard(&self, second: i64) -> bool {
        !self.truth.away.get(place(second)).copied().unwrap_or(false)
    }

    /// The true causes of what had begun by then.
    pub(super) fn causes(&self, second: i64) -> Vec<String> {
        let begun = self.faults().filter(|fault| fault.from() <= second);
        let mut causes: Vec<String> = begun.flat_map(|fault| fault.causes.clone()).collect();
        causes.sort();
        causes.dedup();
        causes
    }

    /// Who is ill beside the faults of the case: to name them is no error, nor is not to name them.
    pub(super) fn optional(&self) -> Vec<&str> {
        let flappers = self.flappers.services.iter().chain(&self.flappers.agents);
        let background = self.background();
        let others = background
            .iter()
            .flat_map(|harm| harm.parts.iter().copied());
        flappers
            .copied()
            .chain(others)
            .map(|ix| self.estate.parts[ix].id.as_str())
            .collect()
    }

    /// Everything as the engine takes it, in order.
    pub(super) fn events(&self) -> impl Iterator<Item = Event> + '_ {
        let mut words = self.story.words.iter().peekable();
        let mut told = self.told.iter().peekable();
        let mut tick = 0;
        let mut words_in_order: Vec<&(i64, Word)> = Vec::new();
        words_in_order.extend(words.by_ref());
        words_in_order.sort_by_key(|(at, _)| *at);
        let mut words = words_in_order.into_iter().peekable();
        std::iter::from_fn(move || {
            let next = told.peek().map_or(self.end * 1_000, |told| told.at);
            if let Some((at, word)) = words.next_if(|(at, _)| at * 1_000 <= next) {
                return Some(self.said(*at, word));
            }
            if tick <= next && tick < self.end * 1_000 {
                tick += ROUND_S * 1_000;
                return Some(Event {
                    at: moment(tick - ROUND_S * 1_000),
                    kind: EventKind::Tick,
                });
            }
            told.next().map(|told| self.event(told))
        })
    }

    fn said(&self, at: i64, word: &Word) -> Event {
        let id = |ix: &Ix| self.estate.parts[*ix].id.clone();
        let kind = match word {
            Word::Action { id: name, affects } => EventKind::Action {
                by: "operator".into(),
                detail: String::new(),
                id: Some(name.clone()),
                affects: affects.iter().map(id).collect(),
            },
            Word::Provider { part, indicator } => EventKind::ProviderStatus {
                component: id(part),
                indicator: (*indicator).into(),
                detail: String::new(),
            },
        };
        Event {
            at: moment(at * 1_000),
            kind,
        }
    }

    fn event(&self, told: &Told) -> Event {
        let id = |ix: Ix| self.estate.parts[ix].id.clone();
        let kind = match told.news {
            News::Seen {
                watch,
                status,
                progress,
                ..
            } => {
                let watch = self.estate.watches[watch];
                let ttl_s = (watch.every > 1).then_some((watch.every * ROUND_S * 3) as f64);
                EventKind::Observation {
                    agent: id(watch.from),
                    component: (watch.target != watch.from).then(|| id(watch.target)),
                    check: watch.check.into(),
                    status,
                    progress,
                    detail: String::new(),
                    values: BTreeMap::new(),
                    sampled_at: (told.at - told.sampled > 1_000).then(|| moment(told.sampled)),
                    ttl_s,
                }
            }
            News::Connected {
                host,
                boot,
                uptime_s,
            } => EventKind::AgentConnected {
                agent: id(host),
                boot_id: format!(
                    "{:012x}",
                    mix(&[self.estate.seed, host as u64, u64::from(boot)]) >> 16
                ),
                uptime_s: uptime_s as f64,
                clean_shutdown: Some(boot == 0),
            },
            News::Lost { host } => EventKind::AgentLost { agent: id(host) },
            News::Restarted { watched_until } => EventKind::AggregatorRestarted {
                watched_until: moment(watched_until * 1_000),
            },
        };
        Event {
            at: moment(told.at),
            kind,
        }
    }
}

/// A moment of the case, given in milliseconds.
pub(super) fn moment(ms: i64) -> Timestamp {
    Timestamp::from_micros(EPOCH_US + ms * 1_000)
}

fn all(story: &Story, dead: &[Harm]) -> Vec<Harm> {
    let faults = story
        .faults
        .iter()
        .flat_map(|fault| fault.harms.iter().cloned());
    faults.chain(dead.iter().cloned()).collect()
}

fn dead(estate: &Estate, cell: &Cell, until: i64) -> Vec<Harm> {
    let mut rng = Rng::new(estate.seed, 3);
    let mut dead = Vec::new();
    for host in &estate.hosts {
        if rng.chance(cell.dead) && *host != estate.aggregator_host() {
            let never = rng.chance(0.5);
            let from = if never {
                0
            } else {
                between(15, until, &[estate.seed, 4, *host as u64])
            };
            dead.push(Harm {
                parts: vec![*host],
                mode: Mode::AgentDead,
                from,
                until: i64::MAX,
            });
        }
    }
    dead
}
