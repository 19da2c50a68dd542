//! `kill -9` at any moment: what was acknowledged is there, and nothing is there twice.

use std::net::TcpListener;
use std::time::Duration;

use blackstart_proto::transport::{Timeouts, connect};
use blackstart_proto::v1::agent_service_client::AgentServiceClient;
use blackstart_proto::v1::session_request::Kind as Request;
use blackstart_proto::v1::session_response::Kind as Response;
use blackstart_proto::v1::{
    Batch, Hello, Result as ResultMessage, SessionRequest, Status, TargetDefinition,
};
use blackstart_tests::{TempHome, free_port};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::wrappers::ReceiverStream;

use crate::parts::{START, agent, aggregator, journaled, try_journaled};

/// Rounds of each of the two tests; together the 200 that are asked for.
const ROUNDS: usize = 100;

/// How long it may take until an agent that lives is heard.
const HEARD: Duration = Duration::from_secs(90);

/// Results in a batch of the hand-made agent.
const BATCH: u64 = 5;

/// The incarnation of the hand-made agent.
const INCARNATION: u64 = 0x0123_4567_89ab_cdef;

/// An agent made by hand remembers what it was promised, and the aggregator is killed under it.
#[tokio::test]
async fn what_an_aggregator_acknowledged_survives_its_kill() {
    let seed = 2_018;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = TempHome::new("kill-aggregator");
    let port = free_port();
    let mut acknowledged = 0;
    let mut running = aggregator(home.path(), port.number());
    for round in 0..ROUNDS {
        let until = Instant::now() + Duration::from_millis(random.random_range(20..200));
        let promised = talk(port.number(), acknowledged, until).await;
        assert!(promised >= acknowledged, "round {round}, seed {seed}");
        acknowledged = promised;
        running.kill();
        running = aggregator(home.path(), port.number());
    }
    // At least the last one gets all the time it needs, so that the test cannot pass by never having sent a thing.
    let wanted = acknowledged + BATCH;
    let end = Instant::now() + START;
    while acknowledged < wanted && Instant::now() < end {
        acknowledged = talk(
            port.number(),
            acknowledged,
            Instant::now() + Duration::from_secs(2),
        )
        .await
        .max(acknowledged);
    }
    assert!(
        acknowledged >= wanted,
        "nothing was acknowledged at the end"
    );
    running.kill();
    let journal = journaled(home.path());
    let held = &journal[&format!("{INCARNATION:016x}")];
    let expected: Vec<u64> = (1..=held.len() as u64).collect();
    assert_eq!(*held, expected, "each once and in order, seed {seed}");
    assert!(
        held.len() as u64 >= acknowledged,
        "{} held, {acknowledged} acknowledged, seed {seed}",
        held.len()
    );
}

