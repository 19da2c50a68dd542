//! What survives, what is bounded, and what is never used twice.

use proptest::prelude::*;
use tempfile::TempDir;

use super::state::MEMORY_RESULTS_MAX;
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
        [("c1", 1, 1), ("c2", 1, 2), ("c3", 2, 1)]
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

#[test]
fn incarnations_are_named_oldest_first_and_only_while_somebody_lacks_something_of_them() {
    let folder = TempDir::new().unwrap();
    // Their numbers say nothing of their age.
    for id in [90, 10, 50] {
        let spool = open(&folder, id);
        spool.keep_cursors(&["a".to_owned()]);
        spool.push(result(1), 0, 1_000, false);
        spool.push(result(2), 0, 1_000, false);
    }
    let spool = open(&folder, 20);
    assert_eq!(spool.cursor("a", "x"), 0);
    assert_eq!(spool.incarnations("a", 64), [90, 10, 50, 20]);
    assert_eq!(spool.incarnations("a", 2), [90, 20]);
    spool.acknowledge("a", 3);
    assert_eq!(spool.incarnations("a", 64), [10, 50, 20]);
    spool.acknowledge("a", 6);
    assert_eq!(spool.incarnations("a", 64), [20]);
}

#[test]
fn memory_lets_go_of_what_everybody_has_and_the_last_results_stay_at_hand() {
    let folder = TempDir::new().unwrap();
    let spool = open(&folder, 1);
    spool.keep_cursors(&["a".to_owned()]);
    assert_eq!(spool.cursor("a", "x"), 0);
    for n in 0..100 {
        spool.push(result(n % 2), n as u64, 1_000, false);
    }
    flush(&spool);
    assert_eq!(lock(&spool.shared.state).memory.len(), 100);
    spool.acknowledge("a", 99);
    assert_eq!(lock(&spool.shared.state).memory.len(), 1);
    let sampled: Vec<u64> = spool
        .latest()
        .iter()
        .map(|result| result.sampled_boottime_us)
        .collect();
    assert_eq!(sampled, [98, 99]);
}

#[test]
fn what_can_wait_is_written_in_its_time_whoever_moved_a_cursor_before() {
    let folder = TempDir::new().unwrap();
    let soon = Duration::from_millis(1);
    let spool = Spool::open_with(folder.path(), LIMITS, incarnation(1), soon).unwrap();
    spool.keep_cursors(&["a".to_owned()]);
    assert_eq!(spool.cursor("a", "x"), 0);
    for n in 1..50 {
        // A moved cursor is something to write, and wakes nobody by itself.
        spool.acknowledge("a", n - 1);
        spool.push(result(1), n, 1_000, false);
        let until = Instant::now() + Duration::from_secs(20);
        while lock(&spool.shared.state).written < n {
            assert!(Instant::now() < until, "result {n} is not written");
            std::thread::yield_now();
        }
    }
}

/// Writes what is new, and waits until it is written.
fn flush(spool: &Spool) {
    let until = Instant::now() + Duration::from_secs(20);
    loop {
        let mut state = lock(&spool.shared.state);
        if !state.is_dirty() {
            // Not left over for what comes next.
            state.flush_now = false;
            return;
        }
        state.flush_now = true;
        drop(state);
        spool.shared.wake.notify_one();
        assert!(Instant::now() < until, "it is not written");
        std::thread::yield_now();
    }
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize),
    Acknowledge(usize),
    Flush,
    Restart,
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1_usize..12).prop_map(Step::Push),
        2 => (0_usize..15).prop_map(Step::Acknowledge),
        2 => Just(Step::Flush),
        1 => Just(Step::Restart),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..25)
}

/// Nothing is written but what the test asks for, so that a copy of the file is what a power cut leaves.
fn quiet(folder: &Path, id: u64) -> Spool {
    let limits = SpoolLimits {
        bytes_max: 1_500,
        ring_results: 3,
    };
    let never = Duration::from_secs(3_600);
    let spool = Spool::open_with(folder, limits, incarnation(id), never).unwrap();
    spool.keep_cursors(&["a".to_owned()]);
    spool
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever happens: what was written and not acknowledged is there in its order or counted as dropped, within the
    /// bound, and no number ever names two results.
    #[test]
    fn nothing_is_lost_uncounted_and_no_number_is_used_twice(steps in steps()) {
        let mut folder = TempDir::new().unwrap();
        let mut id = 1;
        let mut spool = quiet(folder.path(), id);
        let mut numbers: BTreeMap<(u64, u64), String> = BTreeMap::new();
        let mut waiting: VecDeque<String> = VecDeque::new();
        let mut dropped = 0;
        let mut on_disk = (waiting.clone(), dropped);
        flush(&spool);
        for (at, step) in steps.into_iter().enumerate() {
            let flushed = match step {
                Step::Push(count) => {
                    for n in 0..count {
                        let pushed = result(at * 100 + n);
                        waiting.push_back(pushed[0].component.clone());
                        spool.push(pushed, 0, 1_000, false);
                    }
                    false
                }
                Step::Acknowledge(count) => {
                    let read = spool.read(spool.cursor("a", "x"), count);
                    if let Some(last) = read.last() {
                        spool.acknowledge("a", last.position + 1);
                        waiting.drain(..read.len());
                    }
                    false
                }
                Step::Flush => {
                    flush(&spool);
                    true
                }
                Step::Restart => {
                    drop(spool);
                    id += 1;
                    spool = quiet(folder.path(), id);
                    flush(&spool);
                    true
                }
                Step::Crash => {
                    let after = TempDir::new().unwrap();
                    std::fs::copy(folder.path().join("spool.redb"), after.path().join("spool.redb")).unwrap();
                    drop(spool);
                    folder = after;
                    id += 1;
                    spool = quiet(folder.path(), id);
                    (waiting, dropped) = on_disk.clone();
                    flush(&spool);
                    true
                }
            };
            let read = spool.read(spool.cursor("a", "x"), usize::MAX);
            for result in &read {
                let name = numbers
                    .entry((result.incarnation.id, result.sequence))
                    .or_insert_with(|| result.observation.component.clone());
                prop_assert_eq!(&*name, &result.observation.component);
            }
            let lost = spool.dropped_total() - dropped;
            prop_assert_eq!(read.len() as u64 + lost, waiting.len() as u64);
            waiting.drain(..usize::try_from(lost).unwrap());
            prop_assert!(read.iter().map(|result| &result.observation.component).eq(&waiting));
            dropped += lost;
            if flushed {
                prop_assert!(waiting.len() < 60, "{} in 1,500 bytes", waiting.len());
                flush(&spool);
                on_disk = (waiting.clone(), dropped);
            }
        }
    }
}
