//! What a process has cost so far: CPU time and memory, from the kernel.

use std::time::Duration;

use blackstart_tests::Daemon;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// CPU time of the whole process, user and system, all threads, those that ended too; in nanoseconds
/// (`clock_getcpuclockid(3)`).
pub(crate) fn cpu_of(process: &Daemon) -> Duration {
    let pid = i32::try_from(process.pid()).expect("a pid is an i32");
    cpu(Pid::from_raw(pid))
}

/// CPU time of this process.
pub(crate) fn own_cpu() -> Duration {
    cpu(Pid::from_raw(0))
}

fn cpu(pid: Pid) -> Duration {
    let clock = clock_getcpuclockid(pid).expect("the process is there");
    clock_gettime(clock).expect("its clock can be read").into()
}

/// Memory of the process in KiB, shared pages divided among those who share them (`smaps_rollup`, `Pss`).
pub(crate) fn pss_kib(process: &Daemon) -> f64 {
    let file = format!("/proc/{}/smaps_rollup", process.pid());
    let text = std::fs::read_to_string(&file).expect("the process is there");
    text.lines()
        .find_map(|line| line.strip_prefix("Pss:"))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|figure| figure.parse().ok())
        .expect("smaps_rollup has a line Pss")
}
