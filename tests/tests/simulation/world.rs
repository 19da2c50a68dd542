//! A world of simulated hosts: an aggregator, agents, an operator who looks all the time, and the network between them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use blackstart_aggregator::{Config, Surroundings, WallClock, serve};
use blackstart_proto::limits::RETURN_MAX;
use blackstart_proto::v1::StatusResponse;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use turmoil::{Builder, Sim};

use crate::agent::{Agent, Plan};
use crate::journal::Journal;
use crate::network::Port;
use crate::operator::{Seen, watch};

pub(crate) use crate::operator::{agent, condition, is_connected};

/// The aggregator's host.
pub(crate) const AGGREGATOR: &str = "aggregator";

/// The host from which the picture is looked at.
const OPERATOR: &str = "operator";

/// When a simulation begins, seconds since the Unix epoch.
const BEGIN_S: u64 = 1_700_000_000;

/// How many seeds each scenario runs with, unless the environment asks for more.
const SEEDS: u64 = 3;

/// The quickest and the slowest way of a packet.
pub(crate) const LATENCY: (Duration, Duration) =
    (Duration::from_millis(5), Duration::from_millis(80));

/// One packet on its way, one beat of the network, and one look of the operator.
pub(crate) const SEEN_WITHIN: Duration = Duration::from_millis(300);

/// `agents.lost_after`, as it is unless told otherwise.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(5);

/// An agent whose path is whole again is back within this: its longest back-off, and its longest attempt to connect.
pub(crate) const BACK_WITHIN: Duration = RETURN_MAX.saturating_add(Duration::from_secs(5));

/// The network delivers at the beat of this: coarse enough to be quick, finer than anything that is measured.
pub(crate) const TICK: Duration = Duration::from_millis(5);

/// The true time on the simulated host that asks, microseconds since the Unix epoch; 0 where no host runs.
pub(crate) fn true_us() -> i64 {
    micros(turmoil::since_epoch().unwrap_or_default())
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap()
}

/// Runs a scenario once for each seed; the seed of the one that fails stands last in the output. `BLACKSTART_SEEDS=40..=60`
/// runs it with those.
pub(crate) fn for_seeds(scenario: impl Fn(u64)) {
    for_so_many_seeds(SEEDS, scenario);
}

/// The same for a scenario that takes its time, with fewer seeds unless the environment asks for more.
pub(crate) fn for_so_many_seeds(count: u64, scenario: impl Fn(u64)) {
    let asked = std::env::var("BLACKSTART_SEEDS").ok();
    let asked = asked.map(|asked| {
        let (first, last) = asked.split_once("..=").expect("FIRST..=LAST");
        (first.parse().unwrap(), last.parse().unwrap())
    });
    let (first, last) = asked.unwrap_or((1, count));
    for seed in first..=last {
        eprintln!("seed {seed}");
        scenario(seed);
    }
}

/// The world.
pub(crate) struct World {
    sim: Sim<'static>,
    home: TempDir,
    seed: u64,
    seen: Arc<Mutex<Seen>>,
    /// What the aggregator is told when it starts.
    config: Arc<Mutex<Option<Config>>>,
    stop_aggregator: Arc<Mutex<CancellationToken>>,
    /// How far the aggregator's wall clock is ahead of the truth, microseconds.
    aggregator_ahead: Arc<AtomicI64>,
}

impl World {
    /// A network with the usual latency and nobody on it.
    pub(crate) fn new(seed: u64) -> Self {
        Self::with(seed, |_| {})
    }

