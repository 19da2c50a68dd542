//! Who speaks for a host, when more than one wants to.
//!
//! As a rule the newest stream wins: the one before it is dead and does not know, or the agent was
//! started again. Two agents that are alive and claim one host (a cloned machine, a copied
//! configuration) show themselves by the older one coming back after the newer one took its place. Then the older one
//! stays and the newer one is refused for as long as the older one lives. Pure: time comes in.

use std::collections::HashMap;
use std::time::Duration;

/// How many incarnations of a host are remembered: two that quarrel, and their restarts.
const INCARNATIONS_REMEMBERED: usize = 8;

/// How long a refused claim is shown: longer than agents wait before they try again.
const QUARREL_SHOWN: Duration = Duration::from_secs(300);

/// What is wrong when two agents claim one host, for people.
pub(crate) const CLAIMED_TWICE: &str = "two agents claim this host";

/// What becomes of a claim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Claim<S> {
    /// The host is its own; nobody held it.
    Granted,
    /// The host is its own; this session ends, its successor is here.
    Supersedes(S),
    /// The host is its own; this session is refused: it is the newer of two that live.
    Refuses(S),
    /// Refused: an older agent that lives holds the host.
    Refused,
}

/// Who holds which host. `S` is the handle of a session.
#[derive(Debug)]
pub(crate) struct Claims<S> {
    hosts: HashMap<Box<str>, Host<S>>,
}

#[derive(Debug)]
struct Host<S> {
    holder: Option<(u64, S)>,
    /// The incarnations seen, oldest first.
    seen: Vec<u64>,
    quarrel: Option<Duration>,
}

impl<S: Clone + PartialEq> Claims<S> {
    pub(crate) fn new() -> Self {
        Self {
            hosts: HashMap::new(),
        }
    }

    /// A session claims a host.
    pub(crate) fn claim(
        &mut self,
        host: &str,
        incarnation: u64,
        session: S,
        now: Duration,
    ) -> Claim<S> {
        let known = self.hosts.entry(host.into()).or_insert_with(|| Host {
            holder: None,
            seen: Vec::new(),
            quarrel: None,
        });
        let rank = known.see(incarnation);
        let Some((held_by, holder)) = known.holder.clone() else {
            known.holder = Some((incarnation, session));
            return Claim::Granted;
        };
        if held_by == incarnation {
            known.holder = Some((incarnation, session));
            return Claim::Supersedes(holder);
        }
        let holder_rank = known.seen.iter().position(|seen| *seen == held_by);
        match rank {
            // Never seen before: the agent was started again, as far as anybody can tell.
            None => {
                known.holder = Some((incarnation, session));
                Claim::Supersedes(holder)
            }
            // Older than the holder, and back: both live.
            rank if rank < holder_rank => {
                known.quarrel = Some(now);
                known.holder = Some((incarnation, session));
                Claim::Refuses(holder)
            }
            _ => {
                known.quarrel = Some(now);
                Claim::Refused
            }
        }
    }

    /// A session has ended. True if it held the host.
    pub(crate) fn release(&mut self, host: &str, session: &S) -> bool {
        let Some(known) = self.hosts.get_mut(host) else {
            return false;
        };
        let held = known
            .holder
            .as_ref()
            .is_some_and(|(_, holder)| holder == session);
        if held {
            known.holder = None;
        }
        held
    }

    /// Whether two agents claimed this host lately.
    pub(crate) fn quarrel(&self, host: &str, now: Duration) -> bool {
        self.hosts
            .get(host)
            .and_then(|known| known.quarrel)
            .is_some_and(|since| now < since + QUARREL_SHOWN)
    }
}

impl<S> Host<S> {
    /// Remembers an incarnation. Its place among those seen before, if it was.
    fn see(&mut self, incarnation: u64) -> Option<usize> {
        let place = self.seen.iter().position(|seen| *seen == incarnation);
        if place.is_none() {
            if self.seen.len() == INCARNATIONS_REMEMBERED {
                self.seen.remove(0);
            }
            self.seen.push(incarnation);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    #[test]
    fn a_new_stream_of_the_same_agent_supersedes_the_old_one() {
        let mut claims = Claims::new();
        assert_eq!(claims.claim("web-1", 7, 1, NOW), Claim::Granted);
        assert_eq!(claims.claim("web-1", 7, 2, NOW), Claim::Supersedes(1));
        assert!(!claims.release("web-1", &1));
        assert!(claims.release("web-1", &2));
        assert!(!claims.quarrel("web-1", NOW));
    }

    #[test]
    fn an_agent_that_was_started_again_supersedes_its_dead_stream() {
        let mut claims = Claims::new();
        claims.claim("web-1", 7, 1, NOW);
        assert_eq!(claims.claim("web-1", 8, 2, NOW), Claim::Supersedes(1));
        assert!(!claims.quarrel("web-1", NOW));
    }

    #[test]
    fn of_two_that_live_the_newer_one_is_refused() {
        let mut claims = Claims::new();
        claims.claim("web-1", 7, 1, NOW);
        claims.claim("web-1", 8, 2, NOW);
        // The first is alive and comes back.
        assert_eq!(claims.claim("web-1", 7, 3, NOW), Claim::Refuses(2));
        assert_eq!(claims.claim("web-1", 8, 4, NOW), Claim::Refused);
        assert!(claims.quarrel("web-1", NOW));
        assert!(!claims.quarrel("web-1", NOW + QUARREL_SHOWN));
        // The first one goes for good: the second may have the host.
        assert!(claims.release("web-1", &3));
        assert_eq!(claims.claim("web-1", 8, 5, NOW), Claim::Granted);
    }

    #[test]
    fn hosts_do_not_touch_each_other() {
        let mut claims = Claims::new();
        claims.claim("web-1", 7, 1, NOW);
        assert_eq!(claims.claim("web-2", 7, 2, NOW), Claim::Granted);
        assert!(!claims.release("web-3", &1));
    }
}
