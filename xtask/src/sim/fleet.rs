//! The agents of a world and what the aggregator hears of them, before any noise.

use blackstart_graph::Status;

use super::estate::{Estate, Ix};
use super::rng::{between, mix};
use super::world::{ROUND_S, World, place};

/// How many rounds an agent that is cut off keeps.
const KEPT_ROUNDS: i64 = 30;
/// An aggregator that was away gives up after this who does not return.
const AWAITED_S: i64 = 60;

/// What the aggregator hears.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum News {
    /// An answer; the place of the watch, and when it was sampled, in seconds.
    Seen {
        watch: usize,
        status: Status,
        progress: Option<f32>,
        sampled: i64,
    },
    Connected {
        host: Ix,
        boot: u32,
        uptime_s: i64,
    },
    Lost {
        host: Ix,
    },
    /// The aggregator was away since then.
    Restarted {
        watched_until: i64,
    },
}

#[derive(Debug, Clone, Default)]
struct Stream {
    open: bool,
    /// When it will be noticed that it is gone.
    lost_at: Option<i64>,
    /// When the agent is connected again.
    back_at: Option<i64>,
    kept: Vec<News>,
}

/// Who is told the news of a world.
pub(super) trait Listener {
    /// At this second.
    fn tell(&mut self, now: i64, news: News);

    /// A second has passed, with an aggregator or without; false when nobody needs to know how it goes on.
    fn goes_on(&mut self, _now: i64, _is_away: bool) -> bool {
        true
    }
}

/// Lets a world go on for so many seconds, and tells the news in order.
pub(super) fn run<'a>(mut world: World<'a>, end: i64, listener: &mut impl Listener) -> World<'a> {
    let estate = world.estate;
    let mut streams = vec![Stream::default(); estate.parts.len()];
    let mut away_since: Option<i64> = None;
    let mut rounds: Vec<Vec<usize>> = vec![Vec::new(); place(ROUND_S)];
    for (at, watch) in estate.watches.iter().enumerate() {
        rounds[place(watch.second)].push(at);
    }
    for now in 0..end {
        world.step(now);
        if !world.is_on(estate.aggregator) {
            away_since.get_or_insert(now);
            for watch in due(estate, &rounds, now) {
                keep(&world, &mut streams[estate.watches[watch].from], watch, now);
            }
            if !listener.goes_on(now, true) {
                break;
            }
            continue;
        }
        if let Some(since) = away_since.take() {
            listener.tell(
                now,
                News::Restarted {
                    watched_until: since,
                },
            );
            for host in &estate.hosts {
                let stream = &mut streams[*host];
                stream.lost_at = stream.open.then_some(now + AWAITED_S);
                stream.open = false;
                stream.back_at = None;
            }
        }
        for host in &estate.hosts {
            stream(&world, &mut streams[*host], *host, now, listener);
        }
        for watch in due(estate, &rounds, now) {
            let from = estate.watches[watch].from;
            if streams[from].open && streams[from].lost_at.is_none() {
                if let Some(seen) = seen(&world, watch, now) {
                    listener.tell(now, seen);
                }
            } else {
                keep(&world, &mut streams[from], watch, now);
            }
        }
        if !listener.goes_on(now, false) {
            break;
        }
    }
    world
}

/// The watches whose turn it is.
fn due(estate: &Estate, rounds: &[Vec<usize>], now: i64) -> Vec<usize> {
    let round = now / ROUND_S;
    let mut due = rounds[place(now % ROUND_S)].clone();
    due.retain(|at| (round + *at as i64) % estate.watches[*at].every == 0);
    due
}

fn seen(world: &World<'_>, watch: usize, now: i64) -> Option<News> {
    let (status, progress) = world.look(&world.estate.watches[watch])?;
    Some(News::Seen {
        watch,
        status,
        progress,
        sampled: now,
    })
}

/// What cannot be sent waits on the agent's disk.
fn keep(world: &World<'_>, stream: &mut Stream, watch: usize, now: i64) {
    stream.kept.extend(seen(world, watch, now));
    if stream.kept.len() > 512 {
        stream.kept.retain(|news| match news {
            News::Seen { sampled, .. } => now - sampled < KEPT_ROUNDS * ROUND_S,
            _ => true,
        });
    }
}

fn stream(
    world: &World<'_>,
    stream: &mut Stream,
    host: Ix,
    now: i64,
    listener: &mut impl Listener,
) {
    let own = |purpose: u64| mix(&[world.estate.seed, purpose, host as u64]);
    let reaches = world.has_agent(host) && world.has_path(host, world.estate.aggregator_host());
    if stream.open {
        match (reaches, stream.lost_at) {
            (true, Some(_)) => {
                // It came back before anybody noticed: what waited is delivered.
                stream.lost_at = None;
                deliver(stream, now, listener);
            }
            // A dead path shows by a timeout.
            (false, None) => stream.lost_at = Some(now + between(5, 11, &[own(21)])),
            (false, Some(at)) if now >= at => {
                stream.open = false;
                stream.lost_at = None;
                listener.tell(now, News::Lost { host });
            }
            _ => {}
        }
        // A host that booted is another stream, however soon it is back.
        return;
    }
    if stream.lost_at.is_some_and(|at| now >= at) {
        stream.lost_at = None;
        listener.tell(now, News::Lost { host });
    }
    if !reaches {
        stream.back_at = None;
        return;
    }
    let back_at = *stream.back_at.get_or_insert_with(|| {
        now + if now == 0 {
            0
        } else {
            between(1, 10, &[own(22), now as u64 / 3_600])
        }
    });
    if now >= back_at {
        let (boot, uptime_s) = world.boot(host);
        stream.open = true;
        stream.lost_at = None;
        stream.back_at = None;
        listener.tell(
            now,
            News::Connected {
                host,
                boot,
                uptime_s,
            },
        );
        deliver(stream, now, listener);
    }
}

fn deliver(stream: &mut Stream, now: i64, listener: &mut impl Listener) {
    for news in stream.kept.drain(..) {
        listener.tell(now, news);
    }
}
