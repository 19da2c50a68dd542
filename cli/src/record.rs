//! `blackstart record`: captures what an aggregator is told into a scenario folder, for `replay` and `test`.
//!
//! **Invariant:** a folder with `events.jsonl` in it holds a whole recording. Until it is whole, its files have other names.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use blackstart_aggregator::{CaptureError, CaptureFrom, capture_journal};
use blackstart_graph::Timestamp;
use serde_json::json;

use crate::exit::Exit;
use crate::output::write;
use crate::{Connection, Format, json as shapes};

mod live;

/// What a file is called until the recording is whole.
const UNFINISHED: &str = ".unfinished";

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder: new, or empty.
    folder: PathBuf,
    /// Read the journal in this state folder of an aggregator that runs or ran on this host, instead of asking one: an
    /// incident after it happened.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// From this moment on, as 2019-01-24T12:55:00Z, or so long before the end, as 2h; with --state-dir.
    #[arg(long, value_parser = from, requires = "state_dir")]
    from: Option<CaptureFrom>,
    /// For so long, as 10m; otherwise until Ctrl-C, or until the end of the journal.
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
}

fn duration(text: &str) -> Result<Duration, String> {
    Ok(blackstart_config::parse_duration(text)?)
}

fn from(text: &str) -> Result<CaptureFrom, String> {
    if let Ok(at) = Timestamp::parse(text) {
        return Ok(CaptureFrom::At(at));
    }
    let ago = blackstart_config::parse_duration(text);
    ago.map(CaptureFrom::Ago).map_err(|_| {
        "expected a time, like 2019-01-24T12:55:00Z, or how long before the end, like 2h".to_owned()
    })
}

/// Why nothing was recorded, or not all of it.
#[derive(Debug, thiserror::Error)]
enum RecordError {
    #[error("{}: {problem}; name a folder that is new or empty", path.display())]
    Taken { path: PathBuf, problem: String },
    #[error("cannot write {}: {source}; what was recorded so far is in {}", path.display(), path.display())]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{0}")]
    Nothing(String),
    #[error("{0}")]
    Source(String),
    #[error("the recording is not complete: {problem}; what there is of it is in {}", path.display())]
    Incomplete { path: PathBuf, problem: String },
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
}

impl RecordError {
    fn show(&self) -> Exit {
        match self {
            Self::Client(error) => error.show(),
            Self::Taken { .. } | Self::Nothing(_) => {
                eprintln!("blackstart: {self}");
                Exit::Usage
            }
            Self::Write { .. } | Self::Source(_) | Self::Incomplete { .. } => {
                eprintln!("blackstart: {self}");
                Exit::CannotSay
            }
        }
    }
}

pub(crate) async fn run(connection: &Connection, arguments: &Arguments, format: Format) -> Exit {
    let recorded = match &arguments.state_dir {
        Some(state_dir) => of_journal(state_dir, arguments),
        None => live::record(connection, &arguments.folder, arguments.duration, format).await,
    };
    match recorded {
        Ok(recorded) => write(&recorded.told(&arguments.folder, format)),
        Err(error) => error.show(),
    }
}

/// What was recorded.
struct Recorded {
    events: u64,
    from: Timestamp,
    to: Timestamp,
    /// What somebody has to know of it.
    notes: Vec<String>,
}

impl Recorded {
    fn told(&self, folder: &Path, format: Format) -> String {
        if format == Format::Json {
            return shapes::line(&json!({
                "folder": folder, "events": self.events, "from": self.from, "to": self.to, "notes": self.notes,
            }));
        }
        let name = folder.display();
        let mut text = format!(
            "{name}: {} events from {} to {}\n",
            self.events, self.from, self.to
        );
        for note in &self.notes {
            text.push_str(&format!("  {note}\n"));
        }
        text.push_str(&format!(
            "See what was said when: blackstart replay {name}\n"
        ));
        text
    }
}

fn of_journal(state_dir: &Path, arguments: &Arguments) -> Result<Recorded, RecordError> {
    let mut files = Files::begin(&arguments.folder)?;
    let captured = capture_journal(
        state_dir,
        arguments.from,
        arguments.duration,
        &mut files.events,
    );
    let captured = match captured {
        Ok(captured) => captured,
        Err(error) => {
            let failed = match error {
                CaptureError::Write(source) => return Err(files.failed(source)),
                CaptureError::Nothing(words) => RecordError::Nothing(words),
                error => RecordError::Source(error.to_string()),
            };
            files.discard();
            return Err(failed);
        }
    };
    files.finish(&captured.topology)?;
    let broken = captured.broken;
    let notes =
        (broken > 0).then(|| format!("{broken} broken commits of the journal are left out"));
    Ok(Recorded {
        events: captured.events,
        from: captured.from,
        to: captured.to,
        notes: notes.into_iter().collect(),
    })
}

/// The files of a recording until it is whole.
struct Files {
    folder: PathBuf,
    is_new: bool,
    events: BufWriter<File>,
}

impl Files {
    /// Makes the folder, or takes it if it is empty.
    fn begin(folder: &Path) -> Result<Self, RecordError> {
        let taken = |problem: String| RecordError::Taken {
            path: folder.to_owned(),
            problem,
        };
        let is_new = match std::fs::read_dir(folder) {
            Ok(mut entries) => {
                if entries.next().is_some() {
                    return Err(taken("there is something in this folder".to_owned()));
                }
                false
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                std::fs::create_dir_all(folder).map_err(|error| taken(error.to_string()))?;
                true
            }
            Err(error) => return Err(taken(error.to_string())),
        };
        let path = unfinished(folder);
        let events = File::create_new(&path).map_err(|error| taken(error.to_string()))?;
        Ok(Self {
            folder: folder.to_owned(),
            is_new,
            events: BufWriter::new(events),
        })
    }

    /// Gives the files their names: the topology first, so that events are never without one.
    fn finish(mut self, topology: &str) -> Result<(), RecordError> {
        let named = (|| {
            self.events.flush()?;
            self.events.get_ref().sync_all()?;
            let other = self.folder.join(format!("topology.toml{UNFINISHED}"));
            std::fs::write(&other, topology)?;
            std::fs::rename(&other, self.folder.join("topology.toml"))?;
            std::fs::rename(unfinished(&self.folder), self.folder.join("events.jsonl"))
        })();
        named.map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> RecordError {
        RecordError::Write {
            path: unfinished(&self.folder),
            source,
        }
    }

    /// Leaves nothing behind.
    fn discard(self) {
        // What cannot be taken away is no worse than it was.
        let _ = std::fs::remove_file(unfinished(&self.folder));
        if self.is_new {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}

fn unfinished(folder: &Path) -> PathBuf {
    folder.join(format!("events.jsonl{UNFINISHED}"))
}
