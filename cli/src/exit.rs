//! The exit codes, in one place.

use std::process::ExitCode;

/// The codes as `--help` shows them.
pub(crate) const HELP: &str = "Exit codes: 0 yes or done; 1 no; 2 wrong use, or no such thing; 3 cannot say (nobody answers, \
unknown); 78 configuration refused. `check` uses those of Nagios plugins: 0 ok, 1 degraded or starting, 2 failed, 3 unknown.";

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Yes, or done.
    Yes,
    /// No: not ready, or something is wrong.
    No,
    /// Wrong use, or what was asked for does not exist.
    Usage,
    /// Nobody answers, or nobody knows.
    CannotSay,
    /// A configuration was refused (sysexits.h, EX_CONFIG).
    Refused,
}

impl Exit {
    /// The code.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::CannotSay => 3,
            Self::Refused => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
