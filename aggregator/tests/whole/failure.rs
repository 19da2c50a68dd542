//! A journal that cannot write, or cannot be read.

use blackstart_proto::v1;
use sqlx::{ConnectOptions, Connection, Executor};

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
