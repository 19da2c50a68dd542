//! When an agent's stream is there, and how it ends and comes back.

use super::time::At;

/// How a stay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// The host lost its power: it samples nothing, and its boot is over.
    Power,
    /// The path to the aggregator is gone: the agent goes on, and what it sees waits in its spool.
    Cut,
}

/// One stream of an agent, from its opening to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stay {
    pub(super) from: At,
    /// How long the host was up at `from`.
    pub(super) uptime_s: i64,
    /// Which boot of the host it is.
    pub(super) boot: u32,
    /// Whether the boot before it ended in order.
    pub(super) clean: bool,
    pub(super) end: Option<(At, Ending)>,
}

/// All streams of one agent, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Life {
    pub(super) stays: Vec<Stay>,
}

impl Life {
    /// Connected since before the first event; the host has been up for so many days.
    pub(super) fn long(from: At, days: i64) -> Self {
        Self::default().stay(from, days * 86_400 + 4_711, 0, true)
    }

    /// Comes only later, on a host that has been up for so many seconds.
    pub(super) fn late(from: At, uptime_s: i64) -> Self {
        Self::default().stay(from, uptime_s, 0, true)
    }

    /// The host loses its power.
    pub(super) fn loses_power(self, at: At) -> Self {
        self.ends(at, Ending::Power)
    }

    /// The path between agent and aggregator is gone.
    pub(super) fn loses_path(self, at: At) -> Self {
        self.ends(at, Ending::Cut)
    }

    /// The same boot is connected again.
    pub(super) fn heals(self, at: At) -> Self {
        let last = self.stays.last().copied();
        match last {
            Some(last) => {
                let uptime_s = last.uptime_s + at.ms_since(last.from) / 1_000;
                self.stay(at, uptime_s, last.boot, last.clean)
            }
            None => self.stay(at, 0, 0, true),
        }
    }

    /// Connected again after a boot; the host has been up for so many seconds.
    pub(super) fn boots(self, at: At, uptime_s: i64) -> Self {
        // None of these hosts was stopped in order before it booted.
        let boot = self.stays.last().map_or(0, |last| last.boot + 1);
        self.stay(at, uptime_s, boot, false)
    }

    fn stay(mut self, from: At, uptime_s: i64, boot: u32, clean: bool) -> Self {
        self.stays.push(Stay {
            from,
            uptime_s,
            boot,
            clean,
            end: None,
        });
        self
    }

    fn ends(mut self, at: At, ending: Ending) -> Self {
        if let Some(last) = self.stays.last_mut() {
            last.end = Some((at, ending));
        }
        self
    }

    /// When what is sampled now arrives: at once, later because it waited on the disk, or never.
    pub(super) fn arrival(&self, sampled: At) -> Arrival {
        let Some(index) = self.stays.iter().rposition(|stay| stay.from <= sampled) else {
            return Arrival::Never;
        };
        let Some((end, ending)) = self.stays[index].end else {
            return Arrival::AtOnce;
        };
        let last_breath = end.plus_ms(-LAST_BREATH_MS);
        if sampled < last_breath {
            return Arrival::AtOnce;
        }
        // A cut host goes on sampling; one without power has only what it wrote and could not send any more.
        let sampled_it = sampled < end || ending == Ending::Cut;
        match self.stays.get(index + 1) {
            Some(next) if sampled_it => Arrival::After(next.from),
            _ => Arrival::Never,
        }
    }
}

/// What a host sampled in its last second is on its disk and was not acknowledged.
const LAST_BREATH_MS: i64 = 1_000;

/// When a sample arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// As fast as the network.
    AtOnce,
    /// When the agent is connected again.
    After(At),
    /// Its host had no power, or does not return.
    Never,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenarios::time::Day;

    const DAY: Day = Day::new(2021, 3, 10);

    #[test]
    fn a_cut_agent_delivers_later_and_a_dead_one_never() {
        let cut = Life::long(DAY.hm(0, 0), 9)
            .loses_path(DAY.hm(1, 0))
            .heals(DAY.hm(2, 0));
        assert_eq!(cut.arrival(DAY.hm(0, 30)), Arrival::AtOnce);
        assert_eq!(cut.arrival(DAY.hm(1, 30)), Arrival::After(DAY.hm(2, 0)));
        assert_eq!(cut.stays[1].boot, 0);
        let dead = Life::long(DAY.hm(0, 0), 9)
            .loses_power(DAY.hm(1, 0))
            .boots(DAY.hm(2, 0), 60);
        assert_eq!(dead.arrival(DAY.hm(1, 30)), Arrival::Never);
        assert_eq!(
            dead.arrival(DAY.hm(1, 0).plus_ms(-300)),
            Arrival::After(DAY.hm(2, 0))
        );
        assert_eq!((dead.stays[1].boot, dead.stays[1].clean), (1, false));
    }
}
