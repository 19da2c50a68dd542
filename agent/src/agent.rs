//! The agent as a whole: scheduler, discovery, spool, uplinks and local socket, until it is told to stop.

mod reload;

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blackstart_proto::transport::{ClientTls, Dial, TcpDialer, TlsFilesError};
use blackstart_proto::version;
use rand::RngExt;
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::board::{Board, Subject};
use crate::clock::HostClock;
use crate::config::{AgentConfig, ConfigSource, Configured, Watch};
use crate::discovery::memory::Memory;
use crate::discovery::{discover, join};
use crate::facts::{Facts, note_boot, note_end, note_start, virtualization};
use crate::host::HostView;
use crate::local::{self, Local};
use crate::result::Incarnation;
use crate::scheduler;
use crate::spool::{Spool, SpoolError};
use crate::supervisor::Supervisor;
use crate::surroundings::{Draw, Surroundings};
use crate::uplink::{Source, Uplinks};
use crate::wire::{self, DiscoveryMessage, FactsMessage};

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The spool is in use.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// The files of mutual TLS cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsFilesError),
}

/// What runs the agent, and may ask things of it while it runs.
#[derive(Debug, Clone, Default)]
pub struct Service {
    /// Where the configuration comes from, so that it is read again when it changes.
    pub source: ConfigSource,
    /// Notified when somebody wants the configuration to be read again.
    pub reload: Arc<Notify>,
    /// Told when the agent is ready, and that it is alive.
    pub supervisor: Supervisor,
}

/// Runs an agent until `shutdown`: it probes whether or not any aggregator is there. `config` is what
/// `service.source` gave.
///
/// # Errors
/// The state folder is in use, or the TLS files cannot be used. Nothing was started then.
pub async fn run(
    config: AgentConfig,
    service: Service,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let dialer = |tls| TcpDialer { tls };
    let surroundings = Surroundings::machine(Path::new("/"));
    run_in(
        config,
        dialer,
        version::SPOKEN,
        surroundings,
        service,
        shutdown,
    )
    .await
}

/// Like [`run`], over what `dialer` opens, speaking the given protocol versions, and in the given surroundings: for a
/// simulated network and for tests of neighbouring versions. Its configuration is never read again.
///
/// # Errors
/// Like [`run`].
pub async fn run_over<D: Dial>(
    config: AgentConfig,
    dialer: D,
    versions: RangeInclusive<u32>,
    surroundings: Surroundings,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let dialer = move |_| dialer.clone();
    let service = Service::default();
    run_in(config, dialer, versions, surroundings, service, shutdown).await
}

