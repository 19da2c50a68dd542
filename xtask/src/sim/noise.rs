//! What lies between a world and what the aggregator is told of it: loss, delay, lies, flapping, clocks.

use std::collections::{BTreeMap, BTreeSet};

use blackstart_graph::Status;

use super::build::Wishes;
use super::estate::{Estate, Ix};
use super::fleet::News;
use super::rng::{Rng, between, mix, share};
use super::world::ROUND_S;

/// One cell of the grid.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cell {
    pub(crate) name: &'static str,
    /// The share of answers that never arrive.
    pub(crate) lost: f64,
    /// Answers of every third agent arrive up to so many seconds late.
    pub(crate) delay_s: i64,
    /// The share of answers that say the contrary.
    pub(crate) wrong: f64,
    /// The share of services and of agents' streams that come and go by themselves.
    pub(crate) flapping: f64,
    /// The share of agents that do not work: one half never did, the other stops at some moment.
    pub(crate) dead: f64,
    /// How far every other agent's clock is off.
    pub(crate) skew_s: i64,
    pub(crate) drifted: bool,
    pub(crate) aggregator_inside: Option<bool>,
    pub(crate) no_out_of_band: bool,
}

const CLEAN: Cell = Cell {
    name: "clean",
    lost: 0.0,
    delay_s: 0,
    wrong: 0.0,
    flapping: 0.0,
    dead: 0.0,
    skew_s: 0,
    drifted: false,
    aggregator_inside: None,
    no_out_of_band: false,
};

/// The grid: one trouble at a time, then several.
pub(crate) const CELLS: [Cell; 17] = [
    CLEAN,
    Cell {
        name: "loss-2",
        lost: 0.02,
        ..CLEAN
    },
    Cell {
        name: "loss-20",
        lost: 0.20,
        ..CLEAN
    },
    Cell {
        name: "delayed-5",
        delay_s: 5,
        ..CLEAN
    },
    Cell {
        name: "delayed-60",
        delay_s: 60,
        ..CLEAN
    },
    Cell {
        name: "wrong-1",
        wrong: 0.01,
        ..CLEAN
    },
    Cell {
        name: "wrong-5",
        wrong: 0.05,
        ..CLEAN
    },
    Cell {
        name: "flapping-1",
        flapping: 0.01,
        ..CLEAN
    },
    Cell {
        name: "flapping-5",
        flapping: 0.05,
        ..CLEAN
    },
    Cell {
        name: "dead-agents-1",
        dead: 0.01,
        ..CLEAN
    },
    Cell {
        name: "dead-agents-10",
        dead: 0.10,
        ..CLEAN
    },
    Cell {
        name: "skew-2s",
        skew_s: 2,
        ..CLEAN
    },
    Cell {
        name: "skew-5m",
        skew_s: 300,
        delay_s: 5,
        ..CLEAN
    },
    Cell {
        name: "stale-edges",
        drifted: true,
        ..CLEAN
    },
    Cell {
        name: "own-ground",
        aggregator_inside: Some(true),
        ..CLEAN
    },
    Cell {
        name: "no-out-of-band",
        no_out_of_band: true,
        ..CLEAN
    },
    Cell {
        name: "everything",
        lost: 0.20,
        delay_s: 5,
        wrong: 0.01,
        flapping: 0.01,
        dead: 0.01,
        skew_s: 2,
        drifted: true,
        aggregator_inside: None,
        no_out_of_band: false,
    },
];

impl Cell {
    pub(crate) fn wishes(&self) -> Wishes {
        Wishes {
            drifted: self.drifted,
            aggregator_inside: self.aggregator_inside,
            no_out_of_band: self.no_out_of_band,
        }
    }

    /// The aggregator stands in what fails.
    pub(crate) fn is_own_ground(&self) -> bool {
        self.aggregator_inside == Some(true)
    }
}

/// What the aggregator is told, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Told {
    pub(super) at: i64,
    pub(super) news: News,
    /// When it was sampled, as the aggregator dates it; for answers.
    pub(super) sampled: i64,
}

