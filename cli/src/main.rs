//! `blackstart`: what really broke, what works, what does not.
//!
//! One file per command; `exit` holds the exit codes, `output` is the only way to standard output.

mod agents;
mod check;
mod client;
mod clock;
mod exit;
mod json;
mod output;
mod ready;
mod record;
mod replay;
mod scenario;
mod status;
mod table;
mod test_scenarios;
mod text;
mod topology;
mod up;
mod verdict;
mod why;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use blackstart_proto::transport::HostPort;
use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};

use exit::Exit;

/// What really broke, what works, and what does not.
#[derive(Debug, Parser)]
#[command(name = "blackstart", version, max_term_width = 80, after_help = exit::HELP)]
struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// How to print.
    #[arg(long, global = true, value_enum, default_value = "text")]
    format: Format,
    #[command(subcommand)]
    command: Command,
}

/// Where the aggregator is, and the files of mutual TLS.
#[derive(Debug, Clone, Args)]
struct Connection {
    /// The aggregator, HOST:PORT.
    #[arg(
        long,
        global = true,
        env = "BLACKSTART_AGGREGATOR",
        default_value = "127.0.0.1:7400"
    )]
    aggregator: HostPort,
    /// Certificates of the authority whose aggregator is believed.
    #[arg(long, global = true, env = "BLACKSTART_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// The certificate to show.
    #[arg(long, global = true, env = "BLACKSTART_CERTIFICATE_FILE")]
    certificate_file: Option<PathBuf>,
    /// Its private key.
    #[arg(long, global = true, env = "BLACKSTART_KEY_FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs; one object.
    Json,
    /// One line with performance data, for Nagios and its kin; `check` only.
    Nagios,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run an agent and an aggregator on this host, and show what they see.
    Up(up::Arguments),
    /// Run this host's probes once; needs no aggregator.
    Check(check::Arguments),
    /// Show what is wrong, and how many of each condition.
    Status(status::Arguments),
    /// Show what is held to be the cause, and why; or why a component has its condition.
    Why {
        /// The component; without one, the causes with all their evidence and who was named when.
        component: Option<String>,
    },
    /// Say whether components can be relied upon.
    Ready(ready::Arguments),
    /// Show the agents and their streams.
    Agents,
    /// Check or show the topology.
    Topology {
        #[command(subcommand)]
        command: topology::Command,
    },
    /// Show what Blackstart would have said of a past incident, and when; needs no aggregator.
    Replay(replay::Arguments),
    /// Capture what an aggregator is told into a folder, for `replay` and `test`.
    Record(record::Arguments),
    /// Run past incidents against their expectations; needs no aggregator.
    Test(test_scenarios::Arguments),
    /// Print the completions of a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// The folder.
        folder: PathBuf,
    },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Arguments {
        connection,
        format,
        command,
    } = arguments;
    if format == Format::Nagios && !matches!(command, Command::Check(_)) {
        eprintln!("blackstart: --format nagios is for `blackstart check` only");
        return Exit::Usage.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("blackstart: cannot start: {error}");
            return Exit::CannotSay.into();
        }
    };
    let exit = runtime.block_on(async {
        match command {
            Command::Up(arguments) => up::run(arguments, format).await,
            Command::Check(arguments) => check::run(arguments, format).await,
            Command::Status(arguments) => status::run(&connection, &arguments, format).await,
            Command::Why { component } => why::run(&connection, component.as_deref(), format).await,
            Command::Ready(arguments) => ready::run(&connection, &arguments, format).await,
            Command::Agents => agents::run(&connection, format).await,
            Command::Topology { command } => topology::run(&connection, command, format).await,
            Command::Replay(arguments) => replay::run(&arguments, format),
            Command::Record(arguments) => record::run(&connection, &arguments, format).await,
            Command::Test(arguments) => test_scenarios::run(&arguments, format),
            Command::Completions { shell } => {
                let mut text = Vec::new();
                clap_complete::generate(shell, &mut Arguments::command(), "blackstart", &mut text);
                output::write(&String::from_utf8_lossy(&text))
            }
            Command::Man { folder } => man(&folder),
        }
    });
    // A probe that hangs in the kernel must not keep the command.
    runtime.shutdown_timeout(Duration::from_secs(1));
    exit.into()
}

fn man(folder: &std::path::Path) -> Exit {
    match clap_mangen::generate_to(Arguments::command(), folder) {
        Ok(()) => Exit::Yes,
        Err(error) => {
            eprintln!(
                "blackstart: cannot write the manual pages into {}: {error}",
                folder.display()
            );
            Exit::Usage
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
