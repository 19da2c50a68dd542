//! The journal for people and tests: every entry as the events of a capture, one JSON line each.
//!
//! Results carry `host`, `incarnation` (16 hexadecimal digits) and `sequence` beside the fields of an
//! `observation`. The file is only read; its aggregator may run.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use super::Journal;
use crate::capture::Events;
use crate::entry::EntryReader;
use crate::series::SeriesTable;

/// Why the journal was not shown, or not all of it.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// It cannot be read.
    #[error("{0}")]
    Journal(String),
    /// Whoever reads went away.
    #[error("cannot write")]
    Write(#[source] std::io::Error),
}

/// Writes every entry of the journal in a state folder as lines of JSON. Returns how many rows
/// were broken and left out.
///
/// # Errors
/// The journal cannot be read, or the lines cannot be written.
pub fn export(state_dir: &Path, out: &mut impl Write) -> Result<usize, ExportError> {
    let failed = |error: super::JournalError| ExportError::Journal(error.chain());
    if !state_dir.join(super::FILE_NAME).exists() {
        return Err(ExportError::Journal(format!(
            "no journal in {}; name the state folder of an aggregator with --state-dir",
            state_dir.display()
        )));
    }
    let mut journal = Journal::open_to_read(state_dir).map_err(failed)?;
    // The last entry first: the series that are read behind it are all that it and those before it name.
    let last = journal.bounds().map_err(failed)?.last_index;
    let series = SeriesTable::stored(journal.series().map_err(failed)?);
    let mut lines = Lines {
        events: Events::new(Arc::new(series)),
    };
    let mut outcome = Ok(());
    let broken = journal
        .replay(0, |index, at_us, bytes| {
            if index > last {
                return ControlFlow::Break(());
            }
            outcome = lines.write(at_us, bytes, out);
            match outcome {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            }
        })
        .map_err(failed)?;
    outcome
        .and_then(|()| out.flush())
        .map_err(ExportError::Write)?;
    Ok(broken)
}

struct Lines {
    events: Events,
}

impl Lines {
    fn write(&mut self, at_us: i64, bytes: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        match EntryReader::new(bytes) {
            Ok(EntryReader::Event(json)) => {
                out.write_all(json)?;
                out.write_all(b"\n")
            }
            Ok(EntryReader::Results(head, _)) => {
                let sequences = head.first_sequence..;
                for (sequence, event) in sequences.zip(self.events.each(at_us, bytes)) {
                    let Some(event) = event else { continue };
                    let mut line = serde_json::to_value(&event)?;
                    line["host"] = head.host.into();
                    line["incarnation"] = format!("{:016x}", head.incarnation).into();
                    line["sequence"] = sequence.into();
                    serde_json::to_writer(&mut *out, &line)?;
                    out.write_all(b"\n")?;
                }
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }
}
