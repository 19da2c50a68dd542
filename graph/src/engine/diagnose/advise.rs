//! What to look at next: the answer that would shift the odds most for what it costs.

use super::case::{Case, is_power};
use super::search::{Candidate, names};
use crate::{CheckNext, ComponentIx, Kind};

/// The most that is advised.
const ADVISED_MAX: usize = 3;
/// An answer that tells less than this, in bits, is not worth the way.
const BITS_MIN: f64 = 0.05;
/// How often a component that is to blame looks bad, and one that is not.
const SEEN_WHEN_TO_BLAME: f64 = 0.95;
const SEEN_OTHERWISE: f64 = 0.05;

/// The components whose own state would tell the sets apart best.
pub(super) fn check_next(case: &Case<'_>, told: &[Candidate], weights: &[f64]) -> Vec<CheckNext> {
    let sets: Vec<Vec<String>> = told
        .iter()
        .map(|candidate| names(case, &candidate.causes))
        .collect();
    let sum: f64 = weights.iter().take(told.len()).sum();
    let odds: Vec<f64> = weights
        .iter()
        .take(told.len())
        .map(|weight| weight / sum.max(f64::MIN_POSITIVE))
        .collect();
    let mut asked: Vec<(f64, &String, ComponentIx)> = Vec::new();
    for id in sets.iter().flatten() {
        let Some(ix) = case.engine.model.find(id) else {
            continue;
        };
        if case.node(ix).evidence.is_some() || asked.iter().any(|(_, known, _)| *known == id) {
            continue;
        }
        let blamed: Vec<bool> = sets.iter().map(|set| set.contains(id)).collect();
        let bits = gain(&odds, &blamed);
        if bits >= BITS_MIN {
            asked.push((bits / cost_s(case.node(ix).component.kind), id, ix));
        }
    }
    asked.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(b.1)));
    asked.truncate(ADVISED_MAX);
    asked
        .into_iter()
        .map(|(_, id, ix)| CheckNext {
            component: id.clone(),
            check: check(case.node(ix).component.kind).to_owned(),
            why: format!("nobody sees {id} now; whether it works tells the possible causes apart"),
        })
        .collect()
}

/// How many bits the answer is expected to bring.
fn gain(odds: &[f64], blamed: &[bool]) -> f64 {
    let bad = |blamed: bool| {
        if blamed {
            SEEN_WHEN_TO_BLAME
        } else {
            SEEN_OTHERWISE
        }
    };
    let mut after = 0.0;
    for looks_bad in [true, false] {
        let likely = |blamed: bool| {
            if looks_bad {
                bad(blamed)
            } else {
                1.0 - bad(blamed)
            }
        };
        let joint: Vec<f64> = odds
            .iter()
            .zip(blamed)
            .map(|(odd, blamed)| odd * likely(*blamed))
            .collect();
        let sum: f64 = joint.iter().sum();
        let posterior: Vec<f64> = joint.iter().map(|joint| joint / sum).collect();
        after += sum * entropy(&posterior);
    }
    entropy(odds) - after
}

fn entropy(odds: &[f64]) -> f64 {
    odds.iter()
        .filter(|odd| **odd > 0.0)
        .map(|odd| -odd * odd.log2())
        .sum()
}

/// How long it takes somebody to look, in seconds, roughly: a probe, a controller out of band, a call.
const fn cost_s(kind: Kind) -> f64 {
    match kind {
        Kind::Provider | Kind::Region | Kind::Zone | Kind::Datacenter => 300.0,
        Kind::Room | Kind::Building | Kind::Rack | Kind::Cooling => 120.0,
        Kind::PowerFeed | Kind::Generator => 60.0,
        Kind::Host | Kind::Bmc | Kind::Pdu | Kind::Psu | Kind::Ups => 3.0,
        _ => 1.0,
    }
}

/// The check that asks a component of this kind.
const fn check(kind: Kind) -> &'static str {
    match kind {
        Kind::Ups => "ups.status",
        Kind::Generator => "generator.output",
        kind if is_power(kind) => "psu.input",
        Kind::BgpSession => "bgp.session",
        Kind::Switch | Kind::Router | Kind::Link | Kind::Network | Kind::Gateway => "icmp.reach",
        Kind::Dns | Kind::Resolver => "dns.answer",
        Kind::DhcpServer => "dhcp.offer",
        Kind::EtcdMember | Kind::EtcdCluster => "etcd.member",
        Kind::Host | Kind::Bmc | Kind::Rack | Kind::Room => "bmc.power",
        Kind::Provider | Kind::Region | Kind::Zone | Kind::Datacenter => "provider.status",
        _ => "tcp.connect",
    }
}
