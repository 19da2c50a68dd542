//! Acknowledged means kept, and counted once.

use std::time::Duration;

use blackstart_proto::v1;

use crate::agent::{
    Agent, Aggregator, batch, component, condition, hello, journaled, operator, result, status,
    until,
};
use crate::binary::Binary;

fn good(count: usize) -> Vec<v1::Result> {
    vec![result(v1::Status::Ok, "fine"); count]
}

#[tokio::test]
async fn after_a_break_nothing_is_missing_and_nothing_is_twice() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    agent.send(batch(7, 1, "etcd-1", good(10))).await;
    agent.acknowledged(7, 10).await;
    drop(agent);
    // The agent did not see all acknowledgements: it sends some again, with what is new.
    let (mut agent, welcome) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    assert_eq!(welcome.journaled.len(), 1);
    assert_eq!(welcome.journaled[0].sequence, 10);
    agent.send(batch(7, 5, "etcd-1", good(10))).await;
    agent.acknowledged(7, 14).await;
    // All of it again: acknowledged at once.
    agent.send(batch(7, 1, "etcd-1", good(14))).await;
    agent.acknowledged(7, 14).await;
    // A full spool dropped 15 to 19.
    agent.send(batch(7, 20, "etcd-1", good(1))).await;
    agent.acknowledged(7, 20).await;
    let state_dir = aggregator.state_dir();
    let _folder = aggregator.stop().await;
    let expected: Vec<_> = (1..=14)
        .chain([20])
        .map(|sequence| ("web-1".to_owned(), 7, sequence))
        .collect();
    assert_eq!(journaled(&state_dir), expected);
}

#[tokio::test]
async fn incarnations_are_apart_and_those_no_longer_spooled_are_forgotten() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    agent.send(batch(7, 1, "etcd-1", good(3))).await;
    agent.acknowledged(7, 3).await;
    drop(agent);
    let mut again = hello("web-1", 8);
    again.spooled_incarnations = vec![7];
    let (mut agent, welcome) = Agent::welcomed(aggregator.address, again).await;
    assert_eq!(welcome.journaled.len(), 1);
    agent.send(batch(7, 4, "etcd-1", good(1))).await;
    agent.acknowledged(7, 4).await;
    agent.send(batch(8, 1, "etcd-1", good(2))).await;
    agent.acknowledged(8, 2).await;
    drop(agent);
    let (_agent, welcome) = Agent::welcomed(aggregator.address, hello("web-1", 8)).await;
    assert_eq!(welcome.journaled.len(), 1);
    assert_eq!(welcome.journaled[0].incarnation, 8);
    aggregator.stop().await;
}

/// What must be the same before and after.
fn essence(picture: &v1::StatusResponse) -> Vec<(String, i32, String, i64, String)> {
    picture
        .components
        .iter()
        .map(|component| {
            (
                component.id.clone(),
                component.condition,
                component.reason.clone(),
                component.since_us,
                format!("{:?}", component.values),
            )
        })
        .collect()
}

/// What was observed holds for its time; that somebody on the host is alive, only an open stream says.
fn same_but_for_the_gap(before: &v1::StatusResponse, after: &v1::StatusResponse) {
    let others = |picture: &v1::StatusResponse| {
        let mut essence = essence(picture);
        essence.retain(|(id, ..)| id != "web-1");
        essence
    };
    assert_eq!(others(before), others(after));
    assert_eq!(condition(before, "web-1"), Some(v1::Condition::Up));
    let host = component(after, "web-1").unwrap();
    assert_eq!(host.condition(), v1::Condition::Unknown);
    assert_eq!(
        host.reason,
        "its agent has not returned since the aggregator's restart"
    );
}

