//! What kind of fault a cause has: from what it is, and from how its victims came back.
//!
//! Apart from *where*: a silent rack is surely a silent rack, and power or network until one bit tells.

use std::collections::BTreeMap;

use super::super::symptom::{Ill, Return};
use super::blame::Nature;
use super::case::Case;
use super::reach::Reach;
use super::score::Fit;
use super::{Cause, Cost};
use crate::{ComponentIx, FaultKind, Kind, Status};

/// Shares below this are not shown.
const SHOWN_MIN: f64 = 0.01;
/// How much one host's way back says: a new boot id after a loss of power is the rule, after a cut it is a coincidence.
const BOOT_RATIO: f64 = 50.0;
/// Hosts that share a cause are not independent witnesses: so many of them count.
const WITNESSES_MAX: u32 = 3;

/// What a fault of a component is, before anything is known of it: shares in the order power, network, cooling, hardware,
/// software, configuration, overload, agent, stopped, other.
const fn shares(kind: Kind) -> [f64; 10] {
    match kind {
        Kind::PowerFeed | Kind::Generator | Kind::Ups | Kind::Pdu | Kind::Psu => {
            [0.93, 0.0, 0.0, 0.05, 0.0, 0.01, 0.0, 0.0, 0.0, 0.01]
        }
        Kind::Cooling => [0.05, 0.0, 0.9, 0.03, 0.0, 0.01, 0.0, 0.0, 0.0, 0.01],
        Kind::Rack | Kind::Room | Kind::Building | Kind::Datacenter => {
            [0.5, 0.38, 0.06, 0.0, 0.01, 0.02, 0.0, 0.01, 0.0, 0.02]
        }
        Kind::Provider | Kind::Region | Kind::Zone => {
            [0.25, 0.45, 0.04, 0.0, 0.08, 0.08, 0.05, 0.01, 0.0, 0.04]
        }
        Kind::Network
        | Kind::Switch
        | Kind::Router
        | Kind::Link
        | Kind::BgpSession
        | Kind::Gateway => [0.06, 0.72, 0.0, 0.06, 0.02, 0.1, 0.03, 0.0, 0.0, 0.01],
        Kind::DhcpServer | Kind::DhcpLease | Kind::Dns | Kind::Resolver | Kind::Ntp => {
            [0.02, 0.15, 0.0, 0.05, 0.4, 0.3, 0.06, 0.0, 0.01, 0.01]
        }
        Kind::Host | Kind::Bmc | Kind::Vm => {
            [0.2, 0.12, 0.01, 0.35, 0.13, 0.02, 0.04, 0.12, 0.0, 0.01]
        }
        Kind::Volume => [0.03, 0.05, 0.0, 0.6, 0.15, 0.07, 0.07, 0.0, 0.0, 0.03],
        Kind::Agent => [0.02, 0.05, 0.0, 0.03, 0.2, 0.05, 0.05, 0.6, 0.0, 0.0],
        Kind::Certificate => [0.0, 0.0, 0.0, 0.0, 0.05, 0.93, 0.0, 0.0, 0.0, 0.02],
        _ => [0.02, 0.04, 0.0, 0.05, 0.45, 0.22, 0.16, 0.0, 0.04, 0.02],
    }
}

/// What it costs that a fault of a component is one of power: the logarithm of its share.
#[expect(clippy::cast_possible_truncation, reason = "a cost has four digits")]
pub(super) fn not_power(kind: Kind) -> Cost {
    (-shares(kind)[FaultKind::Power as usize].max(0.02).ln() * 1_000.0) as Cost
}

/// What a change, or what has a label in common, does.
const CHANGE: [f64; 10] = [0.0, 0.02, 0.0, 0.0, 0.38, 0.55, 0.03, 0.0, 0.0, 0.02];
/// Why an agent sees things fail that work.
const VANTAGE: [f64; 10] = [0.0, 0.35, 0.0, 0.05, 0.05, 0.1, 0.1, 0.35, 0.0, 0.0];
/// Why an agent tells nothing of a host that runs on.
const ONLY_THE_AGENT: [f64; 10] = [0.0, 0.08, 0.0, 0.02, 0.12, 0.03, 0.05, 0.65, 0.05, 0.0];
/// Why an aggregator hears nobody.
const ISOLATION: [f64; 10] = [0.02, 0.85, 0.0, 0.03, 0.05, 0.03, 0.02, 0.0, 0.0, 0.0];

