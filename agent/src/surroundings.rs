//! What an agent runs in: the machine, or a host of a simulated network.
//!
//! The machine has the kernel's clocks, chance, and a thread for the spool's file. A simulated host has clocks of its own,
//! draws from a seed, and does everything in tasks of the runtime that is there, so that simulated time stands still while
//! it works and the same seed gives the same run.

use std::path::Path;

use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::clock::{self, HostClock};

/// What an agent runs in.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub(crate) clock: HostClock,
    pub(crate) boot_id: String,
    seed: Option<u64>,
}

/// What is drawn; each from a stream of its own, so that one more draw here changes nothing there.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Draw {
    Incarnation,
    Schedule,
    Backoff,
}

impl Surroundings {
    /// The machine under `root`.
    #[must_use]
    pub fn machine(root: &Path) -> Self {
        Self {
            clock: HostClock::kernel(),
            boot_id: clock::boot_id(root),
            seed: None,
        }
    }

    /// A simulated host in the boot `boot_id`. Another start of the agent needs another seed, or it takes the incarnation
    /// of the one before.
    #[must_use]
    pub const fn simulation(clock: HostClock, boot_id: String, seed: u64) -> Self {
        Self {
            clock,
            boot_id,
            seed: Some(seed),
        }
    }

    pub(crate) const fn is_simulated(&self) -> bool {
        self.seed.is_some()
    }

    pub(crate) fn random(&self, what: Draw) -> StdRng {
        match self.seed {
            None => StdRng::from_seed(rand::random()),
            Some(seed) => {
                let mut bytes = [0; 32];
                bytes[..8].copy_from_slice(&seed.to_le_bytes());
                bytes[8] = what as u8;
                StdRng::from_seed(bytes)
            }
        }
    }
}
