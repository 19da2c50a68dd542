//! A restart ends where a run without one does; views show what the engine says.

use blackstart_graph::{Engine, EventKind, Status};
use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::entry::{ResultsHead, ResultsWriter, event_entry};
use crate::series::Series;

const TOPOLOGY: &str = r#"
    [component.host-1]
    kind = "host"
    [component.etcd]
    kind = "etcd-member"
    in = "host-1"
    [component.api]
    kind = "app"
    needs = ["etcd"]
    uses = ["cache"]
    [component.cache]
    kind = "cache"
"#;

fn topology() -> Topology {
    Topology::parse("topology.toml", TOPOLOGY).unwrap()
}

fn series() -> Arc<SeriesTable> {
    let table = SeriesTable::default();
    for component in ["etcd", "api", "cache", "host-2/fs:/"] {
        for vantage in ["host-1", "host-2"] {
            let series = Series {
                component: component.into(),
                check: "tcp.connect".into(),
                vantage: vantage.into(),
                ttl_ms: 30_000,
                value_names: Arc::new(["rtt_ms".to_owned()]),
            };
            table.intern(series).unwrap();
        }
    }
    Arc::new(table)
}

fn owner(series: &Arc<SeriesTable>) -> Owner {
    let engine = Engine::new(topology(), Timestamp::from_micros(0));
    Owner::new(engine, series.clone(), 0)
}

/// What happens: after `pause_s`, a result about `series`, or an event of an agent.
#[derive(Debug, Clone)]
enum Happening {
    Result {
        pause_s: u8,
        series: u32,
        late_s: u8,
        status: u8,
        value: u8,
        detail: Option<u8>,
    },
    Agent {
        pause_s: u8,
        host: u8,
        connected: bool,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        8 => (0..20_u8, 0..8_u32, 0..40_u8, 0..5_u8, any::<u8>(), proptest::option::of(0..3_u8))
            .prop_map(|(pause_s, series, late_s, status, value, detail)| Happening::Result {
                pause_s, series, late_s, status, value, detail,
            }),
        1 => (0..20_u8, 1..3_u8, any::<bool>())
            .prop_map(|(pause_s, host, connected)| Happening::Agent { pause_s, host, connected }),
    ]
}

fn second(count: u8) -> i64 {
    i64::from(count) * 1_000_000
}

fn entries(happenings: &[Happening]) -> Vec<(i64, Bytes)> {
    let mut at_us = 1_000_000_000;
    let entry = |happening: &Happening| match happening {
        Happening::Result {
            pause_s,
            series,
            late_s,
            status,
            value,
            detail,
        } => {
            at_us += second(*pause_s);
            let head = ResultsHead {
                host: "host-1",
                incarnation: 1,
                first_sequence: 1,
                count: 1,
            };
            let mut writer = ResultsWriter::new(head, 64);
            let detail = detail.map(|detail| format!("detail {detail}"));
            let result = ResultRecord {
                series: *series,
                sampled_us: at_us - second(*late_s),
                status: [
                    Status::Ok,
                    Status::Degraded,
                    Status::Starting,
                    Status::Failed,
                    Status::Unknown,
                ][usize::from(*status)],
                progress: None,
                detail: detail.as_deref(),
            };
            writer.push(&result, &[f64::from(*value)]);
            (at_us, writer.finish())
        }
        Happening::Agent {
            pause_s,
            host,
            connected,
        } => {
            at_us += second(*pause_s);
            let agent = format!("host-{host}");
            let kind = if *connected {
                EventKind::AgentConnected {
                    agent,
                    boot_id: "b".to_owned(),
                    uptime_s: 1.0,
                    clean_shutdown: None,
                }
            } else {
                EventKind::AgentLost { agent }
            };
            let at = Timestamp::from_micros(at_us);
            let json = serde_json::to_vec(&Event { at, kind }).unwrap();
            (at_us, event_entry(&json))
        }
    };
    happenings.iter().map(entry).collect()
}

