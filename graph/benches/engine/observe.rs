//! Row 4, the engine's part: what one answer costs.

use std::time::Duration;

use blackstart_graph::Status;

use crate::load::{CHECKS, HOSTS, answers, engine, slots, text};
use crate::{figure, timed};

/// Rounds of all checks: as often as they come in a minute and a half.
const SWEEPS: i64 = 10;

fn ns_each(time: Duration, sweeps: i64) -> f64 {
    let count = u32::try_from(HOSTS * CHECKS).unwrap() * u32::try_from(sweeps).unwrap();
    time.as_secs_f64() * 1e9 / f64::from(count)
}

pub(crate) fn run() {
    let mut engine = engine(&text());
    let slots = slots(&mut engine);
    answers(&mut engine, &slots, 1, Status::Ok, Some("200 in 2.5 ms"));
    let ((), same) = timed(|| {
        for sweep in 0..SWEEPS {
            answers(&mut engine, &slots, 10 + sweep * 10, Status::Ok, None);
        }
    });
    figure(
        "4",
        "an answer like the last one",
        ns_each(same, SWEEPS),
        "ns",
        None,
    );
    let ((), changed) = timed(|| {
        for sweep in 0..SWEEPS {
            let status = [Status::Failed, Status::Ok][usize::from(sweep % 2 == 1)];
            answers(&mut engine, &slots, 200 + sweep * 10, status, None);
        }
    });
    let each = ns_each(changed, SWEEPS);
    figure("4", "an answer that turns a condition", each, "ns", None);
}
