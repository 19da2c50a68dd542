//! An agent that is cut off for so long that its spool is full: bounded, the oldest dropped, their number shown, and the rest
//! delivered once.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blackstart_tests::wait_until;

use crate::parts::{START, ask, journaled};
use crate::platform::{Platform, probe};

/// How many probes fill the spool.
const PROBES: usize = 250;

/// About how many results fit into a spool of 1 MiB: each carries the component's long name and its detail.
const FIT: usize = 2_500;

/// What the file of a full spool takes beyond its content: redb keeps pages for its next transaction and grows in large steps.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// The results that may be with the aggregator already when they are dropped: what a stream may have unacknowledged.
const ON_THEIR_WAY_MAX: u64 = blackstart_proto::limits::UNACKNOWLEDGED_RESULTS_MAX as u64;

/// The memory of a process that is not shared, in KiB.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))
        .expect("the kernel tells it");
    let number = line.split_whitespace().next().expect("a number");
    number.parse().expect("a number")
}

#[test]
fn a_full_spool_drops_the_oldest_says_how_many_and_delivers_the_rest_once() {
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = target.local_addr().expect("its address");
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    std::thread::spawn(move || {
        while target.accept().is_ok() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    });
    let asked = || asked.load(Ordering::Relaxed);
    let long = "x".repeat(230);
    let mut probes = String::from("[spool]\nbytes_max = \"1 MiB\"\nring_results = 100\n");
    for n in 0..PROBES {
        let keys = format!("component = \"h/{long}-{n}\"\naddress = \"{address}\"");
        probes.push_str(&probe(&format!("p{n}"), "tcp.connect", &keys));
    }
    let mut platform = Platform::start("full-spool", "", &probes);
    let first = format!("h/{long}-0");
    platform.shows(&first, "up", "*");

    // Cut off. Once all that fits is there and as much again has come, only what is dropped makes room.
    let ended = platform.aggregating.terminate(START);
    assert_eq!(ended.code(), Some(0), "{}", platform.aggregating.log());
    let fills = asked() + 2 * FIT;
    wait_until("the spool to be full", START * 6, || asked() >= fills);
    let pid = platform.probing[0].pid();
    let file = platform.home.join("agent-h/spool.redb");
    let size = || std::fs::metadata(&file).expect("the spool is there").len();
    let (memory_then, size_then) = (resident_kib(pid), size());
    let enough = fills + FIT;
    wait_until("more to be dropped", START * 6, || asked() >= enough);
    let (memory_now, size_now) = (resident_kib(pid), size());
    assert!(
        size_now <= FILE_BYTES_MAX,
        "{size_then} then {size_now} bytes on disk"
    );
    assert!(
        memory_now <= memory_then + 16 * 1_024,
        "{memory_then} then {memory_now} KiB of memory"
    );

    // Back again: it says what is lost, and sends what is not.
    platform.start_aggregator();
    platform.shows(&first, "up", "*");
    let dropped = || {
        let (agents, _) = ask(platform.port(), &["agents"]);
        agents["agents"][0]["dropped_total"].as_u64().unwrap_or(0)
    };
    wait_until("the number of the dropped to be shown", START, || {
        dropped() > 0
    });
    let incarnation_of = || {
        let journal = journaled(platform.home.path());
        assert_eq!(journal.len(), 1, "one process has one incarnation");
        journal.into_values().next().expect("one")
    };
    wait_until("everything that was kept to be there", START * 3, || {
        let held = incarnation_of();
        held.last()
            .is_some_and(|last| *last > (enough - PROBES) as u64)
            && ask(platform.port(), &["agents"]).0["agents"][0]["connected"] == true
    });
    let told = dropped();
    let held = incarnation_of();
    assert!(
        held.windows(2).all(|pair| pair[0] < pair[1]),
        "in order, and none twice"
    );
    let missing: u64 = held.windows(2).map(|pair| pair[1] - pair[0] - 1).sum();
    assert!(missing >= FIT as u64, "{missing} are missing");
    assert!(
        missing <= told && told - missing <= ON_THEIR_WAY_MAX,
        "{missing} are missing, {told} are told"
    );
    let gaps: Vec<&[u64]> = held
        .windows(2)
        .filter(|pair| pair[1] > pair[0] + 1)
        .collect();
    assert_eq!(
        gaps.len(),
        1,
        "the oldest were dropped, in one piece: {gaps:?}"
    );
    for (arguments, words) in [
        (&["agents"][..], format!("{told} results dropped")),
        (
            &["status", "--problems"],
            format!("agent h: {told} results dropped from a full spool"),
        ),
    ] {
        let output = platform.run(arguments);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(said.contains(&words), "{words:?} not in\n{said}");
    }
    platform.stop();
}