    /// A network that is told more.
    pub(crate) fn with(seed: u64, tell: impl FnOnce(&mut Builder)) -> Self {
        let mut builder = Builder::new();
        builder
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + Duration::from_secs(BEGIN_S))
            .tick_duration(TICK)
            // Each test has bounds of its own.
            .simulation_duration(Duration::from_secs(86_400))
            .min_message_latency(LATENCY.0)
            .max_message_latency(LATENCY.1)
            // Segments in a stream and connections in a listener's queue; a full queue is a panic of the network.
            .tcp_capacity(4_096);
        tell(&mut builder);
        Self {
            sim: builder.build(),
            home: folder(),
            seed,
            seen: Arc::default(),
            config: Arc::default(),
            stop_aggregator: Arc::default(),
            aggregator_ahead: Arc::default(),
        }
    }

    /// The network, to be broken and mended.
    pub(crate) const fn network(&mut self) -> &mut Sim<'static> {
        &mut self.sim
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Where the aggregator keeps its journal.
    pub(crate) fn aggregator_dir(&self) -> PathBuf {
        self.path("aggregator")
    }

    /// Adds the aggregator and somebody who looks at it.
    pub(crate) fn aggregator(&mut self) {
        self.aggregator_with(|_| {});
    }

    /// Adds an aggregator that is told more, and somebody who looks at it.
    pub(crate) fn aggregator_with(&mut self, tell: impl FnOnce(&mut Config)) {
        self.aggregator_seen(None, tell);
    }

    /// Adds an aggregator that is told more, and somebody who looks at it, with pauses where the picture is large.
    pub(crate) fn aggregator_seen(
        &mut self,
        pause: Option<Duration>,
        tell: impl FnOnce(&mut Config),
    ) {
        let mut config = Config::new(self.aggregator_dir());
        tell(&mut config);
        *self.config.lock().unwrap() = Some(config);
        let config = self.config.clone();
        let stop = self.stop_aggregator.clone();
        let ahead = self.aggregator_ahead.clone();
        self.sim.host(AGGREGATOR, move || {
            let config = config.lock().unwrap().clone().expect("it was told");
            let token = CancellationToken::new();
            *stop.lock().unwrap() = token.clone();
            let ahead = ahead.clone();
            async move {
                let port = Port::bind(config.listen.port()).await?;
                let wall: WallClock = Arc::new(move || true_us() + ahead.load(Ordering::Relaxed));
                let mut running = serve(config, Surroundings::simulation(wall), port).await?;
                tokio::select! {
                    part = running.failed() => Err(format!("the aggregator's {part} ended").into()),
                    () = token.cancelled() => {
                        assert!(running.shutdown().await, "the journal holds everything");
                        Ok(())
                    }
                }
            }
        });
        let seen = self.seen.clone();
        self.sim.host(OPERATOR, move || watch(seen.clone(), pause));
        self.sim
            .set_link_latency(OPERATOR, AGGREGATOR, Duration::from_millis(1));
    }

    /// Changes what the aggregator is told when it starts again.
    pub(crate) fn tell_aggregator(&self, tell: impl FnOnce(&mut Config)) {
        self.config.lock().unwrap().as_mut().map(tell);
    }

    /// Adds an agent on a host of its own.
    pub(crate) fn agent(&mut self, plan: Plan) -> Arc<Agent> {
        let host = plan.host.clone();
        self.site(&host, vec![plan]).remove(0)
    }

    /// Adds a host of the network on which many agents run, as behind one router.
    pub(crate) fn site(&mut self, name: &str, plans: Vec<Plan>) -> Vec<Arc<Agent>> {
        let agents: Vec<Arc<Agent>> = plans
            .into_iter()
            .map(|plan| {
                let folder = self.path(&plan.host);
                Arc::new(Agent::new(plan, folder, self.seed, self.sim.since_epoch()))
            })
            .collect();
        let software = agents.clone();
        self.sim.host(name, move || {
            let starts: Vec<_> = software.iter().map(|agent| agent.start()).collect();
            async move {
                let mut running = tokio::task::JoinSet::new();
                for start in starts {
                    running.spawn(start);
                }
                while let Some(ended) = running.join_next().await {
                    ended??;
                }
                Ok(())
            }
        });
        agents
    }

    /// Now, since the Unix epoch.
    pub(crate) fn now(&self) -> Duration {
        self.sim.since_epoch()
    }

    /// Now, microseconds since the Unix epoch.
    pub(crate) fn now_us(&self) -> i64 {
        micros(self.sim.since_epoch())
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, time: Duration) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
        }
    }

    /// Lets time pass until the operator sees what is wanted; gives the time it took.
    pub(crate) fn until(
        &mut self,
        what: &str,
        within: Duration,
        mut wanted: impl FnMut(&StatusResponse) -> bool,
    ) -> Duration {
        let began = self.sim.elapsed();
        let mut looks = self.seen.lock().unwrap().looks;
        loop {
            self.sim.step().unwrap();
            let took = self.sim.elapsed() - began;
            {
                let seen = self.seen.lock().unwrap();
                if seen.looks != looks && wanted(&seen.picture) {
                    return took;
                }
                looks = seen.looks;
                assert!(
                    took <= within,
                    "seed {}: not within {within:?}: {what}; the last picture: {:#?}",
                    self.seed,
                    seen.picture
                );
            }
        }
    }

    /// Lets time pass; whatever the operator sees meanwhile must be as it should.
    pub(crate) fn pass_while(
        &mut self,
        what: &str,
        time: Duration,
        mut is_right: impl FnMut(&StatusResponse) -> bool,
    ) {
        let end = self.sim.elapsed() + time;
        while self.sim.elapsed() < end {
            self.sim.step().unwrap();
            let seen = self.seen.lock().unwrap();
            assert!(
                is_right(&seen.picture),
                "seed {}: no longer so: {what}; the picture: {:#?}",
                self.seed,
                seen.picture
            );
        }
    }

    /// What the operator saw last.
    pub(crate) fn picture(&self) -> StatusResponse {
        self.seen.lock().unwrap().picture.clone()
    }

    /// The aggregator's wall clock is set: so much ahead of the truth from now on.
    pub(crate) fn set_aggregator_ahead(&self, micros: i64) {
        self.aggregator_ahead.store(micros, Ordering::Relaxed);
    }

    /// The process on this host is gone at once, as after `kill -9`: the kernel closes its connections.
    pub(crate) fn kill(&mut self, host: &str) {
        self.sim.crash(host);
    }

    /// The host is gone at once: nobody is told.
    pub(crate) fn cut_power(&mut self, host: &str, others: &[&str]) {
        for other in others {
            self.sim.partition(host, *other);
        }
        self.sim.crash(host);
        for other in others {
            self.sim.repair(host, *other);
        }
    }

    /// Starts what ran on this host again.
    pub(crate) fn start(&mut self, host: &str) {
        self.sim.bounce(host);
    }

    /// Stops agents in order, and lets time pass until they have ended.
    pub(crate) fn stop(&mut self, agents: &[&Arc<Agent>]) {
        for agent in agents {
            agent.stop();
        }
        let end = self.sim.elapsed() + Duration::from_secs(10);
        while agents
            .iter()
            .any(|agent| self.sim.is_host_running(agent.host()))
        {
            self.sim.step().unwrap();
            assert!(self.sim.elapsed() < end, "an agent does not stop");
        }
    }

    /// The journal as it is on disk now.
    pub(crate) fn journal(&self) -> Journal {
        Journal::read(&self.aggregator_dir())
    }

    /// Stops the aggregator in order, and reads its journal.
    pub(crate) fn last_journal(&mut self) -> Journal {
        self.stop_aggregator.lock().unwrap().cancel();
        let end = self.sim.elapsed() + Duration::from_secs(10);
        while self.sim.is_host_running(AGGREGATOR) {
            self.sim.step().unwrap();
            assert!(self.sim.elapsed() < end, "the aggregator does not stop");
        }
        self.journal()
    }
}

/// A folder in memory where there is one: what is simulated is not the disk, and a sync costs nothing there.
fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let mut builder = tempfile::Builder::new();
    builder.prefix("blackstart-simulation-");
    builder
        .tempdir_in(memory)
        .or_else(|_| builder.tempdir())
        .unwrap()
}
