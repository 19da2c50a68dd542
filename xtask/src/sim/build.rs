//! Draws an estate: places, supply, network and control plane with the traits of the real outages. [`super::staff`] adds the rest.

use std::collections::BTreeMap;

use blackstart_graph::Kind;

use super::estate::{Edge, Estate, Group, Ix, Part, Want};
use super::rng::Rng;
use super::staff;

/// How large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Size {
    Xs,
    S,
    M,
    L,
    Xl,
}

impl Size {
    pub(super) const NAMES: [(&'static str, Self); 5] = [
        ("xs", Self::Xs),
        ("s", Self::S),
        ("m", Self::M),
        ("l", Self::L),
        ("xl", Self::Xl),
    ];

    /// Datacenters, rooms in each, racks in each, hosts in each, things on each.
    fn shape(self, rng: &mut Rng) -> [usize; 5] {
        match self {
            Self::Xs if rng.chance(0.5) => [1, 2, 3, 5, 4],
            Self::Xs => [2, 1, 4, 4, 4],
            Self::S => [2, 2, 6, 8, 23],
            Self::M => [3, 4, 20, 21, 28],
            Self::L => [5, 5, 50, 40, 29],
            Self::Xl => [10, 5, 100, 40, 24],
        }
    }

    /// Databases and apps are asked every so many rounds, infrastructure in each.
    pub(super) const fn rounds_of_apps(self) -> i64 {
        match self {
            Self::Xs => 1,
            Self::S | Self::M | Self::L | Self::Xl => 3,
        }
    }
}

/// What may be asked of an estate beyond its size.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Wishes {
    /// The file lacks some needs and has some that are no longer so.
    pub(super) drifted: bool,
    /// Where the aggregator stands; drawn when nothing is asked.
    pub(super) aggregator_inside: Option<bool>,
    /// Nobody watches supply from outside of what it supplies.
    pub(super) no_out_of_band: bool,
}

/// The parts that others refer to, by role.
#[derive(Debug, Default)]
pub(super) struct Roles {
    pub(super) watchers: Vec<Ix>,
    pub(super) dcs: Vec<Dc>,
}

/// One datacenter.
#[derive(Debug, Default)]
pub(super) struct Dc {
    pub(super) name: String,
    pub(super) hosts: Vec<Ix>,
    pub(super) supply: Vec<Ix>,
    pub(super) network: Vec<Ix>,
}

/// An estate in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) estate: Estate,
    pub(super) rng: Rng,
    pub(super) roles: Roles,
}

impl Draft {
    pub(super) fn part(&mut self, id: String, kind: Kind, container: Option<Ix>) -> Ix {
        let ix = self.estate.parts.len();
        let host = match kind {
            Kind::Host => Some(ix),
            _ => container.and_then(|outer| self.estate.parts[outer].host),
        };
        let start_s = match kind {
            Kind::Host => self.rng.between(60, 150),
            Kind::Switch | Kind::Router => self.rng.between(15, 40),
            Kind::BgpSession => self.rng.between(5, 30),
            Kind::Database => self.rng.between(15, 90),
            _ if host.is_some() => self.rng.between(2, 30),
            _ => 0,
        };
        self.estate.parts.push(Part {
            id,
            kind,
            container,
            edges: Vec::new(),
            via: Vec::new(),
            labels: BTreeMap::new(),
            host,
            start_s,
        });
        ix
    }

    pub(super) fn need(
        &mut self,
        of: Ix,
        want: Want,
        at_least: usize,
        members: &[Ix],
        grace_s: i64,
    ) {
        self.estate.parts[of].edges.push(Edge {
            want,
            group: group(at_least, members),
            grace_s,
            real: true,
            declared: true,
        });
    }
}

pub(super) fn group(at_least: usize, members: &[Ix]) -> Group {
    Group {
        at_least,
        of: members.to_vec(),
    }
}

/// Draws the estate of a seed.
pub(super) fn estate(size: Size, seed: u64, wishes: Wishes) -> Estate {
    let mut draft = Draft {
        estate: Estate {
            seed,
            ..Estate::default()
        },
        rng: Rng::new(seed, 1),
        roles: Roles::default(),
    };
    let shape = size.shape(&mut draft.rng);
    outside(&mut draft);
    let provider = draft.part("provider".into(), Kind::Provider, None);
    let region = draft.part("region".into(), Kind::Region, Some(provider));
    for number in 1..=shape[0] {
        datacenter(&mut draft, region, number, shape);
    }
    aggregator(&mut draft, wishes);
    staff::services(&mut draft, shape[4]);
    if wishes.drifted {
        staff::drift(&mut draft);
    }
    draft.estate.index();
    staff::watches(&mut draft, size, wishes);
    draft.estate
}

/// Two watchers at other providers.
fn outside(draft: &mut Draft) {
    for number in 1..=2 {
        let ground = draft.part(format!("elsewhere-{number}"), Kind::Provider, None);
        let host = draft.part(format!("watch-{number}"), Kind::Host, Some(ground));
        draft.roles.watchers.push(host);
    }
}

