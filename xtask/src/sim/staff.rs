//! Fills an estate with what runs on its hosts, and says who looks at what.

use blackstart_graph::Kind;

use super::build::{Dc, Draft, Size, Wishes, group};
use super::estate::{Edge, Ix, Want, Watch};
use super::world::ROUND_S;

/// The share of the needs among services that the file lacks.
const UNDECLARED: f64 = 0.10;
/// The share of services with a need in the file that is no longer so.
const STALE: f64 = 0.05;
/// Racks with meters that answer when the rack is dark.
const OUT_OF_BAND: f64 = 0.6;
/// In a large estate every so many hosts ask what all of them could ask.
const ASKERS_MAX: usize = 12;

/// What the services of a datacenter stand on.
struct Plane {
    etcd: Ix,
    dns: [Ix; 2],
    queue: Ix,
    scheduler: Ix,
    registry: Ix,
    metrics: Ix,
}

/// Control plane, then databases, caches and apps until every host has about so many.
pub(super) fn services(draft: &mut Draft, per_host: usize) {
    let dcs = std::mem::take(&mut draft.roles.dcs);
    let mut count = vec![0; draft.estate.parts.len()];
    for dc in &dcs {
        let plane = plane(draft, dc, &mut count);
        leases(draft, dc);
        let (mut databases, mut caches) = (Vec::new(), Vec::new());
        for (at, host) in dc.hosts.iter().enumerate() {
            if at % 4 == 0 {
                stateful(draft, *host, per_host.min(6), &plane, &mut databases);
            } else if at % 4 == 1 {
                let id = format!("cache-{}", draft.estate.parts[*host].id);
                caches.push(draft.part(id, Kind::Cache, Some(*host)));
            }
        }
        for host in &dc.hosts {
            let there = draft
                .estate
                .parts
                .iter()
                .filter(|part| part.container == Some(*host));
            let there = if per_host > 8 {
                count[*host]
            } else {
                there.count()
            };
            for number in there..per_host {
                app(draft, *host, number, &plane, &databases, &caches);
            }
        }
    }
    draft.roles.dcs = dcs;
}

fn plane(draft: &mut Draft, dc: &Dc, count: &mut [usize]) -> Plane {
    // Spread over the racks: the hosts of a rack stand beside each other.
    let step = (dc.hosts.len() / 7).max(1);
    let offset = draft.rng.below(dc.hosts.len());
    let mut turn = 0;
    let mut place = |count: &mut [usize]| {
        let host = dc.hosts[(offset + turn * step + turn / 7) % dc.hosts.len()];
        turn += 1;
        count[host] += 1;
        host
    };
    let name = &dc.name;
    let members = if draft.rng.chance(0.7) { 3 } else { 5 };
    let etcds: Vec<Ix> = (1..=members)
        .map(|number| {
            let host = place(count);
            draft.part(
                format!("etcd-{name}-{number}"),
                Kind::EtcdMember,
                Some(host),
            )
        })
        .collect();
    let etcd = draft.part(format!("etcd-{name}"), Kind::EtcdCluster, None);
    draft.need(etcd, Want::Needs, members / 2 + 1, &etcds, 0);
    let dns = [1, 2].map(|number| {
        let host = place(count);
        draft.part(format!("dns-{name}-{number}"), Kind::Dns, Some(host))
    });
    let queue = if draft.rng.chance(0.5) {
        let host = place(count);
        draft.part(format!("mq-{name}"), Kind::Queue, Some(host))
    } else {
        let nodes: Vec<Ix> = (1..=3)
            .map(|number| {
                let host = place(count);
                draft.part(format!("mq-{name}-{number}"), Kind::Queue, Some(host))
            })
            .collect();
        let queue = draft.part(format!("mq-{name}"), Kind::Queue, None);
        draft.need(queue, Want::Needs, 2, &nodes, 0);
        queue
    };
    let mut single = |draft: &mut Draft, id: &str, kind| {
        let host = place(count);
        draft.part(format!("{id}-{name}"), kind, Some(host))
    };
    let internal_db = single(draft, "internal-db", Kind::Database);
    let auth = single(draft, "auth", Kind::App);
    let scheduler = single(draft, "scheduler", Kind::Orchestrator);
    let registry = single(draft, "registry", Kind::Service);
    let metrics = single(draft, "metrics", Kind::Service);
    let balancers = ["lb-1", "lb-2"].map(|id| single(draft, id, Kind::LoadBalancer));
    let front = draft.part(format!("front-{name}"), Kind::Group, None);
    draft.need(front, Want::Needs, 1, &balancers, 0);
    draft.need(auth, Want::Needs, 1, &[internal_db], 0);
    // The scheduler asks what it starts itself: a cycle that only a start sees.
    draft.need(auth, Want::ToStart, 1, &[scheduler], 0);
    draft.need(scheduler, Want::ToStart, 1, &[auth], 0);
    draft.need(scheduler, Want::Needs, 1, &[etcd], 0);
    draft.need(scheduler, Want::Needs, 1, &[queue], 0);
    draft.need(registry, Want::ToStart, 1, &[etcd], 0);
    draft.need(balancers[0], Want::ToStart, 1, &[etcd], 0);
    draft.need(balancers[1], Want::ToStart, 1, &[etcd], 0);
    Plane {
        etcd,
        dns,
        queue,
        scheduler,
        registry,
        metrics,
    }
}

