//! The clocks of this host, read in one place.
//!
//! Samples carry CLOCK_BOOTTIME, which no correction of the wall clock moves and which goes on while the host sleeps.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// Time since the host booted (clock_gettime(2), CLOCK_BOOTTIME).
#[must_use]
pub fn boottime() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}

/// CLOCK_BOOTTIME in microseconds.
#[must_use]
pub fn boottime_us() -> u64 {
    u64::try_from(boottime().as_micros()).unwrap_or(u64::MAX)
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

/// The wall clock minus CLOCK_BOOTTIME, microseconds.
#[must_use]
pub fn wall_offset_us() -> i64 {
    wall_us().saturating_sub(i64::try_from(boottime_us()).unwrap_or(i64::MAX))
}

/// The kernel's id of this boot (proc_sys_kernel(5), random/boot_id); empty where it cannot be read.
#[must_use]
pub fn boot_id(root: &Path) -> String {
    std::fs::read_to_string(root.join("proc/sys/kernel/random/boot_id"))
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}
