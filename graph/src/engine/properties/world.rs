//! Small random worlds: topologies with everything that may be written in one, and what may happen in them.

use std::fmt::{self, Write};

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::{
    Changes, DiscoveredComponent, Engine, Event, EventKind, Status, Timestamp, Topology, Verdict,
};

/// What can be a member of a need: everything that may be declared.
const IDS: [&str; 15] = [
    "d0", "d1", "l0", "l1", "h0", "h1", "c0", "c1", "c2", "c3", "c4", "c5", "g0", "g1", "g2",
];

/// Hosts with agents; the last one is never declared.
const AGENTS: [&str; 3] = ["h0", "h1", "h2"];

const RELATIONS: [&str; 6] = [
    "needs",
    "needs_to_start",
    "needs_to_run",
    "uses",
    "uses_to_start",
    "uses_to_run",
];

/// A need: which key, how many, of which.
#[derive(Debug, Clone)]
struct Wanted {
    relation: usize,
    at_least: Index,
    of: Vec<usize>,
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (0..RELATIONS.len(), any::<Index>(), vec(0..IDS.len(), 1..4)).prop_map(
        |(relation, at_least, mut of)| {
            of.sort_unstable();
            of.dedup();
            Wanted {
                relation,
                at_least,
                of,
            }
        },
    )
}

fn group(text: &mut String, wanted: &Wanted) {
    let names: Vec<String> = wanted
        .of
        .iter()
        .map(|at| format!("{:?}", IDS[*at]))
        .collect();
    let at_least = wanted.at_least.index(names.len()) + 1;
    let _ = write!(
        text,
        "{{ at_least = {at_least}, of = [{}] }}, ",
        names.join(", ")
    );
}

/// A topology: containers that hold containers, needs of every relation with cycles and self-edges, k of n, groups in
/// groups, groups of nothing, and things that stand on the way.
pub(super) fn topology() -> impl Strategy<Value = Sketch> {
    let one = (of(any::<Index>()), vec(wanted(), 0..3), of(wanted()));
    vec(one, IDS.len()).prop_map(|components| {
        let mut text = String::new();
        for (at, (container, needs, via)) in components.iter().enumerate() {
            let (id, is_group) = (IDS[at], IDS[at].starts_with('g'));
            let kind = match &id[..1] {
                "d" => "datacenter",
                "l" => "link",
                "h" => "host",
                "g" => "group",
                _ => "app",
            };
            let _ = writeln!(text, "[component.{id}]\nkind = \"{kind}\"");
            if let Some(container) = container
                && !is_group
                && at > 0
            {
                let _ = writeln!(text, "in = {:?}", IDS[container.index(at)]);
            }
            for (relation, key) in RELATIONS.iter().enumerate() {
                let mut entries = String::new();
                for need in needs.iter().filter(|need| need.relation == relation) {
                    group(&mut entries, need);
                }
                if !entries.is_empty() {
                    let _ = writeln!(text, "{key} = [{entries}]");
                }
            }
            if let Some(via) = via
                && !is_group
                && at < 6
            {
                text.push_str("reached_via = [");
                group(&mut text, via);
                text.push_str("]\n");
            }
        }
        Sketch(text)
    })
}

/// The text of a topology; a failure shows it as it is.
#[derive(Clone)]
pub(super) struct Sketch(String);

impl fmt::Debug for Sketch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{}", self.0)
    }
}

impl Sketch {
    fn topology(&self) -> Topology {
        Topology::parse("t.toml", &self.0).unwrap()
    }
}

/// Something that happens, a while after what happened before.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pause_s: u8,
    pub(super) happening: Happening,
}

impl Step {
    /// Whether it happens at the same time as what happened before.
    pub(super) const fn is_of_the_same_instant(&self) -> bool {
        self.pause_s == 0
    }
}

