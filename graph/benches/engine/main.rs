//! What the engine costs: CPU time of this process, and bytes that it holds, on topologies of the sizes that the goals name.
//!
//! `cargo bench -p blackstart-graph --profile quick` prints one line of JSON a figure:
//! `{"goal":10.0,"row":"6","unit":"ms","value":4.2,"what":"…"}`; `row` is that of the table of goals, `goal` is null where
//! the row asks for a whole process, or for nothing. A name behind `--` runs only the groups that begin like it.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be measured ends the measurement"
)]

mod bytes;
mod crowd;
mod diagnose;
mod fleet;
mod large;
mod load;
mod memory;
mod observe;
mod open;
mod tree;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Each figure is the best of so many: what disturbs a run only adds to it.
pub(crate) const ROUNDS: usize = 5;

/// A group of figures.
type Group = (&'static str, fn());

const GROUPS: [Group; 9] = [
    ("load", load::run),
    ("tree", tree::run),
    ("observe", observe::run),
    ("memory", memory::run),
    ("crowd", crowd::run),
    ("large", large::run),
    ("diagnose", diagnose::run),
    ("open", open::run),
    ("huge", open::huge),
];

fn main() {
    // Cargo adds --bench.
    let wanted: Vec<String> = std::env::args()
        .skip(1)
        .filter(|argument| !argument.starts_with('-'))
        .collect();
    for (name, run) in GROUPS {
        if wanted.is_empty()
            || wanted
                .iter()
                .any(|wanted| name.starts_with(wanted.as_str()))
        {
            run();
        }
    }
}

/// The CPU time that this process has used.
fn used() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap(),
        u32::try_from(time.tv_nsec).unwrap(),
    )
}

/// What a piece of work returns, and the CPU time that it took.
pub(crate) fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let before = used();
    let done = work();
    (done, used() - before)
}

/// The least CPU time of some rounds; each is prepared, which does not count, and then done.
pub(crate) fn best<P, T>(mut prepare: impl FnMut() -> P, mut work: impl FnMut(P) -> T) -> Duration {
    let rounds = (0..ROUNDS).map(|_| {
        let prepared = prepare();
        timed(|| work(prepared)).1
    });
    rounds.min().unwrap_or_default()
}

/// Prints a figure.
#[expect(clippy::print_stdout, reason = "figures are what this program is for")]
pub(crate) fn figure(row: &str, what: &str, value: f64, unit: &str, goal: Option<f64>) {
    let line = serde_json::json!({
        "row": row, "what": what, "value": value, "unit": unit, "goal": goal,
    });
    println!("{line}");
}

/// Milliseconds with their fraction.
pub(crate) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
