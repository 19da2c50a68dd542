//! From what the disk holds to what was in memory: the newest good snapshot and the entries behind it.
//!
//! **Invariant:** a restart ends. What cannot be read is left out and shown; a file that is broken altogether
//! is moved aside.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use blackstart_graph::{Engine, Event, EventKind, Timestamp, Topology};

use crate::clock::Clock;
use crate::engine::owner::Owner;
use crate::entry::{EntryReader, event_entry};
use crate::journal::recovery::{self, Bounds, Opened};
use crate::journal::{Entry, Journal, JournalError};
use crate::roster::Roster;
use crate::sequences::Sequences;
use crate::series::SeriesTable;

/// What a restart brings back.
pub(crate) struct Restored {
    pub(crate) journal: Journal,
    pub(crate) id: String,
    pub(crate) bounds: Bounds,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) sequences: Arc<Sequences>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) owner: Owner,
    /// What was found broken, for people.
    pub(crate) problem: Option<String>,
    /// Entries that were read again.
    pub(crate) replayed: u64,
    /// Says that nobody watched for a while; applied, and to be written behind the entries that were read.
    pub(crate) gap: Option<Entry>,
}

/// Reads everything back.
pub(crate) fn restore(
    opened: Opened,
    state_dir: &Path,
    topology: &Topology,
    clock: &Clock,
) -> Result<Restored, JournalError> {
    let Opened {
        mut journal,
        id,
        problem,
    } = opened;
    match read(&mut journal, topology, clock) {
        Ok(read) => Ok(read.into_restored(journal, id, problem, clock)),
        Err(error) if error.is_corruption() => {
            let mut again = recovery::start_over(journal, state_dir, &error)?;
            let read = read(&mut again.journal, topology, clock)?;
            Ok(read.into_restored(again.journal, again.id, again.problem, clock))
        }
        Err(error) => Err(error),
    }
}

struct Read {
    bounds: Bounds,
    series: Arc<SeriesTable>,
    sequences: Arc<Sequences>,
    roster: Arc<Roster>,
    owner: Owner,
    problems: Vec<String>,
    replayed: u64,
}

impl Read {
    fn into_restored(
        mut self,
        journal: Journal,
        id: String,
        problem: Option<String>,
        clock: &Clock,
    ) -> Restored {
        self.problems.extend(problem);
        let gap = (self.bounds.last_index > 0)
            .then(|| note_gap(&mut self.owner, self.bounds.last_index + 1, clock));
        Restored {
            gap,
            journal,
            id,
            bounds: self.bounds,
            series: self.series,
            sequences: self.sequences,
            roster: self.roster,
            owner: self.owner,
            problem: (!self.problems.is_empty()).then(|| self.problems.join("; ")),
            replayed: self.replayed,
        }
    }
}

fn read(journal: &mut Journal, topology: &Topology, clock: &Clock) -> Result<Read, JournalError> {
    let bounds = journal.bounds()?;
    clock.start_after(bounds.newest_us);
    let series = Arc::new(SeriesTable::stored(journal.series()?));
    let sequences = Arc::new(Sequences::default());
    let roster = Arc::new(Roster::new());
    let mut problems = Vec::new();

    let (snapshots, mut broken) = journal.snapshots()?;
    let mut start = None;
    for snapshot in snapshots {
        let loaded = Engine::load(&snapshot.engine, topology.clone());
        match loaded {
            Ok(engine)
                if sequences.load(&snapshot.sequences).is_ok()
                    && roster.load(&snapshot.agents).is_ok() =>
            {
                start = Some((engine, snapshot.index));
                break;
            }
            Ok(_) => broken += 1,
            Err(error) => {
                tracing::warn!(%error, index = snapshot.index, "snapshot not used");
                broken += 1;
            }
        }
    }
    if broken > 0 {
        problems.push(format!(
            "{broken} snapshot(s) could not be used; more of the journal was read instead"
        ));
    }
    let (engine, index) = start.unwrap_or_else(|| {
        let began_us = match bounds.oldest_us {
            0 => clock.now().wall_us,
            oldest => oldest,
        };
        let at = Timestamp::from_micros(began_us);
        (Engine::new(topology.clone(), at), 0)
    });

    let mut owner = Owner::new(engine, series.clone(), index);
    let mut replayed = 0;
    let mut unread = 0;
    let broken_rows = journal.replay(index, |index, at_us, bytes| {
        replayed += 1;
        let applied = owner.apply(index, at_us, bytes);
        if let Err(error) = applied {
            tracing::debug!(%error, index, "entry not applied");
            unread += u32::from(!matches!(error, crate::engine::owner::OwnerError::Apply(_)));
        }
        note(&sequences, &roster, at_us, bytes);
        ControlFlow::Continue(())
    })?;
    if broken_rows > 0 || unread > 0 {
        problems.push(format!(
            "{broken_rows} commit(s) and {unread} entries of the journal were broken and left out"
        ));
    }
    Ok(Read {
        bounds,
        series,
        sequences,
        roster,
        owner,
        problems,
        replayed,
    })
}

/// Tells the engine that nobody watched between its last news and now, so that no agent counts as connected that has
/// not come back. The entry is part of the journal like any other: a restart after this one finds it at its place.
fn note_gap(owner: &mut Owner, index: u64, clock: &Clock) -> Entry {
    let at_us = clock.now().wall_us;
    let event = Event {
        at: Timestamp::from_micros(at_us),
        kind: EventKind::AggregatorRestarted {
            watched_until: Timestamp::from_micros(owner.newest_us()),
        },
    };
    // An event is plain data; were it not, the engine would refuse an entry without one, here and after.
    let bytes = event_entry(&serde_json::to_vec(&event).unwrap_or_default());
    if let Err(error) = owner.apply(index, at_us, &bytes) {
        tracing::warn!(%error, "the gap of the restart is not shown");
    }
    Entry {
        index,
        at_us,
        bytes,
        results: 0,
        receipt: None,
    }
}

/// Brings sequences and agents up to an entry.
fn note(sequences: &Sequences, roster: &Roster, at_us: i64, bytes: &[u8]) {
    match EntryReader::new(bytes) {
        Ok(EntryReader::Results(head, _)) => {
            sequences.journaled(head.host, head.incarnation, head.last_sequence());
        }
        Ok(EntryReader::Event(json)) => {
            let Ok(event) = serde_json::from_slice::<Event>(json) else {
                return;
            };
            match event.kind {
                EventKind::AgentConnected { agent, boot_id, .. } => {
                    roster.replay_connected(&agent, &boot_id, at_us);
                }
                EventKind::AgentLost { agent } => roster.replay_lost(&agent, at_us),
                EventKind::Facts { agent, labels } => {
                    roster.update(&agent, |known| known.labels = labels);
                }
                _ => {}
            }
        }
        Err(_) => {}
    }
}