#[derive(Debug, Clone)]
pub(super) enum Happening {
    Observed {
        agent: usize,
        component: &'static str,
        check: &'static str,
        status: Status,
        late_s: u8,
        ttl_s: Option<u8>,
        progress: Option<u8>,
        detail: u8,
        values: u8,
    },
    Connected {
        agent: usize,
        boot: u8,
    },
    Lost(usize),
    Stopping(usize),
    Discovered {
        agent: usize,
        id: u8,
        container: Option<&'static str>,
        uses: Option<&'static str>,
    },
    Facts {
        agent: usize,
        os: u8,
    },
    Gone(&'static str),
    Maintenance {
        component: &'static str,
        for_s: u8,
    },
    Restarted {
        ago_s: u8,
    },
    Judged(&'static str, Option<Verdict>),
    Topology(Index),
}

fn observed() -> impl Strategy<Value = Happening> {
    let components: Vec<&'static str> = IDS
        .iter()
        .copied()
        .filter(|id| !id.starts_with('g'))
        .chain(["h0/x", "h2/x", "h2/y", "h2", "elsewhere", "h0/0", "h0/1"])
        .collect();
    let statuses = vec![
        Status::Ok,
        Status::Ok,
        Status::Degraded,
        Status::Starting,
        Status::Failed,
        Status::Failed,
        Status::Unknown,
    ];
    (
        (0..AGENTS.len(), select(components), select(vec!["a", "b"])),
        (select(statuses), prop_oneof![3 => Just(0), 1 => 0..40_u8]),
        (of(1..40_u8), of(0..3_u8), 0..3_u8, 0..4_u8),
    )
        .prop_map(
            |((agent, component, check), (status, late_s), (ttl_s, progress, detail, values))| {
                Happening::Observed {
                    agent,
                    component,
                    check,
                    status,
                    late_s,
                    ttl_s,
                    progress,
                    detail,
                    values,
                }
            },
        )
}

/// What the streams of agents bring.
fn from_agents() -> impl Strategy<Value = Happening> {
    let agent = 0..AGENTS.len();
    // What was found may be in, and use, what else was found.
    let containers = vec!["h0", "h1", "h2", "d1", "c0", "far-host", "h0/0", "h0/1"];
    let used = vec!["c1", "other", "h2/x", "h0/0", "h0/2"];
    prop_oneof![
        20 => observed(),
        3 => (agent.clone(), 0..2_u8).prop_map(|(agent, boot)| Happening::Connected { agent, boot }),
        2 => agent.clone().prop_map(Happening::Lost),
        1 => agent.clone().prop_map(Happening::Stopping),
        4 => (agent.clone(), 0..3_u8, of(select(containers)), of(select(used)))
            .prop_map(|(agent, id, container, uses)| Happening::Discovered { agent, id, container, uses }),
        1 => (agent, 0..3_u8).prop_map(|(agent, os)| Happening::Facts { agent, os }),
    ]
}

fn anything() -> impl Strategy<Value = Happening> {
    let any_id = || select(IDS.to_vec());
    let verdicts = vec![None, Some(Verdict::WithoutPower), Some(Verdict::PathLost)];
    prop_oneof![
        20 => from_agents(),
        1 => any_id().prop_map(Happening::Gone),
        1 => (any_id(), 0..60_u8).prop_map(|(component, for_s)| Happening::Maintenance { component, for_s }),
        1 => (0..20_u8).prop_map(|ago_s| Happening::Restarted { ago_s }),
        1 => (any_id(), select(verdicts)).prop_map(|(id, verdict)| Happening::Judged(id, verdict)),
        1 => any::<Index>().prop_map(Happening::Topology),
    ]
}

fn steps_of(happenings: impl Strategy<Value = Happening>) -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![3 => Just(0), 3 => 1..6_u8, 1 => 6..40_u8];
    let step = (pause, happenings).prop_map(|(pause_s, happening)| Step { pause_s, happening });
    vec(step, 1..50)
}

/// Everything that may happen.
pub(super) fn steps() -> impl Strategy<Value = Vec<Step>> {
    steps_of(anything())
}

/// What the streams of agents bring, and nothing else.
pub(super) fn steps_of_agents() -> impl Strategy<Value = Vec<Step>> {
    steps_of(from_agents())
}

/// A world: an engine, and the topologies that may come into force.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) engine: Engine,
    /// Which topology is in force.
    pub(super) in_force: usize,
    topologies: [Sketch; 2],
    at: Timestamp,
}

fn second(count: u8) -> i64 {
    i64::from(count) * 1_000_000
}

impl World {
    pub(super) fn new(topologies: &[Sketch; 2]) -> Self {
        let at = Timestamp::from_micros(1_000_000_000);
        Self {
            engine: Engine::new(topologies[0].topology(), at),
            in_force: 0,
            topologies: topologies.clone(),
            at,
        }
    }

    pub(super) fn topology(&self) -> Topology {
        self.topologies[self.in_force].topology()
    }

    /// When the step happens.
    pub(super) fn moment(&self, step: &Step) -> Timestamp {
        Timestamp::from_micros(self.at.as_micros() + second(step.pause_s))
    }

    /// Until when somebody may look at the engine before the step happens.
    pub(super) fn watched_until(&self, step: &Step) -> Timestamp {
        match &step.happening {
            Happening::Restarted { ago_s } => {
                Timestamp::from_micros(self.moment(step).as_micros() - second(*ago_s))
            }
            _ => self.moment(step),
        }
    }

