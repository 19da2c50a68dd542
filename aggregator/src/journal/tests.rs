//! What the journal deletes, and what it keeps whatever its limits say.

use bytes::Bytes;

use super::{Entry, Journal, Snapshot};

/// Bytes of an entry.
const BYTES: usize = 4_000;

/// A journal with an entry a row: entry `n` came at `n` microseconds.
fn journal(folder: &std::path::Path, entries: u64) -> Journal {
    let mut journal = Journal::open(folder).unwrap();
    for index in 1..=entries {
        let entry = Entry {
            index,
            at_us: index.cast_signed(),
            bytes: Bytes::from(vec![7; BYTES]),
            results: 1,
            receipt: None,
        };
        journal.commit(&[entry], (0, &[])).unwrap();
    }
    journal
}

fn snapshot(journal: &mut Journal, index: u64) {
    let snapshot = Snapshot {
        index,
        at_us: index.cast_signed(),
        sequences: Vec::new(),
        agents: Vec::new(),
        engine: Vec::new(),
    };
    journal.save(&snapshot).unwrap();
}

fn first(journal: &mut Journal) -> u64 {
    journal.bounds().unwrap().first_index
}

#[test]
fn what_a_snapshot_needs_stays_however_old_and_however_large() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = journal(folder.path(), 20);
    while journal.prune(i64::MAX, 0).unwrap() {}
    assert_eq!(first(&mut journal), 1, "without a snapshot all is needed");
    snapshot(&mut journal, 10);
    snapshot(&mut journal, 15);
    while journal.prune(i64::MAX, 0).unwrap() {}
    assert_eq!(
        first(&mut journal),
        11,
        "the older snapshot serves when the newer is broken"
    );
    assert_eq!(journal.bounds().unwrap().last_index, 20);
}

#[test]
fn only_what_is_too_old_goes_while_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = journal(folder.path(), 20);
    snapshot(&mut journal, 20);
    while journal.prune(6, u64::MAX).unwrap() {}
    assert_eq!(first(&mut journal), 6);
}

#[test]
fn what_is_too_large_shrinks_to_its_limit_oldest_first_and_room_is_used_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut journal = journal(folder.path(), 1_200);
    snapshot(&mut journal, 1_200);
    let full = journal.bytes_used().unwrap();
    let limit = full - 600 * u64::try_from(BYTES).unwrap();
    let mut steps = 0;
    while journal.prune(0, limit).unwrap() {
        steps += 1;
        assert!(steps < 10, "it ends");
    }
    assert!(journal.bytes_used().unwrap() <= limit);
    let first = first(&mut journal);
    assert!(first > 500 && first < 1_200, "{first}");
    let pages = std::fs::metadata(folder.path().join(super::FILE_NAME)).unwrap();
    for index in 1_201..1_600 {
        let entry = Entry {
            index,
            at_us: 0,
            bytes: Bytes::from(vec![7; BYTES]),
            results: 1,
            receipt: None,
        };
        journal.commit(&[entry], (0, &[])).unwrap();
    }
    journal.close();
    let after = std::fs::metadata(folder.path().join(super::FILE_NAME)).unwrap();
    assert!(
        after.len() <= pages.len().max(full),
        "{} grew to {}",
        pages.len(),
        after.len()
    );
}
