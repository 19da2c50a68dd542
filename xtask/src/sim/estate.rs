//! What there is: parts with what they really need, what the topology file says of it, and who looks at what.
//!
//! Not here: how one is drawn ([`super::build`]), what happens to it ([`super::world`]).

use std::collections::BTreeMap;

use blackstart_graph::Kind;

/// A part's place in [`Estate::parts`].
pub(super) type Ix = usize;

/// Which need, as the topology file writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Needs,
    ToStart,
    ToRun,
    Uses,
}

impl Want {
    pub(super) const fn key(self) -> &'static str {
        match self {
            Self::Needs => "needs",
            Self::ToStart => "needs_to_start",
            Self::ToRun => "needs_to_run",
            Self::Uses => "uses",
        }
    }
}

/// So many of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) at_least: usize,
    pub(super) of: Vec<Ix>,
}

/// A need.
#[derive(Debug, Clone)]
pub(super) struct Edge {
    pub(super) want: Want,
    pub(super) group: Group,
    /// How long it does without, in seconds, once it runs: a battery, a lease, a cached name, the warmth of a room.
    pub(super) grace_s: i64,
    /// It holds in the world.
    pub(super) real: bool,
    /// The file has it.
    pub(super) declared: bool,
}

/// One component.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) id: String,
    pub(super) kind: Kind,
    pub(super) container: Option<Ix>,
    pub(super) edges: Vec<Edge>,
    pub(super) via: Vec<Group>,
    pub(super) labels: BTreeMap<&'static str, String>,
    /// The host that it is on, or is.
    pub(super) host: Option<Ix>,
    /// How long it takes to start, in seconds.
    pub(super) start_s: i64,
}

impl Part {
    /// Made of its members: it has no place and no process of its own.
    pub(super) fn is_composite(&self) -> bool {
        matches!(self.kind, Kind::EtcdCluster | Kind::Group)
            || (self.container.is_none() && self.kind == Kind::Queue)
    }

    pub(super) fn is_power(&self) -> bool {
        matches!(self.kind, Kind::PowerFeed | Kind::Ups | Kind::Pdu)
    }

    /// A process on a host.
    pub(super) fn is_service(&self) -> bool {
        self.kind > Kind::Host && self.host.is_some()
    }
}

/// One probe of one agent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Watch {
    /// The host it runs on.
    pub(super) from: Ix,
    pub(super) target: Ix,
    pub(super) check: &'static str,
    /// When in its round it asks, in seconds.
    pub(super) second: i64,
    /// Every so many rounds.
    pub(super) every: i64,
}

/// Everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Estate {
    pub(super) seed: u64,
    pub(super) parts: Vec<Part>,
    pub(super) watches: Vec<Watch>,
    pub(super) hosts: Vec<Ix>,
    /// The component of kind aggregator.
    pub(super) aggregator: Ix,
    /// Each part's containers from itself outwards.
    pub(super) chains: Vec<Vec<Ix>>,
    /// Who is inside of what, the nearest only.
    pub(super) inside: Vec<Vec<Ix>>,
    pub(super) by_id: BTreeMap<String, Ix>,
}

impl Estate {
    /// All parts of a kind.
    pub(super) fn of_kind(&self, kind: Kind) -> Vec<Ix> {
        (0..self.parts.len())
            .filter(|ix| self.parts[*ix].kind == kind)
            .collect()
    }

    /// Whether `inner` is `outer` or somewhere in it.
    pub(super) fn is_inside(&self, inner: Ix, outer: Ix) -> bool {
        self.chains[inner].contains(&outer)
    }

    /// Who carries a label.
    pub(super) fn labelled(&self, key: &str, value: &str) -> Vec<Ix> {
        (0..self.parts.len())
            .filter(|ix| {
                self.parts[*ix]
                    .labels
                    .get(key)
                    .is_some_and(|own| own == value)
            })
            .collect()
    }

    /// The host of the aggregator.
    pub(super) fn aggregator_host(&self) -> Ix {
        self.parts[self.aggregator].host.unwrap_or(self.aggregator)
    }

    /// Brings what follows from the parts up to date.
    pub(super) fn index(&mut self) {
        self.chains = (0..self.parts.len())
            .map(|ix| std::iter::successors(Some(ix), |at| self.parts[*at].container).collect())
            .collect();
        self.inside = vec![Vec::new(); self.parts.len()];
        for (ix, part) in self.parts.iter().enumerate() {
            if let Some(outer) = part.container {
                self.inside[outer].push(ix);
            }
        }
        self.hosts = self.of_kind(Kind::Host);
        self.by_id = (self.parts.iter().enumerate())
            .map(|(ix, part)| (part.id.clone(), ix))
            .collect();
    }

    /// The topology file, with what it does not know and what is no longer so.
    pub(super) fn toml(&self) -> String {
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(&format!(
                "[component.\"{}\"]\nkind = \"{}\"\n",
                part.id, part.kind
            ));
            if let Some(outer) = part.container {
                text.push_str(&format!("in = \"{}\"\n", self.parts[outer].id));
            }
            for want in [Want::Needs, Want::ToStart, Want::ToRun, Want::Uses] {
                let edges = part.edges.iter();
                let entries: Vec<String> = edges
                    .filter(|edge| edge.declared && edge.want == want)
                    .map(|edge| self.entry(&edge.group))
                    .collect();
                if !entries.is_empty() {
                    text.push_str(&format!("{} = [{}]\n", want.key(), entries.join(", ")));
                }
            }
            if !part.via.is_empty() {
                let entries: Vec<String> = part.via.iter().map(|group| self.entry(group)).collect();
                text.push_str(&format!("reached_via = [{}]\n", entries.join(", ")));
            }
            if !part.labels.is_empty() {
                let labels = part.labels.iter();
                let labels: Vec<String> = labels
                    .map(|(key, value)| format!("{key} = \"{value}\""))
                    .collect();
                text.push_str(&format!("labels = {{ {} }}\n", labels.join(", ")));
            }
            text.push('\n');
        }
        text
    }

    fn entry(&self, group: &Group) -> String {
        let ids: Vec<String> = group
            .of
            .iter()
            .map(|ix| format!("\"{}\"", self.parts[*ix].id))
            .collect();
        match ids.as_slice() {
            [only] => only.clone(),
            all => format!(
                "{{ at_least = {}, of = [{}] }}",
                group.at_least,
                all.join(", ")
            ),
        }
    }
}
