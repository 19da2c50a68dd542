//! What breaks: every sort of fault, drawn for an estate, with its true name and kind.

use blackstart_graph::{FaultKind, Kind};

use super::estate::{Estate, Ix};
use super::rng::Rng;
use super::world::{Harm, Mode};

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
}

impl Fault {
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
#[derive(Debug, Clone, Default)]
pub(super) struct Story {
    pub(super) faults: Vec<Fault>,
    pub(super) words: Vec<(i64, Word)>,
}

/// Sorts of fault, each as likely as any other.
pub(super) const SORTS: [&str; 28] = [
    "feed",
    "ups",
    "pdu",
    "room power",
    "rack power",
    "cooling",
    "tor",
    "spine",
    "uplinks",
    "bgp",
    "router",
    "dns",
    "dhcp",
    "etcd member",
    "etcd quorum",
    "broker",
    "database",
    "volume",
    "app",
    "host hardware",
    "host hang",
    "host network",
    "agent dead",
    "agent release",
    "provider",
    "aggregator cut",
    "bad update",
    "action",
];

/// The first fault of a case comes at this second at the earliest.
const FIRST_S: i64 = 45;

/// Draws what happens.
pub(super) fn story(estate: &Estate, rng: &mut Rng, inside_of: Option<Ix>) -> Story {
    let from = FIRST_S + rng.between(0, 9);
    let until = from + rng.between(150, 360);
    let mut story = Story::default();
    if let Some(host) = inside_of {
        surround(estate, rng, host, from, until, &mut story);
        return story;
    }
    let draw = rng.share();
    if draw < 0.60 {
        one(estate, rng, from, until, &mut story);
    } else if draw < 0.85 {
        one(estate, rng, from, until, &mut story);
        let later = from + rng.between(0, 90);
        for _ in 0..20 {
            let mut second = Story::default();
            let healed = until + rng.between(-40, 40);
            one(estate, rng, later, healed, &mut second);
            if is_apart(estate, &story.faults, &second.faults) {
                story.faults.append(&mut second.faults);
                story.words.append(&mut second.words);
                break;
            }
        }
    } else {
        cascade(estate, rng, from, until, &mut story);
    }
    if rng.chance(0.15) {
        // A change that did no harm.
        let hosts = &estate.hosts;
        let affects: Vec<Ix> = (0..2).filter_map(|_| rng.pick(hosts)).collect();
        story.words.push((
            rng.between(5, 40),
            Word::Action {
                id: "harmless".into(),
                affects,
            },
        ));
    }
    story
}

/// Neither stands in the other.
fn is_apart(estate: &Estate, known: &[Fault], other: &[Fault]) -> bool {
    let parts = |faults: &[Fault]| -> Vec<Ix> {
        let harms = faults.iter().flat_map(|fault| &fault.harms);
        harms.flat_map(|harm| harm.parts.iter().copied()).collect()
    };
    let (known, other) = (parts(known), parts(other));
    known.iter().all(|a| {
        other
            .iter()
            .all(|b| !estate.is_inside(*a, *b) && !estate.is_inside(*b, *a))
    })
}

/// One fault of any sort that the estate has the parts for.
fn one(estate: &Estate, rng: &mut Rng, from: i64, until: i64, story: &mut Story) {
    for _ in 0..50 {
        let Some(sort) = rng.pick(&SORTS) else { return };
        if draw(estate, rng, sort, from, until, story) {
            return;
        }
    }
}

/// The ground that the aggregator itself stands on loses its way out.
fn surround(estate: &Estate, rng: &mut Rng, host: Ix, from: i64, until: i64, story: &mut Story) {
    let outer: Vec<Ix> = estate.chains[host]
        .iter()
        .copied()
        .filter(|ix| !estate.parts[*ix].via.is_empty())
        .collect();
    let Some(outer) = rng.pick(&outer) else {
        draw(estate, rng, "aggregator cut", from, until, story);
        return;
    };
    let Some(group) = rng.pick(&estate.parts[outer].via.iter().collect::<Vec<_>>()) else {
        return;
    };
    let lost = group.of.len() + 1 - group.at_least;
    let parts: Vec<Ix> = group.of[..lost].to_vec();
    story.faults.push(fault(
        estate,
        "way out",
        &parts,
        Mode::Off,
        from,
        until,
        &[
            FaultKind::Network,
            FaultKind::Hardware,
            FaultKind::Configuration,
        ],
    ));
}

fn cascade(estate: &Estate, rng: &mut Rng, from: i64, until: i64, story: &mut Story) {
    if rng.chance(0.6) {
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
            story.faults.push(fault(
                estate,
                "load transfer",
                &[feed],
                Mode::Off,
                from,
                until,
                &[FaultKind::Power, FaultKind::Overload],
            ));
        }
        return;
    }
    // Power, and a while later the way out of the same datacenter or another.
    let sort = rng.pick(&["rack power", "pdu", "feed"]).unwrap_or("pdu");
    draw(estate, rng, sort, from, until, story);
    let later = from + rng.between(60, 120);
    let healed = until + rng.between(-30, 60);
    draw(estate, rng, "bgp", later, healed, story);
}