/// Who comes and goes by itself.
#[derive(Debug, Clone, Default)]
pub(super) struct Flappers {
    pub(super) services: BTreeSet<Ix>,
    pub(super) agents: BTreeSet<Ix>,
}

/// Draws who flaps.
pub(super) fn flappers(estate: &Estate, cell: &Cell) -> Flappers {
    let mut rng = Rng::new(estate.seed, 31);
    let drawn = |rng: &mut Rng, of: Vec<Ix>| -> BTreeSet<Ix> {
        of.into_iter()
            .filter(|_| rng.chance(cell.flapping))
            .collect()
    };
    let parts = 0..estate.parts.len();
    let services = parts.filter(|ix| estate.parts[*ix].is_service() && *ix != estate.aggregator);
    let services = drawn(&mut rng, services.collect());
    let hosts = estate.hosts.iter().copied();
    let agents = drawn(
        &mut rng,
        hosts
            .filter(|host| *host != estate.aggregator_host())
            .collect(),
    );
    Flappers { services, agents }
}

/// Puts the noise of a cell on what happened; in the order of arrival.
pub(super) fn tell(
    estate: &Estate,
    cell: &Cell,
    flappers: &Flappers,
    news: &[(i64, News)],
) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::with_capacity(news.len());
    let mut lost: BTreeMap<Ix, Vec<i64>> = BTreeMap::new();
    // How many late answers an agent has delivered in this second.
    let mut burst: BTreeMap<Ix, (i64, i64)> = BTreeMap::new();
    for (now, news) in news {
        match *news {
            News::Seen { watch, sampled, .. } => {
                let turn = burst.entry(estate.watches[watch].from).or_default();
                *turn = if turn.0 == *now {
                    (*now, turn.1 + i64::from(sampled < *now))
                } else {
                    (*now, 0)
                };
                told.extend(answer(estate, cell, flappers, *now, *news, turn.1));
            }
            News::Lost { host } => {
                lost.entry(host).or_default().push(now * 1_000 + 900);
                told.push(Told {
                    at: now * 1_000 + 900,
                    news: *news,
                    sampled: 0,
                });
            }
            News::Connected { .. } | News::Restarted { .. } => {
                told.push(Told {
                    at: now * 1_000,
                    news: *news,
                    sampled: 0,
                });
            }
        }
    }
    flap_streams(estate, flappers, news, &mut lost, &mut told);
    // What was still on its way when the stream went is not acknowledged; it is as good as lost.
    told.retain(|told| match told.news {
        News::Seen { watch, .. } => lost.get(&estate.watches[watch].from).is_none_or(|ends| {
            !ends.iter().any(|end| {
                told.sampled < *end && *end <= told.at && told.at - told.sampled < 90_000
            })
        }),
        _ => true,
    });
    told.sort_by_key(|told| told.at);
    if cell.skew_s > 0 {
        date(estate, cell, &mut told);
    }
    told
}

fn answer(
    estate: &Estate,
    cell: &Cell,
    flappers: &Flappers,
    now: i64,
    news: News,
    turn: i64,
) -> Option<Told> {
    let News::Seen {
        watch,
        mut status,
        mut progress,
        sampled,
    } = news
    else {
        return None;
    };
    let own = |purpose: u64| mix(&[estate.seed, purpose, watch as u64, sampled as u64]);
    let agent = estate.watches[watch].from as u64;
    if share(&[own(41)]) < cell.lost {
        return None;
    }
    if flappers.services.contains(&estate.watches[watch].target)
        && share(&[
            estate.seed,
            42,
            estate.watches[watch].target as u64,
            (sampled / (2 * ROUND_S)) as u64,
        ]) < 0.4
    {
        (status, progress) = (Status::Failed, None);
    }
    if share(&[own(43)]) < cell.wrong {
        status = if status == Status::Ok {
            Status::Failed
        } else {
            Status::Ok
        };
        progress = None;
    }
    let late = cell.delay_s > 0 && share(&[estate.seed, 44, agent]) < 0.34;
    let delay = if late {
        between(0, cell.delay_s * 1_000, &[own(45)])
    } else {
        0
    };
    let (jitter, network) = (between(0, 700, &[own(46)]), between(10, 150, &[own(47)]));
    // What waited on a disk comes in one go, a millisecond apart.
    let arrives = if now > sampled {
        now * 1_000 + 10 + turn
    } else {
        now * 1_000 + jitter + network
    };
    Some(Told {
        at: arrives + delay,
        news: News::Seen {
            watch,
            status,
            progress,
            sampled,
        },
        sampled: sampled * 1_000 + jitter,
    })
}

