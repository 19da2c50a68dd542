//! `blackstart up`: an agent and an aggregator in this process, and what they see.

mod live;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use blackstart_agent::agent::Service;
use blackstart_agent::config::ConfigSource;
use blackstart_aggregator::{Config, StartError};
use blackstart_proto::transport::HostPort;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::output::write;
use crate::{Format, client};

/// How long the agent may take to say goodbye.
const STOP_MAX: Duration = Duration::from_secs(5);

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Where everything is kept; found again at the next start.
    #[arg(long)]
    state_dir: Option<PathBuf>,
    /// Where the aggregator listens; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:7400", value_parser = blackstart_aggregator::listen_address)]
    listen: SocketAddr,
    /// A topology file.
    #[arg(long)]
    topology: Option<PathBuf>,
    /// An agent's configuration file.
    #[arg(long)]
    config: Option<PathBuf>,
}

pub(crate) async fn run(arguments: Arguments, format: Format) -> Exit {
    let mut source = ConfigSource {
        file: arguments.config.clone(),
        state_dir: arguments.state_dir.as_ref().map(|dir| dir.join("agent")),
        ..ConfigSource::default()
    };
    let mut agent = match source.load() {
        Ok(config) => config,
        Err(report) => {
            eprintln!("blackstart: {report}. Nothing was started.");
            return Exit::Refused;
        }
    };
    start_log();
    let state_dir = arguments.state_dir.clone();
    let aggregator_dir = state_dir
        .as_ref()
        .map_or_else(blackstart_aggregator::default_state_dir, |dir| {
            dir.join("aggregator")
        });
    let mut config = Config::new(aggregator_dir);
    config.listen = arguments.listen;
    config.topology_file = arguments.topology.clone();
    let running = match blackstart_aggregator::start(config.clone()).await {
        Ok(running) => running,
        Err(error) => return cannot_start(&error, arguments.listen).await,
    };
    let address = running.address().unwrap_or(arguments.listen);
    let Ok(own) = address.to_string().parse::<HostPort>() else {
        eprintln!("blackstart: {address} is no address to connect to");
        return Exit::Usage;
    };
    source.aggregators.push(own.clone());
    if !agent.aggregators.contains(&own) {
        agent.aggregators.push(own.clone());
    }
    let places = format!(
        "{}, {}",
        config.state_dir.display(),
        agent.state_dir.display()
    );
    let shutdown = CancellationToken::new();
    let service = Service {
        source,
        ..Service::default()
    };
    let running_agent = blackstart_agent::agent::run(agent, service, shutdown.clone());
    let mut agent_task = tokio::spawn(running_agent);
    let ask = if address.port() == blackstart_proto::limits::AGGREGATOR_PORT {
        String::new()
    } else {
        format!(" --aggregator {address}")
    };
    let places = format!("Data: {places}\nIn another terminal: blackstart status{ask}\n\n");
    if format == Format::Text {
        write(&format!(
            "Blackstart is up on {address}. Ctrl-C ends it.\n{places}"
        ));
    }
    let mut ended = None;
    let exit = tokio::select! {
        () = stop_signal() => Exit::Yes,
        exit = live::show(&own, &places, format) => exit,
        outcome = &mut agent_task => {
            ended = Some(outcome);
            Exit::No
        }
    };
    // The agent first, so that its last results are in the journal.
    shutdown.cancel();
    if ended.is_none() {
        ended = tokio::time::timeout(STOP_MAX, &mut agent_task).await.ok();
    }
    let kept = running.shutdown().await;
    let agent_failure = match ended {
        Some(Ok(Ok(()))) => None,
        Some(Ok(Err(error))) => Some(format!("the agent could not run: {error}")),
        Some(Err(_)) => Some("the agent ended by a defect; its log says more".to_owned()),
        None => Some(format!(
            "the agent did not end within {} s",
            STOP_MAX.as_secs()
        )),
    };
    if let Some(failure) = &agent_failure {
        eprintln!("blackstart: {failure}");
    }
    if format == Format::Text {
        write(if kept {
            "\nStopped in order; everything that was acknowledged is kept.\n"
        } else {
            "\nStopped; the journal could not be written to the end. What was not acknowledged comes again.\n"
        });
    }
    if kept && agent_failure.is_none() {
        exit
    } else {
        Exit::No
    }
}

/// Says why the aggregator cannot start; where one answers already, that.
async fn cannot_start(error: &StartError, listen: SocketAddr) -> Exit {
    eprintln!("blackstart: {error}");
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        eprintln!("  because: {cause}");
        source = cause.source();
    }
    if matches!(error, StartError::Refused(_)) {
        eprintln!(
            "  `blackstart up` is for one host; for others to reach it: blackstart-aggregator run --config FILE"
        );
    }
    let answers = match listen.to_string().parse::<HostPort>() {
        Ok(address) if listen.port() != 0 => client::open_at(&address, None).await.is_ok(),
        _ => false,
    };
    if answers {
        eprintln!(
            "  an aggregator answers on {listen} already: blackstart status --aggregator {listen}"
        );
        eprintln!(
            "  to run another one beside it: blackstart up --listen 127.0.0.1:0 --state-dir DIR"
        );
    }
    if error.is_configuration() {
        Exit::Refused
    } else {
        Exit::CannotSay
    }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("BLACKSTART_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_target(false)
        .init();
}

async fn stop_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
