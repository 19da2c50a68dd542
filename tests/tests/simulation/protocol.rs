//! Neighbouring versions of the protocol, and peers that go away in the middle of it.

use std::time::Duration;

use blackstart_proto::v1::session_request::Kind as Ask;
use blackstart_proto::v1::session_response::Kind as Said;
use blackstart_proto::v1::{
    Acknowledgement, Batch, Condition, RefusalCode, Result as ResultMessage, SessionRequest,
    Status, TargetDefinition, Welcome,
};
use futures::FutureExt;
use prost::Message;
use tokio::time::Instant;
use turmoil::net::TcpStream;

use crate::agent::Plan;
use crate::probe::Script;
use crate::raw::{Peer, aggregate, connect, field, hello, with_more};
use crate::world::{AGGREGATOR, World, agent, condition, for_seeds, is_connected};

/// An agent that was refused comes back after a minute and a back-off of at most a second, and then has to connect.
const AFTER_REFUSAL: Duration = Duration::from_secs(64);

#[test]
fn neighbours_speak_the_newest_version_that_both_know() {
    for (agents, aggregators, spoken) in [
        (1..=1, 1..=1, 1),
        (1..=2, 1..=1, 1),
        (1..=1, 1..=2, 1),
        (1..=2, 1..=2, 2),
        (2..=3, 1..=2, 2),
    ] {
        let mut world = World::new(1);
        let web = Script::new("web-1/web");
        world.aggregator_with(|config| config.protocol = aggregators);
        let mut plan = Plan::new("web-1", &[&web]);
        plan.versions = agents;
        let web_1 = world.agent(plan);
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        let picture = world.picture();
        assert_eq!(agent(&picture, "web-1").unwrap().protocol, spoken);
        let until = world.now_us();
        world.stop(&[&web_1]);
        assert_eq!(
            world.last_journal().missing(&web, until),
            Vec::<usize>::new()
        );
    }
}

#[test]
fn versions_that_share_none_are_refused_in_clear_words_until_one_is_upgraded() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        let web = Script::new("web-1/web");
        world.aggregator();
        let mut plan = Plan::new("web-1", &[&web]);
        plan.versions = 2..=3;
        let web_1 = world.agent(plan);
        world.network().client("peer", async {
            let message = SessionRequest {
                kind: Some(Ask::Hello(hello("peer", (2, 3)))),
            };
            let mut peer = Peer::open(connect().await, Some(message.encode_to_vec())).await;
            let Some(Said::Refusal(refusal)) = peer.hear().await.unwrap().kind else {
                panic!("not refused")
            };
            assert_eq!(refusal.code(), RefusalCode::Protocol);
            assert_eq!(
                refusal.reason,
                "the agent speaks protocol 2 to 3, this aggregator speaks 1; upgrade the older of the two"
            );
            assert!(peer.hear().await.is_none(), "the stream ends");
            Ok(())
        });
        world.pass(Duration::from_secs(50));
        // Nothing comes of knocking again and again, so it does not.
        assert_eq!(web_1.dialled(), 1);
        assert!(!is_connected(&world.picture(), "web-1"));
        world.kill(AGGREGATOR);
        world.tell_aggregator(|config| config.protocol = 1..=2);
        world.start(AGGREGATOR);
        world.until("it is up", AFTER_REFUSAL, |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        let until = world.now_us();
        world.stop(&[&web_1]);
        let journal = world.last_journal();
        journal.check_no_hole();
        assert_eq!(journal.missing(&web, until), Vec::<usize>::new());
    });
}

/// An agent of a later release: fields and kinds of messages that this one does not know.
#[test]
fn an_aggregator_ignores_what_it_does_not_know() {
    let mut world = World::new(1);
    world.aggregator();
    world.network().client("peer", async {
        let first = field(1, &with_more(&hello("peer", (1, 2))));
        let mut peer = Peer::open(connect().await, Some(first)).await;
        let Some(Said::Welcome(welcome)) = peer.hear().await.unwrap().kind else {
            panic!("not welcomed")
        };
        assert_eq!(welcome.protocol, 1);
        // A kind of message that is not there yet, and an empty one.
        peer.say(field(99, b"gossip")).await;
        peer.say(Vec::new()).await;
        let definition = TargetDefinition {
            target: 0,
            component: "peer/web".to_owned(),
            check: "later".to_owned(),
            ttl_ms: 60_000,
            ..TargetDefinition::default()
        };
        let result = ResultMessage {
            sampled_boottime_us: 1_000_000,
            status: Status::Ok.into(),
            detail: Some("fine".to_owned()),
            ..ResultMessage::default()
        };
        let batch = Batch {
            incarnation: 7,
            boot_id: "boot".to_owned(),
            first_sequence: 1,
            sent_boottime_us: 1_000_000,
            ..Batch::default()
        };
        // definitions = 6, results = 7
        let mut batch = with_more(&batch);
        batch.extend(field(6, &with_more(&definition)));
        batch.extend(field(7, &with_more(&result)));
        peer.say(field(2, &batch)).await;
        loop {
            match peer.hear().await.unwrap().kind {
                Some(Said::Acknowledgement(held)) => {
                    assert_eq!((held.incarnation, held.sequence), (7, 1));
                    break;
                }
                Some(Said::Pong(_)) => {}
                other => panic!("{other:?}"),
            }
        }
        // The stream stays open, so that the component does.
        tokio::time::sleep(Duration::from_secs(10)).await;
        Ok(())
    });
    world.until("what it said is seen", Duration::from_secs(5), |picture| {
        condition(picture, "peer/web") == Some(Condition::Up)
    });
}

