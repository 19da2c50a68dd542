//! Puts an aggregator together: every part but the server, each on the thread that it belongs on.

use std::future::Future;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use blackstart_graph::EventKind;
use blackstart_proto::limits::{RETURN_MAX, SILENCE_MAX};
use blackstart_proto::transport::ServerTls;
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::agents::Agents;
use crate::clock::Clock;
use crate::config::Config;
use crate::engine::{EngineHandle, EngineLoop};
use crate::ingest::{ENGINE_QUEUE_MAX, Ingest, JournalRoom};
use crate::journal::writer::{JournalCommand, JournalProgress, Writer, WriterContext};
use crate::lock::StateLock;
use crate::operator::{Operator, OperatorParts};
use crate::problems::{Problems, Subject};
use crate::restart::Restored;
use crate::roster::Roster;
use crate::running::StartError;
use crate::series::SeriesTable;
use crate::session::shared::{Shared, SharedParts};
use crate::topology;

/// The topology text that the start goes by.
pub(crate) struct InitialText {
    pub(crate) text: String,
    pub(crate) problem: Option<String>,
    pub(crate) is_new: bool,
}

/// What an aggregator is put together from.
pub(crate) struct Assembly {
    pub(crate) config: Config,
    pub(crate) clock: Arc<Clock>,
    pub(crate) restored: Restored,
    pub(crate) initial: InitialText,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) lock: StateLock,
    pub(crate) address: Option<SocketAddr>,
    pub(crate) is_simulated: bool,
}

/// Everything but the server.
pub(crate) struct Assembled {
    pub(crate) parts: Parts,
    pub(crate) agents: Agents,
    pub(crate) operator: Operator,
}

/// What runs, and the ways to reach it.
pub(crate) struct Parts {
    pub(crate) address: Option<SocketAddr>,
    pub(crate) id: String,
    pub(crate) shutdown: CancellationToken,
    pub(crate) reload: Arc<Notify>,
    pub(crate) tls: Option<ServerTls>,
    pub(crate) journal: mpsc::UnboundedSender<JournalCommand>,
    pub(crate) engine: EngineHandle,
    pub(crate) tasks: Vec<JoinHandle<()>>,
    pub(crate) failed: mpsc::Receiver<&'static str>,
}

/// Puts the parts together and starts all but the server.
pub(crate) fn assemble(assembly: Assembly) -> Result<Assembled, StartError> {
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
        gap,
        ..
    } = restored;
    let started = clock.now();
    let problems = Arc::new(Problems::new());
    problems.happened(Subject::Recovery, problem);
    problems.set(Subject::Topology, initial.problem);
    let shutdown = CancellationToken::new();
    let (failure, failed) = mpsc::channel(2);

    let engine_room = Arc::new(Semaphore::new(ENGINE_QUEUE_MAX));
    let (engine_loop, engine) = EngineLoop::new(
        owner,
        clock.clone(),
        problems.clone(),
        engine_room.clone(),
        &initial.text,
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
    let mut last_index = bounds.last_index;
    if let Some(entry) = gap {
        last_index = entry.index;
        // The writer was started above and takes it.
        let _ = journal_commands.send(JournalCommand::Write(entry));
    }
    if initial.is_new {
        // So it does this.
        let _ = journal_commands.send(JournalCommand::Topology(initial.text.clone()));
    }

    let ingest = Arc::new(Ingest::new(
        last_index,
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
        series: series.clone(),
        roster: roster.clone(),
        shutdown: shutdown.clone(),
    }));
    let return_grace =
        config.lost_after + RETURN_MAX + SILENCE_MAX + shared.admission().time_for(roster.count());
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
    let pulse = engine.clone();
    let operator = operator(OperatorStart {
        id: id.clone(),
        started_us: started.wall_us,
        topology_file: config.topology_file,
        clock,
        engine,
        series,
        roster,
        problems,
        tls: tls.clone(),
        progress,
        shutdown: shutdown.clone(),
    });
    Ok(Assembled {
        parts: Parts {
            address,
            id,
            shutdown,
            reload,
            tls,
            journal: journal_commands,
            engine: pulse,
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
    series: Arc<SeriesTable>,
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
        series: start.series,
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
