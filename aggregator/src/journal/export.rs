//! The journal for people and tests: every entry as the events of a capture, one JSON line each.
//!
//! Results carry `host`, `incarnation` (16 hexadecimal digits) and `sequence` beside the fields of an
//! `observation`. The file is only read; its aggregator may run.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;

use blackstart_graph::{Event, EventKind, Timestamp};

use super::Journal;
use crate::entry::{EntryReader, ResultRecord, ResultsHead};
use crate::series::Series;

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
    // Series first: what entries name later than this is read again below.
    let mut lines = Lines {
        series: journal.series().map_err(failed)?,
        details: HashMap::new(),
    };
    let last = journal.bounds().map_err(failed)?.last_index;
    lines.series = journal.series().map_err(failed)?;
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
    series: Vec<Series>,
    /// The last detail of each series: entries leave out what did not change.
    details: HashMap<u32, String>,
}

impl Lines {
    fn write(&mut self, at_us: i64, bytes: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        match EntryReader::new(bytes) {
            Ok(EntryReader::Event(json)) => {
                out.write_all(json)?;
                out.write_all(b"\n")
            }
            Ok(EntryReader::Results(head, mut results)) => {
                let mut values = Vec::new();
                let mut sequence = head.first_sequence;
                while let Ok(Some(result)) = results.next(&mut values) {
                    self.result(at_us, &head, sequence, &result, &values, out)?;
                    sequence += 1;
                }
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    fn result(
        &mut self,
        at_us: i64,
        head: &ResultsHead<'_>,
        sequence: u64,
        result: &ResultRecord<'_>,
        values: &[f64],
        out: &mut impl Write,
    ) -> std::io::Result<()> {
        let Some(series) = self.series.get(result.series as usize) else {
            return Ok(());
        };
        if let Some(detail) = result.detail {
            self.details.insert(result.series, detail.to_owned());
        }
        let measured = series
            .value_names
            .iter()
            .cloned()
            .zip(values.iter().copied());
        let event = Event {
            at: Timestamp::from_micros(at_us),
            kind: EventKind::Observation {
                agent: series.vantage.to_string(),
                component: Some(series.component.to_string()),
                check: series.check.to_string(),
                status: result.status,
                progress: result.progress,
                detail: self
                    .details
                    .get(&result.series)
                    .cloned()
                    .unwrap_or_default(),
                values: measured
                    .filter(|(_, value)| value.is_finite())
                    .collect::<BTreeMap<_, _>>(),
                sampled_at: Some(Timestamp::from_micros(result.sampled_us)),
                ttl_s: Some(f64::from(series.ttl_ms) / 1_000.0),
            },
        };
        let mut line = serde_json::to_value(&event)?;
        line["host"] = head.host.into();
        line["incarnation"] = format!("{:016x}", head.incarnation).into();
        line["sequence"] = sequence.into();
        serde_json::to_writer(&mut *out, &line)?;
        out.write_all(b"\n")
    }
}