/// A stream that flaps is gone for some seconds now and then, with the same boot.
fn flap_streams(
    estate: &Estate,
    flappers: &Flappers,
    news: &[(i64, News)],
    lost: &mut BTreeMap<Ix, Vec<i64>>,
    told: &mut Vec<Told>,
) {
    let mut gaps: BTreeMap<Ix, Vec<(i64, i64, u32)>> = BTreeMap::new();
    let end = news.last().map_or(0, |(now, _)| *now);
    for host in &flappers.agents {
        let spans = spans(*host, news);
        for turn in 0..end / 60 {
            let own = mix(&[estate.seed, 48, *host as u64, turn.unsigned_abs()]);
            let gone = turn * 60 + between(0, 40, &[own]);
            let back = gone + between(6, 18, &[own, 1]);
            let open = spans
                .iter()
                .find(|(from, until, _)| *from < gone && back < *until - 12);
            if let Some((_, _, boot)) = open {
                gaps.entry(*host)
                    .or_default()
                    .push((gone * 1_000, back * 1_000, *boot));
            }
        }
    }
    told.retain(|told| match told.news {
        News::Seen { watch, .. } => gaps.get(&estate.watches[watch].from).is_none_or(|gaps| {
            !gaps
                .iter()
                .any(|(gone, back, _)| (*gone..*back).contains(&told.at))
        }),
        _ => true,
    });
    for (host, gaps) in gaps {
        for (gone, back, boot) in gaps {
            lost.entry(host).or_default().push(gone);
            let uptime_s = 864_000 + back / 1_000;
            let returns = News::Connected {
                host,
                boot,
                uptime_s,
            };
            told.push(Told {
                at: gone,
                news: News::Lost { host },
                sampled: 0,
            });
            told.push(Told {
                at: back,
                news: returns,
                sampled: 0,
            });
        }
    }
}

/// From when until when a host's stream was open, with the boot.
fn spans(host: Ix, news: &[(i64, News)]) -> Vec<(i64, i64, u32)> {
    let mut spans: Vec<(i64, i64, u32)> = Vec::new();
    for (now, news) in news {
        match news {
            News::Connected {
                host: who, boot, ..
            } if *who == host => spans.push((*now, i64::MAX / 2, *boot)),
            News::Lost { host: who } if *who == host => {
                if let Some(last) = spans.last_mut() {
                    last.1 = *now;
                }
            }
            News::Restarted { watched_until } => {
                if let Some(last) = spans.last_mut() {
                    last.1 = last.1.min(*watched_until);
                }
            }
            _ => {}
        }
    }
    spans
}

/// Agents stamp with their own clock; the aggregator dates by the smallest offset that it has seen on the stream.
fn date(estate: &Estate, cell: &Cell, told: &mut [Told]) {
    let mut smallest: BTreeMap<Ix, i64> = BTreeMap::new();
    for told in told {
        match told.news {
            News::Connected { host, .. } => {
                smallest.remove(&host);
            }
            News::Seen { watch, .. } => {
                let host = estate.watches[watch].from;
                let off = share(&[estate.seed, 51, host as u64]) < 0.5;
                let sign = if share(&[estate.seed, 52, host as u64]) < 0.5 {
                    -1
                } else {
                    1
                };
                let stamp = told.sampled + if off { sign * cell.skew_s * 1_000 } else { 0 };
                let offset = smallest.entry(host).or_insert(told.at - stamp);
                *offset = (*offset).min(told.at - stamp);
                told.sampled = stamp + *offset;
            }
            News::Lost { .. } | News::Restarted { .. } => {}
        }
    }
}