async fn run_in<D: Dial, F: Fn(bool) -> D>(
    config: AgentConfig,
    dialer: F,
    versions: RangeInclusive<u32>,
    surroundings: Surroundings,
    service: Service,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let tls = config.tls.as_ref().map(ClientTls::load).transpose()?;
    let incarnation = Incarnation {
        id: surroundings.random(Draw::Incarnation).random(),
        boot_id: surroundings.boot_id.clone(),
        wall_offset_us: surroundings.clock.read().wall_offset_us(),
    };
    let boot_id = incarnation.boot_id.clone();
    let open = if surroundings.is_simulated() {
        Spool::open_in_task
    } else {
        Spool::open
    };
    let spool = Arc::new(open(&config.state_dir, config.spool, incarnation)?);
    let clean_shutdown = note_boot(&config.state_dir, &boot_id);
    note_start(&config.state_dir);

    let board = Arc::new(Board::default());
    let (facts, facts_receiver) = watch::channel(FactsMessage::default());
    let (discovery, discovery_receiver) = watch::channel(DiscoveryMessage::default());
    let (lists, list_receiver) = mpsc::channel(1);
    let source = Source {
        host: config.host.clone(),
        spool: spool.clone(),
        board: board.clone(),
        facts: facts_receiver.clone(),
        discovery: discovery_receiver,
        versions,
        surroundings: surroundings.clone(),
    };
    let memory = Memory::load(&config.state_dir, &config.host);
    if let Err(error) = &memory {
        board.set_problem(Subject::Memory, Some(error.to_string()));
    }
    let file = service.source.file.clone();
    let mut watch = Watch::new(file, service.reload.clone());
    let mut agent = Agent {
        memory: memory.unwrap_or_default(),
        looked: Instant::now(),
        looks: 0,
        view: HostView::default(),
        writing: None,
        uplinks: Uplinks::new(source, shutdown.clone()),
        dialer,
        tls,
        clock: surroundings.clock.clone(),
        boot_id: boot_id.clone(),
        clean_shutdown,
        virtualization: virtualization(Path::new("/")),
        spool: spool.clone(),
        board: board.clone(),
        source: service.source,
        facts,
        discovery,
        lists,
        config,
    };
    let probes = agent.look();
    let count = probes.len();

    let mut tasks = JoinSet::new();
    tasks.spawn(scheduler::run(
        agent.config.host.clone(),
        list_receiver,
        spool.clone(),
        board.clone(),
        service.supervisor,
        surroundings.clone(),
        shutdown.clone(),
    ));
    // No simulated host has a file system that others could find a socket in.
    if !surroundings.is_simulated() {
        let local = Local {
            host: agent.config.host.clone(),
            state_dir: agent.config.state_dir.clone(),
            configuration_file: agent.source.file.as_deref().map_or_else(String::new, shown),
            started: Instant::now(),
            spool: spool.clone(),
            board: board.clone(),
            facts: facts_receiver,
        };
        tasks.spawn(local::serve(local, shutdown.clone()));
    }
    agent.connect().await;
    info!(
        host = agent.config.host,
        probes = count,
        aggregators = agent.config.aggregators.len(),
        "agent started"
    );
    agent.give(probes).await;
    agent.remember().await;
    let mut look_at = Instant::now() + agent.look_interval();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = watch.changed() => agent.reload().await,
            () = tokio::time::sleep_until(look_at) => {}
        }
        let probes = agent.look();
        agent.give(probes).await;
        agent.remember().await;
        agent.check_tls().await;
        look_at = Instant::now() + agent.look_interval();
    }
    service.supervisor.stopping();
    agent.uplinks.end_all().await;
    while tasks.join_next().await.is_some() {}
    agent.remember_at_the_end().await;
    note_end(&agent.config.state_dir, &boot_id);
    // The last transaction waits for the disk.
    if surroundings.is_simulated() {
        spool.close();
    } else {
        tokio::task::spawn_blocking(move || spool.close())
            .await
            .unwrap_or(());
    }
    info!("agent stopped");
    Ok(())
}

/// How often facts are read again where discovery is off.
const FACTS_INTERVAL: Duration = Duration::from_secs(60);

/// How long a look at the TLS files may hold up the agent's own task: they are small, or on a disk that hangs.
const TLS_LOOK_MAX: Duration = Duration::from_secs(1);

/// After so many looks the processes of all listening sockets are looked up anew, changed or not.
const LOOKS_BEFORE_ALL: u64 = 10;

/// How long the agent's end waits for a disk.
const WRITE_MAX: Duration = Duration::from_secs(1);

fn shown(path: &Path) -> String {
    path.display().to_string()
}

/// What the agent's own task holds.
struct Agent<F> {
    /// The configuration in force.
    config: AgentConfig,
    source: ConfigSource,
    tls: Option<ClientTls>,
    dialer: F,
    clock: HostClock,
    boot_id: String,
    clean_shutdown: Option<bool>,
    virtualization: Option<String>,
    spool: Arc<Spool>,
    board: Arc<Board>,
    facts: watch::Sender<FactsMessage>,
    discovery: watch::Sender<DiscoveryMessage>,
    lists: mpsc::Sender<Vec<Configured>>,
    uplinks: Uplinks,
    memory: Memory,
    looked: Instant,
    looks: u64,
    /// The host as the last look saw it.
    view: HostView,
    writing: Option<JoinHandle<bool>>,
}