/// Sends batches until the time is over or the stream breaks; gives the last sequence that was acknowledged.
async fn talk(port: u16, mut acknowledged: u64, until: Instant) -> u64 {
    let address = format!("127.0.0.1:{port}").parse().expect("an address");
    let channel = loop {
        match timeout_at(until + START, connect(&address, None, Timeouts::default())).await {
            Ok(Ok(channel)) => break channel,
            Ok(Err(_)) => sleep(Duration::from_millis(10)).await,
            Err(_) => panic!("the aggregator does not come back"),
        }
    };
    let until = until.max(Instant::now() + Duration::from_millis(30));
    let (sender, receiver) = mpsc::channel(4);
    let mut client = AgentServiceClient::new(channel);
    let hello = Hello {
        protocol_min: 1,
        protocol_max: 1,
        host: "by-hand".to_owned(),
        boot_id: "boot".to_owned(),
        incarnation: INCARNATION,
        spooled_incarnations: vec![INCARNATION],
        sent_boottime_us: 1_000_000,
        ..Hello::default()
    };
    send(&sender, Request::Hello(hello)).await;
    let Ok(Ok(answer)) =
        timeout_at(until + START, client.session(ReceiverStream::new(receiver))).await
    else {
        return acknowledged;
    };
    let mut incoming = answer.into_inner();
    let Ok(Ok(Some(first))) = timeout_at(until + START, incoming.message()).await else {
        return acknowledged;
    };
    let Some(Response::Welcome(welcome)) = first.kind else {
        // Asked to wait: the next round comes.
        return acknowledged;
    };
    let journaled = welcome
        .journaled
        .iter()
        .find(|held| held.incarnation == INCARNATION)
        .map_or(0, |held| held.sequence);
    assert!(
        journaled >= acknowledged,
        "{acknowledged} was acknowledged, and {journaled} is what the journal holds"
    );
    acknowledged = journaled;
    let mut next = journaled + 1;
    let mut defined = false;
    while Instant::now() < until {
        let definition = TargetDefinition {
            target: 0,
            component: "c".to_owned(),
            check: "test".to_owned(),
            value_names: Vec::new(),
            ttl_ms: 60_000,
        };
        let result = |sequence: u64| ResultMessage {
            target: 0,
            sampled_boottime_us: 1_000_000 + sequence,
            status: Status::Ok.into(),
            detail: Some(format!("sequence {sequence}")),
            ..ResultMessage::default()
        };
        let batch = Batch {
            incarnation: INCARNATION,
            boot_id: "boot".to_owned(),
            first_sequence: next,
            sent_boottime_us: 2_000_000 + next,
            definitions: if defined {
                Vec::new()
            } else {
                vec![definition]
            },
            results: (next..next + BATCH).map(result).collect(),
            ..Batch::default()
        };
        defined = true;
        next += BATCH;
        send(&sender, Request::Batch(batch)).await;
        match timeout_at(until, incoming.message()).await {
            Ok(Ok(Some(message))) => {
                if let Some(Response::Acknowledgement(held)) = message.kind {
                    acknowledged = acknowledged.max(held.sequence);
                }
            }
            _ => break,
        }
    }
    acknowledged
}

async fn send(sender: &mpsc::Sender<SessionRequest>, kind: Request) {
    // A stream that broke meanwhile is seen by who reads from it.
    sender
        .send(SessionRequest { kind: Some(kind) })
        .await
        .unwrap_or(());
}

/// A real agent and a real aggregator, either or both killed. What an incarnation got into the journal is a
/// whole beginning of what it sampled: no hole, nothing twice, nothing out of order.
#[test]
fn agent_and_aggregator_killed_at_random_lose_nothing_and_count_nothing_twice() {
    let seed = 2_019;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let home = TempHome::new("kill-both");
    let port = free_port();
    let target = TcpListener::bind("127.0.0.1:0").expect("a port");
    let asked = target.local_addr().expect("its address");
    std::thread::spawn(move || while target.accept().is_ok() {});
    let mut config = format!(
        "host = \"h\"\nstate_dir = \"agent\"\naggregators = [\"127.0.0.1:{}\"]\n[discovery]\nenabled = false\n",
        port.number()
    );
    for n in 0..20 {
        config.push_str(&format!(
            "[probe.p{n}]\nkind = \"tcp.connect\"\ninterval = \"1s\"\naddress = \"{asked}\"\n"
        ));
    }
    let config = home.write("agent.toml", &config);
    let mut aggregating = aggregator(home.path(), port.number());
    let mut probing = agent(home.path(), &config);
    // On a slow machine none of the following may live long enough to be heard, but for the last.
    blackstart_tests::wait_until("the first agent to be heard", HEARD, || {
        let journal = try_journaled(home.path());
        journal.is_ok_and(|journal| !journal.is_empty())
    });
    for _ in 0..ROUNDS {
        std::thread::sleep(Duration::from_millis(random.random_range(20..500)));
        let victim = random.random_range(0..3);
        if victim != 0 {
            probing.kill();
        }
        if victim != 1 {
            aggregating.kill();
        }
        if victim != 1 {
            aggregating = aggregator(home.path(), port.number());
        }
        if victim != 0 {
            probing = agent(home.path(), &config);
        }
    }
    let before: usize = journaled(home.path()).values().map(Vec::len).sum();
    blackstart_tests::wait_until("the last agent to be heard", HEARD, || {
        journaled(home.path()).values().map(Vec::len).sum::<usize>() > before + 20
    });
    probing.terminate(START);
    aggregating.terminate(START);
    let journal = journaled(home.path());
    assert!(journal.len() > 1, "several agents were heard: {journal:?}");
    for (incarnation, held) in &journal {
        let expected: Vec<u64> = (1..=held.len() as u64).collect();
        assert_eq!(*held, expected, "incarnation {incarnation}, seed {seed}");
    }
}
