//! Tells systemd how the agent is, where systemd started it and asks for it (sd_notify(3)).
//!
//! **Invariant:** the watchdog is fed by the scheduler's own loop and by nothing else: an agent that no longer probes is started anew.

use std::time::Duration;

use sd_notify::NotifyState;

/// Where the agent runs: under systemd, or on its own.
#[derive(Debug, Clone, Copy, Default)]
pub struct Supervisor {
    is_there: bool,
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// What the environment says: `NOTIFY_SOCKET`, `WATCHDOG_USEC`, `WATCHDOG_PID`.
    #[must_use]
    pub fn from_environment() -> Self {
        Self {
            is_there: std::env::var_os("NOTIFY_SOCKET").is_some(),
            watchdog: sd_notify::watchdog_enabled(),
        }
    }

    /// How often the watchdog has to be fed: half of its patience, as sd_watchdog_enabled(3) recommends.
    pub(crate) fn feed_interval(&self) -> Option<Duration> {
        self.watchdog
            .filter(|_| self.is_there)
            .map(|patience| patience / 2)
    }

    /// The scheduler turned.
    pub(crate) fn feed(&self) {
        self.tell(&[NotifyState::Watchdog]);
    }

    /// The agent probes; no aggregator is needed for that.
    pub(crate) fn ready(&self) {
        self.tell(&[NotifyState::Ready]);
    }

    /// One line for `systemctl status`.
    pub(crate) fn show(&self, line: &str) {
        self.tell(&[NotifyState::Status(line)]);
    }

    /// The agent was told to stop.
    pub(crate) fn stopping(&self) {
        self.tell(&[NotifyState::Stopping]);
    }

    fn tell(&self, state: &[NotifyState<'_>]) {
        if !self.is_there {
            return;
        }
        if let Err(error) = sd_notify::notify(state) {
            tracing::warn!(%error, "systemd not told");
        }
    }
}
