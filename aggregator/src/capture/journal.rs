//! A capture of what the journal of a state folder holds: an incident, after it happened. The file is only read; its aggregator
//! may run.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use blackstart_graph::{Engine, Timestamp, Topology};

use super::{Events, line, tick};
use crate::clock::Clock;
use crate::engine::owner::Owner;
use crate::journal::recovery::Bounds;
use crate::journal::writer::TOPOLOGY_KEY;
use crate::journal::{FILE_NAME, Journal, JournalError, Snapshot};
use crate::lock;
use crate::series::SeriesTable;

/// Why there is no capture, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// There is nothing to capture from, or nothing at that time.
    #[error("{0}")]
    Nothing(String),
    /// It cannot be read.
    #[error("{0}")]
    Journal(String),
    /// It cannot be written.
    #[error("cannot write")]
    Write(#[from] std::io::Error),
}

impl From<JournalError> for CaptureError {
    fn from(error: JournalError) -> Self {
        Self::Journal(error.chain())
    }
}

/// Where a capture begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begin {
    /// At this moment.
    At(Timestamp),
    /// So long before the end of what the journal holds.
    Ago(Duration),
}

/// What was captured.
#[derive(Debug, Clone)]
pub struct Captured {
    /// The topology file that was accepted last; empty where there was none.
    pub topology: String,
    /// How many events.
    pub events: u64,
    /// The first moment.
    pub from: Timestamp,
    /// The last moment.
    pub to: Timestamp,
    /// Commits that were broken and left out.
    pub broken: usize,
}

/// Writes what the journal of a state folder holds as lines of a capture, from a moment on and for so long; all of it where
/// nothing is said.
///
/// # Errors
/// The journal cannot be read, holds nothing of that time, or the lines cannot be written.
pub fn capture_journal(
    state_dir: &Path,
    from: Option<Begin>,
    duration: Option<Duration>,
    out: &mut impl Write,
) -> Result<Captured, CaptureError> {
    if !state_dir.join(FILE_NAME).exists() {
        return Err(CaptureError::Nothing(format!(
            "no journal in {}; name the state folder of an aggregator with --state-dir",
            state_dir.display()
        )));
    }
    let mut journal = Journal::open_to_read(state_dir)?;
    let bounds = journal.bounds()?;
    if bounds.last_index == 0 {
        let words = format!("the journal in {} is empty", state_dir.display());
        return Err(CaptureError::Nothing(words));
    }
    // What is still being written needs its time to pass as well.
    let end = if lock::is_held(state_dir) {
        Clock::system().now().wall_us.max(bounds.newest_us)
    } else {
        bounds.newest_us
    };
    let end = Timestamp::from_micros(end);
    let oldest = Timestamp::from_micros(bounds.oldest_us);
    let from = from.map(|from| match from {
        Begin::At(at) => at,
        Begin::Ago(ago) => {
            let ago = i64::try_from(ago.as_micros()).unwrap_or(i64::MAX);
            Timestamp::from_micros(end.as_micros().saturating_sub(ago))
        }
    });
    if from.is_some_and(|from| from > end) {
        return Err(CaptureError::Nothing(format!(
            "the journal holds nothing from then on: it goes from {oldest} to {end}"
        )));
    }
    let from = from.filter(|from| *from > oldest);
    let until = duration.map_or(end, |duration| {
        from.unwrap_or(oldest).plus(duration).min(end)
    });
    let topology = journal.meta(TOPOLOGY_KEY)?.unwrap_or_default();
    let mut writer = Captures::open(&mut journal, bounds, &topology, from, until, out)?;
    let broken = writer.run(&mut journal)?;
    writer.finish(topology, broken)
}

/// An engine of nothing, under the declared topology.
fn empty(topology: &Topology, bounds: Bounds) -> Engine {
    Engine::new(topology.clone(), Timestamp::from_micros(bounds.oldest_us))
}

struct Captures<'a, W> {
    out: &'a mut W,
    events: Events,
    /// The engine, while what happens is not told yet.
    silent: Option<Owner>,
    from: Timestamp,
    until: Timestamp,
    /// The last entry that the engine holds already.
    index: u64,
    /// The last entry there was.
    last_index: u64,
    first: Option<Timestamp>,
    written: u64,
}

