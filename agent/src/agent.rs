//! The agent as a whole: scheduler, discovery, spool and uplinks, until it is told to stop.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blackstart_proto::transport::{ClientTls, Dial, TcpDialer, TlsFilesError};
use blackstart_proto::version;
use rand::RngExt;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::board::Board;
use crate::config::{AgentConfig, Configured};
use crate::discovery::{discover, join};
use crate::facts::{Facts, note_boot, note_end, note_start};
use crate::host::HostView;
use crate::local::{self, Local};
use crate::result::Incarnation;
use crate::spool::{Spool, SpoolError};
use crate::surroundings::{Draw, Surroundings};
use crate::uplink::{self, Source};
use crate::{scheduler, wire};

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

/// Runs an agent until `shutdown`: it probes whether or not any aggregator is there.
///
/// # Errors
/// The state folder is in use, or the TLS files cannot be used. Nothing was started then.
pub async fn run(config: AgentConfig, shutdown: CancellationToken) -> Result<(), AgentError> {
    let dialer = TcpDialer {
        tls: config.tls.is_some(),
    };
    let surroundings = Surroundings::machine(Path::new("/"));
    run_over(config, dialer, version::SPOKEN, surroundings, shutdown).await
}

/// Like [`run`], over what `dialer` opens, speaking the given protocol versions, and in the given surroundings: for a
/// simulated network and for tests of neighbouring versions.
///
/// # Errors
/// Like [`run`].
pub async fn run_over<D: Dial>(
    config: AgentConfig,
    dialer: D,
    versions: std::ops::RangeInclusive<u32>,
    surroundings: Surroundings,
    shutdown: CancellationToken,
) -> Result<(), AgentError> {
    let root = Path::new("/");
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
    let names: Vec<String> = config.aggregators.iter().map(ToString::to_string).collect();
    spool.keep_cursors(&names);
    let clean_shutdown = note_boot(&config.state_dir, &boot_id);
    note_start(&config.state_dir);

    let probes = look(&config);
    info!(
        host = config.host,
        probes = probes.len(),
        aggregators = names.len(),
        "agent started"
    );
    let board = Arc::new(Board::default());
    let clock = surroundings.clock.clone();
    let facts = || {
        let facts = Facts::read(root, &boot_id, clean_shutdown, &config.labels);
        wire::facts(&facts, clock.read())
    };
    let (facts_sender, facts_receiver) = watch::channel(facts());
    let (discovery_sender, discovery_receiver) =
        watch::channel(wire::discovery(&probes, &config.host));
    let (lists, list_receiver) = mpsc::channel(1);

    let mut tasks = JoinSet::new();
    tasks.spawn(scheduler::run(
        config.host.clone(),
        list_receiver,
        spool.clone(),
        board.clone(),
        surroundings.clone(),
        shutdown.clone(),
    ));
    // No simulated host has a file system that others could find a socket in.
    if !surroundings.is_simulated() {
        let local = Local {
            host: config.host.clone(),
            state_dir: config.state_dir.clone(),
            configuration_file: String::new(),
            started: Instant::now(),
            spool: spool.clone(),
            board: board.clone(),
            facts: facts_receiver.clone(),
        };
        tasks.spawn(local::serve(local, shutdown.clone()));
    }
    for address in config.aggregators.clone() {
        let source = Source {
            host: config.host.clone(),
            spool: spool.clone(),
            board: board.clone(),
            facts: facts_receiver.clone(),
            discovery: discovery_receiver.clone(),
            versions: versions.clone(),
            surroundings: surroundings.clone(),
        };
        tasks.spawn(uplink::run(
            address,
            tls.clone(),
            dialer.clone(),
            source,
            shutdown.clone(),
        ));
    }
    let mut known = probes.clone();
    let mut list = Some(probes);
    loop {
        if let Some(list) = list.take()
            && lists.send(list).await.is_err()
        {
            break;
        }
        tokio::select! {
            () = shutdown.cancelled() => break,
            () = tokio::time::sleep(config.discovery.unwrap_or(FACTS_INTERVAL)) => {}
        }
        let new = facts();
        facts_sender.send_if_modified(|old| {
            let changed = (&old.addresses, &old.routes, &old.resolvers, &old.labels)
                != (&new.addresses, &new.routes, &new.resolvers, &new.labels);
            if changed {
                *old = new;
            }
            changed
        });
        let found = look(&config);
        let added: Vec<Configured> = found
            .into_iter()
            .filter(|probe| {
                !known
                    .iter()
                    .any(|old| old.component == probe.component && old.kind.name == probe.kind.name)
            })
            .collect();
        if !added.is_empty() {
            info!(probes = added.len(), "discovered");
            known.extend(added);
            discovery_sender.send_replace(wire::discovery(&known, &config.host));
            list = Some(known.clone());
        }
    }
    while tasks.join_next().await.is_some() {}
    note_end(&config.state_dir, &boot_id);
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

fn look(config: &AgentConfig) -> Vec<Configured> {
    let found = config
        .discovery
        .map(|_| discover(&HostView::read(Path::new("/")), &config.host));
    join(&config.probes, found.unwrap_or_default())
}