/// At another provider, or on a host of what it watches.
fn aggregator(draft: &mut Draft, wishes: Wishes) {
    let drawn = draft.rng.chance(0.15);
    let inside = wishes.aggregator_inside.unwrap_or(drawn);
    let host = if inside {
        let hosts = draft.roles.dcs[0].hosts.clone();
        draft.rng.pick(&hosts)
    } else {
        let ground = draft.part("elsewhere-3".into(), Kind::Provider, None);
        Some(draft.part("agg-1".into(), Kind::Host, Some(ground)))
    };
    draft.estate.aggregator = draft.part("aggregator".into(), Kind::Aggregator, host);
}

fn datacenter(draft: &mut Draft, region: Ix, number: usize, shape: [usize; 5]) {
    let name = format!("{number}");
    let dc = draft.part(format!("dc-{name}"), Kind::Datacenter, Some(region));
    let mut made = Dc {
        name: name.clone(),
        ..Dc::default()
    };
    let edge = draft.part(format!("edge-{name}"), Kind::Router, Some(dc));
    let bgp = draft.part(format!("bgp-{name}"), Kind::BgpSession, Some(dc));
    draft.need(bgp, Want::Needs, 1, &[edge], 0);
    let uplinks =
        ["a", "b"].map(|side| draft.part(format!("uplink-{name}-{side}"), Kind::Link, Some(dc)));
    draft.estate.parts[dc].via = vec![group(1, &[bgp]), group(1, &uplinks)];
    made.network.extend([edge, bgp]);
    made.network.extend(uplinks);
    for room in 1..=shape[1] {
        room_of(draft, dc, format!("{name}-{room}"), shape, &mut made);
    }
    draft.roles.dcs.push(made);
}

fn room_of(draft: &mut Draft, dc: Ix, name: String, shape: [usize; 5], made: &mut Dc) {
    let room = draft.part(format!("room-{name}"), Kind::Room, Some(dc));
    let sides = ["a", "b"];
    let feeds =
        sides.map(|side| draft.part(format!("feed-{name}-{side}"), Kind::PowerFeed, Some(room)));
    let mut supply = feeds;
    if draft.rng.chance(0.6) {
        supply = sides.map(|side| draft.part(format!("ups-{name}-{side}"), Kind::Ups, Some(room)));
        for (ups, feed) in supply.into_iter().zip(feeds) {
            let battery_s = if draft.rng.chance(0.3) {
                0
            } else {
                draft.rng.between(20, 90)
            };
            draft.need(ups, Want::Needs, 1, &[feed], battery_s);
        }
        made.supply.extend(supply);
    }
    made.supply.extend(feeds);
    if draft.rng.chance(0.4) {
        let switch = draft.part(format!("spine-{name}"), Kind::Switch, Some(room));
        draft.estate.parts[room].via = vec![group(1, &[switch])];
        made.network.push(switch);
    }
    let cooling = draft
        .rng
        .chance(0.5)
        .then(|| draft.part(format!("cooling-{name}"), Kind::Cooling, Some(room)));
    made.supply.extend(cooling);
    for rack in 1..=shape[2] {
        rack_of(
            draft,
            room,
            format!("{name}-{rack}"),
            shape[3],
            supply,
            cooling,
            made,
        );
    }
}

fn rack_of(
    draft: &mut Draft,
    room: Ix,
    name: String,
    hosts: usize,
    supply: [Ix; 2],
    cooling: Option<Ix>,
    made: &mut Dc,
) {
    let rack = draft.part(format!("rack-{name}"), Kind::Rack, Some(room));
    let sides: Vec<usize> = if draft.rng.chance(0.55) {
        vec![0, 1]
    } else {
        vec![draft.rng.below(2)]
    };
    let mut pdus = Vec::new();
    for side in sides {
        let letter = ["a", "b"][side];
        let pdu = draft.part(format!("pdu-{name}-{letter}"), Kind::Pdu, Some(room));
        draft.need(pdu, Want::Needs, 1, &[supply[side]], 0);
        pdus.push(pdu);
    }
    draft.need(rack, Want::Needs, 1, &pdus, 0);
    made.supply.extend(&pdus);
    let letters: &[&str] = if draft.rng.chance(0.7) {
        &[""]
    } else {
        &["-a", "-b"]
    };
    let tors: Vec<Ix> = letters
        .iter()
        .map(|letter| draft.part(format!("tor-{name}{letter}"), Kind::Switch, Some(rack)))
        .collect();
    draft.estate.parts[rack].via = vec![group(1, &tors)];
    made.network.extend(&tors);
    for number in 1..=hosts {
        let host = draft.part(format!("host-{name}-{number}"), Kind::Host, Some(rack));
        if let Some(cooling) = cooling {
            let warms_up_s = draft.rng.between(60, 240);
            draft.need(host, Want::ToRun, 1, &[cooling], warms_up_s);
        }
        let os = ["debian-12", "debian-13", "ubuntu-24"][draft.rng.below(3)];
        let agent = if draft.rng.chance(0.25) { "1.9" } else { "1.8" };
        let labels = &mut draft.estate.parts[host].labels;
        labels.insert("os", os.into());
        labels.insert("agent", agent.into());
        made.hosts.push(host);
    }
}