/// Two hosts in three hold an address for a time.
fn leases(draft: &mut Draft, dc: &Dc) {
    let Some(host) = draft.rng.pick(&dc.hosts) else {
        return;
    };
    let dhcp = draft.part(format!("dhcp-{}", dc.name), Kind::DhcpServer, Some(host));
    for host in &dc.hosts {
        if *host == draft.estate.parts[dhcp].container.unwrap_or(*host) || !draft.rng.chance(0.66) {
            continue;
        }
        let (id, rack) = (
            draft.estate.parts[*host].id.clone(),
            draft.estate.parts[*host].container,
        );
        let lease = draft.part(format!("lease-{id}"), Kind::DhcpLease, rack);
        let left_s = draft.rng.between(20, 300);
        draft.need(lease, Want::ToRun, 1, &[dhcp], left_s);
        draft.estate.parts[*host].via = vec![group(1, &[lease])];
    }
}

fn stateful(draft: &mut Draft, host: Ix, number: usize, plane: &Plane, databases: &mut Vec<Ix>) {
    let id = draft.estate.parts[host].id.clone();
    let volume = draft.part(format!("vol-{id}"), Kind::Volume, Some(host));
    for number in 1..=number.div_ceil(2) {
        let database = draft.part(format!("db-{id}-{number}"), Kind::Database, Some(host));
        draft.need(database, Want::Needs, 1, &[volume], 0);
        draft.need(database, Want::ToStart, 1, &[plane.etcd], 0);
        databases.push(database);
    }
}

fn app(draft: &mut Draft, host: Ix, number: usize, plane: &Plane, databases: &[Ix], caches: &[Ix]) {
    let id = draft.estate.parts[host].id.clone();
    let app = draft.part(format!("app-{id}-{number}"), Kind::App, Some(host));
    if let Some(database) = draft.rng.pick(databases) {
        draft.need(app, Want::Needs, 1, &[database], 0);
    }
    if let Some(cache) = draft.rng.pick(caches) {
        draft.need(app, Want::Uses, 1, &[cache], 0);
    }
    if draft.rng.chance(0.5) {
        let ttl_s = draft.rng.between(0, 60);
        draft.need(app, Want::ToRun, 1, &plane.dns, ttl_s);
    }
    if draft.rng.chance(0.3) {
        draft.need(app, Want::Needs, 1, &[plane.queue], 0);
    }
    if draft.rng.chance(0.2) {
        draft.need(app, Want::Uses, 1, &[plane.metrics], 0);
    }
    draft.need(app, Want::ToStart, 1, &[plane.scheduler], 0);
    draft.need(app, Want::ToStart, 1, &[plane.registry], 0);
    let release = format!("r{}", draft.rng.below(6));
    draft.estate.parts[app].labels.insert("release", release);
}

/// What the file lacks, and what it has that is no longer so.
pub(super) fn drift(draft: &mut Draft) {
    let services: Vec<Ix> = (0..draft.estate.parts.len())
        .filter(|ix| draft.estate.parts[*ix].is_service())
        .collect();
    let targets: Vec<Ix> = (services.iter().copied())
        .filter(|ix| {
            !matches!(
                draft.estate.parts[*ix].kind,
                Kind::App | Kind::Volume | Kind::Aggregator
            )
        })
        .collect();
    for ix in services {
        for at in 0..draft.estate.parts[ix].edges.len() {
            let lacks = draft.rng.chance(UNDECLARED);
            draft.estate.parts[ix].edges[at].declared = !lacks;
        }
        if draft.rng.chance(STALE)
            && let Some(target) = draft.rng.pick(&targets).filter(|target| *target != ix)
        {
            draft.estate.parts[ix].edges.push(Edge {
                want: Want::Needs,
                group: group(1, &[target]),
                grace_s: 0,
                real: false,
                declared: true,
            });
        }
    }
}

/// Who looks at what.
pub(super) fn watches(draft: &mut Draft, size: Size, wishes: Wishes) {
    let dcs = std::mem::take(&mut draft.roles.dcs);
    let watchers = draft.roles.watchers.clone();
    let mut plan: Vec<(Ix, Ix)> = Vec::new();
    for host in &draft.estate.hosts {
        plan.push((*host, *host));
    }
    for (ix, part) in draft.estate.parts.iter().enumerate() {
        if let (true, Some(host)) = (
            part.is_service() && part.kind != Kind::Aggregator,
            part.host,
        ) {
            plan.push((host, ix));
        }
    }
    for dc in &dcs {
        let step = dc.hosts.len().div_ceil(ASKERS_MAX).max(1);
        for host in dc.hosts.iter().step_by(step) {
            asks(draft, dc, *host, &mut plan);
        }
        supply(draft, dc, wishes, &mut plan);
        for part in &dc.network {
            let near = dc.hosts[draft.rng.below(dc.hosts.len())];
            let own = dc.hosts.iter().find(|host| {
                let rack = draft.estate.parts[**host].container;
                draft.estate.parts[*part].container == rack
            });
            plan.push((*own.unwrap_or(&near), *part));
            plan.push((near, *part));
            if draft.estate.parts[*part].kind != Kind::Switch {
                plan.push((watchers[0], *part));
                plan.push((watchers[1], *part));
            }
        }
    }
    composites(draft, &mut plan);
    clients(draft, &watchers, &mut plan);
    plan.sort_unstable();
    plan.dedup();
    for (from, target) in plan {
        let kind = draft.estate.parts[target].kind;
        let is_app = matches!(
            kind,
            Kind::App | Kind::Database | Kind::Cache | Kind::Volume
        );
        draft.estate.watches.push(Watch {
            from,
            target,
            check: check(kind, draft.estate.parts[target].host == Some(from)),
            second: draft.rng.between(0, ROUND_S - 1),
            every: if is_app { size.rounds_of_apps() } else { 1 },
        });
    }
    draft.roles.dcs = dcs;
}

