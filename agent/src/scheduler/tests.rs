//! The scheduler on virtual time.

use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::sync::Semaphore;

use super::*;
use crate::config::SpoolLimits;
use crate::probe::{Deadline, Probe, Run, Target};
use crate::result::{Incarnation, Numbered};
use crate::run_once::tests::{Bad, configured};

/// A scheduler that runs, and what it found.
struct Running {
    spool: Arc<Spool>,
    lists: mpsc::Sender<Vec<Configured>>,
    _stop: tokio_util::sync::DropGuard,
    _folder: TempDir,
}

async fn running(probes: Vec<Configured>) -> Running {
    let folder = TempDir::new().unwrap();
    let limits = SpoolLimits {
        bytes_max: 1 << 20,
        ring_results: 10_000,
    };
    let incarnation = Incarnation {
        id: 1,
        boot_id: "b".to_owned(),
        wall_offset_us: 0,
    };
    let spool = Arc::new(Spool::open(folder.path(), limits, incarnation).unwrap());
    let (lists, receiver) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let board = Arc::new(Board::default());
    let machine = Surroundings::machine(std::path::Path::new("/"));
    tokio::spawn(run(
        "h".to_owned(),
        receiver,
        spool.clone(),
        board.clone(),
        Supervisor::default(),
        machine,
        stop.clone(),
    ));
    lists.send(probes).await.unwrap();
    Running {
        spool,
        lists,
        _stop: stop.drop_guard(),
        _folder: folder,
    }
}

impl Running {
    fn results(&self, component: &str) -> Vec<Numbered> {
        let mut results = self.spool.read(0, usize::MAX);
        results.retain(|result| result.observation.component == component);
        results
    }
}

async fn pass(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[derive(Debug)]
struct Steady(Status, Arc<AtomicUsize>);

impl Probe for Steady {
    fn targets(&self) -> Vec<Target> {
        Vec::new()
    }

    fn run(&self, _: Deadline) -> Run<'_> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let observation = Observation {
            component: "c".to_owned(),
            check: "steady".into(),
            finding: Finding::new(self.0, ""),
        };
        Box::pin(async { vec![observation] })
    }
}

