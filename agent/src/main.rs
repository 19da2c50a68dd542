//! `blackstart-agent`: the command line around the agent.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use blackstart_agent::agent::Service;
use blackstart_agent::config::{AgentConfig, ConfigSource, host_id};
use blackstart_agent::probe::Privilege;
use blackstart_agent::supervisor::Supervisor;
use blackstart_agent::{agent, registry};
use blackstart_proto::transport::{DialRefused, HostPort, dial_policy};
use clap::{Parser, Subcommand, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Exit code of a refused configuration (sysexits.h, EX_CONFIG).
const EX_CONFIG: u8 = 78;

/// Probes what this host has and needs, keeps the results, streams them to aggregators.
#[derive(Debug, Parser)]
#[command(name = "blackstart-agent", version, max_term_width = 80)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the agent until SIGTERM; SIGHUP reads the configuration again, and so does a change of it.
    Run {
        /// The configuration file; without one, defaults and discovery.
        #[arg(long)]
        config: Option<PathBuf>,
        /// Where the spool is kept.
        #[arg(long)]
        state_dir: Option<PathBuf>,
        /// The component id of this host.
        #[arg(long, value_parser = host_id)]
        host: Option<String>,
        /// An aggregator, HOST:PORT; may be given several times.
        #[arg(long)]
        aggregator: Vec<HostPort>,
        /// Log as JSON.
        #[arg(long)]
        log_json: bool,
    },
    /// Check a configuration file.
    Validate {
        /// The file.
        file: PathBuf,
    },
    /// List every kind of probe and what it needs.
    Probes {
        /// How to print it.
        #[arg(long, value_enum, default_value = "text")]
        format: Format,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run {
            config,
            state_dir,
            host,
            aggregator,
            log_json,
        } => {
            let source = ConfigSource {
                file: config,
                state_dir,
                host,
                aggregators: aggregator,
            };
            match source.load() {
                Ok(settings) => {
                    if let Some(refused) = refused_address(&source, settings.tls.is_some()) {
                        eprintln!(
                            "blackstart-agent: {refused}; name ca_file, certificate_file and key_file in the [tls] table of a \
                             file, and the file with --config. Nothing was started."
                        );
                        return ExitCode::from(EX_CONFIG);
                    }
                    start_log(log_json);
                    run(settings, source)
                }
                Err(report) => refuse(&report, source.file.as_deref()),
            }
        }
        Command::Validate { file } => match AgentConfig::load(&file) {
            Ok(config) => print(&format!(
                "{}: ok, {} probes\n",
                file.display(),
                config.probes.len()
            )),
            Err(report) => refuse(&report, Some(&file)),
        },
        Command::Probes { format } => print(&match format {
            Format::Text => probes_text(),
            Format::Json => probes_json(),
        }),
    }
}

/// An aggregator of the command line that may not be dialled as things are; those of a file were checked with it.
fn refused_address(source: &ConfigSource, tls: bool) -> Option<DialRefused> {
    let literals = source.aggregators.iter().filter_map(HostPort::literal);
    literals
        .map(|ip| dial_policy(ip, tls))
        .find_map(Result::err)
}

fn refuse(report: &blackstart_config::Report, file: Option<&std::path::Path>) -> ExitCode {
    let again = file.map_or_else(String::new, |file| {
        format!(
            " Check again with: blackstart-agent validate {}",
            file.display()
        )
    });
    eprintln!("blackstart-agent: {report}. Nothing was started.{again}");
    ExitCode::from(EX_CONFIG)
}

/// What is logged unless `BLACKSTART_LOG` says otherwise: two libraries tell of what a probe tells better.
const LOGGED: &str = "info,lapin=off,sqlx=off";

/// Logs to standard error. By target and level alone: a filter that knows fields brings a regex engine, which costs more memory than the spool.
fn start_log(json: bool) {
    let wanted = std::env::var("BLACKSTART_LOG").unwrap_or_else(|_| LOGGED.to_owned());
    let targets = wanted.parse::<Targets>().unwrap_or_else(|error| {
        eprintln!(
            "blackstart-agent: BLACKSTART_LOG={wanted:?} is not understood ({error}); \"info\" is used"
        );
        Targets::new().with_default(tracing::Level::INFO)
    });
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    let lines = if json {
        lines.json().boxed()
    } else {
        lines.with_target(false).boxed()
    };
    tracing_subscriber::registry()
        .with(targets)
        .with(lines)
        .init();
}

fn run(config: AgentConfig, source: ConfigSource) -> ExitCode {
    // One thread is enough for hundreds of probes, and the smallest.
    let runtime = match tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("blackstart-agent: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        let service = Service {
            source,
            reload: Arc::default(),
            supervisor: Supervisor::from_environment(),
        };
        tokio::spawn(obey_signals(shutdown.clone(), service.reload.clone()));
        agent::run(config, service, shutdown).await
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("blackstart-agent: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn obey_signals(shutdown: CancellationToken, reload: Arc<Notify>) {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hangup)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        return;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = hangup.recv() => reload.notify_one(),
        }
    }
    shutdown.cancel();
}

fn privilege(privilege: Privilege) -> (&'static str, &'static str) {
    match privilege {
        Privilege::None => ("none", "works as any user"),
        Privilege::Helps(what) => ("helps", what),
        Privilege::Required(what) => ("required", what),
    }
}

fn probes_text() -> String {
    let mut text = String::new();
    for kind in registry::KINDS {
        let (word, what) = privilege(kind.privilege);
        text.push_str(&format!("{}\n", kind.name));
        for line in wrap(kind.summary) {
            text.push_str(&format!("    {line}\n"));
        }
        for (at, line) in wrap(&format!("privileges: {word}: {what}"))
            .into_iter()
            .enumerate()
        {
            let indent = if at == 0 { "    " } else { "      " };
            text.push_str(&format!("{indent}{line}\n"));
        }
    }
    text
}

/// Breaks a text at spaces so that it fits on 80 columns with its indent.
fn wrap(text: &str) -> Vec<String> {
    const WIDTH: usize = 74;
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + 1 + word.chars().count() > WIDTH
        {
            lines.push(word.to_owned());
        } else {
            if !lines[last].is_empty() {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}

fn probes_json() -> String {
    let kinds: Vec<_> = registry::KINDS
        .iter()
        .map(|kind| {
            let (word, what) = privilege(kind.privilege);
            serde_json::json!({
                "kind": kind.name,
                "component_kind": kind.component_kind,
                "summary": kind.summary,
                "privilege": word,
                "privilege_detail": what,
                "interval_ms": u64::try_from(kind.interval.as_millis()).unwrap_or(u64::MAX),
                "timeout_ms": u64::try_from(kind.timeout.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::from(kinds))
}

/// Writes to standard output; a reader that went away is no error.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => ExitCode::FAILURE,
        _ => ExitCode::SUCCESS,
    }
}
