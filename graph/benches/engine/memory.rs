//! Row 5, the engine's part: what it holds for each check, the component that it is about included.

use blackstart_graph::Status;

use crate::bytes::held;
use crate::figure;
use crate::load::{CHECKS, HOSTS, answers, engine, slots, text};

pub(crate) fn run() {
    let text = text();
    let count = f64::from(u32::try_from(HOSTS * CHECKS).unwrap());
    let (mut engine, components) = held(|| engine(&text));
    let per_component = components / (count + f64::from(u32::try_from(HOSTS).unwrap()));
    figure(
        "5",
        "engine, of each component",
        per_component,
        "bytes",
        None,
    );
    let ((), checks) = held(|| {
        let slots = slots(&mut engine);
        answers(&mut engine, &slots, 1, Status::Ok, Some("200 in 2.5 ms"));
    });
    figure("5", "engine, of each check", checks / count, "bytes", None);
    let all = (components + checks) / count;
    figure("5", "engine, in all by check", all, "bytes", Some(1024.0));
    drop(engine);
}
