//! A recording of a running aggregator: what it is told from now on.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use blackstart_graph::{Event, EventKind, Timestamp};
use blackstart_proto::limits::SILENCE_MAX;
use blackstart_proto::v1::{RecordRequest, RecordResponse};
use tokio::signal::unix::{SignalKind, signal};
use tonic::{Status, Streaming};

use super::{Files, RecordError, Recorded, unfinished};
use crate::exit::Exit;
use crate::output::write;
use crate::{Connection, Format, client};

pub(super) async fn record(
    connection: &Connection,
    folder: &Path,
    duration: Option<Duration>,
    format: Format,
) -> Result<Recorded, RecordError> {
    let mut client = client::open(connection).await?;
    let stream = client::answer(client.record(RecordRequest {})).await;
    let stream = stream.map_err(|status| client::answered(connection, &status))?;
    let files = Files::begin(folder)?;
    let mut live = Live {
        stream,
        files,
        topology: String::new(),
        first: None,
        last: Timestamp::from_micros(i64::MIN),
        events: 0,
    };
    let begun = format!(
        "Recording {} into {}. Ctrl-C ends it.\n",
        connection.aggregator,
        folder.display()
    );
    if format == Format::Text && duration.is_none() && write(&begun) != Exit::Yes {
        return Err(RecordError::Source("nobody reads".to_owned()));
    }
    let told = tokio::select! {
        end = live.follow(duration) => end?,
        () = told_to_end() => String::new(),
    };
    live.finish(told)
}

/// Waits for Ctrl-C or SIGTERM.
async fn told_to_end() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Ctrl-C alone then.
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

struct Live {
    stream: Streaming<RecordResponse>,
    files: Files,
    topology: String,
    first: Option<Timestamp>,
    last: Timestamp,
    events: u64,
}

impl Live {
    /// Writes what comes until it has been so long, or the aggregator says that it is over, and why. What was read is
    /// written before anything else is waited for, so that this may end anywhere.
    async fn follow(&mut self, duration: Option<Duration>) -> Result<String, RecordError> {
        loop {
            let next = tokio::time::timeout(SILENCE_MAX, self.stream.message()).await;
            let silent = || Status::deadline_exceeded("it is silent");
            let piece = next.unwrap_or_else(|_| Err(silent()));
            let piece = match piece {
                Ok(Some(piece)) => piece,
                Ok(None) => return Err(self.incomplete("the aggregator went away")),
                Err(status) => return Err(self.incomplete(status.message())),
            };
            self.take(&piece)?;
            if !piece.end.is_empty() {
                return Ok(piece.end);
            }
            if let (Some(duration), Some(first)) = (duration, self.first)
                && self.last >= first.plus(duration)
            {
                return Ok(String::new());
            }
        }
    }

    fn take(&mut self, piece: &RecordResponse) -> Result<(), RecordError> {
        let at = Timestamp::from_micros(piece.at_us);
        self.first.get_or_insert(at);
        self.last = self.last.max(at);
        self.topology.push_str(&piece.topology);
        self.events += piece.events.lines().count() as u64;
        let written = self.files.events.write_all(piece.events.as_bytes());
        written.map_err(|source| self.files.failed(source))
    }

    /// Closes the recording with a tick, so that what ended by time alone is seen to have ended.
    fn finish(mut self, why: String) -> Result<Recorded, RecordError> {
        let Some(first) = self.first else {
            self.files.discard();
            return Err(RecordError::Nothing(
                "ended before the aggregator told anything; nothing was recorded".to_owned(),
            ));
        };
        let tick = Event {
            at: self.last,
            kind: EventKind::Tick,
        };
        let written = serde_json::to_writer(&mut self.files.events, &tick)
            .map_err(std::io::Error::from)
            .and_then(|()| self.files.events.write_all(b"\n"));
        written.map_err(|source| self.files.failed(source))?;
        let recorded = Recorded {
            events: self.events + 1,
            from: first,
            to: self.last,
            notes: Some(why)
                .filter(|why| !why.is_empty())
                .into_iter()
                .collect(),
        };
        self.files.finish(&self.topology)?;
        Ok(recorded)
    }

    fn incomplete(&mut self, problem: &str) -> RecordError {
        // What cannot be written any more is said to be missing anyway.
        let _ = self.files.events.flush();
        RecordError::Incomplete {
            path: unfinished(&self.files.folder),
            problem: problem.to_owned(),
        }
    }
}