/// What a host asks of others: its name server, its lease, a neighbour.
fn asks(draft: &mut Draft, dc: &Dc, host: Ix, plan: &mut Vec<(Ix, Ix)>) {
    let named = |prefix: &str| {
        draft
            .estate
            .by_id
            .get(&format!("{prefix}-{}", dc.name))
            .copied()
    };
    let found = ["dns-", "dhcp", "registry"];
    let dns = draft
        .estate
        .by_id
        .get(&format!("dns-{}-1", dc.name))
        .copied();
    let dns_2 = draft
        .estate
        .by_id
        .get(&format!("dns-{}-2", dc.name))
        .copied();
    let others = [dns, dns_2, named(found[1]), named(found[2])];
    for target in others.into_iter().flatten() {
        if draft.rng.chance(0.4) {
            plan.push((host, target));
        }
    }
    if draft.rng.chance(0.4)
        && let Some(peer) = draft.rng.pick(&dc.hosts)
    {
        plan.push((host, peer));
    }
}

/// Meters are read over a network of their own, by two hosts of the datacenter.
fn supply(draft: &mut Draft, dc: &Dc, wishes: Wishes, plan: &mut Vec<(Ix, Ix)>) {
    let readers = [draft.rng.pick(&dc.hosts), draft.rng.pick(&dc.hosts)];
    for part in &dc.supply {
        if wishes.no_out_of_band || !draft.rng.chance(OUT_OF_BAND) {
            continue;
        }
        plan.extend(readers.into_iter().flatten().map(|reader| (reader, *part)));
    }
}

/// The hosts of its members ask how a cluster is.
fn composites(draft: &Draft, plan: &mut Vec<(Ix, Ix)>) {
    for (ix, part) in draft.estate.parts.iter().enumerate() {
        if part.is_composite() && part.kind != Kind::Group {
            let members = part.edges.iter().flat_map(|edge| &edge.group.of);
            let hosts = members.filter_map(|member| draft.estate.parts[*member].host);
            plan.extend(hosts.map(|host| (host, ix)));
        }
    }
}

/// Some apps' hosts ask the databases of those apps; watchers outside ask balancers and a few apps.
fn clients(draft: &mut Draft, watchers: &[Ix], plan: &mut Vec<(Ix, Ix)>) {
    for ix in 0..draft.estate.parts.len() {
        let part = &draft.estate.parts[ix];
        let Some(host) = part.host else { continue };
        let database = part.edges.iter().find(|edge| {
            edge.real
                && edge
                    .group
                    .of
                    .iter()
                    .all(|of| draft.estate.parts[*of].kind == Kind::Database)
        });
        let database = database.map(|edge| edge.group.of[0]);
        let (is_app, is_front) = (part.kind == Kind::App, part.kind == Kind::LoadBalancer);
        if let (true, Some(database)) = (draft.rng.chance(0.15), database) {
            plan.push((host, database));
        }
        if is_front || (is_app && draft.rng.chance(0.02)) {
            plan.extend(watchers.iter().map(|watcher| (*watcher, ix)));
        }
    }
}

fn check(kind: Kind, is_local: bool) -> &'static str {
    match kind {
        Kind::Host if is_local => "host.load",
        Kind::PowerFeed => "feed.input",
        Kind::Ups => "ups.status",
        Kind::Pdu => "pdu.input",
        Kind::Cooling => "cooling.temperature",
        Kind::Switch => "switch.reach",
        Kind::Router => "router.reach",
        Kind::Link => "link.state",
        Kind::BgpSession => "bgp.session",
        Kind::DhcpServer => "dhcp.answer",
        Kind::Dns => "dns.answer",
        Kind::EtcdMember => "etcd.member",
        Kind::EtcdCluster => "etcd.quorum",
        Kind::Queue => "queue.ready",
        Kind::Database if is_local => "postgres.ready",
        Kind::Volume => "volume.read",
        Kind::Cache => "cache.ping",
        Kind::LoadBalancer => "lb.ready",
        Kind::App => "http.get",
        Kind::Orchestrator | Kind::Service => "service.ready",
        _ => "tcp.connect",
    }
}