/// An aggregator of a later release.
#[test]
fn an_agent_ignores_what_it_does_not_know() {
    for_seeds(|seed| {
        let mut world = World::new(seed);
        world.network().host(AGGREGATOR, || {
            aggregate(|mut heard, say| {
                async move {
                    let first = heard.recv().await.unwrap();
                    assert!(matches!(first.kind, Some(Ask::Hello(_))));
                    let welcome = Welcome {
                        protocol: 1,
                        aggregator_id: "later".to_owned(),
                        heartbeat_interval_ms: 5_000,
                        silence_max_ms: 15_000,
                        batch_results_max: 10,
                        unacknowledged_results_max: 20,
                        ..Welcome::default()
                    };
                    say.send(field(1, &with_more(&welcome))).await.unwrap();
                    let mut next = 1;
                    while let Some(message) = heard.recv().await {
                        // A kind of message that is not there yet; it is a sign of life as well.
                        say.send(field(99, b"gossip")).await.unwrap();
                        if let Some(Ask::Batch(batch)) = message.kind {
                            assert_eq!(batch.first_sequence, next, "sent again, or left out");
                            assert!(batch.results.len() <= 10);
                            next += batch.results.len() as u64;
                            let held = Acknowledgement {
                                incarnation: batch.incarnation,
                                sequence: next - 1,
                            };
                            say.send(field(4, &with_more(&held))).await.unwrap();
                        }
                    }
                }
                .boxed()
            })
        });
        let web = Script::new("web-1/web");
        let web_1 = world.agent(Plan::new("web-1", &[&web]));
        world.pass(Duration::from_secs(60));
        assert_eq!(web_1.dialled(), 1, "it never had to come back");
        assert!(web.answered_us().len() > 20);
        world.stop(&[&web_1]);
        let spool = blackstart_agent::spool::Spool::open(
            &world.path("web-1"),
            blackstart_agent::config::AgentConfig::defaults().spool,
            blackstart_agent::result::Incarnation {
                id: 1,
                boot_id: String::new(),
                wall_offset_us: 0,
            },
        )
        .unwrap();
        let name = format!("{AGGREGATOR}:{}", blackstart_proto::limits::AGGREGATOR_PORT);
        assert_eq!(spool.waiting(&name), 0, "all of it was acknowledged");
    });
}

/// More of them than may be at the door at a time: none of them may keep its place there.
#[test]
fn peers_that_go_away_in_the_middle_leave_nothing_behind() {
    const ROUNDS: usize = 300;
    for_seeds(|seed| {
        let mut world = World::with(seed, |network| {
            network.max_message_latency(Duration::from_millis(10));
        });
        world.aggregator();
        let web = Script::new("web-1/web");
        let web_1 = world.agent(Plan::new("web-1", &[&web]));
        world.network().client("peer", async {
            for round in 0..ROUNDS {
                let stream = TcpStream::connect((AGGREGATOR, 7400)).await?;
                drop(stream);
                let mut stream = TcpStream::connect((AGGREGATOR, 7400)).await?;
                // Half of HTTP/2's first words.
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"PRI * HTTP/2").await?;
                drop(stream);
                let channel = connect().await;
                // Streams that are opened and say nothing, or hello and do not wait for the answer.
                for n in 0..4 {
                    drop(Peer::open(channel.clone(), None).await);
                    let ghost = hello(&format!("ghost-{n}"), (1, 1));
                    let message = SessionRequest {
                        kind: Some(Ask::Hello(ghost)),
                    };
                    let message = message.encode_to_vec();
                    let half = round % 2 == 0;
                    let first = if half {
                        &message[..message.len() / 2]
                    } else {
                        &message
                    };
                    drop(Peer::open(channel.clone(), Some(first.to_vec())).await);
                }
            }
            // Who says nothing at all is shown the door after ten seconds.
            let opened = Instant::now();
            let mut silent = Peer::open(connect().await, None).await;
            assert!(silent.hear().await.is_none());
            let stayed = opened.elapsed();
            assert!((10..11).contains(&stayed.as_secs()), "{stayed:?}");
            Ok(())
        });
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-1/web") == Some(Condition::Up)
        });
        let mut is_finished = false;
        let end = world.now() + Duration::from_secs(120);
        while !is_finished {
            is_finished = world.network().step().unwrap();
            assert!(world.now() < end, "the peers do not come to their end");
            assert!(is_connected(&world.picture(), "web-1"));
        }
        // A newcomer is welcomed as ever.
        let db = Script::new("web-2/db");
        let web_2 = world.agent(Plan::new("web-2", &[&db]));
        world.until("it is up", Duration::from_secs(5), |picture| {
            condition(picture, "web-2/db") == Some(Condition::Up)
        });
        let until = world.now_us();
        world.stop(&[&web_1, &web_2]);
        let journal = world.last_journal();
        for script in [&web, &db] {
            journal.check_once(script);
            assert_eq!(journal.missing(script, until), Vec::<usize>::new());
        }
    });
}
