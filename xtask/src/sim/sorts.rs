//! Every sort of fault, and what each of them can hit in an estate: drawn from when a case is made, gone through by the oracle.

use blackstart_graph::{FaultKind, Kind};

use super::estate::{Estate, Ix};
use super::rng::between;
use super::world::{Harm, Mode};

use FaultKind::{
    Agent, Configuration, Cooling, Hardware, Network, Other, Overload, Power, Software,
};

/// Sorts of fault, each as likely as any other. An `action` is drawn apart: what it touches is not in the estate.
pub(super) const SORTS: [&str; 29] = [
    "feed",
    "ups",
    "pdu",
    "room power",
    "rack power",
    "cooling",
    "tor",
    "tor part",
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

const SUPPLY: &[FaultKind] = &[Power];
pub(super) const CABLE: &[FaultKind] = &[Network, Hardware, Configuration];
const PROGRAM: &[FaultKind] = &[Software, Configuration, Overload];
/// A new release reaches its last host this many seconds after its first.
const ROLLOUT_S: i64 = 60;
/// Labels of fewer parts are no common cause.
const LABELLED_MIN: usize = 3;

/// One thing that a sort of fault can be.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) causes: Vec<String>,
    pub(super) hits: Vec<(Vec<Ix>, Mode)>,
    /// It hits its parts one after the other, within so many seconds.
    pub(super) paced_s: i64,
    /// Which kinds a person who has seen the broken part would call right; the first says it best.
    pub(super) kinds: &'static [FaultKind],
    /// How likely it is among those of its sort.
    pub(super) share: f64,
}

impl Choice {
    /// What it does from one second until another.
    pub(super) fn harms(&self, estate: &Estate, from: i64, until: i64) -> Vec<Harm> {
        let mut harms = Vec::new();
        for (parts, mode) in &self.hits {
            if self.paced_s == 0 {
                harms.push(Harm {
                    parts: parts.clone(),
                    mode: *mode,
                    from,
                    until,
                });
                continue;
            }
            harms.extend(parts.iter().map(|ix| Harm {
                parts: vec![*ix],
                mode: *mode,
                from: from + between(0, self.paced_s, &[estate.seed, 61, *ix as u64]),
                until,
            }));
        }
        harms
    }
}

/// What a sort of fault can be in an estate: nothing where it has no such part.
pub(super) fn choices(estate: &Estate, sort: &str) -> Vec<Choice> {
    let of_kind = |kind: Kind| -> Vec<Ix> {
        let parts = estate.of_kind(kind).into_iter();
        parts
            .filter(|ix| !estate.parts[*ix].is_composite())
            .collect()
    };
    let hosts: Vec<Ix> = (estate.hosts.iter().copied())
        .filter(|host| is_watched(estate, *host))
        .collect();
    let off = |parts: Vec<Ix>, kinds| each(estate, &parts, Mode::Off, kinds);
    match sort {
        "feed" => off(of_kind(Kind::PowerFeed), SUPPLY),
        "ups" => off(of_kind(Kind::Ups), SUPPLY),
        "pdu" => off(of_kind(Kind::Pdu), SUPPLY),
        "room power" => off(of_kind(Kind::Room), SUPPLY),
        "rack power" => off(of_kind(Kind::Rack), SUPPLY),
        "cooling" => off(of_kind(Kind::Cooling), &[Cooling]),
        "tor" => off(named(estate, "tor-"), CABLE),
        "tor part" => parts_of_racks(estate),
        "spine" => off(named(estate, "spine-"), CABLE),
        "uplinks" => {
            let dcs = of_kind(Kind::Datacenter).into_iter();
            together(
                estate,
                dcs.map(|dc| estate.parts[dc].via[1].of.clone()),
                CABLE,
            )
        }
        "bgp" => off(of_kind(Kind::BgpSession), CABLE),
        "router" => off(of_kind(Kind::Router), CABLE),
        "dns" => {
            let dcs = 1..=of_kind(Kind::Datacenter).len();
            let both = together(
                estate,
                dcs.map(|dc| named(estate, &format!("dns-{dc}-"))),
                PROGRAM,
            );
            let one = off(of_kind(Kind::Dns), PROGRAM);
            shared(both, 0.5).chain(shared(one, 0.5)).collect()
        }
        "dhcp" => off(of_kind(Kind::DhcpServer), PROGRAM),
        "etcd member" => off(of_kind(Kind::EtcdMember), PROGRAM),
        "etcd quorum" => {
            let clusters = estate.of_kind(Kind::EtcdCluster).into_iter();
            let majority = clusters.map(|cluster| {
                let members = &estate.parts[cluster].edges[0].group.of;
                members[..members.len() / 2 + 1].to_vec()
            });
            together(estate, majority, PROGRAM)
        }
        "broker" => off(of_kind(Kind::Queue), PROGRAM),
        "database" => {
            let databases = of_kind(Kind::Database);
            let slow = each(
                estate,
                &databases,
                Mode::Impaired,
                &[Overload, Software, Configuration],
            );
            shared(off(databases, PROGRAM), 0.7)
                .chain(shared(slow, 0.3))
                .collect()
        }
        "volume" => off(of_kind(Kind::Volume), &[Hardware]),
        "app" => off(of_kind(Kind::App), PROGRAM),
        "host hardware" => off(hosts, &[Hardware]),
        "host hang" => off(hosts, &[Software, Hardware, Overload]),
        "host network" => each(estate, &hosts, Mode::Cut, &[Network, Hardware]),
        "agent dead" => each(estate, &hosts, Mode::AgentDead, &[Agent]),
        "agent release" => labels(
            estate,
            "agent",
            Mode::AgentDead,
            &[Agent, Software, Configuration],
        ),
        "provider" => {
            let provider: Vec<Ix> = estate.by_id.get("provider").copied().into_iter().collect();
            let cut = each(estate, &provider, Mode::Cut, &[Network, Other]);
            shared(cut, 0.7)
                .chain(shared(off(provider, &[Power, Other]), 0.3))
                .collect()
        }
        "aggregator cut" => {
            let mut cut = each(
                estate,
                &[estate.aggregator_host()],
                Mode::Cut,
                &[Network, Hardware],
            );
            for choice in &mut cut {
                choice.causes = vec![estate.parts[estate.aggregator].id.clone()];
            }
            cut
        }
        "bad update" => {
            let hosts = labels(estate, "os", Mode::Off, &[Software, Configuration]);
            let apps = labels(estate, "release", Mode::Off, &[Software, Configuration]);
            shared(hosts, 0.5).chain(shared(apps, 0.5)).collect()
        }
        _ => Vec::new(),
    }
}

