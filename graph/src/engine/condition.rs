//! Which condition a component has: the first row of the table that fits. Pure.

use super::node::Verdict;
use crate::{Condition, Status};

/// Everything that the decision rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) evidence: Option<Status>,
    pub(super) verdict: Option<Verdict>,
    /// Its host was stopped in order, or it is destroyed.
    pub(super) stopped: bool,
    /// A hard need of the phase it is in is lost.
    pub(super) need_lost: bool,
    /// A hard need to start is lost.
    pub(super) start_need_lost: bool,
    /// A hard need to run is lost.
    pub(super) run_need_lost: bool,
    /// A soft need of its phase is lost.
    pub(super) use_lost: bool,
    /// Every vantage that sees it fail looks through a lost path, and none inside sees it fail.
    pub(super) seen_through_lost_path: bool,
    /// What blocked it is back, and nobody has looked since.
    pub(super) held: bool,
    /// A group with nothing but needs, all of which are there.
    pub(super) group_is_there: bool,
}

/// The first row that fits, in words for people.
pub(super) fn decide(facts: &Facts) -> (Condition, &'static str) {
    match facts.evidence {
        _ if facts.stopped => (Condition::Down, "it was stopped in order"),
        Some(Status::Ok) if facts.use_lost => (
            Condition::Degraded,
            "it answers, and something that it uses is lost",
        ),
        Some(Status::Ok) => (Condition::Up, "it answers"),
        Some(Status::Degraded) => (
            Condition::Degraded,
            "it answers, and says that something is wrong",
        ),
        Some(Status::Starting) if facts.start_need_lost => (
            Condition::Blocked,
            "it is starting, and something that it needs to start is lost",
        ),
        Some(Status::Starting) => (Condition::Starting, "it is on its way up"),
        Some(Status::Failed) if facts.need_lost => (
            Condition::Blocked,
            "it fails, and something that it needs is lost",
        ),
        Some(Status::Failed) if facts.seen_through_lost_path => (
            Condition::Unreachable,
            "it is seen to fail only through paths that are lost",
        ),
        Some(Status::Failed) if facts.held => (
            Condition::Blocked,
            "what it needs is back; nobody has looked at it since",
        ),
        Some(Status::Failed) => (
            Condition::Down,
            "it fails, and nothing that it needs is known to be lost",
        ),
        None | Some(Status::Unknown) => match facts.verdict {
            Some(Verdict::WithoutPower) => {
                (Condition::Down, "the diagnosis: without power, or gone")
            }
            Some(Verdict::PathLost) => (
                Condition::Unreachable,
                "the diagnosis: the path to it is lost",
            ),
            None if facts.need_lost => (
                Condition::Blocked,
                "nobody observes it, and something that it needs is lost",
            ),
            None if facts.group_is_there => (Condition::Up, "enough of its members are there"),
            None => (Condition::Unknown, "nobody observes it"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Facts = Facts {
        evidence: None,
        verdict: None,
        stopped: false,
        need_lost: false,
        start_need_lost: false,
        run_need_lost: false,
        use_lost: false,
        seen_through_lost_path: false,
        held: false,
        group_is_there: false,
    };

    #[test]
    fn every_row_of_the_table() {
        use Condition::{Blocked, Degraded, Down, Starting, Unknown, Unreachable, Up};
        let with = |status| Facts {
            evidence: Some(status),
            ..NONE
        };
        let rows = [
            (
                Facts {
                    use_lost: true,
                    ..with(Status::Ok)
                },
                Degraded,
            ),
            (with(Status::Ok), Up),
            (
                Facts {
                    need_lost: true,
                    ..with(Status::Ok)
                },
                Up,
            ),
            (with(Status::Degraded), Degraded),
            (
                Facts {
                    start_need_lost: true,
                    ..with(Status::Starting)
                },
                Blocked,
            ),
            (
                Facts {
                    need_lost: true,
                    ..with(Status::Starting)
                },
                Starting,
            ),
            (with(Status::Starting), Starting),
            (
                Facts {
                    need_lost: true,
                    seen_through_lost_path: true,
                    ..with(Status::Failed)
                },
                Blocked,
            ),
            (
                Facts {
                    seen_through_lost_path: true,
                    ..with(Status::Failed)
                },
                Unreachable,
            ),
            (
                Facts {
                    held: true,
                    ..with(Status::Failed)
                },
                Blocked,
            ),
            (with(Status::Failed), Down),
            (
                Facts {
                    verdict: Some(Verdict::WithoutPower),
                    need_lost: true,
                    ..NONE
                },
                Down,
            ),
            (
                Facts {
                    verdict: Some(Verdict::PathLost),
                    need_lost: true,
                    ..NONE
                },
                Unreachable,
            ),
            (
                Facts {
                    verdict: Some(Verdict::PathLost),
                    ..with(Status::Ok)
                },
                Up,
            ),
            (
                Facts {
                    need_lost: true,
                    ..NONE
                },
                Blocked,
            ),
            (NONE, Unknown),
            (
                Facts {
                    stopped: true,
                    ..NONE
                },
                Down,
            ),
        ];
        for (facts, expected) in rows {
            assert_eq!(decide(&facts).0, expected, "{facts:?}");
        }
    }
}
