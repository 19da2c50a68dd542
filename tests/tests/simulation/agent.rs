//! An agent on a simulated host: its clocks, its starts, its end.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use blackstart_agent::agent::{AgentError, run_over};
use blackstart_agent::clock::{HostClock, Reading};
use blackstart_agent::config::{AgentConfig, SpoolLimits};
use blackstart_agent::surroundings::Surroundings;
use blackstart_proto::version;
use tokio_util::sync::CancellationToken;

use crate::network::Dialer;
use crate::probe::Script;
use crate::world::AGGREGATOR;

/// What an agent is.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) host: String,
    pub(crate) scripts: Vec<Arc<Script>>,
    pub(crate) interval: Duration,
    pub(crate) spool: SpoolLimits,
    pub(crate) versions: RangeInclusive<u32>,
    /// How far its wall clock is ahead of the truth when it starts.
    pub(crate) wall_ahead_us: i64,
}

impl Plan {
    /// An agent that asks every second what these scripts answer.
    pub(crate) fn new(host: &str, scripts: &[&Arc<Script>]) -> Self {
        Self {
            host: host.to_owned(),
            scripts: scripts.iter().map(|script| Arc::clone(script)).collect(),
            interval: Duration::from_secs(1),
            spool: AgentConfig::defaults().spool,
            versions: version::SPOKEN,
            wall_ahead_us: 0,
        }
    }
}

/// The clocks of a host.
#[derive(Debug)]
struct HostTime {
    /// The true time at which this boot began, since the Unix epoch.
    booted: Duration,
    boot: u32,
    wall_ahead_us: i64,
    /// What was shown last, for when no host runs.
    last: Reading,
}

/// The agent of a host, whatever process of it runs now.
#[derive(Debug)]
pub(crate) struct Agent {
    plan: Plan,
    state_dir: PathBuf,
    seed: u64,
    time: Arc<Mutex<HostTime>>,
    starts: AtomicU64,
    stop: Mutex<CancellationToken>,
    dialer: Dialer,
}

impl Agent {
    pub(crate) fn new(plan: Plan, state_dir: PathBuf, seed: u64, now: Duration) -> Self {
        let time = HostTime {
            // Up for a while already, and each for another one.
            booted: now - Duration::from_secs(1_000 + 17 * (plan.host.len() as u64)),
            boot: 1,
            wall_ahead_us: plan.wall_ahead_us,
            last: Reading {
                boottime: Duration::ZERO,
                wall_us: 0,
            },
        };
        Self {
            plan,
            state_dir,
            seed,
            time: Arc::new(Mutex::new(time)),
            starts: AtomicU64::new(0),
            stop: Mutex::default(),
            dialer: Dialer::default(),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.plan.host
    }

    /// Its wall clock is set: so much ahead of the truth from now on.
    pub(crate) fn set_wall_ahead(&self, micros: i64) {
        self.time.lock().unwrap().wall_ahead_us = micros;
    }

    /// The host has booted again.
    pub(crate) fn reboot(&self, now: Duration) {
        let mut time = self.time.lock().unwrap();
        time.boot += 1;
        time.booted = now;
    }

    /// Breaks its stream on its own side only.
    pub(crate) fn break_stream(&self) {
        self.dialer.break_streams();
    }

    /// How often it has dialled the aggregator.
    pub(crate) fn dialled(&self) -> u64 {
        self.dialer.dialled()
    }

    /// Tells it to stop in order.
    pub(crate) fn stop(&self) {
        self.stop.lock().unwrap().cancel();
    }

    /// A process of it, from its start to its end.
    pub(crate) fn start(&self) -> impl Future<Output = Result<(), AgentError>> + Send + use<> {
        let plan = self.plan.clone();
        let start = self.starts.fetch_add(1, Ordering::Relaxed);
        let shutdown = CancellationToken::new();
        *self.stop.lock().unwrap() = shutdown.clone();
        let mut config = AgentConfig::defaults();
        config.host.clone_from(&plan.host);
        config.state_dir.clone_from(&self.state_dir);
        config.aggregators = vec![AGGREGATOR.parse().unwrap()];
        config.spool = plan.spool;
        config.discovery = None;
        config.probes = plan
            .scripts
            .iter()
            .map(|script| script.configured(&plan.host, plan.interval))
            .collect();
        let boot = self.time.lock().unwrap().boot;
        let seed = blend(self.seed, &plan.host, start);
        let surroundings =
            Surroundings::simulation(self.clock(), format!("{}-boot-{boot}", plan.host), seed);
        let dialer = self.dialer.clone();
        run_over(config, dialer, plan.versions, surroundings, shutdown)
    }

    fn clock(&self) -> HostClock {
        let time = self.time.clone();
        HostClock::new(move || {
            let mut time = time.lock().unwrap();
            if let Some(now) = turmoil::since_epoch() {
                let true_us = i64::try_from(now.as_micros()).unwrap();
                time.last = Reading {
                    boottime: now - time.booted,
                    wall_us: true_us + time.wall_ahead_us,
                };
            }
            time.last
        })
    }
}

/// A seed for this start of the agent of this host (FNV-1a).
fn blend(seed: u64, host: &str, start: u64) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(start.to_le_bytes());
    bytes
        .chain(host.bytes())
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}