/// How likely each kind of fault is for one of the causes, by the name of one of its parts. In the order of [`FaultKind::ALL`]; sums to 1.
pub(super) fn odds(case: &Case<'_>, fit: &Fit, cause: &Cause, by: usize, id: &str) -> [f64; 10] {
    let ix = case.engine.model.find(id);
    let is_itself = cause.nature.is_where_it_begins();
    let ix = ix.filter(|_| is_itself);
    let mut odds = match (cause.nature, ix) {
        (Nature::Component, _) if cause.mode == Reach::Mute => ONLY_THE_AGENT,
        (Nature::Component, Some(ix)) => shares(case.node(ix).component.kind),
        (Nature::Vantage, _) => VANTAGE,
        (Nature::Isolation, _) => ISOLATION,
        _ => CHANGE,
    };
    if let Some(ix) = ix {
        weigh_own_checks(case, ix, &mut odds);
    }
    // What is a cooling unit or a switch fails as one, whatever became of those behind it.
    let is_ground = ix.is_some_and(|ix| {
        let kind = case.node(ix).component.kind;
        kind < Kind::DhcpServer && kind != Kind::Cooling
    });
    let (mut rebooted, mut ran_on) = (0, 0);
    for explained in &fit.explained {
        let symptom = &case.seen[&explained.component].symptom;
        if !is_ground || explained.by != by || symptom.worst < Ill::Silent {
            continue;
        }
        match symptom.returned {
            Some(Return::Unclean) => rebooted += 1,
            Some(Return::SameBoot) => ran_on += 1,
            Some(Return::Rebooted) | None => {}
        }
    }
    weigh(
        &mut odds,
        &[FaultKind::Power, FaultKind::Hardware],
        rebooted,
        &[FaultKind::Network, FaultKind::Agent],
    );
    weigh(
        &mut odds,
        &[FaultKind::Network, FaultKind::Agent],
        ran_on,
        &[FaultKind::Power, FaultKind::Cooling],
    );
    let sum: f64 = odds.iter().sum();
    odds.map(|odd| odd / sum)
}

/// The odds as they are shown: to three digits, the small ones left out, and the greatest takes what that leaves, so that they sum to 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of a thousand"
)]
pub(super) fn shown(odds: [f64; 10]) -> BTreeMap<FaultKind, f64> {
    let mut shares: Vec<(FaultKind, u32)> = FaultKind::ALL
        .into_iter()
        .zip(odds)
        .filter(|(_, share)| *share >= SHOWN_MIN)
        .map(|(kind, share)| (kind, (share * 1_000.0).round() as u32))
        .collect();
    let sum: u32 = shares.iter().map(|(_, share)| share).sum();
    if let Some((_, greatest)) = shares.iter_mut().max_by_key(|(_, share)| *share) {
        *greatest = (*greatest + 1_000).saturating_sub(sum);
    }
    let part = |(kind, share)| (kind, f64::from(share) / 1_000.0);
    shares.into_iter().map(part).collect()
}

fn weigh(odds: &mut [f64; 10], likelier: &[FaultKind], witnesses: u32, unlikelier: &[FaultKind]) {
    let ratio = BOOT_RATIO.powi(i32::try_from(witnesses.min(WITNESSES_MAX)).unwrap_or(0));
    for kind in likelier {
        odds[*kind as usize] *= ratio;
    }
    for kind in unlikelier {
        odds[*kind as usize] /= ratio;
    }
}

/// What the component's own failing checks ask for.
fn weigh_own_checks(case: &Case<'_>, ix: ComponentIx, odds: &mut [f64; 10]) {
    for slot in &case.node(ix).slots {
        let slot = &case.engine.slots[slot.index()];
        if !slot.counts() || slot.status == Status::Ok {
            continue;
        }
        let subject = slot.check.split('.').next().unwrap_or_default();
        let kind = match subject {
            "psu" | "ups" | "pdu" | "feed" | "generator" | "power" => FaultKind::Power,
            "bgp" | "link" | "path" | "arp" | "icmp" | "route" => FaultKind::Network,
            "cooling" | "temperature" => FaultKind::Cooling,
            "volume" | "disk" | "smart" => FaultKind::Hardware,
            _ => continue,
        };
        odds[kind as usize] = odds[kind as usize].max(0.05) * 8.0;
        return;
    }
}
