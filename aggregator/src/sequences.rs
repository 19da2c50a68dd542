//! What was taken from each agent: per incarnation, the last sequence handed to ingest and the
//! last one that the journal holds.
//!
//! A result is taken once: a sequence that was handed over before is a duplicate, on whichever
//! stream it comes. It is acknowledged when the journal holds it, and then on the stream that is
//! open. Sequences that are missing were dropped by a full spool; they are counted.
//!
//! **Invariant:** journaled ≤ taken, and both only grow.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use blackstart_proto::limits::INCARNATIONS_MAX;
use tokio::sync::watch;

use crate::entry::EntryError;
use crate::entry::varint::{Cursor, put, put_text};

/// The sequences of all hosts.
#[derive(Debug, Default)]
pub(crate) struct Sequences {
    hosts: Mutex<HashMap<Box<str>, Arc<HostSequences>>>,
}

/// The sequences of one host.
#[derive(Debug)]
pub(crate) struct HostSequences {
    incarnations: Mutex<Incarnations>,
    changed: watch::Sender<()>,
}

/// The incarnations of one host while their owner holds the lock.
#[derive(Debug, Default)]
pub(crate) struct Incarnations(BTreeMap<u64, Taken>);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Taken {
    taken: u64,
    journaled: u64,
}

/// What of a batch is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh {
    /// How many results at its front were taken before.
    pub(crate) skip: usize,
    /// How many results never came.
    pub(crate) missing: u64,
}

impl Incarnations {
    /// What of `count` results from `first` on is new.
    pub(crate) fn fresh(&self, incarnation: u64, first: u64, count: usize) -> Fresh {
        let taken = self.0.get(&incarnation).map_or(0, |known| known.taken);
        let expected = taken.saturating_add(1);
        let skip = usize::try_from(expected.saturating_sub(first)).unwrap_or(usize::MAX);
        Fresh {
            skip: skip.min(count),
            missing: first.saturating_sub(expected),
        }
    }

    /// Notes that everything up to `last` was handed to ingest.
    pub(crate) fn take(&mut self, incarnation: u64, last: u64) {
        let known = self.0.entry(incarnation).or_default();
        known.taken = known.taken.max(last);
        // The handshake forgets what the agent no longer spools; this bounds what comes behind it.
        while self.0.len() > 2 * INCARNATIONS_MAX {
            let oldest = self.0.keys().copied().find(|other| *other != incarnation);
            oldest.and_then(|oldest| self.0.remove(&oldest));
        }
    }

    fn journal(&mut self, incarnation: u64, last: u64) {
        let known = self.0.entry(incarnation).or_default();
        known.taken = known.taken.max(last);
        known.journaled = known.journaled.max(last);
    }
}

impl HostSequences {
    fn new() -> Self {
        Self {
            incarnations: Mutex::default(),
            changed: watch::Sender::new(()),
        }
    }

    /// The lock under which a batch is judged and handed over, so that two streams of one host
    /// cannot cross.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Incarnations> {
        self.incarnations
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// The last sequence that the journal holds; 0 for none.
    pub(crate) fn journaled(&self, incarnation: u64) -> u64 {
        self.lock()
            .0
            .get(&incarnation)
            .map_or(0, |known| known.journaled)
    }

    /// Notes that the journal holds everything of this incarnation up to `last`, and tells.
    pub(crate) fn kept(&self, incarnation: u64, last: u64) {
        self.lock().journal(incarnation, last);
        self.changed.send_replace(());
    }

    /// Tells when the journal holds more.
    pub(crate) fn watch(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Forgets every incarnation that the agent neither is nor spools; one with results on
    /// their way to the disk stays until the next handshake.
    pub(crate) fn forget_all_but(&self, keep: &[u64]) {
        self.lock().0.retain(|incarnation, known| {
            keep.contains(incarnation) || known.journaled < known.taken
        });
    }
}

impl Sequences {
    /// The sequences of a host.
    pub(crate) fn host(&self, host: &str) -> Arc<HostSequences> {
        let mut hosts = self.lock();
        if let Some(known) = hosts.get(host) {
            return known.clone();
        }
        let new = Arc::new(HostSequences::new());
        hosts.insert(host.into(), new.clone());
        new
    }