#[tokio::test]
async fn a_killed_aggregator_comes_back_with_the_same_picture() {
    let folder = tempfile::tempdir().unwrap();
    let aggregator = Binary::start(folder.path(), &[]);
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let mut mixed = good(2);
    mixed.push(result(v1::Status::Failed, "connection refused"));
    let mut two = batch(7, 1, "etcd-1", mixed);
    two.definitions.push(crate::agent::definition(1, "etcd-2"));
    two.results[1].target = 1;
    agent.send(two).await;
    agent.acknowledged(7, 3).await;
    let before = until(aggregator.address, "etcd-1 down", |picture| {
        condition(picture, "etcd-1") == Some(v1::Condition::Down)
    })
    .await;
    aggregator.kill();

    let aggregator = Binary::start(folder.path(), &[]);
    let after = status(aggregator.address).await;
    same_but_for_the_gap(&before, &after);
    assert_eq!(before.incident, after.incident);
    let ours = |picture: &v1::StatusResponse| picture.aggregator.clone().unwrap();
    assert_eq!(ours(&before).id, ours(&after).id);
    // Its own gap is shown, and nobody is lost for it.
    let known = &after.agents[0];
    assert!(!known.connected);
    assert_eq!(
        known.problem,
        "has not returned since the aggregator's restart"
    );
    // The agent goes on where the journal is.
    let (mut agent, welcome) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    until(aggregator.address, "web-1 up", |picture| {
        condition(picture, "web-1") == Some(v1::Condition::Up)
    })
    .await;
    assert_eq!(welcome.journaled[0].sequence, 3);
    agent.send(batch(7, 1, "etcd-1", good(4))).await;
    agent.acknowledged(7, 4).await;
    drop(agent);
    aggregator.kill();
    let sequences: Vec<_> = journaled(folder.path()).iter().map(|it| it.2).collect();
    assert_eq!(sequences, [1, 2, 3, 4]);
}

#[tokio::test]
async fn twenty_kills_at_any_moment_lose_and_double_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    let mut next = 1;
    for round in 0..20_u64 {
        let aggregator = Binary::start(folder.path(), &[]);
        let (mut agent, welcome) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
        let journaled = welcome.journaled.first().map_or(0, |known| known.sequence);
        assert!(journaled >= acknowledged, "{journaled} < {acknowledged}");
        next = journaled.max(acknowledged) + 1;
        let killed = async {
            // The moment is what varies here; nothing is waited for.
            tokio::time::sleep(Duration::from_micros(round * 1_700 % 23_000)).await;
        };
        tokio::pin!(killed);
        loop {
            agent.send(batch(7, next, "etcd-1", good(20))).await;
            next += 20;
            tokio::select! {
                () = agent.acknowledged(7, next - 1) => acknowledged = next - 1,
                () = &mut killed => break,
            }
        }
        aggregator.kill();
    }
    let sequences: Vec<_> = journaled(folder.path()).iter().map(|it| it.2).collect();
    assert!(acknowledged > 0 && next > acknowledged);
    let last = *sequences.last().unwrap();
    assert!(last >= acknowledged);
    assert_eq!(sequences, (1..=last).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_orderly_stop_leaves_a_snapshot_and_the_next_start_reads_no_more() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let failed = result(v1::Status::Failed, "connection refused");
    agent.send(batch(7, 1, "etcd-1", vec![failed])).await;
    agent.acknowledged(7, 1).await;
    let before = aggregator
        .until("etcd-1 down", |picture| {
            condition(picture, "etcd-1") == Some(v1::Condition::Down)
        })
        .await;
    let state_dir = aggregator.state_dir();
    let folder = aggregator.stop().await;
    // Without its rows, the journal has nothing but the snapshot.
    let database = state_dir.join("journal.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("DELETE FROM journal")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let aggregator = Binary::start(&state_dir, &[]);
    let after = status(aggregator.address).await;
    same_but_for_the_gap(&before, &after);
    let (_agent, welcome) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    assert_eq!(welcome.journaled[0].sequence, 1);
    drop(folder);
}

#[tokio::test]
async fn a_broken_snapshot_gives_way_to_the_journal() {
    let aggregator = Aggregator::start().await;
    let (mut agent, _) = Agent::welcomed(aggregator.address, hello("web-1", 7)).await;
    let failed = result(v1::Status::Failed, "connection refused");
    agent.send(batch(7, 1, "etcd-1", vec![failed])).await;
    agent.acknowledged(7, 1).await;
    let state_dir = aggregator.state_dir();
    let folder = aggregator.stop().await;
    let database = state_dir.join("journal.db");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&database);
    let mut connection = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::query("UPDATE snapshot SET engine = x'7b7d'")
        .execute(&mut connection)
        .await
        .unwrap();
    sqlx::Connection::close(connection).await.unwrap();
    let aggregator = Binary::start(&state_dir, &[]);
    let after = status(aggregator.address).await;
    assert_eq!(condition(&after, "etcd-1"), Some(v1::Condition::Down));
    assert_eq!(
        component(&after, "etcd-1").unwrap().reason,
        "connection refused"
    );
    assert_eq!(
        after.aggregator.unwrap().problems,
        ["1 snapshot(s) could not be used; more of the journal was read instead"]
    );
    let _ = operator(aggregator.address).await;
    drop(folder);
}