impl<'a, W: Write> Captures<'a, W> {
    /// Begins where the journal begins, or at a snapshot that is not behind what is asked for.
    fn open(
        journal: &mut Journal,
        bounds: Bounds,
        topology: &str,
        from: Option<Timestamp>,
        until: Timestamp,
        out: &'a mut W,
    ) -> Result<Self, CaptureError> {
        let declared = Topology::parse("topology.toml", topology)
            .map_err(|report| CaptureError::Journal(report.to_string()))?;
        let has_all = bounds.first_index == 1;
        let snapshots = journal.snapshots()?.0;
        // Entries of before the last bound name no series of after it.
        let series = Arc::new(SeriesTable::stored(journal.series()?));
        let is_usable = |snapshot: &&Snapshot| snapshot.index + 1 >= bounds.first_index;
        let from_us = from.map_or(i64::MIN, Timestamp::as_micros);
        let near = snapshots
            .iter()
            .filter(is_usable)
            .find(|snapshot| snapshot.at_us <= from_us);
        // Where the beginning is lost, the oldest snapshot is the beginning.
        let start = match near {
            None if !has_all => snapshots.iter().rfind(is_usable),
            near => near,
        };
        let load = |snapshot: &Snapshot| {
            let engine = Engine::load(&snapshot.engine, declared.clone()).ok()?;
            Some(Owner::new(engine, series.clone(), snapshot.index))
        };
        let loaded = start.and_then(load);
        let index = loaded
            .as_ref()
            .and(start)
            .map_or(0, |snapshot| snapshot.index);
        if loaded.is_none() && !has_all {
            return Err(CaptureError::Journal(
                "the beginning of the journal is deleted already, and no snapshot behind it can be read by this release"
                    .to_owned(),
            ));
        }
        let silent = match (loaded, from) {
            (None, None) => None,
            (None, Some(_)) => Some(Owner::new(empty(&declared, bounds), series.clone(), 0)),
            (loaded, _) => loaded,
        };
        Ok(Self {
            out,
            events: Events::new(series),
            silent,
            from: from.unwrap_or(Timestamp::from_micros(i64::MIN)),
            until,
            index,
            last_index: bounds.last_index,
            first: from,
            written: 0,
        })
    }

    fn run(&mut self, journal: &mut Journal) -> Result<usize, CaptureError> {
        let mut outcome = Ok(());
        let last_index = self.last_index;
        let broken = journal.replay(self.index, |index, at_us, bytes| {
            if index > last_index || at_us > self.until.as_micros() {
                return ControlFlow::Break(());
            }
            outcome = self.entry(index, at_us, bytes);
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })?;
        outcome?;
        Ok(broken)
    }

    fn entry(&mut self, index: u64, at_us: i64, bytes: &[u8]) -> Result<(), CaptureError> {
        if at_us < self.from.as_micros()
            && let Some(owner) = &mut self.silent
        {
            // What the engine refused then, it refuses now. Details are remembered beyond here.
            let _ = owner.apply(index, at_us, bytes);
            drop(self.events.of(at_us, bytes));
            return Ok(());
        }
        self.state()?;
        for event in self.events.of(at_us, bytes) {
            self.write(&event)?;
        }
        Ok(())
    }

    /// Tells the state that what follows goes on from.
    fn state(&mut self) -> Result<(), CaptureError> {
        let Some(mut owner) = self.silent.take() else {
            return Ok(());
        };
        owner.advance(self.from.as_micros().max(owner.newest_us()));
        let state = owner.as_events();
        for event in &state {
            self.write(event)?;
        }
        self.events.after(&state);
        Ok(())
    }

    fn write(&mut self, event: &blackstart_graph::Event) -> Result<(), CaptureError> {
        self.first.get_or_insert(event.at);
        self.written += 1;
        Ok(self.out.write_all(line(event).as_bytes())?)
    }

    fn finish(mut self, topology: String, broken: usize) -> Result<Captured, CaptureError> {
        // Nothing may have happened since.
        self.state()?;
        let to = self.until.max(self.events.last());
        self.write(&tick(to))?;
        self.out.flush()?;
        Ok(Captured {
            topology,
            events: self.written,
            from: self.first.unwrap_or(to),
            to,
            broken,
        })
    }
}

#[cfg(test)]
mod tests;
