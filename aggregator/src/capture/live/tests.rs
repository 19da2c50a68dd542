//! Who records is told everything in order, or that something is missing.

use blackstart_graph::EventKind;

use super::*;
use crate::capture::tick;
use crate::entry::event_entry;

/// Seven seconds after the epoch when it is made.
fn clock() -> Arc<Clock> {
    Arc::new(Clock::new(Arc::new(|| 7_000_000)))
}

fn entry(second: i64) -> Told {
    let at = blackstart_graph::Timestamp::from_micros(second * 1_000_000);
    let json = serde_json::to_vec(&tick(at)).unwrap();
    Told::Entry {
        at_us: at.as_micros(),
        bytes: event_entry(&json),
    }
}

fn recording(taps: &mut Taps, shutdown: CancellationToken) -> Recording {
    let state = Event {
        at: blackstart_graph::Timestamp::from_micros(1),
        kind: EventKind::Tick,
    };
    let begun = Begun {
        topology: "# a topology".into(),
        at_us: 5_000_000,
        state: vec![state],
        told: taps.open().unwrap(),
    };
    Recording::new(begun, Arc::default(), clock(), shutdown)
}

async fn all(recording: &mut Recording) -> Vec<String> {
    let mut told = Vec::new();
    while let Some(piece) = recording.next().await {
        told.push(match piece {
            Piece::Topology(text, at_us) => format!("{at_us} {text}"),
            Piece::Lines(lines, at_us) => format!("{at_us} {} lines", lines.lines().count()),
            Piece::End(why, at_us) => format!("{at_us} end: {why}"),
            Piece::Dropped => "dropped".to_owned(),
        });
    }
    told
}

#[tokio::test(start_paused = true)]
async fn a_recording_has_the_topology_the_state_what_happens_and_why_it_ends() {
    let mut taps = Taps::default();
    let shutdown = CancellationToken::new();
    let mut recording = recording(&mut taps, shutdown.clone());
    taps.tell(&entry(6));
    taps.tell(&entry(6));
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(recording.next().await);
    }
    assert!(
        matches!(&told[..], [
            Some(Piece::Topology(_, 5_000_000)),
            Some(Piece::Lines(state, 5_000_000)),
            Some(Piece::Lines(two, 6_000_000)),
            Some(Piece::Lines(none, 8_000_000)),
        ] if state.lines().count() == 1 && two.lines().count() == 2 && none.is_empty()),
        "{told:?}"
    );
    shutdown.cancel();
    assert_eq!(
        all(&mut recording).await,
        ["8000000 end: the aggregator stopped"]
    );
}

#[tokio::test(start_paused = true)]
async fn who_does_not_keep_up_is_dropped_and_told() {
    let mut taps = Taps::default();
    let mut slow = recording(&mut taps, CancellationToken::new());
    for _ in 0..=WAITING_MAX {
        taps.tell(&entry(6));
    }
    let told = all(&mut slow).await;
    assert_eq!(told.last().map(String::as_str), Some("dropped"), "{told:?}");
    assert_eq!(
        told.iter()
            .filter(|told| *told == "6000000 64 lines")
            .count(),
        WAITING_MAX / 64
    );
    assert!(taps.0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn another_topology_ends_a_recording_and_nobody_records_without_end() {
    let mut taps = Taps::default();
    let mut one = recording(&mut taps, CancellationToken::new());
    taps.tell(&entry(6));
    taps.tell(&Told::Topology);
    taps.tell(&entry(6));
    let told = all(&mut one).await;
    assert_eq!(
        told[2..],
        [
            "6000000 1 lines".to_owned(),
            format!("6000000 end: {REPLACED}")
        ]
    );
    let others: Vec<_> = (1..RECORDINGS_MAX).map(|_| taps.open().unwrap()).collect();
    assert!(taps.open().is_none());
    drop((one, others));
    assert!(taps.open().is_some(), "who went away makes room");
}
