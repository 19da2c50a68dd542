//! What happens in a case: one fault, two that have nothing to do with each other, or one that leads to the next.

use blackstart_graph::{FaultKind, Kind};

use super::estate::{Estate, Ix};
use super::rng::Rng;
use super::sorts::{self, CABLE, Choice, SORTS};
use super::world::{Harm, Mode};

/// The first fault of a case comes at this second at the earliest.
const FIRST_S: i64 = 45;
/// Draws of a second fault that stands apart from the first; an estate with so few parts has none.
const DRAWS_MAX: usize = 50;

/// One fault and what is to be found of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fault {
    /// What it is called in a report.
    pub(super) sort: &'static str,
    /// The true causes: one, or several that failed as one.
    pub(super) causes: Vec<String>,
    pub(super) harms: Vec<Harm>,
    /// Which kinds a person who has seen the broken part would call right.
    pub(super) kinds: Vec<FaultKind>,
    /// A consequence of another fault: to name it is no error, nor is not to name it.
    pub(super) is_consequence: bool,
}

impl Fault {
    fn of(estate: &Estate, sort: &'static str, choice: &Choice, from: i64, until: i64) -> Self {
        Self {
            sort,
            causes: choice.causes.clone(),
            harms: choice.harms(estate, from, until),
            kinds: choice.kinds.to_vec(),
            is_consequence: false,
        }
    }

    pub(super) fn from(&self) -> i64 {
        self.harms.iter().map(|harm| harm.from).min().unwrap_or(0)
    }

    pub(super) fn until(&self) -> i64 {
        self.harms.iter().map(|harm| harm.until).max().unwrap_or(0)
    }
}

/// Something said at a moment: a change that was made, a provider's word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Word {
    Action { id: String, affects: Vec<Ix> },
    Provider { part: Ix, indicator: &'static str },
}

/// Everything that happens in a case.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Story {
    pub(super) faults: Vec<Fault>,
    pub(super) words: Vec<(i64, Word)>,
}

/// Draws what happens; `inside_of`: to the ground that this host stands on.
pub(super) fn story(estate: &Estate, rng: &mut Rng, inside_of: Option<Ix>) -> Story {
    let from = FIRST_S + rng.between(0, 9);
    let until = from + rng.between(150, 360);
    let mut story = Story::default();
    if let Some(host) = inside_of {
        surround(estate, rng, host, (from, until), &mut story);
        return story;
    }
    let draw = rng.share();
    if draw < 0.60 {
        one(estate, rng, (from, until), &mut story);
    } else if draw < 0.85 {
        two(estate, rng, (from, until), &mut story);
    } else {
        cascade(estate, rng, (from, until), &mut story);
    }
    if rng.chance(0.15) {
        // A change that did no harm.
        let affects: Vec<Ix> = (0..2).filter_map(|_| rng.pick(&estate.hosts)).collect();
        let id = "harmless".into();
        story
            .words
            .push((rng.between(5, 40), Word::Action { id, affects }));
    }
    story
}

/// One fault of any sort that the estate has the parts for.
fn one(estate: &Estate, rng: &mut Rng, span: (i64, i64), story: &mut Story) {
    for _ in 0..DRAWS_MAX {
        let sort = rng.pick(&SORTS).unwrap_or("pdu");
        if draw(estate, rng, sort, span, story) {
            return;
        }
    }
}

/// Two that have nothing to do with each other.
fn two(estate: &Estate, rng: &mut Rng, (from, until): (i64, i64), story: &mut Story) {
    one(estate, rng, (from, until), story);
    let later = from + rng.between(0, 90);
    for _ in 0..DRAWS_MAX {
        let healed = until + rng.between(-40, 40);
        let mut second = Story::default();
        one(estate, rng, (later, healed), &mut second);
        if is_apart(estate, &story.faults, &second.faults) {
            story.faults.append(&mut second.faults);
            story.words.append(&mut second.words);
            return;
        }
    }
}

/// Neither stands in the other.
fn is_apart(estate: &Estate, known: &[Fault], other: &[Fault]) -> bool {
    let parts = |faults: &[Fault]| -> Vec<Ix> {
        let harms = faults.iter().flat_map(|fault| &fault.harms);
        harms.flat_map(|harm| harm.parts.iter().copied()).collect()
    };
    let (known, other) = (parts(known), parts(other));
    let apart = |a: Ix, b: Ix| !estate.is_inside(a, b) && !estate.is_inside(b, a);
    known.iter().all(|a| other.iter().all(|b| apart(*a, *b)))
}

/// The ground that the aggregator itself stands on loses its way out.
fn surround(estate: &Estate, rng: &mut Rng, host: Ix, span: (i64, i64), story: &mut Story) {
    let outer = estate.chains[host]
        .iter()
        .flat_map(|ix| &estate.parts[*ix].via);
    let ways: Vec<_> = outer.filter(|group| !is_lease(estate, &group.of)).collect();
    let Some(group) = rng.pick(&ways) else {
        draw(estate, rng, "aggregator cut", span, story);
        return;
    };
    let lost = group.of.len() + 1 - group.at_least;
    push(estate, "way out", &group.of[..lost], span, CABLE, story);
}

