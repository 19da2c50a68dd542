//! What really happens: the truth, second by second, by rules of its own that the engine does not share.
//!
//! Every part runs, starts or is off; it needs what the estate really needs; batteries, leases and cached names bridge a while. What differs from one
//! part to the next belongs to the part, so that a world with another fault differs by that fault alone.

use blackstart_graph::{Kind, Status};

use super::estate::{Edge, Estate, Ix, Want, Watch};
use super::rng::share;

/// A probe asks once a round.
pub(super) const ROUND_S: i64 = 10;
/// Whoever waits so long for what it needs to start is started by hand, with a stub in its place.
const BY_HAND_S: i64 = 180;
/// The share of those that show it when something they merely use is not there.
const SHOWS_SOFT: f64 = 0.6;
/// The share of those that wait and say that they start, not that they failed.
const SAYS_STARTING: f64 = 0.3;
/// More rounds than any chain of needs is deep.
const SWEEPS_MAX: usize = 24;

/// A second as a place in a list.
pub(super) fn place(second: i64) -> usize {
    usize::try_from(second).unwrap_or(0)
}

/// What a fault does to its parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    /// It does not work at all.
    Off,
    /// It works, and nobody gets in or out.
    Cut,
    /// Only the agent on it does not work.
    AgentDead,
    /// It works badly.
    Impaired,
}

/// Parts that are broken for a while, from and until in seconds.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Harm {
    pub(super) parts: Vec<Ix>,
    pub(super) mode: Mode,
    pub(super) from: i64,
    pub(super) until: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Off { since: i64 },
    Starting { from: i64, until: i64 },
    Running,
}

/// The truth at one moment.
#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) estate: &'a Estate,
    harms: Vec<Harm>,
    now: i64,
    stage: Vec<Stage>,
    /// It runs, and lacks what it needs.
    lacks: Vec<bool>,
    /// It runs, and something that it uses is not there or it is impaired.
    suffers: Vec<bool>,
    cut: Vec<bool>,
    any_cut: bool,
    own: Vec<Option<Mode>>,
    own_cut: Vec<bool>,
    agent_dead: Vec<bool>,
    boots: Vec<u32>,
    booted_at: Vec<i64>,
    lost_since: Vec<Vec<Option<i64>>>,
    /// The first time that it did not work or was cut, and the last time that it came back from that.
    pub(super) went: Vec<Option<i64>>,
    pub(super) back: Vec<Option<i64>>,
    /// Time alone may change something.
    busy: bool,
    /// Batteries and leases do not bridge anything.
    pub(super) no_grace: bool,
}

impl<'a> World<'a> {
    /// Everything runs, and has for long.
    pub(super) fn new(estate: &'a Estate, harms: Vec<Harm>) -> Self {
        let count = estate.parts.len();
        let parts = estate.parts.iter();
        Self {
            estate,
            harms,
            now: -1,
            stage: vec![Stage::Running; count],
            lacks: vec![false; count],
            suffers: vec![false; count],
            cut: vec![false; count],
            any_cut: false,
            own: vec![None; count],
            own_cut: vec![false; count],
            agent_dead: vec![false; count],
            boots: vec![0; count],
            booted_at: vec![-864_000; count],
            lost_since: parts.map(|part| vec![None; part.edges.len()]).collect(),
            went: vec![None; count],
            back: vec![None; count],
            busy: true,
            no_grace: false,
        }
    }

    /// Goes on to a second that is later than the last.
    pub(super) fn step(&mut self, now: i64) {
        let turned = self.harms.iter().any(|harm| {
            (self.now < harm.from && harm.from <= now)
                || (self.now < harm.until && harm.until <= now)
        });
        self.now = now;
        if turned {
            self.turn();
        }
        if !turned && !self.busy {
            return;
        }
        self.busy = false;
        for _ in 0..SWEEPS_MAX {
            let mut changed = self.cuts();
            for ix in 0..self.estate.parts.len() {
                changed |= self.settle(ix);
            }
            if !changed {
                break;
            }
        }
        for ix in 0..self.estate.parts.len() {
            if !self.is_on(ix) || self.cut[ix] {
                self.went[ix].get_or_insert(now);
                self.back[ix] = None;
            } else if self.went[ix].is_some() {
                self.back[ix].get_or_insert(now);
            }
        }
    }