fn apply(owner: &mut Owner, entries: &[(i64, Bytes)], first_index: u64) {
    for (index, (at_us, bytes)) in entries.iter().enumerate() {
        owner
            .apply(first_index + index as u64, *at_us, bytes)
            .unwrap();
    }
}

fn rows(owner: &mut Owner) -> Vec<ComponentRow> {
    owner.view(true).rows().cloned().collect()
}

/// Everything that an engine says.
fn said(engine: &Engine) -> String {
    let mut names = ValueNames::default();
    let components = engine.components();
    let rows: Vec<ComponentRow> = components.map(|one| row(one, &mut names)).collect();
    format!(
        "{rows:#?} {:#?} {:#?}",
        engine.incident(),
        engine.held_diagnosis()
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Snapshot and tail give the picture that a run without a restart has.
    #[test]
    fn a_restart_changes_nothing(
        happenings in proptest::collection::vec(happening(), 1..60),
        cut in 0.0..1.0_f64,
    ) {
        let entries = entries(&happenings);
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a share of a length")]
        let cut = (entries.len() as f64 * cut) as usize;
        let series = series();
        let mut straight = owner(&series);
        apply(&mut straight, &entries, 1);

        let mut before = owner(&series);
        apply(&mut before, &entries[..cut], 1);
        let (index, bytes) = before.save();
        prop_assert_eq!(index, cut as u64);
        let engine = Engine::load(&bytes, topology()).unwrap();
        let mut after = Owner::new(engine, series, index);
        apply(&mut after, &entries[cut..], index + 1);

        let end_us = entries.last().unwrap().0;
        straight.advance(end_us);
        after.advance(end_us);
        prop_assert_eq!(rows(&mut straight), rows(&mut after));
    }

    /// What a capture of the entries says, written and read back, is what the engine was told.
    #[test]
    fn a_capture_tells_the_engine_the_same(
        happenings in proptest::collection::vec(happening(), 1..60),
    ) {
        // The engine drops what comes late with its detail; who sends the next result without one means that detail.
        let mut happenings = happenings;
        for happening in &mut happenings {
            if let Happening::Result { late_s, detail: Some(_), .. } = happening {
                *late_s = 0;
            }
        }
        let entries = entries(&happenings);
        let series = series();
        let mut straight = owner(&series);
        apply(&mut straight, &entries, 1);
        let mut events = crate::capture::Events::new(series);
        let mut replayed = Engine::new(topology(), Timestamp::from_micros(0));
        for (at_us, bytes) in &entries {
            for event in events.of(*at_us, bytes) {
                let event: Event = serde_json::from_str(&crate::capture::line(&event)).unwrap();
                replayed.apply(&event, &mut Changes::default()).unwrap();
            }
        }
        prop_assert_eq!(said(&replayed), said(&straight.engine));
    }

    /// A view that was kept up to date shows what one made from nothing shows.
    #[test]
    fn views_kept_up_to_date_miss_nothing(
        happenings in proptest::collection::vec(happening(), 1..60),
    ) {
        let series = series();
        let mut owner = owner(&series);
        for (index, (at_us, bytes)) in entries(&happenings).iter().enumerate() {
            owner.apply(index as u64 + 1, *at_us, bytes).unwrap();
            owner.view(index % 2 == 0);
        }
        let kept = rows(&mut owner);
        owner.changed.topology = true;
        prop_assert_eq!(kept, rows(&mut owner));
    }
}

#[test]
fn an_entry_of_an_unknown_series_is_an_error() {
    let mut owner = owner(&Arc::new(SeriesTable::default()));
    let happening = Happening::Result {
        pause_s: 1,
        series: 5,
        late_s: 0,
        status: 0,
        value: 0,
        detail: None,
    };
    let (at_us, bytes) = entries(&[happening]).remove(0);
    let error = owner.apply(1, at_us, &bytes).unwrap_err();
    assert_eq!(
        error.to_string(),
        "entry names the series 5, which is not known"
    );
}
