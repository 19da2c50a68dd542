//! The status of one observation, and the condition of a component.

use serde::{Deserialize, Serialize};

/// The status of one observation, from best to worst; `Unknown` says nothing at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// It works.
    Ok,
    /// It works, and something is wrong with it.
    Degraded,
    /// It is on its way up.
    Starting,
    /// It does not work.
    Failed,
    /// The probe itself could not run.
    Unknown,
}

impl Status {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

/// The condition of a component, decided by the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Condition {
    /// It works.
    Up,
    /// It works, and something is wrong with it or with what it uses.
    Degraded,
    /// It is on its way up.
    Starting,
    /// What it needs is not there.
    Blocked,
    /// It is broken itself.
    Down,
    /// The path to it is lost.
    Unreachable,
    /// Nobody knows.
    Unknown,
}

impl Condition {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Starting => "starting",
            Self::Blocked => "blocked",
            Self::Down => "down",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it can be relied upon.
    #[must_use]
    pub const fn is_there(self) -> bool {
        matches!(self, Self::Up | Self::Degraded)
    }

    /// Whether it is surely not there for those who need it.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        matches!(self, Self::Down | Self::Blocked | Self::Unreachable)
    }
}
