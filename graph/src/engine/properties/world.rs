//! Small random worlds: a topology, and what may happen in it.

use std::fmt;

use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::sketch::Sketch;
use crate::{
    Changes, DiscoveredComponent, Engine, Event, EventKind, Status, Timestamp, Topology, Verdict,
};

/// What can be a member of a need: everything that may be declared.
pub(in crate::engine) const IDS: [&str; 15] = [
    "d0", "d1", "l0", "l1", "h0", "h1", "c0", "c1", "c2", "c3", "c4", "c5", "g0", "g1", "g2",
];

/// Hosts with agents; the last one is never declared.
pub(in crate::engine) const AGENTS: [&str; 3] = ["h0", "h1", "h2"];

/// Something that happens, a while after what happened before.
#[derive(Clone)]
pub(in crate::engine) struct Step {
    pub(in crate::engine) pause_s: u8,
    pub(in crate::engine) happening: Happening,
}

/// In one line, however the rest is printed.
impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{} s {:?}", self.pause_s, self.happening)
    }
}

impl Step {
    /// Whether it happens at the same time as what happened before.
    pub(in crate::engine) const fn is_of_the_same_instant(&self) -> bool {
        self.pause_s == 0
    }
}

#[derive(Debug, Clone)]
pub(in crate::engine) enum Happening {
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
        clean: Option<bool>,
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
    Done {
        id: u8,
        affects: Vec<&'static str>,
    },
    Provider {
        component: &'static str,
        indicator: &'static str,
    },
    Tick,
}

impl Happening {
    /// A look that holds for long.
    pub(in crate::engine) const fn seen(
        agent: usize,
        component: &'static str,
        status: Status,
    ) -> Self {
        Self::Observed {
            agent,
            component,
            check: "a",
            status,
            late_s: 0,
            ttl_s: Some(250),
            progress: None,
            detail: 0,
            values: 0,
        }
    }
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
        3 => (agent.clone(), 0..2_u8, any::<Option<bool>>())
            .prop_map(|(agent, boot, clean)| Happening::Connected { agent, boot, clean }),
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
        1 => (0..2_u8, vec(any_id(), 1..4)).prop_map(|(id, affects)| Happening::Done { id, affects }),
        1 => (any_id(), select(vec!["none", "minor", "major"]))
            .prop_map(|(component, indicator)| Happening::Provider { component, indicator }),
    ]
}

fn steps_of(happenings: impl Strategy<Value = Happening>) -> impl Strategy<Value = Vec<Step>> {
    let pause = prop_oneof![3 => Just(0), 3 => 1..6_u8, 1 => 6..40_u8];
    let step = (pause, happenings).prop_map(|(pause_s, happening)| Step { pause_s, happening });
    vec(step, 1..50)
}

/// Everything that may happen.
pub(in crate::engine) fn steps() -> impl Strategy<Value = Vec<Step>> {
    steps_of(anything())
}

/// What the streams of agents bring, and nothing else.
pub(in crate::engine) fn steps_of_agents() -> impl Strategy<Value = Vec<Step>> {
    steps_of(from_agents())
}

/// A world: an engine, and the topologies that may come into force.
#[derive(Debug, Clone)]
pub(in crate::engine) struct World {
    pub(in crate::engine) engine: Engine,
    /// Which topology is in force.
    pub(in crate::engine) in_force: usize,
    topologies: [Sketch; 2],
    at: Timestamp,
}

fn second(count: u8) -> i64 {
    i64::from(count) * 1_000_000
}

impl World {
    pub(in crate::engine) fn new(topologies: &[Sketch; 2]) -> Self {
        let at = Timestamp::from_micros(1_000_000_000);
        Self {
            engine: Engine::new(topologies[0].topology(), at),
            in_force: 0,
            topologies: topologies.clone(),
            at,
        }
    }

    /// Nobody new will join: everything that may is known, by the order of its ids.
    pub(in crate::engine) fn meet_everybody(&mut self) {
        let mut joining: Vec<String> = vec!["elsewhere".into(), "far-host".into(), "other".into()];
        for agent in AGENTS {
            joining.push(agent.to_owned());
            joining.extend(["0", "1", "2", "x", "y"].map(|what| format!("{agent}/{what}")));
        }
        joining.sort();
        for id in &joining {
            self.engine.ensure(id).unwrap();
        }
    }

    /// Every agent connects, and everything is seen to work for a minute.
    pub(in crate::engine) fn see_all_work(&mut self) {
        let step = |happening| Step {
            pause_s: 0,
            happening,
        };
        for agent in 0..AGENTS.len() {
            self.take(&step(Happening::Connected {
                agent,
                boot: 0,
                clean: None,
            }));
        }
        for (at, component) in IDS.iter().enumerate() {
            if !component.starts_with('g') {
                self.take(&step(Happening::seen(at % 2, component, Status::Ok)));
            }
        }
        for pause_s in [30, 30] {
            self.take(&Step {
                pause_s,
                happening: Happening::Tick,
            });
        }
    }

    pub(in crate::engine) fn topology(&self) -> Topology {
        self.topologies[self.in_force].topology()
    }

    /// When the step happens.
    pub(in crate::engine) fn moment(&self, step: &Step) -> Timestamp {
        Timestamp::from_micros(self.at.as_micros() + second(step.pause_s))
    }

    /// Until when somebody may look at the engine before the step happens.
    pub(in crate::engine) fn watched_until(&self, step: &Step) -> Timestamp {
        match &step.happening {
            Happening::Restarted { ago_s } => {
                Timestamp::from_micros(self.moment(step).as_micros() - second(*ago_s))
            }
            _ => self.moment(step),
        }
    }

    /// Lets it happen.
    pub(in crate::engine) fn take(&mut self, step: &Step) -> Changes {
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

pub(in crate::engine) fn event(happening: &Happening, at: Timestamp) -> EventKind {
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
        Happening::Connected { agent, boot, clean } => EventKind::AgentConnected {
            agent: host(agent),
            boot_id: format!("boot-{boot}"),
            uptime_s: 1.0,
            clean_shutdown: *clean,
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
        Happening::Done { id, affects } => EventKind::Action {
            by: String::new(),
            detail: String::new(),
            id: Some(format!("change-{id}")),
            affects: affects.iter().map(|id| (*id).to_owned()).collect(),
        },
        Happening::Provider {
            component,
            indicator,
        } => EventKind::ProviderStatus {
            component: (*component).to_owned(),
            indicator: (*indicator).to_owned(),
            detail: String::new(),
        },
        Happening::Judged(..) | Happening::Topology(_) | Happening::Tick => EventKind::Tick,
    }
}

/// The agent whose stream brought it.
pub(in crate::engine) fn stream_of(step: &Step) -> usize {
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
pub(in crate::engine) fn shuffled(steps: &[Step], keys: &[u8]) -> Vec<Step> {
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