impl<D: Dial, F: Fn(bool) -> D> Agent<F> {
    fn look_interval(&self) -> Duration {
        self.config.discovery.unwrap_or(FACTS_INTERVAL)
    }

    /// Looks at the host: reads the facts, and finds what there is to probe.
    fn look(&mut self) -> Vec<Configured> {
        let labels = &self.config.labels;
        let facts = Facts::read(
            Path::new("/"),
            &self.boot_id,
            self.clean_shutdown,
            self.virtualization.as_deref(),
            labels,
        );
        let new = wire::facts(&facts, self.clock.read());
        self.facts.send_if_modified(|old| {
            let changed = (&old.boot_id, &old.addresses, &old.routes)
                != (&new.boot_id, &new.addresses, &new.routes)
                || (&old.resolvers, &old.labels) != (&new.resolvers, &new.labels);
            if changed {
                *old = new;
            }
            changed
        });
        let since_last = self.looked.elapsed();
        self.looked = Instant::now();
        let mut found = Vec::new();
        if self.config.discovery.is_some() {
            // Now and then from the ground up: a process may have handed its socket to another.
            if self.looks.is_multiple_of(LOOKS_BEFORE_ALL) {
                self.view = HostView::default();
            }
            self.looks += 1;
            self.view = HostView::read_again(Path::new("/"), &self.view);
            found = discover(&self.view, &self.config.host);
            found.retain(|probe| !self.config.ignored.contains(&probe.component));
            self.memory.forget(&self.config.ignored);
            let forget_after = self.config.forget_after;
            if self.memory.learn(found, since_last, forget_after) {
                info!(missed = self.memory.missed(), "discovered");
            }
            found = self.memory.probes();
        }
        join(&self.config.probes, found)
    }

    /// Gives the probes to the scheduler, and their components to the aggregators.
    async fn give(&self, probes: Vec<Configured>) {
        let new = wire::discovery(&probes, &self.config.host);
        self.discovery.send_if_modified(|old| {
            let changed = *old != new;
            if changed {
                *old = new;
            }
            changed
        });
        // The scheduler ends with the shutdown only, which is seen next.
        self.lists.send(probes).await.unwrap_or(());
    }

    /// Writes what discovery knows, when it is time to: on a thread of its own, for a disk may hang.
    async fn remember(&mut self) {
        if let Some(writing) = self.writing.take() {
            if !writing.is_finished() {
                self.writing = Some(writing);
                return;
            }
            if !writing.await.unwrap_or(false) {
                self.memory.not_written();
            }
        }
        if self.config.discovery.is_none() || !self.memory.is_due() {
            return;
        }
        let snapshot = self.memory.snapshot(&self.config.state_dir);
        let board = self.board.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let problem = snapshot
                .write()
                .err()
                .map(|error| format!("what is discovered is forgotten with this process: {error}"));
            let is_written = problem.is_none();
            board.set_problem(Subject::Memory, problem);
            is_written
        }));
    }

    /// Looks at the TLS files, so that a renewal that went wrong shows before the next connection depends on it.
    async fn check_tls(&self) {
        let Some(tls) = self.tls.clone() else {
            return self.board.set_problem(Subject::Tls, None);
        };
        let look = tokio::task::spawn_blocking(move || {
            tls.reload();
            tls.problems()
        });
        if let Ok(Ok(problems)) = tokio::time::timeout(TLS_LOOK_MAX, look).await {
            let problem = (!problems.is_empty()).then(|| problems.join("; "));
            self.board.set_problem(Subject::Tls, problem);
        }
    }

    async fn remember_at_the_end(&mut self) {
        self.remember().await;
        if let Some(writing) = self.writing.take() {
            // What the disk does not take in time is found anew.
            drop(tokio::time::timeout(WRITE_MAX, writing).await);
        }
    }

    /// Makes the uplinks those of the configuration.
    async fn connect(&mut self) {
        let dialer = (self.dialer)(self.tls.is_some());
        let addresses = &self.config.aggregators;
        self.uplinks
            .set(addresses, &dialer, self.tls.as_ref())
            .await;
    }
}
