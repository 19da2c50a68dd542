//! What it costs to name what broke, in worlds of 1,000 to 1,000,000 components with five edges each.
//!
//! Asked as late as it can be: everything has failed, nothing of the answer is there yet.

use blackstart_graph::{Diagnosis, Engine, Search, Status};

use crate::bytes::peak;
use crate::fleet::Fleet;
use crate::{figure, ms, timed};

/// Worlds of so many racks: each has two hundred components.
const RACKS: [usize; 4] = [5, 50, 500, 5_000];

/// Up to so many racks the best of some rounds is taken; a diagnosis of more takes long enough for one.
const REPEATED_MAX: usize = 50;

/// What happens: what it is called, what happens, and the causes of which nobody can tell which it is.
type Outage = (&'static str, fn(&mut Fleet), [&'static str; 2]);

const OUTAGES: [Outage; 3] = [
    (
        "a database and what needs it fail",
        database,
        ["db-1-1", "db-1-1"],
    ),
    ("a rack falls silent", rack, ["rack-1", "tor-1"]),
    ("a datacenter falls silent", datacenter, ["dc-1", "core-1"]),
];

fn database(fleet: &mut Fleet) {
    for _ in 0..2 {
        for component in ["db-1-1", "cache-0-1", "api-1-1", "web-1-1"] {
            fleet.see(component, Status::Failed);
        }
        fleet.wait(10);
    }
}

fn rack(fleet: &mut Fleet) {
    fleet.lose_rack(1);
    fleet.wait(20);
}

fn datacenter(fleet: &mut Fleet) {
    fleet.lose_datacenter(1);
    fleet.wait(20);
}

/// The first hypothesis, and how it was found, as a word behind the figure.
fn answer(diagnosis: &Diagnosis, causes: [&str; 2]) -> String {
    let first = diagnosis.hypotheses.first();
    let named = first.map(|first| first.causes.join(", "));
    let named = named.unwrap_or_else(|| "nobody".to_owned());
    let verdict = if causes.contains(&named.as_str()) {
        "right"
    } else {
        "wrong"
    };
    let search = match diagnosis.search {
        Search::Exact => "exact",
        Search::Bounded => "bounded",
    };
    format!("{search}, {verdict}: {named}")
}

fn diagnose(engine: &Engine, racks: usize, what: &str, causes: [&str; 2]) {
    let rounds = if racks <= REPEATED_MAX {
        crate::ROUNDS
    } else {
        1
    };
    let mut least = std::time::Duration::MAX;
    let mut told = None;
    let mut most = 0.0_f64;
    for _ in 0..rounds {
        let ((diagnosis, took), bytes) = peak(|| timed(|| engine.diagnosis()));
        least = least.min(took);
        most = most.max(bytes);
        told = Some(diagnosis);
    }
    let Some(told) = told else {
        return;
    };
    let size = racks * Fleet::RACK;
    let what = format!("{what}, of {size} components: {}", answer(&told, causes));
    figure("-", &what, ms(least), "ms", Some(50.0));
    figure("-", &what, most / 1e6, "MB at most", None);
}

pub(crate) fn run() {
    for racks in RACKS {
        let calm = Fleet::new(racks);
        for (what, happen, causes) in OUTAGES {
            let mut fleet = calm.clone();
            happen(&mut fleet);
            diagnose(&fleet.engine, racks, what, causes);
        }
    }
}