fn fault(
    estate: &Estate,
    sort: &'static str,
    parts: &[Ix],
    mode: Mode,
    from: i64,
    until: i64,
    kinds: &[FaultKind],
) -> Fault {
    Fault {
        sort,
        causes: parts
            .iter()
            .map(|ix| estate.parts[*ix].id.clone())
            .collect(),
        harms: vec![Harm {
            parts: parts.to_vec(),
            mode,
            from,
            until,
        }],
        kinds: kinds.to_vec(),
    }
}

/// Adds a fault of the sort; false where the estate has no such part.
fn draw(
    estate: &Estate,
    rng: &mut Rng,
    sort: &'static str,
    from: i64,
    until: i64,
    story: &mut Story,
) -> bool {
    use FaultKind::{
        Agent, Configuration, Cooling, Hardware, Network, Other, Overload, Power, Software,
    };
    let inner: Vec<Ix> = estate
        .hosts
        .iter()
        .copied()
        .filter(|host| {
            estate.parts[*host].id.starts_with("host-") && *host != estate.aggregator_host()
        })
        .collect();
    let of_kind = |kind: Kind| -> Vec<Ix> {
        let parts = estate.of_kind(kind).into_iter();
        parts
            .filter(|ix| !estate.parts[*ix].is_composite())
            .collect()
    };
    let named = |prefix: &str| -> Vec<Ix> {
        (estate.by_id.range(prefix.to_owned()..))
            .take_while(|(id, _)| id.starts_with(prefix))
            .map(|(_, ix)| *ix)
            .collect()
    };
    let supply: &[FaultKind] = &[Power];
    let cable: &[FaultKind] = &[Network, Hardware, Configuration];
    let program: &[FaultKind] = &[Software, Configuration, Overload];
    let (parts, mode, kinds): (Vec<Ix>, Mode, &[FaultKind]) = match sort {
        "feed" => (pick(rng, &of_kind(Kind::PowerFeed)), Mode::Off, supply),
        "ups" => (pick(rng, &of_kind(Kind::Ups)), Mode::Off, supply),
        "pdu" => (pick(rng, &of_kind(Kind::Pdu)), Mode::Off, supply),
        "room power" => (pick(rng, &of_kind(Kind::Room)), Mode::Off, supply),
        "rack power" => (pick(rng, &of_kind(Kind::Rack)), Mode::Off, supply),
        "cooling" => (pick(rng, &of_kind(Kind::Cooling)), Mode::Off, &[Cooling]),
        "tor" => (pick(rng, &named("tor-")), Mode::Off, cable),
        "spine" => (pick(rng, &named("spine-")), Mode::Off, cable),
        "uplinks" => {
            let dc = rng.pick(&of_kind(Kind::Datacenter));
            let both = dc.map(|dc| estate.parts[dc].via[1].of.clone());
            (both.unwrap_or_default(), Mode::Off, cable)
        }
        "bgp" => (pick(rng, &of_kind(Kind::BgpSession)), Mode::Off, cable),
        "router" => (pick(rng, &of_kind(Kind::Router)), Mode::Off, cable),
        "dns" if rng.chance(0.5) => (pick(rng, &of_kind(Kind::Dns)), Mode::Off, program),
        "dns" => {
            let number = estate.of_kind(Kind::Datacenter).len();
            let dc = rng.between(1, number as i64);
            (named(&format!("dns-{dc}-")), Mode::Off, program)
        }
        "dhcp" => (pick(rng, &of_kind(Kind::DhcpServer)), Mode::Off, program),
        "etcd member" => (pick(rng, &of_kind(Kind::EtcdMember)), Mode::Off, program),
        "etcd quorum" => {
            let cluster = rng.pick(&estate.of_kind(Kind::EtcdCluster));
            let members = cluster.map(|cluster| estate.parts[cluster].edges[0].group.of.clone());
            let members = members.unwrap_or_default();
            let lost = members.len() / 2 + 1;
            (members.into_iter().take(lost).collect(), Mode::Off, program)
        }
        "broker" => {
            let single: Vec<Ix> = of_kind(Kind::Queue);
            (pick(rng, &single), Mode::Off, program)
        }
        "database" => {
            let mode = if rng.chance(0.3) {
                Mode::Impaired
            } else {
                Mode::Off
            };
            (pick(rng, &of_kind(Kind::Database)), mode, program)
        }
        "volume" => (pick(rng, &of_kind(Kind::Volume)), Mode::Off, &[Hardware]),
        "app" => (pick(rng, &of_kind(Kind::App)), Mode::Off, program),
        "host hardware" => (pick(rng, &inner), Mode::Off, &[Hardware]),
        "host hang" => (
            pick(rng, &inner),
            Mode::Off,
            &[Software, Hardware, Overload],
        ),
        "host network" => (pick(rng, &inner), Mode::Cut, &[Network, Hardware]),
        "agent dead" => (pick(rng, &inner), Mode::AgentDead, &[Agent]),
        "provider" => {
            let mode = if rng.chance(0.3) {
                Mode::Off
            } else {
                Mode::Cut
            };
            let kinds: &[FaultKind] = if mode == Mode::Off {
                &[Power, Other]
            } else {
                &[Network, Other]
            };
            let part = estate.by_id.get("provider").copied();
            let indicator = rng.pick(&["minor", "major", "critical"]).unwrap_or("major");
            if let Some(part) = part.filter(|_| rng.chance(0.6)) {
                story.words.push((
                    from + rng.between(60, 150),
                    Word::Provider { part, indicator },
                ));
            }
            (part.into_iter().collect(), mode, kinds)
        }
        "aggregator cut" => {
            let host = estate.aggregator_host();
            let mut fault = fault(
                estate,
                sort,
                &[host],
                Mode::Cut,
                from,
                until,
                &[Network, Hardware],
            );
            fault.causes = vec![estate.parts[estate.aggregator].id.clone()];
            story.faults.push(fault);
            return true;
        }
        "agent release" | "bad update" | "action" => {
            return many(estate, rng, sort, &inner, from, until, story);
        }
        _ => return false,
    };
    if parts.is_empty() {
        return false;
    }
    story
        .faults
        .push(fault(estate, sort, &parts, mode, from, until, kinds));
    true
}

