//! A capture of a running engine: its state, then what it is told from then on.
//!
//! The engine hands each entry to those who record and never waits for one: who does not keep up is dropped, and told so.

use std::sync::Arc;
use std::time::Duration;

use blackstart_graph::Event;
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Events, line};
use crate::clock::Clock;
use crate::series::SeriesTable;

/// The most recordings at a time: each costs the engine a copy of a pointer for every entry.
pub(crate) const RECORDINGS_MAX: usize = 4;

/// The most entries that wait for one who records: as many as may wait for the engine itself.
const WAITING_MAX: usize = crate::ingest::ENGINE_QUEUE_MAX;

/// The most entries that are made into one piece.
const TAKEN_MAX: usize = 64;

/// A piece of lines is sent when it is this long: far below the longest message, far above what sending costs.
const PIECE_BYTES: usize = 256 * 1024;

/// Who records is told so often that nothing happened, so that silence and nothing are not the same.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What one who records is handed.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// The engine took an entry.
    Entry {
        /// When it came.
        at_us: i64,
        /// [`crate::entry`].
        bytes: Bytes,
    },
    /// Another topology is in force.
    Topology,
}

/// What a recording begins with.
#[derive(Debug)]
pub(crate) struct Begun {
    /// The topology file in force.
    pub(crate) topology: Arc<str>,
    /// When it begins.
    pub(crate) at_us: i64,
    /// The state then.
    pub(crate) state: Vec<Event>,
    /// What follows.
    pub(crate) told: mpsc::Receiver<Told>,
}

/// Those who record.
#[derive(Debug, Default)]
pub(crate) struct Taps(Vec<mpsc::Sender<Told>>);

impl Taps {
    /// Another one who records; `None` when there are as many as there may be.
    pub(crate) fn open(&mut self) -> Option<mpsc::Receiver<Told>> {
        self.0.retain(|tap| !tap.is_closed());
        if self.0.len() >= RECORDINGS_MAX {
            return None;
        }
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        self.0.push(sender);
        Some(receiver)
    }

    /// Hands something to everybody who records. Who went away or does not keep up is dropped.
    pub(crate) fn tell(&mut self, told: &Told) {
        self.0.retain(|tap| tap.try_send(told.clone()).is_ok());
    }
}

/// A piece of a recording.
#[derive(Debug)]
pub(crate) enum Piece {
    /// The topology file in force, and when the recording begins.
    Topology(Arc<str>, i64),
    /// Lines of events; all that happened until this moment has been told.
    Lines(String, i64),
    /// The recording is whole and ends here: why.
    End(&'static str, i64),
    /// The recording lacks what came after the last piece.
    Dropped,
}

/// A recording that is being sent.
pub(crate) struct Recording {
    topology: Option<Arc<str>>,
    state: std::vec::IntoIter<Event>,
    told: mpsc::Receiver<Told>,
    events: Events,
    at_us: i64,
    clock: Arc<Clock>,
    shutdown: CancellationToken,
    /// Another topology is in force.
    is_replaced: bool,
    is_over: bool,
}

impl Recording {
    pub(crate) fn new(
        begun: Begun,
        series: Arc<SeriesTable>,
        clock: Arc<Clock>,
        shutdown: CancellationToken,
    ) -> Self {
        let mut events = Events::new(series);
        events.after(&begun.state);
        Self {
            topology: Some(begun.topology),
            state: begun.state.into_iter(),
            told: begun.told,
            events,
            at_us: begun.at_us,
            clock,
            shutdown,
            is_replaced: false,
            is_over: false,
        }
    }

    /// The next piece; `None` behind the last.
    pub(crate) async fn next(&mut self) -> Option<Piece> {
        if self.is_over {
            return None;
        }
        if let Some(topology) = self.topology.take() {
            return Some(Piece::Topology(topology, self.at_us));
        }
        if let Some(first) = self.state.next() {
            let mut lines = line(&first);
            while lines.len() < PIECE_BYTES
                && let Some(event) = self.state.next()
            {
                lines.push_str(&line(&event));
            }
            return Some(Piece::Lines(lines, self.at_us));
        }
        if self.is_replaced {
            return Some(self.end(REPLACED));
        }
        let mut taken = Vec::with_capacity(TAKEN_MAX);
        tokio::select! {
            biased;
            () = self.shutdown.cancelled() => {
                return Some(self.end("the aggregator stopped"));
            }
            count = self.told.recv_many(&mut taken, TAKEN_MAX) => {
                if count == 0 {
                    self.is_over = true;
                    return Some(Piece::Dropped);
                }
            }
            () = tokio::time::sleep(HEARTBEAT) => {
                self.at_us = self.at_us.max(self.clock.now().wall_us);
            }
        }
        let mut lines = String::new();
        for told in taken {
            match told {
                Told::Entry { at_us, bytes } => {
                    for event in self.events.of(at_us, &bytes) {
                        lines.push_str(&line(&event));
                    }
                    self.at_us = self.at_us.max(self.events.last().as_micros());
                }
                Told::Topology => {
                    // The lines before it first.
                    self.is_replaced = true;
                    break;
                }
            }
        }
        Some(Piece::Lines(lines, self.at_us))
    }

    fn end(&mut self, why: &'static str) -> Piece {
        self.is_over = true;
        Piece::End(why, self.at_us)
    }
}

/// A capture has one topology.
const REPLACED: &str = "the topology was replaced; what follows belongs to another recording";

#[cfg(test)]
mod tests;
