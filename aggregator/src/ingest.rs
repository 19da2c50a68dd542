//! Gives entries their order, and hands each to the engine and to the journal at the same moment.
//!
//! **Invariant:** engine and journal get the same entries in the same order, with times that
//! never go back.
//!
//! Both queues are bounded. A session waits while the engine's is full, or the journal's while it
//! writes. While the journal *cannot* write and its queue is full, results go to the engine alone:
//! they are seen, not acknowledged, and come again when the journal writes.

use std::sync::{Arc, Mutex, PoisonError};

use blackstart_graph::{Event, EventKind, Timestamp, Topology};
use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::clock::Clock;
use crate::engine::{EngineCommand, EngineHandle};
use crate::entry::{ResultsHead, event_entry};
use crate::journal::writer::{JournalCommand, JournalProgress};
use crate::journal::{Entry, Receipt};
use crate::sequences::HostSequences;

/// The most entries that wait for the engine: a tenth of a second of its work.
pub(crate) const ENGINE_QUEUE_MAX: usize = 4_096;

/// Above this share of a queue in use, no further session is welcomed.
const ROOM_FOR_SESSIONS: usize = 4;

/// The room for entries that wait for the disk, in KiB.
#[derive(Debug)]
pub(crate) struct JournalRoom {
    free: Semaphore,
    kib_max: usize,
    /// Bytes given back that do not make a whole KiB yet.
    rest: Mutex<usize>,
}

impl JournalRoom {
    pub(crate) fn new(bytes_max: usize) -> Self {
        let kib_max = (bytes_max / 1_024).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(kib_max),
            kib_max,
            rest: Mutex::new(0),
        }
    }

    /// Entries of this many bytes are on the disk.
    pub(crate) fn give_back(&self, bytes: usize) {
        let mut rest = self.rest.lock().unwrap_or_else(PoisonError::into_inner);
        *rest += bytes;
        self.free.add_permits(*rest / 1_024);
        *rest %= 1_024;
    }

    /// Settles what was taken before the exact size was known: the difference goes back.
    fn settle(&self, bytes: usize, taken_kib: usize) {
        self.give_back((taken_kib * 1_024).saturating_sub(bytes));
    }
}

/// Where a batch may go.
#[derive(Debug)]
pub(crate) struct Room {
    journal_kib: Option<usize>,
}

impl Room {
    /// Whether the journal takes it; if not, the engine alone does.
    pub(crate) const fn is_kept(&self) -> bool {
        self.journal_kib.is_some()
    }
}

/// The entrance for everything that happens.
pub(crate) struct Ingest {
    order: Mutex<Order>,
    clock: Arc<Clock>,
    engine: EngineHandle,
    engine_room: Arc<Semaphore>,
    journal: mpsc::UnboundedSender<JournalCommand>,
    journal_room: Arc<JournalRoom>,
    progress: watch::Receiver<JournalProgress>,
}

struct Order {
    next_index: u64,
}

/// The entrance is closed: the aggregator is shutting down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the aggregator is shutting down")]
pub(crate) struct Closed;

impl Ingest {
    pub(crate) fn new(
        last_index: u64,
        clock: Arc<Clock>,
        engine: EngineHandle,
        engine_room: Arc<Semaphore>,
        journal: mpsc::UnboundedSender<JournalCommand>,
        journal_room: Arc<JournalRoom>,
        progress: watch::Receiver<JournalProgress>,
    ) -> Self {
        Self {
            order: Mutex::new(Order {
                next_index: last_index + 1,
            }),
            clock,
            engine,
            engine_room,
            journal,
            journal_room,
            progress,
        }
    }

    /// Whether there is room for the backlog of further sessions.
    pub(crate) fn has_room_for_sessions(&self) -> bool {
        let engine_free = self.engine_room.available_permits();
        let journal_free = self.journal_room.free.available_permits();
        engine_free > ENGINE_QUEUE_MAX / ROOM_FOR_SESSIONS
            && (self.is_failing() || journal_free > self.journal_room.kib_max / ROOM_FOR_SESSIONS)
    }

    /// Whether the journal cannot write just now.
    pub(crate) fn is_failing(&self) -> bool {
        self.progress.borrow().is_failing
    }

