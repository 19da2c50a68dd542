//! The first bytes of a client: whether it speaks HTTP/2, and that it speaks at all.
//!
//! What else comes in (a browser, a scanner, TLS where none is configured) is closed by the HTTP/2 server; here it
//! gets its line in the log. A client that connects and says nothing is closed here: HTTP/2 pings those who have
//! begun to speak only.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

/// What every HTTP/2 client says first (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long it may take to say it: five round trips over the worst link fit.
const OPENING_TIMEOUT: Duration = Duration::from_secs(10);

/// Lines about strangers in a [`TOLD_PERIOD`]: enough to find one, too few to fill a disk.
const TOLD_MAX: u32 = 20;

/// The time in which at most [`TOLD_MAX`] lines are written.
const TOLD_PERIOD: Duration = Duration::from_secs(60);

/// Writes of strangers at the door, and not too often.
#[derive(Debug, Default)]
pub(super) struct DoorLog(Mutex<Told>);

#[derive(Debug, Default)]
struct Told {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl DoorLog {
    /// Says why somebody was not let in.
    pub(super) fn tell(&self, peer: SocketAddr, why: &str) {
        if let Some(left_out) = self.may_tell(Instant::now()) {
            tracing::info!(%peer, why, left_out, "connection refused at the door");
        }
    }

    /// How many lines were left out before this one; `None` to leave out this one, too.
    fn may_tell(&self, now: Instant) -> Option<u64> {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.since.is_none_or(|since| now >= since + TOLD_PERIOD) {
            told.since = Some(now);
            told.lines = 0;
        }
        if told.lines >= TOLD_MAX {
            told.left_out += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.left_out))
    }
}

/// A client that has not said its first words yet.
#[derive(Debug)]
pub(super) struct Opening {
    head: Vec<u8>,
    deadline: Pin<Box<Sleep>>,
    peer: SocketAddr,
    log: Arc<DoorLog>,
}

/// Whether the first words are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// More has to come.
    Waiting,
    /// It can be told what it is; there is nothing left to do here.
    Enough,
}

impl Opening {
    pub(super) fn new(peer: SocketAddr, log: Arc<DoorLog>) -> Self {
        Self {
            head: Vec::with_capacity(PREFACE.len()),
            deadline: Box::pin(tokio::time::sleep(OPENING_TIMEOUT)),
            peer,
            log,
        }
    }

    /// Takes what came; nothing means that the client has closed.
    pub(super) fn heard(&mut self, came: &[u8]) -> Heard {
        let room = PREFACE.len() - self.head.len();
        self.head.extend_from_slice(&came[..came.len().min(room)]);
        match judge(&self.head) {
            Some(Ok(())) => Heard::Enough,
            Some(Err(why)) => {
                self.log.tell(self.peer, why);
                Heard::Enough
            }
            // A look whether the port is open, as TCP probes and load balancers take, is no stranger.
            None if came.is_empty() => Heard::Enough,
            None => Heard::Waiting,
        }
    }

    /// Whether it has had its time; wakes the task when it has.
    pub(super) fn is_over(&mut self, cx: &mut Context<'_>) -> bool {
        let over = matches!(self.deadline.as_mut().poll(cx), Poll::Ready(()));
        if over {
            let why = format!(
                "it said nothing that makes sense within {} s",
                OPENING_TIMEOUT.as_secs()
            );
            self.log.tell(self.peer, &why);
        }
        over
    }
}

/// What the first bytes say; `None` while they are too few to tell.
fn judge(head: &[u8]) -> Option<Result<(), &'static str>> {
    const METHODS: [&[u8]; 6] = [
        b"GET ",
        b"POST ",
        b"HEAD ",
        b"PUT ",
        b"OPTIONS ",
        b"CONNECT ",
    ];
    if PREFACE.starts_with(head) {
        return (head.len() == PREFACE.len()).then_some(Ok(()));
    }
    // RFC 8446, 5.1: a handshake record (22), legacy version 3.x.
    if head.starts_with(&[22, 3]) {
        return Some(Err(
            "it speaks TLS, and this aggregator has no [tls] table: give both sides one, or neither",
        ));
    }
    if METHODS.iter().any(|method| head.starts_with(method)) {
        return Some(Err("it speaks HTTP/1; here is gRPC, which is HTTP/2 only"));
    }
    let may_become = |word: &&[u8]| word.starts_with(head);
    if METHODS.iter().any(may_become) || head == [22] {
        return None;
    }
    Some(Err("it does not speak gRPC (HTTP/2)"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_bytes_tell_what_a_client_speaks() {
        let says = |head: &[u8]| judge(head).map(|said| said.err().unwrap_or("HTTP/2"));
        assert_eq!(says(PREFACE), Some("HTTP/2"));
        assert_eq!(says(&PREFACE[..23]), None);
        assert_eq!(says(b""), None);
        assert_eq!(says(b"P"), None, "PRI, POST or PUT");
        for (head, word) in [
            (&b"PO"[..], None),
            (b"POST / HTTP/1.1\r\n", Some("HTTP/1")),
            (b"GET / HTTP/1.1\r\n\r\n", Some("HTTP/1")),
            (&[22], None),
            (&[22, 3, 1, 2, 0], Some("TLS")),
            (&[0xff], Some("does not speak gRPC")),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Some("does not speak gRPC")),
        ] {
            let said = says(head);
            match word {
                Some(word) => assert!(
                    said.is_some_and(|said| said.contains(word)),
                    "{head:?} {said:?}"
                ),
                None => assert_eq!(said, None, "{head:?}"),
            }
        }
    }

    #[tokio::test]
    async fn a_crowd_of_strangers_does_not_fill_the_disk() {
        let log = DoorLog::default();
        let now = Instant::now();
        let told = (0..1_000).filter(|_| log.may_tell(now).is_some()).count();
        assert_eq!(told, TOLD_MAX as usize);
        let later = now + TOLD_PERIOD;
        assert_eq!(log.may_tell(later), Some(1_000 - u64::from(TOLD_MAX)));
        assert_eq!(log.may_tell(later), Some(0));
    }
}
