//! `blackstart-aggregator`: keeps the journal and the health graph, answers operators.
//!
//! Exit codes: 0 done · 1 could not start or go on · 2 wrong use · 78 configuration refused.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use blackstart_aggregator::{
    Config, ExportError, Pulse, StartError, default_state_dir, export, listen_address, start,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

/// The configuration was refused (sysexits.h, EX_CONFIG).
const REFUSED: u8 = 78;

/// Takes what Blackstart's agents report, keeps it, and answers operators.
#[derive(Debug, Parser)]
#[command(name = "blackstart-aggregator", version)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run the aggregator until SIGTERM; SIGHUP reads topology and TLS files again
    Run(RunArguments),
    /// Check a configuration file, and the topology file that it names; nothing is started
    Validate {
        /// The configuration file
        file: PathBuf,
    },
    /// Show every entry of the journal as lines of JSON; the aggregator may run meanwhile
    Journal {
        /// The aggregator's state folder
        #[arg(long)]
        state_dir: Option<PathBuf>,
        /// How entries are shown
        #[arg(long, value_enum, default_value_t = Format::Jsonl)]
        format: Format,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Listen there instead, like 127.0.0.1:7400; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", value_parser = listen_address)]
    listen: Option<SocketAddr>,
    /// Keep state there instead
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Use this topology file instead
    #[arg(long, value_name = "FILE")]
    topology: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One event a line, as in a capture
    Jsonl,
}

fn main() -> ExitCode {
    match Command::parse().verb {
        Verb::Run(arguments) => run(arguments),
        Verb::Validate { file } => validate(&file),
        Verb::Journal { state_dir, .. } => journal(state_dir),
    }
}

fn run(arguments: RunArguments) -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("BLACKSTART_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    let config = match arguments.config.as_deref().map(Config::load) {
        None => Config::new(default_state_dir()),
        Some(Ok(config)) => config,
        Some(Err(report)) => {
            let file = arguments.config.unwrap_or_default();
            return refused(&report, &file);
        }
    };
    let config = Config {
        listen: arguments.listen.unwrap_or(config.listen),
        state_dir: arguments.state_dir.unwrap_or(config.state_dir),
        topology_file: arguments.topology.or(config.topology_file),
        ..config
    };
    raise_file_limit();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    runtime.block_on(run_until_told(config))
}

/// Every agent is an open file; the soft limit of most systems is a thousand.
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        tracing::warn!(%error, "limit of open files not raised");
    }
}

async fn run_until_told(config: Config) -> ExitCode {
    let signals = (|| {
        Ok::<_, std::io::Error>((
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        ))
    })();
    let (mut terminate, mut interrupt, mut hangup) = match signals {
        Ok(signals) => signals,
        Err(error) => return failed(&error),
    };
    let mut running = match start(config).await {
        Ok(running) => running,
        Err(StartError::Topology(report)) => {
            say(&format!(
                "blackstart-aggregator: {report}. Nothing was started."
            ));
            return ExitCode::from(REFUSED);
        }
        Err(error) => {
            let code = failed(&error);
            return if error.is_configuration() {
                ExitCode::from(REFUSED)
            } else {
                code
            };
        }
    };
    let address = running
        .address()
        .map_or_else(String::new, |address| address.to_string());
    tracing::info!(address, id = running.id(), "aggregator ready");
    notify(&[NotifyState::Ready]);
    if let Some(patience) = sd_notify::watchdog_enabled() {
        // Ends with the process: an engine that stopped feeds nobody.
        tokio::spawn(feed_watchdog(running.pulse(), patience));
    }
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => running.reload(),
            part = running.failed() => {
                tracing::error!(part, "a part of the aggregator ended; stopping");
                running.shutdown().await;
                return ExitCode::FAILURE;
            }
        }
    }
    notify(&[NotifyState::Stopping]);
    if running.shutdown().await {
        tracing::info!("aggregator stopped");
        ExitCode::SUCCESS
    } else {
        say(
            "blackstart-aggregator: stopped before everything was written; what was not acknowledged comes again",
        );
        ExitCode::FAILURE
    }
}

/// Feeds systemd's watchdog as long as the engine answers, twice within its patience (sd_watchdog_enabled(3)).
async fn feed_watchdog(pulse: Pulse, patience: Duration) {
    while pulse.beat().await {
        notify(&[NotifyState::Watchdog]);
        tokio::time::sleep(patience / 2).await;
    }
}

/// Tells systemd, where it started us.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "systemd not told");
    }
}

fn validate(file: &Path) -> ExitCode {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(report) => return refused(&report, file),
    };
    if let Some(topology) = &config.topology_file
        && let Err(report) = blackstart_aggregator::validate_topology(topology)
    {
        return refused(&report, file);
    }
    say(&format!("{} is good", file.display()));
    ExitCode::SUCCESS
}

fn journal(state_dir: Option<PathBuf>) -> ExitCode {
    let state_dir = state_dir.unwrap_or_else(default_state_dir);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match export(&state_dir, &mut out) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(broken) => {
            say(&format!(
                "blackstart-aggregator: {broken} broken commit(s) left out"
            ));
            ExitCode::FAILURE
        }
        // `| head` is no failure.
        Err(ExportError::Write(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(error) => failed(&error),
    }
}

fn refused(report: &blackstart_config::Report, file: &Path) -> ExitCode {
    say(&format!(
        "blackstart-aggregator: {report}. Nothing was started. Check again with: \
         blackstart-aggregator validate {}",
        file.display()
    ));
    ExitCode::from(REFUSED)
}

/// Says an error with its sources.
fn failed(error: &dyn std::error::Error) -> ExitCode {
    let mut text = format!("blackstart-aggregator: {error}");
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    say(&text);
    ExitCode::FAILURE
}

/// Says something on standard error; that it is closed is no reason to end otherwise.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
