//! A capture of a journal, read back, ends where the aggregator ended: whether it has the beginning or not.

use blackstart_graph::{Changes, Event, EventKind, Status};
use bytes::Bytes;

use super::*;
use crate::entry::{ResultRecord, ResultsHead, ResultsWriter, event_entry};
use crate::journal::Entry;
use crate::series::Series;

const TOPOLOGY: &str =
    "[component.h]\nkind = \"host\"\n[component.web]\nkind = \"service\"\nin = \"h\"\n";

/// The journal's last entry.
const LAST: u64 = 21;

fn second(at: u64) -> i64 {
    (1_000 + at.cast_signed()) * 1_000_000
}

fn series() -> Arc<SeriesTable> {
    let table = SeriesTable::default();
    let web = Series {
        component: "web".into(),
        check: "tcp.connect".into(),
        vantage: "h".into(),
        ttl_ms: 30_000,
        value_names: Arc::new(["rtt_ms".to_owned()]),
    };
    table.intern(web).unwrap();
    Arc::new(table)
}

/// An agent that connects and looks every ten seconds at a server that fails from the twelfth entry on.
fn entry(index: u64) -> (i64, Bytes) {
    let at_us = second(index * 10);
    if index == 1 {
        let event = Event {
            at: Timestamp::from_micros(at_us),
            kind: EventKind::AgentConnected {
                agent: "h".to_owned(),
                boot_id: "b".to_owned(),
                uptime_s: 1.0,
                clean_shutdown: None,
            },
        };
        return (at_us, event_entry(&serde_json::to_vec(&event).unwrap()));
    }
    let head = ResultsHead {
        host: "h",
        incarnation: 1,
        first_sequence: index,
        count: 1,
    };
    let mut writer = ResultsWriter::new(head, 64);
    let is_well = index < 12;
    let result = ResultRecord {
        series: 0,
        sampled_us: at_us,
        status: if is_well { Status::Ok } else { Status::Failed },
        progress: None,
        detail: (index == 2 || index == 12).then_some(if is_well { "fine" } else { "refused" }),
    };
    writer.push(&result, &[0.5]);
    (at_us, writer.finish())
}

/// A journal of all entries with snapshots behind these, and the engine at its end.
fn journal(folder: &Path, snapshots: &[u64]) -> Engine {
    let mut journal = Journal::open(folder).unwrap();
    journal.set_meta(TOPOLOGY_KEY, TOPOLOGY).unwrap();
    let series = series();
    let declared = Topology::parse("t.toml", TOPOLOGY).unwrap();
    let engine = Engine::new(declared.clone(), Timestamp::from_micros(second(0)));
    let mut owner = Owner::new(engine, series.clone(), 0);
    for index in 1..=LAST {
        let (at_us, bytes) = entry(index);
        owner.apply(index, at_us, &bytes).unwrap();
        let entry = Entry {
            index,
            at_us,
            bytes,
            results: 1,
            receipt: None,
        };
        let new = if index == 1 {
            series.unstored().1
        } else {
            Vec::new()
        };
        journal.commit(&[entry], (0, &new)).unwrap();
        if snapshots.contains(&index) {
            let snapshot = Snapshot {
                index,
                at_us,
                sequences: Vec::new(),
                agents: Vec::new(),
                engine: owner.save().1,
            };
            journal.save(&snapshot).unwrap();
        }
    }
    journal.close();
    Engine::load(&owner.save().1, declared).unwrap()
}

/// What is captured, and the engine that takes it.
fn captured(folder: &Path, from: Option<Begin>, duration: Option<Duration>) -> (Captured, Engine) {
    let mut lines = Vec::new();
    let captured = capture_journal(folder, from, duration, &mut lines).unwrap();
    let lines = String::from_utf8(lines).unwrap();
    assert_eq!(lines.lines().count() as u64, captured.events);
    let events: Vec<Event> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert!(events.is_sorted_by_key(|event| event.at));
    assert!(matches!(events.last().unwrap().kind, EventKind::Tick));
    let topology = Topology::parse("t.toml", &captured.topology).unwrap();
    let mut engine = Engine::new(topology, events[0].at);
    for event in &events {
        engine.apply(event, &mut Changes::default()).unwrap();
    }
    (captured, engine)
}

fn said(engine: &Engine) -> String {
    let components = engine.components();
    let rows: Vec<_> = components
        .map(|one| (one.id(), one.condition(), one.reason()))
        .collect();
    let incident = engine.incident();
    let incident = incident.map(|incident| (&incident.id, incident.state, &incident.failed));
    let causes = engine.diagnosis().hypotheses;
    let causes: Vec<_> = causes.iter().map(|first| &first.causes).collect();
    format!("{rows:?} {incident:?} {causes:?}")
}

#[test]
fn a_whole_journal_a_part_and_one_without_its_beginning_end_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let end = journal(folder.path(), &[15, 18]);
    let (all, engine) = captured(folder.path(), None, None);
    assert_eq!(said(&engine), said(&end));
    assert_eq!((all.events, all.broken), (LAST + 1, 0));
    let moment = |at: u64| Timestamp::from_micros(second(at));
    assert_eq!((all.from, all.to), (moment(10), moment(LAST * 10)));
    for from in [
        // Before the failure, with no snapshot before it; then within it, behind a snapshot.
        Begin::At(moment(95)),
        Begin::At(moment(165)),
        Begin::Ago(Duration::from_secs(12)),
        Begin::At(moment(LAST * 10)),
    ] {
        let (part, engine) = captured(folder.path(), Some(from), None);
        assert_eq!(said(&engine), said(&end), "{from:?}");
        assert!(part.events < all.events, "{from:?}: {}", part.events);
    }
    let mut journal = Journal::open(folder.path()).unwrap();
    while journal.prune(i64::MAX, 0).unwrap() {}
    assert_eq!(journal.bounds().unwrap().first_index, 16);
    journal.close();
    let (rest, engine) = captured(folder.path(), None, None);
    assert_eq!(said(&engine), said(&end));
    assert!(rest.events < all.events);
}

#[test]
fn a_capture_ends_when_it_is_told_to() {
    let folder = tempfile::tempdir().unwrap();
    journal(folder.path(), &[]);
    let (part, engine) = captured(folder.path(), None, Some(Duration::from_secs(45)));
    assert_eq!(part.to, Timestamp::from_micros(second(55)));
    assert_eq!((part.events, engine.incident()), (6, None));
}

#[test]
fn what_is_not_there_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let said = |from| {
        let captured = capture_journal(folder.path(), from, None, &mut Vec::new());
        captured.unwrap_err().to_string()
    };
    assert!(said(None).contains("no journal in "), "{}", said(None));
    Journal::open(folder.path()).unwrap().close();
    assert!(said(None).ends_with(" is empty"), "{}", said(None));
    journal(folder.path(), &[]);
    let far = Begin::At(Timestamp::from_micros(second(1_000)));
    assert!(
        said(Some(far))
            .contains("it goes from 1970-01-01T00:16:50.000Z to 1970-01-01T00:20:10.000Z"),
        "{}",
        said(Some(far))
    );
}