    /// Notes that the journal holds everything of this incarnation up to `last`.
    pub(crate) fn journaled(&self, host: &str, incarnation: u64, last: u64) {
        self.host(host).kept(incarnation, last);
    }

    /// What the journal holds, as bytes for a snapshot.
    pub(crate) fn save(&self) -> Vec<u8> {
        let hosts = self.lock();
        let mut names: Vec<_> = hosts.iter().collect();
        names.sort_unstable_by_key(|(name, _)| *name);
        let mut bytes = Vec::new();
        for (name, host) in names {
            for (incarnation, known) in &host.lock().0 {
                if known.journaled > 0 {
                    put_text(&mut bytes, name);
                    bytes.extend_from_slice(&incarnation.to_le_bytes());
                    put(&mut bytes, known.journaled);
                }
            }
        }
        bytes
    }

    /// Adds what a snapshot holds.
    pub(crate) fn load(&self, bytes: &[u8]) -> Result<(), EntryError> {
        let mut cursor = Cursor::new(bytes);
        while !cursor.is_empty() {
            let host = cursor.text()?;
            let incarnation = cursor.u64()?;
            self.journaled(host, incarnation, cursor.number()?);
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<HostSequences>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_was_taken_is_skipped_and_what_is_missing_is_counted() {
        let mut known = Incarnations::default();
        known.take(7, 10);
        for (first, count, skip, missing) in [
            (11, 5, 0, 0),
            (1, 10, 10, 0),
            (1, 12, 10, 0),
            (10, 2, 1, 0),
            (21, 5, 0, 10),
            (5, 2, 2, 0),
        ] {
            assert_eq!(
                known.fresh(7, first, count),
                Fresh { skip, missing },
                "{first}+{count}"
            );
        }
        assert_eq!(
            known.fresh(8, 1, 1),
            Fresh {
                skip: 0,
                missing: 0
            }
        );
    }

    #[test]
    fn a_snapshot_holds_what_the_journal_holds_and_no_more() {
        let sequences = Sequences::default();
        sequences.journaled("b", 2, 20);
        sequences.journaled("a", 1, 10);
        sequences.host("a").lock().take(1, 15);
        let restored = Sequences::default();
        restored.load(&sequences.save()).unwrap();
        assert_eq!(restored.host("a").journaled(1), 10);
        assert_eq!(restored.host("a").lock().fresh(1, 11, 1).skip, 0);
        assert_eq!(restored.host("b").journaled(2), 20);
        assert_eq!(restored.save(), sequences.save());
        assert!(restored.load(&sequences.save()[..5]).is_err());
    }

    #[test]
    fn other_incarnations_are_forgotten_unless_on_their_way_to_the_disk() {
        let sequences = Sequences::default();
        let host = sequences.host("a");
        sequences.journaled("a", 1, 10);
        sequences.journaled("a", 2, 10);
        host.lock().take(3, 5);
        host.forget_all_but(&[2]);
        assert_eq!(host.journaled(1), 0);
        assert_eq!(host.journaled(2), 10);
        assert_eq!(host.lock().fresh(3, 1, 5).skip, 5);
    }

    proptest! {
        /// However batches overlap, every sequence is taken at most once, and all that were sent
        /// in order without holes are taken.
        #[test]
        fn every_sequence_is_taken_once(batches in proptest::collection::vec((1_u64..60, 0_usize..20), 0..40)) {
            let mut known = Incarnations::default();
            let mut taken = std::collections::BTreeSet::new();
            for (first, count) in batches {
                let fresh = known.fresh(1, first, count);
                for sequence in (first..first + count as u64).skip(fresh.skip) {
                    prop_assert!(taken.insert(sequence), "{sequence} was taken twice");
                }
                if count > fresh.skip {
                    known.take(1, first + count as u64 - 1);
                }
            }
        }
    }
}
