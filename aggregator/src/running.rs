//! Starts an aggregator, and stops it in order.
//!
//! The order of the start: lock, journal, restart, topology, then the port. Nothing listens before everything
//! that was acknowledged is back in memory.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use blackstart_config::Report;
use blackstart_proto::transport::{
    ListenRefused, Listener, ServerTls, TlsFilesError, incoming, listen_policy,
};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::assembly::{Assembled, Assembly, InitialText, Parts, assemble};
use crate::clock::{Clock, WallClock};
use crate::config::Config;
use crate::engine::EngineHandle;
use crate::journal::recovery;
use crate::journal::writer::{JournalCommand, TOPOLOGY_KEY};
use crate::lock::{LockError, StateLock};
use crate::restart::{Restored, restore};
use crate::server::serve_on;
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
    parts: Parts,
    server: JoinHandle<Result<(), tonic::transport::Error>>,
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
    .map(|assembled| serve_assembled(assembled, listener))
}

/// Starts the server of what was put together.
fn serve_assembled<L: Listener>(assembled: Assembled, listener: L) -> Running {
    let Assembled {
        parts,
        agents,
        operator,
    } = assembled;
    let connections = incoming(listener, parts.tls.clone());
    let shutdown = parts.shutdown.clone().cancelled_owned();
    Running {
        server: tokio::spawn(serve_on(connections, agents, operator, shutdown)),
        parts,
    }
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

impl Running {
    /// Where it listens; `None` on a listener that was handed in.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.parts.address
    }

    /// Which aggregator this is; as old as its journal.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.parts.id
    }

    /// Feels whether it is alive.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        Pulse(self.parts.engine.clone())
    }

    /// Reads topology and TLS files again.
    pub fn reload(&self) {
        self.parts.reload.notify_one();
        if let Some(tls) = &self.parts.tls {
            tls.reload();
        }
    }

    /// Waits until a part of it has ended that must not; names it.
    pub async fn failed(&mut self) -> &'static str {
        tokio::select! {
            part = self.parts.failed.recv() => part.unwrap_or("engine"),
            _ = &mut self.server => "server",
        }
    }

    /// Stops in order: streams are ended, everything is written, a last snapshot is taken. True
    /// if the disk holds all of it.
    pub async fn shutdown(mut self) -> bool {
        self.parts.shutdown.cancel();
        if !self.server.is_finished()
            && tokio::time::timeout(STREAMS_END_WITHIN, &mut self.server)
                .await
                .is_err()
        {
            self.server.abort();
        }
        let (answer, answered) = oneshot::channel();
        let is_told = self
            .parts
            .journal
            .send(JournalCommand::Stop(answer))
            .is_ok();
        let kept = tokio::time::timeout(JOURNAL_ENDS_WITHIN, answered).await;
        is_told && matches!(kept, Ok(Ok(true)))
    }
}

/// Feels whether an aggregator is alive.
#[derive(Debug, Clone)]
pub struct Pulse(EngineHandle);

impl Pulse {
    /// Answers when the engine has applied what was in its queue before; false when it has ended.
    pub async fn beat(&self) -> bool {
        self.0.fresh().await.is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.parts.shutdown.cancel();
        self.server.abort();
        for task in &self.parts.tasks {
            task.abort();
        }
    }
}
