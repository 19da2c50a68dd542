//! Starts an aggregator, and stops it in order.
//!
//! The order of the start: lock, journal, restart, topology, then the port. Nothing listens before everything
//! that was acknowledged is back in memory.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use blackstart_config::Report;
use blackstart_graph::EventKind;
use blackstart_proto::limits::SILENCE_MAX;
use blackstart_proto::transport::{
    ListenRefused, Listener, ServerTls, TlsFilesError, incoming, listen_policy,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::agents::Agents;
use crate::clock::{Clock, WallClock};
use crate::config::Config;
use crate::engine::{EngineHandle, EngineLoop};
use crate::ingest::{ENGINE_QUEUE_MAX, Ingest, JournalRoom};
use crate::journal::recovery;
use crate::journal::writer::{
    JournalCommand, JournalProgress, TOPOLOGY_KEY, Writer, WriterContext,
};
use crate::lock::{LockError, StateLock};
use crate::operator::{Operator, OperatorParts};
use crate::problems::{Problems, Subject};
use crate::restart::{Restored, restore};
use crate::roster::Roster;
use crate::server::serve_on;
use crate::session::shared::{Shared, SharedParts};
use crate::topology::{self, Initial};

/// Connections that wait to be accepted; the kernel cuts it to net.core.somaxconn.
const LISTEN_QUEUE: u32 = 16_384;

/// How long streams may take to end when the aggregator stops; a client that reads nothing does
/// not hold it up.
const STREAMS_END_WITHIN: Duration = Duration::from_secs(2);

/// How long the last commit and snapshot may take: systemd's default patience is 90 s.
const JOURNAL_ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Why an aggregator does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The state folder.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// The topology file is refused, and none was accepted before.
    #[error("{0}")]
    Topology(Report),
    /// TLS files.
    #[error("TLS cannot be used")]
    Tls(#[from] TlsFilesError),
    /// An address that is not for this.
    #[error(transparent)]
    Refused(#[from] ListenRefused),
    /// The port.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The journal can neither be read nor moved aside.
    #[error("cannot use the journal: {0}")]
    Journal(String),
    /// No thread.
    #[error("cannot start a thread")]
    Thread(#[source] std::io::Error),
}

impl StartError {
    /// Whether the configuration is at fault, so that trying again unchanged does not help.
    #[must_use]
    pub const fn is_configuration(&self) -> bool {
        matches!(self, Self::Topology(_) | Self::Refused(_) | Self::Tls(_))
    }
}

/// What an aggregator runs in: the machine, or a simulation.
#[derive(Clone)]
pub struct Surroundings {
    wall: Option<WallClock>,
}

impl Surroundings {
    /// The machine: its clock, and threads of its own for engine and journal.
    #[must_use]
    pub const fn machine() -> Self {
        Self { wall: None }
    }

    /// A simulated host: this clock, and everything in tasks of the runtime that is there. A
    /// commit takes no simulated time.
    #[must_use]
    pub const fn simulation(wall: WallClock) -> Self {
        Self { wall: Some(wall) }
    }
}

/// An aggregator that runs. Dropping it ends it out of order, as a crash would.
pub struct Running {
    address: Option<SocketAddr>,
    id: String,
    shutdown: CancellationToken,
    reload: Arc<Notify>,
    tls: Option<ServerTls>,
    journal: mpsc::UnboundedSender<JournalCommand>,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
    tasks: Vec<JoinHandle<()>>,
    failed: mpsc::Receiver<&'static str>,
}

/// Starts an aggregator on TCP.
///
/// # Errors
/// Why it does not start; nothing is left behind but its state folder.
pub async fn start(config: Config) -> Result<Running, StartError> {
    listen_policy(config.listen, config.tls.is_some())?;
    let address = config.listen;
    let listen = async move {
        let failed = |source| StartError::Listen { address, source };
        let listener = bind(address).map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok((listener, Some(bound)))
    };
    run(config, Surroundings::machine(), listen).await
}

/// Listens with a long queue: with the usual 128, a herd makes the kernel fall back to SYN cookies and
/// reset what it had accepted.
fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    // A restart must not wait for the connections of the run before it.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(LISTEN_QUEUE)
}

/// Starts an aggregator on any listener.
///
/// # Errors
/// Why it does not start.
pub async fn serve<L: Listener>(
    config: Config,
    surroundings: Surroundings,
    listener: L,
) -> Result<Running, StartError> {
    run(config, surroundings, async { Ok((listener, None)) }).await
}

async fn run<L: Listener>(
    config: Config,
    surroundings: Surroundings,
    listen: impl Future<Output = Result<(L, Option<SocketAddr>), StartError>>,
) -> Result<Running, StartError> {
    let tls = config.tls.as_ref().map(ServerTls::load).transpose()?;
    let is_simulated = surroundings.wall.is_some();
    let lock = if is_simulated {
        StateLock::take(&config.state_dir)?
    } else {
        let state_dir = config.state_dir.clone();
        tokio::task::spawn_blocking(move || StateLock::take(&state_dir))
            .await
            .map_err(|error| StartError::Journal(error.to_string()))??
    };
    let clock = Arc::new(surroundings.wall.map_or_else(Clock::system, Clock::new));
    let began = Instant::now();
    let (restored, initial) = if is_simulated {
        read_back(&config, &clock)?
    } else {
        let (config, clock) = (config.clone(), clock.clone());
        tokio::task::spawn_blocking(move || read_back(&config, &clock))
            .await
            .map_err(|error| StartError::Journal(error.to_string()))??
    };
    tracing::info!(
        entries = restored.bounds.last_index,
        replayed = restored.replayed,
        took_ms = began.elapsed().as_millis(),
        "journal read"
    );
    // Bound only now: who gets an answer gets it from everything that is known.
    let (listener, address) = listen.await?;
    assemble(Assembly {
        config,
        clock,
        restored,
        initial,
        tls,
        lock,
        address,
        is_simulated,
    })
    .map(|assembled| assembled.serve(listener))
}

/// Reads journal and topology.
fn read_back(config: &Config, clock: &Arc<Clock>) -> Result<(Restored, InitialText), StartError> {
    let failed = |error: crate::journal::JournalError| StartError::Journal(error.chain());
    let mut opened = recovery::open(&config.state_dir).map_err(failed)?;
    let last = opened.journal.meta(TOPOLOGY_KEY).map_err(failed)?;
    let initial =
        topology::initial(config.topology_file.as_deref(), last).map_err(StartError::Topology)?;
    let Initial {
        accepted,
        problem,
        is_new,
    } = initial;
    let restored = restore(opened, &config.state_dir, &accepted.topology, clock).map_err(failed)?;
    let text = InitialText {
        text: accepted.text,
        problem,
        is_new,
    };
    Ok((restored, text))
}

struct InitialText {
    text: String,
    problem: Option<String>,
    is_new: bool,
}

struct Assembly {
    config: Config,
    clock: Arc<Clock>,
    restored: Restored,
    initial: InitialText,
    tls: Option<ServerTls>,
    lock: StateLock,
    address: Option<SocketAddr>,
    is_simulated: bool,
}

struct Assembled {
    running: Unserved,
    agents: Agents,
    operator: Operator,
}

struct Unserved {
    address: Option<SocketAddr>,
    id: String,
    shutdown: CancellationToken,
    reload: Arc<Notify>,
    tls: Option<ServerTls>,
    journal: mpsc::UnboundedSender<JournalCommand>,
    tasks: Vec<JoinHandle<()>>,
    failed: mpsc::Receiver<&'static str>,
}

impl Assembled {
    fn serve<L: Listener>(self, listener: L) -> Running {
        let Unserved {
            address,
            id,
            shutdown,
            reload,
            tls,
            journal,
            tasks,
            failed,
        } = self.running;
        let connections = incoming(listener, tls.clone());
        let server = serve_on(
            connections,
            self.agents,
            self.operator,
            shutdown.clone().cancelled_owned(),
        );
        Running {
            address,
            id,
            shutdown,
            reload,
            tls,
            journal,
            server: tokio::spawn(server),
            tasks,
            failed,
        }
    }
}

/// Puts the parts together and starts all but the server.
fn assemble(assembly: Assembly) -> Result<Assembled, StartError> {
    let Assembly {
        config,
        clock,
        restored,
        initial,
        tls,
        lock,
        address,
        is_simulated,
    } = assembly;
    let Restored {
        journal,
        id,
        bounds,
        series,
        sequences,
        roster,
        owner,
        problem,
        ..
    } = restored;
    let started = clock.now();
    let problems = Arc::new(Problems::new());
    problems.set(Subject::Recovery, problem);
    problems.set(Subject::Topology, initial.problem);
    let shutdown = CancellationToken::new();
    let (failure, failed) = mpsc::channel(2);

    let engine_room = Arc::new(Semaphore::new(ENGINE_QUEUE_MAX));
    let (engine_loop, engine) = EngineLoop::new(
        owner,
        clock.clone(),
        problems.clone(),
        engine_room.clone(),
        !is_simulated,
    );
    spawn("engine", engine_loop.run(), is_simulated, &failure)?;

    let (journal_commands, waiting) = mpsc::unbounded_channel();
    let journal_room = Arc::new(JournalRoom::new(config.waiting_bytes_max));
    let progress_sender = watch::Sender::new(JournalProgress::default());
    let progress = progress_sender.subscribe();
    let context = WriterContext {
        clock: clock.clone(),
        series: series.clone(),
        sequences: sequences.clone(),
        roster: roster.clone(),
        problems: problems.clone(),
        engine: engine.clone(),
        room: journal_room.clone(),
        progress: progress_sender,
        retention: config.retention,
        bytes_max: config.journal_bytes_max,
    };
    let writer = Writer::new(journal, context, waiting, bounds);
    let write = async move {
        let (answer, kept) = writer.run().await;
        // Only now somebody else may have the folder.
        drop(lock);
        if let Some(answer) = answer {
            // Whoever asked may have given up waiting.
            let _ = answer.send(kept);
        }
    };
    spawn("journal", write, is_simulated, &failure)?;
    if initial.is_new {
        // The writer was started above and takes it.
        let _ = journal_commands.send(JournalCommand::Topology(initial.text.clone()));
    }

    let ingest = Arc::new(Ingest::new(
        bounds.last_index,
        clock.clone(),
        engine.clone(),
        engine_room,
        journal_commands.clone(),
        journal_room,
        progress.clone(),
    ));
    let shared = Arc::new(Shared::new(SharedParts {
        aggregator_id: id.clone(),
        protocol: config.protocol.clone(),
        lost_after: config.lost_after,
        sessions_per_second: config.sessions_per_second,
        clock: clock.clone(),
        ingest: ingest.clone(),
        sequences,
        series,
        roster: roster.clone(),
        shutdown: shutdown.clone(),
    }));
    let return_grace =
        config.lost_after + 2 * SILENCE_MAX + shared.admission().time_for(roster.count());
    roster.expect_all(started.instant, return_grace, started.wall_us);

    let reload = Arc::new(Notify::new());
    let mut tasks = vec![tokio::spawn(tell_lost(roster.clone(), ingest.clone()))];
    if let Some(file) = config.topology_file.clone() {
        let watched = topology::watch(
            file,
            initial.text,
            reload.clone(),
            ingest.clone(),
            problems.clone(),
        );
        tasks.push(tokio::spawn(watched));
    }
    let operator = operator(OperatorStart {
        id: id.clone(),
        started_us: started.wall_us,
        topology_file: config.topology_file,
        clock,
        engine,
        roster,
        problems,
        tls: tls.clone(),
        progress,
        shutdown: shutdown.clone(),
    });
    Ok(Assembled {
        running: Unserved {
            address,
            id,
            shutdown,
            reload,
            tls,
            journal: journal_commands,
            tasks,
            failed,
        },
        agents: Agents::new(shared),
        operator,
    })
}

struct OperatorStart {
    id: String,
    started_us: i64,
    topology_file: Option<PathBuf>,
    clock: Arc<Clock>,
    engine: EngineHandle,
    roster: Arc<Roster>,
    problems: Arc<Problems>,
    tls: Option<ServerTls>,
    progress: watch::Receiver<JournalProgress>,
    shutdown: CancellationToken,
}

fn operator(start: OperatorStart) -> Operator {
    let tls = start.tls;
    Operator::new(OperatorParts {
        id: start.id,
        started_us: start.started_us,
        topology_file: start
            .topology_file
            .map_or_else(String::new, |file| file.display().to_string()),
        clock: start.clock,
        engine: start.engine,
        roster: start.roster,
        problems: start.problems,
        tls_problems: Box::new(move || tls.as_ref().map(ServerTls::problems).unwrap_or_default()),
        progress: start.progress,
        shutdown: start.shutdown,
    })
}

/// Tells the engine of agents whose grace is over.
async fn tell_lost(roster: Arc<Roster>, ingest: Arc<Ingest>) {
    loop {
        for host in roster.next_lost().await {
            tracing::info!(host = &*host, "agent lost");
            let lost = EventKind::AgentLost { agent: host.into() };
            if ingest.event(true, lost).is_err() {
                return;
            }
        }
    }
}

/// Tells when a part ends, in whatever way.
struct Ended(&'static str, mpsc::Sender<&'static str>);

impl Drop for Ended {
    fn drop(&mut self) {
        // Full or closed: somebody was told already, or nobody wants to know.
        let _ = self.1.try_send(self.0);
    }
}

/// Runs a part on a thread of its own, or in a task where time is simulated.
fn spawn(
    name: &'static str,
    part: impl Future<Output = ()> + Send + 'static,
    is_simulated: bool,
    failure: &mpsc::Sender<&'static str>,
) -> Result<(), StartError> {
    let ended = Ended(name, failure.clone());
    let part = async move {
        let _ended = ended;
        part.await;
    };
    if is_simulated {
        tokio::spawn(part);
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(StartError::Thread)?;
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || runtime.block_on(part))
        .map(drop)
        .map_err(StartError::Thread)
}

impl Running {
    /// Where it listens; `None` on a listener that was handed in.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Which aggregator this is; as old as its journal.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Reads topology and TLS files again.
    pub fn reload(&self) {
        self.reload.notify_one();
        if let Some(tls) = &self.tls {
            tls.reload();
        }
    }

    /// Waits until a part of it has ended that must not; names it.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            part = self.failed.recv() => part.unwrap_or("engine"),
            _ = &mut self.server => "server",
        }
    }

    /// Stops in order: streams are ended, everything is written, a last snapshot is taken. True
    /// if the disk holds all of it.
    pub async fn shutdown(mut self) -> bool {
        self.shutdown.cancel();
        if !self.server.is_finished()
            && tokio::time::timeout(STREAMS_END_WITHIN, &mut self.server)
                .await
                .is_err()
        {
            self.server.abort();
        }
        let (answer, answered) = oneshot::channel();
        let is_told = self.journal.send(JournalCommand::Stop(answer)).is_ok();
        let kept = tokio::time::timeout(JOURNAL_ENDS_WITHIN, answered).await;
        is_told && matches!(kept, Ok(Ok(true)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.server.abort();
        for task in &self.tasks {
            task.abort();
        }
    }
}