fn is_lease(estate: &Estate, of: &[Ix]) -> bool {
    of.iter()
        .any(|ix| estate.parts[*ix].kind == Kind::DhcpLease)
}

/// One fault leads to another.
fn cascade(estate: &Estate, rng: &mut Rng, (from, until): (i64, i64), story: &mut Story) {
    let which = rng.share();
    if which < 0.5 {
        // One feed fails, and the other trips on its load.
        let Some(room) = rng.pick(&estate.of_kind(Kind::Room)) else {
            return;
        };
        let name = estate.parts[room].id.trim_start_matches("room-").to_owned();
        let sides = if rng.chance(0.5) {
            ["a", "b"]
        } else {
            ["b", "a"]
        };
        let feeds = sides.map(|side| estate.by_id.get(&format!("feed-{name}-{side}")).copied());
        let second = from + rng.between(2, 30);
        for (feed, from) in feeds.into_iter().flatten().zip([from, second]) {
            let kinds = &[FaultKind::Power, FaultKind::Overload];
            push(
                estate,
                "load transfer",
                &[feed],
                (from, until),
                kinds,
                story,
            );
        }
        return;
    }
    let supply = rng
        .pick(&["rack power", "pdu", "feed", "room power"])
        .unwrap_or("pdu");
    draw(estate, rng, supply, (from, until), story);
    if which < 0.8 {
        // Power, and a while later the way out of the same datacenter or another.
        let later = from + rng.between(60, 120);
        let healed = until + rng.between(-30, 60);
        draw(estate, rng, "bgp", (later, healed), story);
        return;
    }
    // Whoever comes back asks for everything at once.
    let crowded = ["registry-1", "mq-1", "etcd-1-1"].map(|id| estate.by_id.get(id).copied());
    let crowded: Vec<Ix> = crowded
        .into_iter()
        .flatten()
        .filter(|ix| !estate.parts[*ix].is_composite())
        .collect();
    if let Some(crowded) = rng.pick(&crowded) {
        let from = until + rng.between(60, 120);
        let until = from + rng.between(40, 100);
        push(
            estate,
            "herd",
            &[crowded],
            (from, until),
            &[FaultKind::Overload, FaultKind::Software],
            story,
        );
        for fault in story.faults.iter_mut().filter(|fault| fault.sort == "herd") {
            fault.is_consequence = true;
            for harm in &mut fault.harms {
                harm.mode = Mode::Impaired;
            }
        }
    }
}

/// Adds what fails together.
fn push(
    estate: &Estate,
    sort: &'static str,
    parts: &[Ix],
    (from, until): (i64, i64),
    kinds: &[FaultKind],
    story: &mut Story,
) {
    story.faults.push(Fault {
        sort,
        causes: parts
            .iter()
            .map(|ix| estate.parts[*ix].id.clone())
            .collect(),
        harms: vec![Harm {
            parts: parts.to_vec(),
            mode: Mode::Off,
            from,
            until,
        }],
        kinds: kinds.to_vec(),
        is_consequence: false,
    });
}

/// Adds a fault of the sort; false where the estate has no such part.
fn draw(
    estate: &Estate,
    rng: &mut Rng,
    sort: &'static str,
    (from, until): (i64, i64),
    story: &mut Story,
) -> bool {
    if sort == "action" {
        return action(estate, rng, (from, until), story);
    }
    let choices = sorts::choices(estate, sort);
    let mut left = rng.share();
    let chosen = choices.iter().find(|choice| {
        left -= choice.share;
        left < 0.0
    });
    let Some(chosen) = chosen.or(choices.last()) else {
        return false;
    };
    if sort == "provider"
        && let Some(part) = estate
            .by_id
            .get("provider")
            .copied()
            .filter(|_| rng.chance(0.6))
    {
        let indicator = rng.pick(&["minor", "major", "critical"]).unwrap_or("major");
        story.words.push((
            from + rng.between(60, 150),
            Word::Provider { part, indicator },
        ));
    }
    story
        .faults
        .push(Fault::of(estate, sort, chosen, from, until));
    true
}

/// A change that breaks what it touches.
fn action(estate: &Estate, rng: &mut Rng, (from, until): (i64, i64), story: &mut Story) -> bool {
    let kind = if rng.chance(0.5) {
        Kind::App
    } else {
        Kind::Database
    };
    let of_kind = estate.of_kind(kind);
    let count = rng.between(2, 6);
    let mut affects: Vec<Ix> = (0..count).filter_map(|_| rng.pick(&of_kind)).collect();
    affects.sort_unstable();
    affects.dedup();
    if affects.len() < 2 {
        return false;
    }
    let id = format!("change-{from}");
    let said = Word::Action {
        id: id.clone(),
        affects: affects.clone(),
    };
    story.words.push((from - rng.between(1, 20), said));
    let change = Choice {
        causes: vec![format!("action:{id}")],
        hits: vec![(affects, Mode::Off)],
        paced_s: 15,
        kinds: &[FaultKind::Configuration, FaultKind::Software],
        share: 1.0,
    };
    story
        .faults
        .push(Fault::of(estate, "action", &change, from, until));
    true
}