/// A host of the fleet, and not that of the aggregator.
fn is_watched(estate: &Estate, host: Ix) -> bool {
    estate.parts[host].id.starts_with("host-") && host != estate.aggregator_host()
}

fn named(estate: &Estate, prefix: &str) -> Vec<Ix> {
    (estate.by_id.range(prefix.to_owned()..))
        .take_while(|(id, _)| id.starts_with(prefix))
        .map(|(_, ix)| *ix)
        .collect()
}

/// One of these.
fn each(estate: &Estate, parts: &[Ix], mode: Mode, kinds: &'static [FaultKind]) -> Vec<Choice> {
    let one = parts.iter().map(|ix| Choice {
        causes: vec![estate.parts[*ix].id.clone()],
        hits: vec![(vec![*ix], mode)],
        paced_s: 0,
        kinds,
        share: 1.0 / parts.len() as f64,
    });
    one.collect()
}

/// All of one of these.
fn together(
    estate: &Estate,
    sets: impl Iterator<Item = Vec<Ix>>,
    kinds: &'static [FaultKind],
) -> Vec<Choice> {
    let sets: Vec<Vec<Ix>> = sets.collect();
    let count = sets.len() as f64;
    let of = sets.into_iter().map(|parts| Choice {
        causes: parts
            .iter()
            .map(|ix| estate.parts[*ix].id.clone())
            .collect(),
        hits: vec![(parts, Mode::Off)],
        paced_s: 0,
        kinds,
        share: 1.0 / count,
    });
    of.collect()
}

fn shared(choices: Vec<Choice>, share: f64) -> impl Iterator<Item = Choice> {
    choices.into_iter().map(move |choice| Choice {
        share: choice.share * share,
        ..choice
    })
}

/// A switch of which a part is broken: half of the hosts behind it are cut off, and it says that it is not well.
fn parts_of_racks(estate: &Estate) -> Vec<Choice> {
    let racks = estate.of_kind(Kind::Rack);
    let alone: Vec<(Ix, Ix)> = racks
        .into_iter()
        .filter_map(|rack| match estate.parts[rack].via.first()?.of.as_slice() {
            [tor] => Some((rack, *tor)),
            _ => None,
        })
        .collect();
    let count = alone.len() as f64;
    let of = alone.into_iter().map(|(rack, tor)| {
        let hosts = estate.inside[rack]
            .iter()
            .filter(|ix| is_watched(estate, **ix));
        Choice {
            causes: vec![estate.parts[tor].id.clone()],
            hits: vec![
                (hosts.step_by(2).copied().collect(), Mode::Cut),
                (vec![tor], Mode::Impaired),
            ],
            paced_s: 0,
            kinds: CABLE,
            share: 1.0 / count,
        }
    });
    of.collect()
}

/// All that carry a label, one after the other.
fn labels(
    estate: &Estate,
    key: &'static str,
    mode: Mode,
    kinds: &'static [FaultKind],
) -> Vec<Choice> {
    let values = estate.parts.iter().filter_map(|part| part.labels.get(key));
    let values: std::collections::BTreeSet<&String> = values.collect();
    let sets = values.into_iter().map(|value| {
        let mut parts = estate.labelled(key, value);
        parts.retain(|ix| *ix != estate.aggregator_host());
        (format!("label:{key}={value}"), parts)
    });
    let sets: Vec<(String, Vec<Ix>)> = sets
        .filter(|(_, parts)| parts.len() >= LABELLED_MIN)
        .collect();
    let count = sets.len() as f64;
    let of = sets.into_iter().map(|(cause, parts)| Choice {
        causes: vec![cause],
        hits: vec![(parts, mode)],
        paced_s: ROLLOUT_S,
        kinds,
        share: 1.0 / count,
    });
    of.collect()
}
