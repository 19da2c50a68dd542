//! What one event costs while an incident is open, in worlds of one and of five million components, and a mass event.

use std::time::Duration;

use blackstart_graph::Status;

use crate::bytes::held;
use crate::fleet::Fleet;
use crate::{figure, ms, timed};

/// Events that are measured one by one.
const EVENTS: usize = 20_000;

/// Events of one second.
const A_SECOND: usize = 5_000;

/// A sequence without a pattern that is the same every time.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    std::iter::repeat_with(move || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % count
    })
}

fn shares(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |share: usize| ms(times[(times.len() - 1) * share / 1_000]) * 1e3;
    figure("-", &format!("{what}, p50"), at(500), "us", None);
    figure("-", &format!("{what}, p99"), at(990), "us", Some(1_000.0));
    figure("-", &format!("{what}, max"), at(1_000), "us", None);
}

fn one_by_one(fleet: &mut Fleet, what: &str, status: impl Fn(usize) -> Status) {
    let slots = fleet.slots().to_vec();
    // The lost datacenter is the second of ten: the last half of the slots is alive.
    let alive = &slots[slots.len() / 2..];
    let chosen: Vec<usize> = scattered(alive.len()).take(EVENTS).collect();
    let mut times = Vec::with_capacity(EVENTS);
    let mut concluded = Duration::ZERO;
    for (at, slot) in chosen.into_iter().enumerate() {
        if at % A_SECOND == 0 {
            let ((), took) = timed(|| fleet.wait(1));
            concluded = concluded.max(took);
        }
        let ((), took) = timed(|| fleet.answer(alive[slot], status(at)));
        times.push(took);
    }
    shares(what, times);
    let what = format!("{what}, what a second ends with at most");
    figure("-", &what, ms(concluded), "ms", None);
}

fn while_open(racks: usize, goal: Option<f64>) -> Fleet {
    let size = (racks * Fleet::RACK + 500_000) / 1_000_000;
    let of = format!("of {size} million components");
    let ((mut fleet, make), bytes) = held(|| timed(|| Fleet::unseen(racks)));
    let what = format!("a fleet {of}: read it and make the engine");
    figure("-", &what, ms(make), "ms", None);
    let what = format!("a fleet {of}: held with no checks");
    figure("-", &what, bytes / 1e6, "MB", goal);
    let (((), begin), more) = held(|| timed(|| fleet.begin()));
    let what = format!("a fleet {of}: every agent connects, every check answers");
    figure("-", &what, ms(begin), "ms", None);
    let what = format!("a fleet {of}: held for agents and checks");
    figure("-", &what, more / 1e6, "MB", None);
    let (count, took) = timed(|| fleet.lose_datacenter(1));
    fleet.wait(20);
    let what = format!("{count} agents lost, {of}");
    figure("-", &what, ms(took), "ms", None);
    assert!(fleet.engine.incident().is_some());
    let what = format!("while an incident is open, {of}: an answer as before");
    one_by_one(&mut fleet, &what, |_| Status::Ok);
    let what = format!("while an incident is open, {of}: a service fails");
    one_by_one(&mut fleet, &what, |_| Status::Failed);
    let what = format!("while an incident is open, {of}: a service is back or fails");
    one_by_one(&mut fleet, &what, |at| [Status::Ok, Status::Failed][at % 2]);
    for (status, what) in [
        (Status::Ok, "is seen to work"),
        (Status::Failed, "fails"),
        (Status::Ok, "is back"),
    ] {
        fleet.wait(10);
        let ((), took) = timed(|| fleet.look("host-0-1", "dns-5", status));
        let what = format!("while an incident is open, {of}: what a tenth of them needs {what}");
        figure("-", &what, ms(took), "ms", None);
    }
    fleet
}

pub(crate) fn run() {
    let fleet = Fleet::new(5_000);
    let (mut fleet, answers) = (fleet, 5_000 * Fleet::RACK / 5 * 4);
    let ((), fall) = timed(|| fleet.all(Status::Failed));
    let what = format!("a mass event: {answers} services fail at once");
    let million = |time: Duration| ms(time) * 1e6 / f64::from(u32::try_from(answers).unwrap());
    figure("-", &what, million(fall), "ms per million", Some(2_000.0));
    let ((), concluded) = timed(|| fleet.wait(20));
    let what = format!("a mass event: what is concluded of {answers}");
    figure("-", &what, ms(concluded), "ms", None);
    let ((), again) = timed(|| fleet.all(Status::Failed));
    let what = format!("a mass event: {answers} say so again");
    figure("-", &what, million(again), "ms per million", None);
    fleet.wait(20);
    let ((), back) = timed(|| fleet.all(Status::Ok));
    let what = format!("a mass event: {answers} are back");
    figure("-", &what, million(back), "ms per million", None);
    drop(fleet);
    drop(while_open(5_000, None));
}

pub(crate) fn huge() {
    // A topology has five million at most; 2 GiB for that many.
    drop(while_open(24_500, Some(2_147.0)));
}