    /// Brings what is broken of itself up to date.
    fn turn(&mut self) {
        self.own.fill(None);
        self.own_cut.fill(false);
        self.agent_dead.fill(false);
        for harm in &self.harms {
            if harm.from > self.now || harm.until <= self.now {
                continue;
            }
            for ix in &harm.parts {
                match harm.mode {
                    Mode::Off => self.own[*ix] = Some(Mode::Off),
                    Mode::Impaired => {
                        self.own[*ix].get_or_insert(Mode::Impaired);
                    }
                    Mode::Cut => self.own_cut[*ix] = true,
                    Mode::AgentDead => self.agent_dead[*ix] = true,
                }
            }
        }
    }

    fn cuts(&mut self) -> bool {
        let mut changed = false;
        let mut any = false;
        for (ix, part) in self.estate.parts.iter().enumerate() {
            let via = part.via.iter();
            let lost = via.clone().any(|group| {
                group.of.iter().filter(|of| self.is_on(**of)).count() < group.at_least
            });
            let cut = self.own_cut[ix] || lost;
            changed |= cut != self.cut[ix];
            any |= cut;
            self.cut[ix] = cut;
        }
        self.any_cut = any;
        changed
    }

    fn settle(&mut self, ix: Ix) -> bool {
        let part = &self.estate.parts[ix];
        let there = part.container.is_none_or(|outer| self.is_on(outer));
        let well = there && self.own[ix] != Some(Mode::Off);
        let before = (self.stage[ix], self.lacks[ix], self.suffers[ix]);
        let running = self.stage[ix] == Stage::Running;
        let (mut lacks, mut lacks_at_start, mut soft) = (false, false, false);
        for (at, edge) in part.edges.iter().enumerate().filter(|(_, edge)| edge.real) {
            let lost = !self.is_held(ix, edge);
            let since = match (lost, self.lost_since[ix][at]) {
                (false, _) => None,
                (true, known) => known.or(Some(self.now)),
            };
            self.lost_since[ix][at] = since;
            let grace_s = if self.no_grace { 0 } else { edge.grace_s };
            let over = since.is_some_and(|since| !running || self.now - since >= grace_s);
            self.busy |= lost && !over;
            match edge.want {
                Want::Needs => {
                    lacks |= over;
                    lacks_at_start |= over;
                    soft |= lost && !over && part.is_power();
                }
                Want::ToRun => lacks |= over,
                Want::ToStart => lacks_at_start |= over,
                Want::Uses => {
                    soft |= lost && share(&[self.estate.seed, 11, ix as u64]) < SHOWS_SOFT
                }
            }
        }
        let is_process = part.is_service() || part.is_composite();
        self.stage[ix] = match self.stage[ix] {
            Stage::Running if !well || (lacks && !is_process) => Stage::Off { since: self.now },
            Stage::Running => Stage::Running,
            Stage::Off { since } => {
                let lacks = lacks_at_start || (lacks && !is_process);
                let by_hand = is_process && self.now - since > BY_HAND_S;
                if well && (!lacks || by_hand) {
                    self.begin(ix, part.kind, part.start_s)
                } else {
                    // The wait is counted from when nothing but its needs is in its way.
                    self.busy |= well;
                    Stage::Off {
                        since: if well { since } else { self.now },
                    }
                }
            }
            Stage::Starting { .. } if !well => Stage::Off { since: self.now },
            Stage::Starting { until, .. } if self.now >= until => Stage::Running,
            starting @ Stage::Starting { .. } => {
                self.busy = true;
                starting
            }
        };
        self.lacks[ix] = lacks && is_process && self.stage[ix] == Stage::Running;
        self.suffers[ix] = soft || self.own[ix] == Some(Mode::Impaired);
        before != (self.stage[ix], self.lacks[ix], self.suffers[ix])
    }