    /// Tells when the journal's progress changes.
    pub(crate) fn progress(&self) -> watch::Receiver<JournalProgress> {
        self.progress.clone()
    }

    /// Waits until a batch of at most this many bytes can be taken. What is returned must be used or
    /// given back.
    pub(crate) async fn room(&self, bytes: usize) -> Result<Room, Closed> {
        self.engine_room
            .acquire()
            .await
            .map_err(|_| Closed)?
            .forget();
        let kib = (bytes / 1_024 + 1).min(self.journal_room.kib_max);
        let kib_u32 = u32::try_from(kib).unwrap_or(u32::MAX);
        let free = &self.journal_room.free;
        if let Ok(permit) = free.try_acquire_many(kib_u32) {
            permit.forget();
            return Ok(Room {
                journal_kib: Some(kib),
            });
        }
        let mut progress = self.progress.clone();
        let acquired = tokio::select! {
            biased;
            permit = free.acquire_many(kib_u32) => Some(permit),
            _ = progress.wait_for(|progress| progress.is_failing) => None,
        };
        let journal_kib = match acquired {
            Some(permit) => {
                permit.map_err(|_| Closed)?.forget();
                Some(kib)
            }
            None => None,
        };
        Ok(Room { journal_kib })
    }

    /// Hands a batch over. `head` says what is in `bytes`.
    pub(crate) fn results(
        &self,
        room: &Room,
        head: ResultsHead<'_>,
        bytes: Bytes,
        host: &Arc<HostSequences>,
    ) -> Result<(), Closed> {
        let receipt = Receipt {
            host: host.clone(),
            incarnation: head.incarnation,
            last_sequence: head.last_sequence(),
        };
        if let Some(kib) = room.journal_kib {
            self.journal_room.settle(bytes.len(), kib);
        }
        let results = u32::try_from(head.count).unwrap_or(u32::MAX);
        self.hand_over(room.is_kept(), results, Some(receipt), |_| bytes)
    }

    /// The same room without the journal's.
    pub(crate) fn engine_only(&self, room: Room) -> Room {
        if let Some(kib) = room.journal_kib {
            self.journal_room.settle(0, kib);
        }
        Room { journal_kib: None }
    }

    /// Gives room back that was not needed after all.
    pub(crate) fn give_back(&self, room: &Room) {
        self.engine_room.add_permits(1);
        if let Some(kib) = room.journal_kib {
            self.journal_room.settle(0, kib);
        }
    }

    /// Hands an event over. What an agent sends waits for room before; what the aggregator itself
    /// sees is rare and always taken.
    pub(crate) fn event(&self, is_kept: bool, kind: EventKind) -> Result<(), Closed> {
        self.hand_over(is_kept, 0, None, |at_us| {
            let at = Timestamp::from_micros(at_us);
            let event = Event { at, kind };
            // An event is plain data; were it not, the engine reports an entry without one.
            event_entry(&serde_json::to_vec(&event).unwrap_or_default())
        })
    }

    /// Puts a change of the topology between the entries, at its place in time.
    pub(crate) fn topology(&self, topology: Topology, text: String) -> Result<(), Closed> {
        let _order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let at_us = self.clock.now().wall_us;
        let command = EngineCommand::Topology {
            topology,
            text: text.as_str().into(),
            at_us,
        };
        self.journal
            .send(JournalCommand::Topology(text))
            .map_err(|_| Closed)?;
        self.engine.send(command)
    }

    fn hand_over(
        &self,
        is_kept: bool,
        results: u32,
        receipt: Option<Receipt>,
        bytes: impl FnOnce(i64) -> Bytes,
    ) -> Result<(), Closed> {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let at_us = self.clock.now().wall_us;
        let mut entry = Entry {
            index: 0,
            at_us,
            bytes: bytes(at_us),
            results,
            receipt: None,
        };
        if is_kept {
            entry.index = order.next_index;
            order.next_index += 1;
            let kept = Entry {
                receipt,
                ..entry.clone()
            };
            self.journal
                .send(JournalCommand::Write(kept))
                .map_err(|_| Closed)?;
        }
        self.engine.send(EngineCommand::Apply(entry))
    }
}
