//! What all sessions share: admission, claims, and the way to ingest.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::admission::Admission;
use crate::claims::{CLAIMED_TWICE, Claims};
use crate::clock::Clock;
use crate::ingest::Ingest;
use crate::roster::Roster;
use crate::sequences::Sequences;
use crate::series::SeriesTable;

/// The most streams that were opened and not welcomed yet: as many as a herd's first second.
const UNWELCOMED_MAX: usize = 1_024;

/// What all sessions share.
pub(crate) struct Shared {
    pub(crate) aggregator_id: String,
    pub(crate) protocol: RangeInclusive<u32>,
    pub(crate) lost_after: Duration,
    pub(crate) clock: Arc<Clock>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) sequences: Arc<Sequences>,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) unwelcomed: Arc<Semaphore>,
    pub(crate) shutdown: CancellationToken,
    admission: Mutex<Admission>,
    claims: Mutex<Claims<SessionHandle>>,
    started: Instant,
    next_session: AtomicU64,
}

/// What [`Shared`] is made of.
pub(crate) struct SharedParts {
    pub(crate) aggregator_id: String,
    pub(crate) protocol: RangeInclusive<u32>,
    pub(crate) lost_after: Duration,
    pub(crate) sessions_per_second: u32,
    pub(crate) clock: Arc<Clock>,
    pub(crate) ingest: Arc<Ingest>,
    pub(crate) sequences: Arc<Sequences>,
    pub(crate) series: Arc<SeriesTable>,
    pub(crate) roster: Arc<Roster>,
    pub(crate) shutdown: CancellationToken,
}

impl Shared {
    pub(crate) fn new(parts: SharedParts) -> Self {
        Self {
            aggregator_id: parts.aggregator_id,
            protocol: parts.protocol,
            lost_after: parts.lost_after,
            clock: parts.clock,
            ingest: parts.ingest,
            sequences: parts.sequences,
            series: parts.series,
            roster: parts.roster,
            unwelcomed: Arc::new(Semaphore::new(UNWELCOMED_MAX)),
            shutdown: parts.shutdown,
            admission: Mutex::new(Admission::new(parts.sessions_per_second)),
            claims: Mutex::new(Claims::new()),
            started: Instant::now(),
            next_session: AtomicU64::new(1),
        }
    }

    /// The time since the start, for what is pure.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn admission(&self) -> MutexGuard<'_, Admission> {
        self.admission
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn claims(&self) -> MutexGuard<'_, Claims<SessionHandle>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When somebody is to come back, spread over time, and not before `least`.
    pub(crate) fn later(&self, least: Duration) -> Duration {
        let now = self.elapsed();
        self.admission().later(now).max(least)
    }

    /// A handle for a new session.
    pub(crate) fn new_session(&self) -> SessionHandle {
        SessionHandle(Arc::new(Ending {
            id: self.next_session.fetch_add(1, Ordering::Relaxed),
            token: self.shutdown.child_token(),
            why: OnceLock::new(),
        }))
    }

    /// What is wrong with a host's sessions, as far as claims tell.
    pub(crate) fn quarrel(&self, host: &str) -> String {
        let now = self.elapsed();
        if self.claims().quarrel(host, now) {
            CLAIMED_TWICE.to_owned()
        } else {
            String::new()
        }
    }

    /// A session has ended.
    pub(crate) fn ended(&self, host: &str, handle: &SessionHandle, problem: String) {
        if !self.claims().release(host, handle) {
            return;
        }
        let now = self.clock.now();
        self.roster
            .disconnected(host, now.wall_us, now.instant + self.lost_after, problem);
    }
}

/// Why a session is told to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    Superseded,
    ClaimedTwice,
    Shutdown,
}

/// Tells a session to end.
#[derive(Debug, Clone)]
pub(crate) struct SessionHandle(Arc<Ending>);

#[derive(Debug)]
struct Ending {
    id: u64,
    token: CancellationToken,
    why: OnceLock<Why>,
}

impl PartialEq for SessionHandle {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl SessionHandle {
    /// Tells the session to end.
    pub(crate) fn end(&self, why: Why) {
        // The first reason stands.
        let _ = self.0.why.set(why);
        self.0.token.cancel();
    }

    /// Waits until the session is told to end.
    pub(crate) async fn told_to_end(&self) -> Why {
        self.0.token.cancelled().await;
        self.0.why.get().copied().unwrap_or(Why::Shutdown)
    }
}