    /// Lets it happen.
    pub(super) fn take(&mut self, step: &Step) -> Changes {
        self.at = self.moment(step);
        let mut changes = Changes::default();
        match &step.happening {
            Happening::Judged(id, verdict) => {
                changes = self.engine.judge(self.at, id, *verdict);
            }
            Happening::Topology(which) => {
                self.in_force = which.index(2);
                changes = self.engine.replace_topology(self.topology(), self.at);
            }
            happening => {
                let event = Event {
                    at: self.at,
                    kind: event(happening, self.at),
                };
                // What names nothing that exists is refused, and changes nothing.
                let _ = self.engine.apply(&event, &mut changes);
            }
        }
        changes
    }
}

fn event(happening: &Happening, at: Timestamp) -> EventKind {
    let ago = |seconds| Timestamp::from_micros(at.as_micros() - second(seconds));
    let host = |agent: &usize| AGENTS[*agent].to_owned();
    match happening {
        Happening::Observed {
            agent,
            component,
            check,
            status,
            late_s,
            ttl_s,
            progress,
            detail,
            values,
        } => EventKind::Observation {
            agent: host(agent),
            component: Some((*component).to_owned()),
            check: (*check).to_owned(),
            status: *status,
            progress: progress.map(|progress| f32::from(progress) / 2.0),
            detail: ["", "said so", "or so"][usize::from(*detail)].to_owned(),
            values: (0..*values)
                .map(|at| (format!("v{at}"), f64::from(*late_s)))
                .collect(),
            sampled_at: Some(ago(*late_s)),
            ttl_s: ttl_s.map(f64::from),
        },
        Happening::Connected { agent, boot } => EventKind::AgentConnected {
            agent: host(agent),
            boot_id: format!("boot-{boot}"),
            uptime_s: 1.0,
            clean_shutdown: None,
        },
        Happening::Lost(agent) => EventKind::AgentLost { agent: host(agent) },
        Happening::Stopping(agent) => EventKind::AgentStopping {
            agent: host(agent),
            reason: String::new(),
        },
        Happening::Discovered {
            agent,
            id,
            container,
            uses,
        } => EventKind::Discovered {
            agent: host(agent),
            components: vec![DiscoveredComponent {
                id: format!("{}/{id}", AGENTS[*agent]),
                kind: "database".to_owned(),
                container: container.map(str::to_owned),
                uses: uses.iter().map(|id| (*id).to_owned()).collect(),
                labels: [("a".to_owned(), id.to_string())].into(),
            }],
        },
        Happening::Facts { agent, os } => EventKind::Facts {
            agent: host(agent),
            labels: (0..*os)
                .map(|os| (format!("os-{os}"), "x".to_owned()))
                .collect(),
        },
        Happening::Gone(component) => EventKind::Gone {
            component: (*component).to_owned(),
        },
        Happening::Maintenance { component, for_s } => EventKind::Maintenance {
            component: (*component).to_owned(),
            until: at.plus(std::time::Duration::from_secs(u64::from(*for_s))),
        },
        Happening::Restarted { ago_s } => EventKind::AggregatorRestarted {
            watched_until: ago(*ago_s),
        },
        Happening::Judged(..) | Happening::Topology(_) => EventKind::Tick,
    }
}

/// The agent whose stream brought it.
pub(super) fn stream_of(step: &Step) -> usize {
    match &step.happening {
        Happening::Observed { agent, .. }
        | Happening::Connected { agent, .. }
        | Happening::Lost(agent)
        | Happening::Stopping(agent)
        | Happening::Discovered { agent, .. }
        | Happening::Facts { agent, .. } => *agent,
        _ => AGENTS.len(),
    }
}

/// The steps of each instant in another order; those of one stream stay in theirs.
pub(super) fn shuffled(steps: &[Step], keys: &[u8]) -> Vec<Step> {
    let mut shuffled: Vec<Step> = Vec::new();
    let mut at = 0;
    while at < steps.len() {
        let rest = &steps[at + 1..];
        let more = rest.iter().take_while(|step| step.pause_s == 0).count();
        let instant = &steps[at..=at + more];
        let mut streams: Vec<Vec<Step>> = vec![Vec::new(); AGENTS.len() + 1];
        for step in instant {
            let mut step = step.clone();
            step.pause_s = 0;
            streams[stream_of(&step)].push(step);
        }
        let mut first = true;
        let mut keys = keys.iter().cycle().skip(at);
        while streams.iter().any(|stream| !stream.is_empty()) {
            let open: Vec<usize> = (0..streams.len())
                .filter(|s| !streams[*s].is_empty())
                .collect();
            let key = usize::from(*keys.next().unwrap_or(&0));
            let mut step = streams[open[key % open.len()]].remove(0);
            if std::mem::take(&mut first) {
                step.pause_s = instant[0].pause_s;
            }
            shuffled.push(step);
        }
        at += more + 1;
    }
    shuffled
}
