//! What survives, what is bounded, and what is never used twice.

use tempfile::TempDir;

use super::*;
use crate::observation::Finding;

const LIMITS: SpoolLimits = SpoolLimits {
    bytes_max: 1 << 20,
    ring_results: 3,
};

fn incarnation(id: u64) -> Incarnation {
    Incarnation {
        id,
        boot_id: format!("boot-{id}"),
        wall_offset_us: 7,
    }
}

fn result(n: usize) -> Vec<Observation> {
    vec![Observation {
        component: format!("c{n}"),
        check: "test".into(),
        finding: Finding::ok("fine").with("rtt_ms", 0.5),
    }]
}

fn open(folder: &TempDir, id: u64) -> Spool {
    Spool::open(folder.path(), LIMITS, incarnation(id)).unwrap()
}

fn names(results: &[Numbered]) -> Vec<(&str, u64, u64)> {
    results
        .iter()
        .map(|r| {
            (
                r.observation.component.as_str(),
                r.incarnation.id,
                r.sequence,
            )
        })
        .collect()
}

#[test]
fn results_survive_a_restart_under_their_numbers() {
    let folder = TempDir::new().unwrap();
    let spool = open(&folder, 1);
    spool.keep_cursors(&["a".to_owned()]);
    spool.push(result(1), 10, 1_000, false);
    spool.push(result(2), 20, 1_000, true);
    drop(spool);
    let spool = open(&folder, 2);
    spool.push(result(3), 30, 1_000, false);
    assert_eq!(
        names(&spool.read(spool.cursor("a", "x"), 10)),
        [("c1", 1, 1), ("c2", 1, 2)]
    );
    assert_eq!(names(&spool.read(2, 10)), [("c3", 2, 1)]);
    let first = &spool.read(0, 1)[0];
    assert_eq!(
        (
            first.incarnation.boot_id.as_str(),
            first.incarnation.wall_offset_us
        ),
        ("boot-1", 7)
    );
    assert_eq!(first.observation, result(1)[0]);
}

#[test]
fn the_ring_stays_when_everything_is_acknowledged() {
    let folder = TempDir::new().unwrap();
    let spool = open(&folder, 1);
    spool.keep_cursors(&["a".to_owned()]);
    assert_eq!(spool.cursor("a", "x"), 0);
    for n in 1..=10 {
        spool.push(result(n), 0, 1_000, false);
    }
    spool.acknowledge("a", 10);
    drop(spool);
    let spool = open(&folder, 2);
    assert_eq!(spool.cursor("a", "x"), 10, "the cursor survives");
    assert_eq!(
        names(&spool.read(0, 20)),
        [("c8", 1, 8), ("c9", 1, 9), ("c10", 1, 10)]
    );
    assert_eq!(spool.dropped_total(), 0);
    assert_eq!(
        spool.cursor("a", "another store"),
        0,
        "an aggregator that lost its store gets the ring"
    );
}

#[test]
fn a_full_spool_drops_the_oldest_and_counts_them() {
    let folder = TempDir::new().unwrap();
    let limits = SpoolLimits {
        bytes_max: 1_000,
        ring_results: 0,
    };
    let spool = Spool::open(folder.path(), limits, incarnation(1)).unwrap();
    spool.keep_cursors(&["a".to_owned()]);
    for n in 1..=200 {
        spool.push(result(n), 0, 1_000, false);
    }
    drop(spool);
    let spool = Spool::open(folder.path(), limits, incarnation(2)).unwrap();
    let kept = spool.read(0, 1_000);
    assert_eq!(kept.last().unwrap().sequence, 200, "the newest stay");
    assert_eq!(spool.dropped_total() + kept.len() as u64, 200);
    assert!(kept.len() < 40, "{}", kept.len());
}

#[test]
fn a_second_agent_on_the_same_folder_is_refused_with_the_first_one_s_process() {
    let folder = TempDir::new().unwrap();
    let _first = open(&folder, 1);
    let refused = Spool::open(folder.path(), LIMITS, incarnation(2))
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains(&format!(
            "in use by another agent (process {})",
            std::process::id()
        )),
        "{refused}"
    );
}

#[test]
fn a_damaged_file_is_moved_aside_and_does_not_stop_the_agent() {
    let folder = TempDir::new().unwrap();
    std::fs::write(
        folder.path().join("spool.redb"),
        b"this is no database, but it is long enough to be read as one",
    )
    .unwrap();
    let spool = open(&folder, 1);
    assert!(
        spool.problem().unwrap().contains("the spool was damaged"),
        "{:?}",
        spool.problem()
    );
    spool.push(result(1), 0, 1_000, true);
    assert_eq!(spool.read(0, 10).len(), 1);
    let kept = std::fs::read_dir(folder.path())
        .unwrap()
        .flatten()
        .filter(|e| {
            e.file_name()
                .to_string_lossy()
                .starts_with("spool.damaged-")
        });
    assert_eq!(kept.count(), 1);
}

#[test]
fn without_a_disk_the_spool_works_in_memory_within_its_bound() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, b"").unwrap();
    let spool = Spool::open(&file.join("below"), LIMITS, incarnation(1)).unwrap();
    assert!(spool.problem().unwrap().starts_with("no spool on disk: "));
    spool.keep_cursors(&["a".to_owned()]);
    for n in 0..MEMORY_RESULTS_MAX + 5 {
        spool.push(result(n), 0, 1_000, false);
    }
    assert_eq!(spool.read(0, usize::MAX).len(), MEMORY_RESULTS_MAX);
}
