//! The clocks of this host, read in one place; a simulated host brings its own.
//!
//! Samples carry CLOCK_BOOTTIME, which no correction of the wall clock moves and which goes on while the host sleeps.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// What the clocks of a host show at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Time since the host booted (clock_gettime(2), CLOCK_BOOTTIME).
    pub boottime: Duration,
    /// The wall clock, microseconds since the Unix epoch; it may be wrong by hours.
    pub wall_us: i64,
}

/// The clocks of one host.
#[derive(Clone)]
pub struct HostClock(Arc<dyn Fn() -> Reading + Send + Sync>);

impl fmt::Debug for HostClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HostClock").field(&(self.0)()).finish()
    }
}

impl HostClock {
    /// The kernel's.
    #[must_use]
    pub fn kernel() -> Self {
        Self::new(|| Reading {
            boottime: boottime(),
            wall_us: wall_us(),
        })
    }

    /// Those of a simulated host.
    #[must_use]
    pub fn new(read: impl Fn() -> Reading + Send + Sync + 'static) -> Self {
        Self(Arc::new(read))
    }

    /// What they show now.
    #[must_use]
    pub fn read(&self) -> Reading {
        (self.0)()
    }
}

impl Reading {
    /// CLOCK_BOOTTIME in microseconds.
    #[must_use]
    pub fn boottime_us(&self) -> u64 {
        u64::try_from(self.boottime.as_micros()).unwrap_or(u64::MAX)
    }

    /// CLOCK_BOOTTIME in milliseconds.
    #[must_use]
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.boottime.as_millis()).unwrap_or(u64::MAX)
    }

    /// The wall clock minus CLOCK_BOOTTIME, microseconds.
    #[must_use]
    pub fn wall_offset_us(&self) -> i64 {
        let boottime_us = i64::try_from(self.boottime_us()).unwrap_or(i64::MAX);
        self.wall_us.saturating_sub(boottime_us)
    }
}

fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// The wall clock, microseconds since the Unix epoch; it may be wrong by hours.
#[must_use]
pub fn wall_us() -> i64 {
    let now = SystemTime::now();
    match now.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_micros()).unwrap_or(i64::MAX),
        Err(before) => -i64::try_from(before.duration().as_micros()).unwrap_or(i64::MAX),
    }
}

/// The kernel's id of this boot (proc_sys_kernel(5), random/boot_id); empty where it cannot be read.
#[must_use]
pub fn boot_id(root: &Path) -> String {
    std::fs::read_to_string(root.join("proc/sys/kernel/random/boot_id"))
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