#[test]
fn a_saturated_agent_says_so_of_itself() {
    let finding = |waiting, late_s, hung, problem: Option<&str>| {
        let late = Duration::from_secs(late_s);
        let finding = judge(20, waiting, late, hung, problem.map(str::to_owned));
        (finding.status, finding.detail)
    };
    for (waiting, late_s, hung, problem, status, detail) in [
        (3, 5, 0, None, Status::Ok, "20 probes"),
        (
            3,
            6,
            0,
            None,
            Status::Degraded,
            "3 of 20 probes wait for a free slot, the first for 6 s",
        ),
        (0, 0, 1, None, Status::Degraded, "1 of 20 probes hang"),
        (3, 6, 1, Some("disk full"), Status::Degraded, "disk full"),
    ] {
        assert_eq!(
            finding(waiting, late_s, hung, problem),
            (status, detail.to_owned())
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hung_probe_stays_unknown_and_does_not_run_again_before_it_ended() {
    let (permits, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let probe = configured(Bad::Hangs(permits.clone(), runs.clone()));
    let agent = running(vec![probe]).await;
    pass(60).await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    let said = agent.results("c");
    assert!(said.len() >= 4, "it stays fresh: {}", said.len());
    for result in &said {
        let finding = &result.observation.finding;
        assert_eq!(finding.status, Status::Unknown);
        assert!(
            finding.detail.starts_with("the probe hung at "),
            "{}",
            finding.detail
        );
    }
    let own = agent.results("h/agent");
    assert_eq!(
        own.last().unwrap().observation.finding.detail,
        "1 of 1 probes hang"
    );
    permits.add_permits(1);
    pass(30).await;
    assert_eq!(
        runs.load(Ordering::Relaxed),
        2,
        "it ended, so it runs again"
    );
}

#[tokio::test(start_paused = true)]
async fn hung_probes_hold_no_slot() {
    let hang = || Bad::Hangs(Arc::new(Semaphore::new(0)), Arc::default());
    let mut probes: Vec<Configured> = (0..3 * plan::RUNNING_MAX)
        .map(|n| Configured {
            component: format!("hangs-{n}"),
            ..configured(hang())
        })
        .collect();
    let runs = Arc::new(AtomicUsize::new(0));
    probes.push(configured(Steady(Status::Ok, runs.clone())));
    let _agent = running(probes).await;
    pass(100).await;
    assert!(
        runs.load(Ordering::Relaxed) >= 5,
        "{}",
        runs.load(Ordering::Relaxed)
    );
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_an_answer_and_the_probe_goes_on() {
    let agent = running(vec![configured(Bad::Panics)]).await;
    pass(60).await;
    let said = agent.results("c");
    assert!(said.len() >= 4, "{}", said.len());
    assert!(
        said[0]
            .observation
            .finding
            .detail
            .starts_with("the probe panicked")
    );
}

#[tokio::test(start_paused = true)]
async fn a_fault_quickens_and_calm_slows_within_bounds() {
    for (status, least, most) in [(Status::Failed, 90, 125), (Status::Ok, 17, 25)] {
        let runs = Arc::new(AtomicUsize::new(0));
        let _agent = running(vec![configured(Steady(status, runs.clone()))]).await;
        pass(270).await;
        let runs = runs.load(Ordering::Relaxed);
        assert!((least..=most).contains(&runs), "{status:?}: {runs}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_comes_later_runs_and_one_that_is_there_is_not_doubled() {
    let (first, second) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let known = configured(Steady(Status::Ok, first.clone()));
    let agent = running(vec![known.clone()]).await;
    pass(5).await;
    let other = Configured {
        component: "d".to_owned(),
        ..configured(Steady(Status::Ok, second.clone()))
    };
    agent.lists.send(vec![known, other]).await.unwrap();
    pass(3).await;
    assert_eq!(
        (
            first.load(Ordering::Relaxed),
            second.load(Ordering::Relaxed)
        ),
        (1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn a_new_list_leaves_alone_what_is_in_it_as_it_was() {
    let runs: Vec<Arc<AtomicUsize>> = (0..3).map(|_| Arc::default()).collect();
    let probe = |n: usize, fingerprint| Configured {
        component: format!("c{n}"),
        interval: Duration::from_secs(100),
        fingerprint,
        ..configured(Steady(Status::Ok, runs[n].clone()))
    };
    let counts = || -> Vec<usize> {
        runs.iter()
            .map(|runs| runs.load(Ordering::Relaxed))
            .collect()
    };
    let agent = running(vec![probe(0, 1), probe(1, 1)]).await;
    pass(50).await;
    assert_eq!(counts(), [1, 1, 0]);
    // The first as it was, the second changed, a third one new: those two run at once.
    let list = vec![probe(0, 1), probe(1, 2), probe(2, 1)];
    agent.lists.send(list).await.unwrap();
    pass(5).await;
    assert_eq!(counts(), [1, 2, 1]);
    pass(65).await;
    assert_eq!(counts(), [2, 2, 1], "its turn came as planned at first");
    agent.lists.send(vec![probe(2, 1)]).await.unwrap();
    pass(1_000).await;
    assert_eq!(counts()[..2], [2, 2], "taken out");
    assert!(counts()[2] > 4);
}

#[tokio::test(start_paused = true)]
async fn what_a_probe_said_goes_with_it_and_a_run_that_ends_later_is_nobodys() {
    let (permits, runs) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let hangs = configured(Bad::Hangs(permits.clone(), runs.clone()));
    let steady = Configured {
        component: "d".to_owned(),
        ..configured(Steady(Status::Ok, Arc::default()))
    };
    let agent = running(vec![hangs, steady.clone()]).await;
    let checks = || -> Vec<String> {
        let latest = agent.spool.latest_of("c").into_iter();
        latest
            .map(|result| result.observation.check.into_owned())
            .collect()
    };
    pass(20).await;
    assert_eq!(checks(), ["bad", "steady"]);
    agent.lists.send(vec![steady]).await.unwrap();
    pass(1).await;
    assert_eq!(checks(), ["steady"]);
    permits.add_permits(1);
    pass(60).await;
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    let own = agent.results("h/agent");
    assert_eq!(own.last().unwrap().observation.finding.detail, "1 probes");
}
