//! A journal that cannot write, or cannot be read.

use blackstart_proto::v1;
use sqlx::{ConnectOptions, Connection, Executor};
use v1::session_response::Kind as Said;

use crate::agent::{Agent, Aggregator, batch, condition, hello, journaled, result};
use crate::binary::Binary;

#[tokio::test]
async fn while_the_journal_cannot_write_nothing_is_acknowledged_and_everything_is_seen() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    agent.acknowledged(7, 1).await;
    // Somebody else holds the file, as a backup gone wrong would.
    let database = aggregator.state_dir().join("journal.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
    let mut holder = options.connect().await.unwrap();
    holder.execute("BEGIN IMMEDIATE").await.unwrap();

    let failed = result(v1::Status::Failed, "connection refused");
    agent.send(batch(7, 2, "etcd-1", vec![failed])).await;
    let picture = aggregator
        .until("the problem", |picture| {
            let own = picture.aggregator.as_ref().unwrap();
            own.problems.iter().any(|problem| {
                problem
                    .starts_with("the journal cannot write; agents keep their results until it can")
            })
        })
        .await;
    // Sight goes on.
    assert_eq!(condition(&picture, "etcd-1"), Some(v1::Condition::Down));
    assert_eq!(picture.aggregator.unwrap().journal_entries, 2);

    holder.execute("ROLLBACK").await.unwrap();
    holder.close().await.unwrap();
    agent.acknowledged(7, 2).await;
    aggregator
        .until("no problem", |picture| {
            picture.aggregator.as_ref().unwrap().problems.is_empty()
        })
        .await;
    let state_dir = aggregator.state_dir();
    let _folder = aggregator.stop().await;
    let sequences: Vec<_> = journaled(&state_dir).iter().map(|it| it.2).collect();
    assert_eq!(sequences, [1, 2]);
}

#[tokio::test]
async fn a_broken_journal_is_moved_aside_and_that_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("journal.db"), vec![0x5a; 8_192]).unwrap();
    let aggregator = Binary::start(folder.path(), &[]);
    let problems = crate::agent::status(aggregator.address)
        .await
        .aggregator
        .unwrap()
        .problems;
    assert_eq!(problems.len(), 1);
    let aside = folder.path().join("journal.db.broken-1");
    assert!(
        problems[0].starts_with(&format!(
            "the journal was broken and is now {}; started empty",
            aside.display()
        )),
        "{problems:?}"
    );
    assert_eq!(std::fs::read(aside).unwrap(), vec![0x5a; 8_192]);
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let good = result(v1::Status::Ok, "fine");
    agent.send(batch(7, 1, "etcd-1", vec![good])).await;
    agent.acknowledged(7, 1).await;
}

/// What waits for the disk is bounded. Behind the bound results are seen, not kept and not
/// acknowledged; when the journal writes again the agent is told to send them again.
#[tokio::test]
async fn what_found_no_room_is_seen_and_comes_again() {
    let aggregator = Aggregator::start_with(|config| config.waiting_bytes_max = 256 * 1_024).await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let database = aggregator.state_dir().join("journal.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
    let mut holder = options.connect().await.unwrap();
    holder.execute("BEGIN IMMEDIATE").await.unwrap();

    // 500 bytes a result: the room is full behind some five batches of a hundred.
    const BATCHES: u64 = 12;
    let wide = |number: u64| {
        let results = (0..100).map(|index| {
            let detail = format!("{number:0>250}{index:0>250}");
            result(v1::Status::Failed, &detail)
        });
        batch(7, number * 100 + 1, "etcd-1", results.collect())
    };
    for number in 0..BATCHES {
        agent.send(wide(number)).await;
    }
    let last = format!("{:0>250}{:0>250}", BATCHES - 1, 99);
    aggregator
        .until("the last result", |picture| {
            crate::agent::component(picture, "etcd-1").is_some_and(|etcd| etcd.reason == last)
        })
        .await;
    holder.execute("ROLLBACK").await.unwrap();
    holder.close().await.unwrap();
    loop {
        match agent.next().await {
            Some(Said::Wait(wait)) => {
                assert_eq!(
                    wait.reason,
                    "the journal writes again; send what was not acknowledged"
                );
                break;
            }
            Some(Said::Acknowledgement(_) | Said::Pong(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(agent.next().await.is_none());
    let (mut agent, welcome) = Agent::returning(aggregator.address, hello("web-1", 7)).await;
    let journaled_last = welcome.journaled.first().map_or(0, |known| known.sequence);
    assert!(journaled_last < BATCHES * 100, "{journaled_last}");
    assert_eq!(journaled_last % 100, 0);
    for number in journaled_last / 100..BATCHES {
        agent.send(wide(number)).await;
    }
    agent.acknowledged(7, BATCHES * 100).await;
    let state_dir = aggregator.state_dir();
    let _folder = aggregator.stop().await;
    let sequences: Vec<_> = journaled(&state_dir).iter().map(|it| it.2).collect();
    assert_eq!(sequences, (1..=BATCHES * 100).collect::<Vec<_>>());
}