fn pick(rng: &mut Rng, of: &[Ix]) -> Vec<Ix> {
    rng.pick(of).into_iter().collect()
}

/// What many share beside containers and needs: a release, an update, a change.
fn many(
    estate: &Estate,
    rng: &mut Rng,
    sort: &'static str,
    inner: &[Ix],
    from: i64,
    until: i64,
    story: &mut Story,
) -> bool {
    use FaultKind::{Agent, Configuration, Software};
    let Some(model) = rng.pick(inner) else {
        return false;
    };
    let label = |key: &'static str, ix: Ix| {
        estate.parts[ix]
            .labels
            .get(key)
            .map(|value| (key, value.clone()))
    };
    let (label, mode, kinds) = match sort {
        "agent release" => (
            label("agent", model),
            Mode::AgentDead,
            [Agent, Software, Configuration],
        ),
        "bad update" if rng.chance(0.5) => (
            label("os", model),
            Mode::Off,
            [Software, Configuration, Configuration],
        ),
        "bad update" => {
            let apps = estate.of_kind(Kind::App);
            let app = rng.pick(&apps);
            (
                app.and_then(|app| label("release", app)),
                Mode::Off,
                [Software, Configuration, Configuration],
            )
        }
        _ => {
            let from_kind = estate.of_kind(if rng.chance(0.5) {
                Kind::App
            } else {
                Kind::Database
            });
            let count = rng.between(2, 6);
            let mut affects: Vec<Ix> = (0..count).filter_map(|_| rng.pick(&from_kind)).collect();
            affects.sort_unstable();
            affects.dedup();
            if affects.len() < 2 {
                return false;
            }
            let id = format!("change-{from}");
            story.words.push((
                from - rng.between(1, 20),
                Word::Action {
                    id: id.clone(),
                    affects: affects.clone(),
                },
            ));
            let mut fault = fault(
                estate,
                sort,
                &affects,
                Mode::Off,
                from,
                until,
                &[Configuration, Software],
            );
            fault.causes = vec![format!("action:{id}")];
            story.faults.push(fault);
            return true;
        }
    };
    let Some((key, value)) = label else {
        return false;
    };
    let mut parts = estate.labelled(key, &value);
    parts.retain(|ix| *ix != estate.aggregator_host());
    if parts.len() < 3 {
        return false;
    }
    let mut fault = fault(estate, sort, &parts, mode, from, until, &kinds);
    fault.causes = vec![format!("label:{key}={value}")];
    story.faults.push(fault);
    true
}