    fn begin(&mut self, ix: Ix, kind: Kind, start_s: i64) -> Stage {
        self.busy = true;
        if kind == Kind::Host {
            self.boots[ix] += 1;
            self.booted_at[ix] = self.now + start_s - 20;
        }
        if start_s == 0 {
            return Stage::Running;
        }
        Stage::Starting {
            from: self.now,
            until: self.now + start_s,
        }
    }

    fn is_held(&self, ix: Ix, edge: &Edge) -> bool {
        let there = edge
            .group
            .of
            .iter()
            .filter(|of| self.is_there_for(ix, **of));
        there.count() >= edge.group.at_least
    }

    /// Whether `ix` gets at `of` and finds it working.
    fn is_there_for(&self, ix: Ix, of: Ix) -> bool {
        let part = &self.estate.parts[of];
        if part.is_composite() && !self.estate.parts[ix].is_composite() {
            return self.own[of] != Some(Mode::Off)
                && part
                    .edges
                    .iter()
                    .filter(|edge| edge.real)
                    .all(|edge| self.is_held(ix, edge));
        }
        self.is_on(of) && (!part.is_service() || self.has_path(ix, of))
    }

    /// It works, whoever may get at it.
    pub(super) fn is_on(&self, ix: Ix) -> bool {
        self.stage[ix] == Stage::Running && !self.lacks[ix]
    }

    /// Whether what goes from one to the other arrives.
    pub(super) fn has_path(&self, from: Ix, to: Ix) -> bool {
        if !self.any_cut || self.estate.parts[from].is_composite() {
            return true;
        }
        let (from, to) = (&self.estate.chains[from], &self.estate.chains[to]);
        let cut = |one: &[Ix], other: &[Ix]| {
            one.iter()
                .any(|outer| self.cut[*outer] && !other.contains(outer))
        };
        !cut(from, to) && !cut(to, from)
    }

    /// Whether the agent on a host is at work.
    pub(super) fn has_agent(&self, host: Ix) -> bool {
        self.is_on(host) && !self.agent_dead[host]
    }

    pub(super) fn boot(&self, host: Ix) -> (u32, i64) {
        (self.boots[host], self.now - self.booted_at[host])
    }

    /// What a probe sees, if it can look.
    pub(super) fn look(&self, watch: &Watch) -> Option<(Status, Option<f32>)> {
        if !self.has_agent(watch.from) {
            return None;
        }
        let part = &self.estate.parts[watch.target];
        if part.is_composite() {
            return Some((self.look_at_members(watch), None));
        }
        let is_local = part.host == Some(watch.from);
        if !is_local && !self.has_path(watch.from, watch.target) {
            return Some((Status::Failed, None));
        }
        let waits = |ix: Ix| share(&[self.estate.seed, 12, ix as u64]) < SAYS_STARTING;
        Some(match self.stage[watch.target] {
            Stage::Running if self.lacks[watch.target] => (Status::Failed, None),
            Stage::Running if self.suffers[watch.target] => (Status::Degraded, None),
            Stage::Running => (Status::Ok, None),
            Stage::Starting { from, until } if is_local && part.is_service() => {
                let share = (self.now - from) as f32 / (until - from).max(1) as f32;
                (Status::Starting, Some(share))
            }
            Stage::Off { .. }
                if is_local
                    && part.is_service()
                    && self.own[watch.target].is_none()
                    && waits(watch.target) =>
            {
                (Status::Starting, None)
            }
            Stage::Starting { .. } | Stage::Off { .. } => (Status::Failed, None),
        })
    }

    fn look_at_members(&self, watch: &Watch) -> Status {
        let part = &self.estate.parts[watch.target];
        let mut worst = match self.own[watch.target] {
            Some(Mode::Off) => Status::Failed,
            Some(_) => Status::Degraded,
            None => Status::Ok,
        };
        for edge in part.edges.iter().filter(|edge| edge.real) {
            let there = edge
                .group
                .of
                .iter()
                .filter(|of| self.is_there_for(watch.from, **of))
                .count();
            let status = match there {
                few if few < edge.group.at_least => Status::Failed,
                some if some < edge.group.of.len() => Status::Degraded,
                _ => Status::Ok,
            };
            worst = worst.max(status);
        }
        worst
    }
}
